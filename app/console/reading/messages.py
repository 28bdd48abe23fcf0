"""Messages for the list: filtered, newest first, a page at a time by id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.console.reading.names import Names, contains, find_groups, find_people, read_names
from app.models.account import Account
from app.models.flow import IgnoreReason
from app.models.message import MESSAGES, MessageState
from app.services.store import Store
from app.utils.ids import id_at, id_milliseconds, parse_id

PAGE: Final = 20
#: So many messages are looked through for one page where no index says which ones are meant ...
MOST_SEEN: Final = 30_000
#: ... or so many of one person, group or state, if those reach further back.
MOST_SEEN_OF_SOME: Final = 2_000
#: Of a text in the list, in characters.
SHOWN_TEXT: Final = 160
DEFAULT_RANGE: Final = "24h"
RANGES: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
#: What one may ask for, and the states of the rows.
STATES: Final[Mapping[str, tuple[MessageState, ...]]] = {
    "waiting": (MessageState.RECEIVED, MessageState.PROCESSING),
    "sending": (MessageState.ANSWERED,),
    "done": (MessageState.DONE,),
    "dead": (MessageState.DEAD,),
    "ignored": (
        MessageState.IGNORED,
        MessageState.LEFT,
        MessageState.RATING,
        MessageState.COMMAND,
    ),
    "refused": (MessageState.REFUSED,),
}

_M = MESSAGES.c
#: Its text is nothing that somebody wrote: it says where the file can be had.
IS_FILE = _M.verdict == IgnoreReason.ATTACHMENT
_LISTED = (
    _M.id,
    _M.from_user,
    _M.group_id,
    _M.sender_name,
    case((IS_FILE, _M.text), else_=func.substr(_M.text, 1, SHOWN_TEXT)).label("text"),
    _M.state,
    _M.verdict,
    _M.attempts,
    _M.received_at,
    _M.first_text_at,
    _M.answered_at,
    _M.total_tokens,
    _M.dify_conversation_id,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageFilter:
    """Which messages are meant; what is empty means whichever."""

    range: str = DEFAULT_RANGE
    text: str = ""
    person: str = ""
    group: str = ""
    state: str = ""
    verdict: str = ""
    #: Ours or the gateway's; nothing else counts beside it.
    id: str = ""

    def since(self, now: datetime) -> datetime:
        """Where the range begins."""
        return now - RANGES[self.range]


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageList:
    """One page of messages."""

    rows: Sequence[Any]
    names: Names = field(default_factory=Names)
    #: The id behind which the next page begins; None: there is none.
    before: int | None = None
    #: The range was looked through as far back as this, no further; None: as far as was needed.
    seen_to: datetime | None = None


def parse_filter(asked: Mapping[str, str]) -> MessageFilter:
    """A filter out of an address; what is none is left out (pure)."""
    given = {name: asked.get(name, "").strip()[:200] for name in ("person", "group", "verdict")}
    shown_range = asked.get("range", "")
    state = asked.get("state", "")
    return MessageFilter(
        range=shown_range if shown_range in RANGES else DEFAULT_RANGE,
        text=asked.get("q", "").strip()[:200],
        state=state if state in STATES else "",
        id=asked.get("id", "").strip()[:40],
        **given,
    )


async def read_messages(
    store: Store,
    choice: MessageFilter,
    *,
    before: int | None,
    now: datetime,
) -> MessageList:
    """
    One page of the chosen messages.

    Raises:
        StoreUnavailable: the database is away.
    """
    async with store.read() as connection:
        terms = await _terms(connection, choice, now=now)
        floor = await _floor(connection, terms, before)
        bounds = [] if floor is None else [_M.id >= floor]
        # Ids alone come out of an index: only the rows that are shown are read.
        chosen = _page(select(_M.id), [*terms.all, *bounds], before=before, limit=PAGE + 1)
        ids = (await connection.scalars(chosen)).all()
        statement = page_of([_M.id.in_(ids[:PAGE])], before=None, limit=PAGE)
        shown = (await connection.execute(statement)).all() if ids else []
        names = await names_of(connection, shown)
    if len(ids) > PAGE:
        return MessageList(rows=shown, names=names, before=ids[PAGE - 1])
    return MessageList(
        rows=shown,
        names=names,
        before=floor,
        seen_to=None
        if floor is None
        else datetime.fromtimestamp(id_milliseconds(floor) / 1000, UTC),
    )


async def names_of(connection: AsyncConnection, rows: Sequence[Any]) -> Names:
    """Names of everybody in these rows."""
    ids = {row.group_id for row in rows} | {row.from_user for row in rows}
    members = {(row.group_id, row.from_user) for row in rows if row.group_id and row.from_user}
    return await read_names(connection, ids, members)


def page_of(
    conditions: Sequence[ColumnElement[bool]], *, before: int | None, limit: int
) -> Select[Any]:
    """The newest rows that meet the conditions (pure)."""
    return _page(select(*_LISTED), conditions, before=before, limit=limit)


def _page(
    columns: Select[Any],
    conditions: Sequence[ColumnElement[bool]],
    *,
    before: int | None,
    limit: int,
) -> Select[Any]:
    statement = columns.where(*conditions).order_by(_M.id.desc()).limit(limit)
    return statement if before is None else statement.where(_M.id < before)


async def find_conditions(
    connection: AsyncConnection, choice: MessageFilter, *, now: datetime
) -> list[ColumnElement[bool]]:
    """A filter as conditions, with the names in it looked up."""
    return (await _terms(connection, choice, now=now)).all


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """A filter as conditions."""

    #: Where the range begins, or which message it is: bounds what is read.
    within: ColumnElement[bool]
    #: Each of them has an index.
    indexed: Sequence[ColumnElement[bool]] = ()
    #: Those that have none.
    loose: Sequence[ColumnElement[bool]] = ()

    @property
    def all(self) -> list[ColumnElement[bool]]:
        """All of them."""
        return [self.within, *self.indexed, *self.loose]

    @property
    def is_exact(self) -> bool:
        """Whether an index alone says which messages are meant."""
        return not self.loose and len(self.indexed) <= 1


async def _terms(connection: AsyncConnection, choice: MessageFilter, *, now: datetime) -> Terms:
    if choice.id:
        # With one of our accounts the gateway's id is a key.
        bots = (await connection.scalars(select(Account.wc_id))).all()
        return Terms(within=_is_id(choice.id, bots))
    people = await find_people(connection, choice.person) if choice.person else ()
    groups = await find_groups(connection, choice.group) if choice.group else ()
    return terms_of(choice, now=now, people=people, groups=groups)


def terms_of(
    choice: MessageFilter, *, now: datetime, people: Sequence[str], groups: Sequence[str]
) -> Terms:
    """The filter as conditions; the one that leaves least stands first (pure)."""
    indexed, loose = [], []
    if people:
        indexed.append(_M.from_user.in_(people))
    if groups:
        indexed.append(_M.group_id.in_(groups))
    if choice.state:
        indexed.append(_M.state.in_(STATES[choice.state]))
    if choice.verdict:
        loose.append(_M.verdict == choice.verdict)
    if choice.text:
        loose.append(_M.text.like(contains(choice.text), escape="!") & ~IS_FILE)
    within = _M.id >= id_at(choice.since(now).timestamp())
    return Terms(within=within, indexed=indexed, loose=loose)


async def _floor(connection: AsyncConnection, terms: Terms, before: int | None) -> int | None:
    """The id down to which one page looks; None: to the beginning of the range."""
    if terms.is_exact:
        return None
    bounds: list[tuple[int, Sequence[ColumnElement[bool]]]] = [(MOST_SEEN, ())]
    if terms.indexed:
        bounds.append((MOST_SEEN_OF_SOME, terms.indexed[:1]))
    floors: list[int] = []
    for most, conditions in bounds:
        last = _page(select(_M.id), [terms.within, *conditions], before=before, limit=1)
        found = await connection.scalar(last.offset(most))
        if found is None:
            return None
        floors.append(found)
    return min(floors)


def _is_id(text: str, bots: Sequence[str]) -> ColumnElement[bool]:
    by_gateway = and_(_M.bot_wc_id.in_(bots), _M.dedupe_key == text)
    ours = parse_id(text)
    return by_gateway if ours is None else or_(_M.id == ours, by_gateway)
