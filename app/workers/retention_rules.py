"""What is removed at which age, as statements; ids of messages grow with time, so an age is a range of ids."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    Column,
    ColumnElement,
    Delete,
    Select,
    Table,
    Update,
    delete,
    func,
    select,
    update,
)

from app.models.message import MESSAGES, MessageState
from app.models.pending_form import PENDING_FORMS
from app.models.segment import OPEN_STATES, SEGMENTS
from app.models.suggestion import SUGGESTIONS

CLOSED = (
    MessageState.DONE,
    MessageState.DEAD,
    MessageState.IGNORED,
    MessageState.REFUSED,
)
_OPEN = tuple(state for state in MessageState if state not in CLOSED)
_M = MESSAGES.c
_S = SEGMENTS.c


#: What was offered is over long before.
OFFERS = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ages:
    """How long things are kept."""

    text: timedelta
    raw: timedelta
    #: Rows at least, so that a late second delivery is known.
    dedupe: timedelta


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to old rows of one table."""

    name: str
    age: timedelta
    #: The message's id in that table.
    id_column: Column[int]
    #: Rows that have something to remove; those without an outcome are none.
    condition: ColumnElement[bool]
    #: Columns to set; None: the rows go.
    values: dict[str, str | None] | None
    #: Rows without an outcome.
    is_open: ColumnElement[bool]

    def first(self, start: int) -> Select[int]:
        """The id of the oldest row from *start* on."""
        return select(func.min(self.id_column)).where(self.id_column >= start)

    def first_open(self, bound: int) -> Select[int]:
        """The id of the oldest row without an outcome, up to *bound*."""
        return select(func.min(self.id_column)).where(self.is_open, self.id_column < bound)

    def page(self, start: int, end: int, limit: int) -> Select[int]:
        """Ids of the first old rows of a range; one stands there once per row."""
        return (
            select(self.id_column)
            .where(self.id_column >= start, self.id_column < end, self.condition)
            .order_by(self.id_column)
            .limit(limit)
        )

    def change(self, ids: list[int]) -> Update | Delete:
        """The statement for the rows of these messages."""
        table = self.id_column.table
        mine = self.id_column.in_(ids) & self.condition
        if self.values is None:
            return delete(table).where(mine)
        return update(table).where(mine).values(**self.values)


def offers(ages: Ages) -> tuple[tuple[Table, timedelta], ...]:
    """What was offered, one row per person and group, and how long it is kept from then on."""
    return ((SUGGESTIONS, OFFERS), (PENDING_FORMS, ages.text))


def make_rules(ages: Ages) -> tuple[Rule, ...]:
    """All of them, in the order in which they are applied."""
    closed, is_open = _M.state.in_(CLOSED), _M.state.in_(_OPEN)
    is_ignored = _M.state == MessageState.IGNORED
    # An error may quote what was asked; whoever guesses a text could check it by its key.
    no_text: dict[str, str | None] = {
        "text": None,
        "question": None,
        "error": "",
        "twin_text": None,
    }
    has_text = closed & _M.text.is_not(None)
    has_raw = closed & _M.raw.is_not(None)
    oldest = max(ages.dedupe, ages.text)
    is_owed = _S.state.in_(OPEN_STATES)
    return (
        Rule("raw", ages.raw, _M.id, has_raw, {"raw": None}, is_open),
        Rule("text", ages.text, _M.id, has_text, no_text, is_open),
        Rule("ignored", ages.dedupe, _M.id, is_ignored, None, is_open),
        Rule("segments", ages.text, _S.message_id, ~is_owed, None, is_owed),
        Rule("messages", oldest, _M.id, closed, None, is_open),
    )
