"""Messages for the list: filtered, newest first, a page at a time by id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.console.reading.names import Names, contains, find_groups, find_people, read_names
from app.models.account import Account
from app.models.flow import IgnoreReason
from app.models.message import MESSAGES, MessageState
from app.services.store import Store
from app.utils.ids import id_at, parse_id

PAGE: Final = 20
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
        conditions = await find_conditions(connection, choice, now=now)
        statement = page_of(conditions, before=before, limit=PAGE + 1)
        rows = (await connection.execute(statement)).all()
        shown = rows[:PAGE]
        names = await names_of(connection, shown)
    following = shown[-1].id if len(rows) > PAGE else None
    return MessageList(rows=shown, names=names, before=following)


async def names_of(connection: AsyncConnection, rows: Sequence[Any]) -> Names:
    """Names of everybody in these rows."""
    ids = {row.group_id for row in rows} | {row.from_user for row in rows}
    members = {(row.group_id, row.from_user) for row in rows if row.group_id and row.from_user}
    return await read_names(connection, ids, members)


def page_of(
    conditions: Sequence[ColumnElement[bool]], *, before: int | None, limit: int
) -> Select[Any]:
    """The newest rows that meet the conditions (pure)."""
    statement = select(*_LISTED).where(*conditions).order_by(_M.id.desc()).limit(limit)
    return statement if before is None else statement.where(_M.id < before)


async def find_conditions(
    connection: AsyncConnection, choice: MessageFilter, *, now: datetime
) -> list[ColumnElement[bool]]:
    """A filter as conditions, with the names in it looked up."""
    if choice.id:
        # With one of our accounts the gateway's id is a key.
        bots = (await connection.scalars(select(Account.wc_id))).all()
        return [_is_id(choice.id, bots)]
    people = await find_people(connection, choice.person) if choice.person else ()
    groups = await find_groups(connection, choice.group) if choice.group else ()
    return conditions_of(choice, now=now, people=people, groups=groups)


def conditions_of(
    choice: MessageFilter, *, now: datetime, people: Sequence[str], groups: Sequence[str]
) -> list[ColumnElement[bool]]:
    """The filter as conditions; the first bounds how much is read (pure)."""
    conditions: list[ColumnElement[bool]] = [_M.id >= id_at(choice.since(now).timestamp())]
    if choice.state:
        conditions.append(_M.state.in_(STATES[choice.state]))
    if choice.verdict:
        conditions.append(_M.verdict == choice.verdict)
    if people:
        conditions.append(_M.from_user.in_(people))
    if groups:
        conditions.append(_M.group_id.in_(groups))
    if choice.text:
        conditions.append(_M.text.like(contains(choice.text), escape="!") & ~IS_FILE)
    return conditions


def _is_id(text: str, bots: Sequence[str]) -> ColumnElement[bool]:
    by_gateway = and_(_M.bot_wc_id.in_(bots), _M.dedupe_key == text)
    ours = parse_id(text)
    return by_gateway if ours is None else or_(_M.id == ours, by_gateway)
