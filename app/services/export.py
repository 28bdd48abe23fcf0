"""Conversations and messages out of the database, page by page, for an operator to take along. Reads only."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, select, true

from app.models.contact import CONTACTS
from app.models.conversation import CONVERSATIONS
from app.models.flow import IgnoreReason, WcId
from app.models.message import MESSAGES
from app.services.store import Store
from app.utils.ids import LAST_ID, id_at

#: Rows that are read at a time.
PAGE = 500

#: A spreadsheet takes a cell that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

Record = dict[str, str | int | None]

_C = CONVERSATIONS.c
_M = MESSAGES.c
#: Columns of a turn, in the order in which they are written.
TURN_FIELDS = (
    *("hour", "group", "group_name", "from_user", "user_name", "conversation_id"),
    *("message_id", "at", "question", "answer", "outcome", "is_processed", "is_sent"),
)
_MESSAGE_COLUMNS = (
    *(_M.received_at, _M.bot_wc_id, _M.message_type, _M.msg_id, _M.new_msg_id, _M.deliveries),
    *(_M.text, _M.question, _M.state, _M.verdict, _M.detail, _M.error, _M.attempts),
    *(_M.asked_at, _M.first_text_at, _M.answered_at, _M.done_at, _M.dify_app),
    *(_M.dify_conversation_id, _M.dify_message_id, _M.prompt_tokens, _M.completion_tokens),
    *(_M.total_tokens, _M.total_price, _M.currency),
)
MESSAGE_FIELDS = (
    *("id", "group", "group_name", "from_user", "user_name"),
    *(column.name for column in _MESSAGE_COLUMNS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """What is exported; None: whichever."""

    #: Of receipt.
    since: datetime | None = None
    #: Not included.
    until: datetime | None = None
    user: WcId | None = None
    group_id: WcId | None = None
    #: More that a message has to meet.
    conditions: Sequence[ColumnElement[bool]] = ()

    @property
    def first_id(self) -> int:
        """The smallest id that a message of it may have."""
        return 0 if self.since is None else id_at(self.since.timestamp())

    @property
    def last_id(self) -> int:
        """And the greatest."""
        return LAST_ID if self.until is None else id_at(self.until.timestamp()) - 1


async def read_turns(store: Store, extent: Extent) -> AsyncIterator[Record]:
    """
    Every turn of the journal, by row and in the order of receipt within it.

    Raises:
        StoreUnavailable: the rest is not known.
    """
    whose = _of(_C.from_user, extent.user) & _of(_C.group, extent.group_id)
    if extent.since is not None:
        # A row is written for the last time when its last turn gets its answer.
        whose &= _C.updated_at >= extent.since
    statement = select(CONVERSATIONS).where(_C.id > bindparam("after"), whose).order_by(_C.id)
    async for rows in _pages(store, statement, after=0):
        names = await _names(store, (one for row in rows for one in (row.from_user, row.group)))
        for row in rows:
            for turn in row.content or []:
                if isinstance(turn, dict) and _is_within(turn, extent):
                    yield _turn_record(row, turn, names)


async def read_messages(store: Store, extent: Extent) -> AsyncIterator[Record]:
    """
    Every callback that is kept, in the order of receipt; what was removed by its age is None.

    Raises:
        StoreUnavailable: the rest is not known.
    """
    whose = _of(_M.from_user, extent.user) & _of(_M.group_id, extent.group_id)
    statement = (
        select(_M.id, _M.group_id, _M.from_user, _M.sender_name, *_MESSAGE_COLUMNS)
        .where(_M.id > bindparam("after"), _M.id <= extent.last_id, whose, *extent.conditions)
        .order_by(_M.id)
    )
    async for rows in _pages(store, statement, after=extent.first_id - 1):
        names = await _names(store, (one for row in rows for one in (row.from_user, row.group_id)))
        for row in rows:
            yield _message_record(row, names)


def _of(column: ColumnElement[str], value: str | None) -> ColumnElement[bool]:
    return true() if value is None else column == value


async def _pages(store: Store, statement: Select[Any], *, after: int) -> AsyncIterator[list[Any]]:
    """By key, so that a long export holds no lock and sees each row once."""
    while True:
        async with store.read() as connection:
            found = await connection.execute(statement.limit(PAGE), {"after": after})
            rows = list(found.all())
        if rows:
            yield rows
            after = rows[-1].id
        if len(rows) < PAGE:
            return


async def _names(store: Store, ids: Iterable[str]) -> Mapping[str, str]:
    wanted = sorted({one for one in ids if one})
    statement = select(CONTACTS.c.wc_id, CONTACTS.c.nick_name).where(CONTACTS.c.wc_id.in_(wanted))
    async with store.read() as connection:
        return {row.wc_id: row.nick_name for row in await connection.execute(statement)}


def _is_within(turn: Mapping[str, Any], extent: Extent) -> bool:
    text = str(turn.get("message_id", ""))
    # What somebody's hand wrote there has no id: it is of its row.
    if not (text.isascii() and text.isdigit()):
        return True
    return extent.first_id <= int(text) <= extent.last_id


def _turn_record(row: Any, turn: Mapping[str, Any], names: Mapping[str, str]) -> Record:
    own = {
        "hour": row.hour,
        "group": row.group,
        "group_name": names.get(row.group, ""),
        "from_user": row.from_user,
        "user_name": names.get(row.from_user, ""),
        "conversation_id": row.conversation_id,
        "is_processed": int(row.is_processed),
        "is_sent": int(row.is_sent),
    }
    return {name: own[name] if name in own else _plain(turn.get(name)) for name in TURN_FIELDS}


def _message_record(row: Any, names: Mapping[str, str]) -> Record:
    own: Record = {
        # As text: 63 bits are more than many readers of JSON and every spreadsheet hold.
        "id": str(row.id),
        "group": row.group_id,
        "group_name": names.get(row.group_id, ""),
        "from_user": row.from_user,
        "user_name": names.get(row.from_user, "") or row.sender_name,
    }
    columns = {column.name: _plain(getattr(row, column.name)) for column in _MESSAGE_COLUMNS}
    # What waits there for the next question is nothing that somebody wrote.
    words = {"text": None} if row.verdict == IgnoreReason.ATTACHMENT else {}
    return own | columns | words


def _plain(value: Any) -> str | int | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, (str, int)) else str(value)


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet computes: people write what they like into groups (pure)."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
