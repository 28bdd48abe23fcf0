"""
Reads dead letters out of SQL: a page at a time by id, with filters, and counted by cause.

Two statements each: messages without an answer, by the index on (state, id, verdict), and answers of which
segments were given up, by the index on the states of segments. Both are few rows, however many
were answered.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId, SegmentKind, WcId
from app.models.message import COUNTED_BY, MESSAGES, MessageState
from app.models.segment import SEGMENTS, SegmentState
from app.services.letters import (
    FAILED,
    GIVEN_UP_STATES,
    PARTLY_SENT,
    UNDECIDED,
    Letter,
    Part,
)
from app.services.store import Store
from app.utils.ids import LAST_ID, id_at, id_milliseconds

PAGE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Which dead letters are meant; None: whichever."""

    since: datetime | None = None
    #: Not included.
    until: datetime | None = None
    cause: str | None = None
    user: WcId | None = None
    group_id: WcId | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CauseCount:
    """How many letters have one cause, and when the first and the last of them were received."""

    cause: str
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    """A letter with all columns of its rows."""

    letter: Letter
    message: RowMapping
    segments: Sequence[RowMapping]


_M = MESSAGES.c
_S = SEGMENTS.c
_LETTER = select(
    _M.id,
    _M.from_user,
    _M.group_id,
    _M.state,
    _M.verdict,
    _M.error,
    _M.received_at,
    _M.attempts,
    _M.crashes,
    _M.replays,
    _M.is_cut_short,
    _M.fence,
    _M.journal_id,
    # Of what was not heard yet the text says where it is.
    func.coalesce(func.length(_M.question), func.length(_M.text), 0).label("length"),
)
_PARTS = select(_S.message_id, _S.seq, _S.kind, _S.state).order_by(_S.message_id, _S.seq)

_GIVEN_UP = (
    select(
        _S.message_id.label("id"),
        func.sum(case((_S.state == SegmentState.FAILED, 1), else_=0)).label("failed"),
    )
    .where(_S.state.in_(GIVEN_UP_STATES), _S.kind != SegmentKind.NOTICE)
    .group_by(_S.message_id)
    .subquery()
)
#: As ``Letter.cause``.
_DONE_CAUSE = case(
    (_M.verdict.startswith(FAILED), func.substr(_M.verdict, len(FAILED) + 1)),
    (_GIVEN_UP.c.failed > 0, PARTLY_SENT),
    else_=UNDECIDED,
)
_DEAD_CAUSE = func.substr(_M.verdict, len(FAILED) + 1)


class DeadLetters:
    """
    The dead letters of one database.

    Every method raises ``StoreUnavailable`` while it is away.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def newest(self, choice: Choice, *, before: int | None, limit: int) -> list[Letter]:
        """The newest of the chosen, those with an id below *before* only."""
        below = LAST_ID if before is None else before
        async with self._store.read() as connection:
            ids = await _ids(connection, choice, _M.id < below, newest=True, limit=limit)
            letters: list[Letter] = []
            for start in range(0, len(ids), PAGE):
                page = await read_letters(connection, ids[start : start + PAGE])
                letters += reversed(page)
        return letters

    async def pages(self, choice: Choice) -> AsyncIterator[list[Letter]]:
        """All of the chosen, oldest first, some at a time."""
        last = 0
        while True:
            async with self._store.read() as connection:
                ids = await _ids(connection, choice, _M.id > last, newest=False, limit=PAGE)
                letters = await read_letters(connection, ids)
            if not ids:
                return
            yield letters
            last = ids[-1]

    async def named(self, message_ids: Sequence[int]) -> list[Letter]:
        """Those of these messages that there are, whatever became of them, oldest first."""
        letters: list[Letter] = []
        wanted = sorted(message_ids)
        async with self._store.read() as connection:
            for start in range(0, len(wanted), PAGE):
                letters += await read_letters(connection, wanted[start : start + PAGE])
        return letters

    async def counts(self, choice: Choice) -> list[CauseCount]:
        """How many of the chosen have which cause, the commonest first."""
        found: dict[str, CauseCount] = {}
        async with self._store.read() as connection:
            for statement, cause in _statements(choice):
                counted = statement.with_only_columns(
                    cause.label("cause"), func.count(), func.min(_M.id), func.max(_M.id)
                ).group_by("cause")
                for word, count, first, last in await connection.execute(counted):
                    one = CauseCount(
                        cause=word, count=count, first=received(first), last=received(last)
                    )
                    found[word] = _sum(found.get(word), one)
        return sorted(found.values(), key=lambda one: (-one.count, one.cause))

    async def whole(self, message_id: int) -> Whole | None:
        """Everything of one message, whatever became of it; None: there is none."""
        async with self._store.read() as connection:
            letters = await read_letters(connection, [message_id])
            if not letters:
                return None
            messages = await connection.execute(select(MESSAGES).where(_M.id == message_id))
            segments = await connection.execute(
                select(SEGMENTS).where(_S.message_id == message_id).order_by(_S.seq)
            )
            return Whole(
                letter=letters[0],
                message=messages.mappings().one(),
                segments=segments.mappings().all(),
            )


def received(message_id: int) -> datetime:
    """When a message was received: its id tells."""
    return datetime.fromtimestamp(id_milliseconds(message_id) / 1000, UTC)


async def read_letters(
    connection: AsyncConnection, message_ids: Sequence[int], *, for_update: bool = False
) -> list[Letter]:
    """Messages by id, oldest first; locked until the transaction ends if wanted."""
    chosen = _LETTER.where(_M.id.in_(message_ids)).order_by(_M.id)
    parts = _PARTS.where(_S.message_id.in_(message_ids))
    if for_update:
        chosen, parts = chosen.with_for_update(), parts.with_for_update()
    rows = (await connection.execute(chosen)).all()
    by_message: dict[int, list[Part]] = {}
    for row in await connection.execute(parts):
        part = Part(seq=row.seq, kind=SegmentKind(row.kind), state=SegmentState(row.state))
        by_message.setdefault(row.message_id, []).append(part)
    return [_letter(row, by_message.get(row.id, ())) for row in rows]


def _letter(row: Any, parts: Sequence[Part]) -> Letter:
    return Letter(
        id=MessageId(row.id),
        user=WcId(row.from_user),
        group_id=WcId(row.group_id),
        state=MessageState(row.state),
        verdict=row.verdict,
        error=row.error,
        received_at=row.received_at,
        attempts=row.attempts,
        crashes=row.crashes,
        replays=row.replays,
        is_cut_short=row.is_cut_short,
        has_question=row.length > 0,
        fence=row.fence,
        journal_id=row.journal_id,
        parts=tuple(parts),
    )


async def _ids(
    connection: AsyncConnection,
    choice: Choice,
    within: ColumnElement[bool],
    *,
    newest: bool,
    limit: int,
) -> list[MessageId]:
    """Ids of the chosen in order, from both statements."""
    order = _M.id.desc() if newest else _M.id
    ids: list[int] = []
    for statement, _ in _statements(choice):
        found = statement.with_only_columns(_M.id).where(within).order_by(order).limit(limit)
        ids += await connection.scalars(found)
    return [MessageId(id_) for id_ in sorted(ids, reverse=newest)[:limit]]


def _statements(choice: Choice) -> list[tuple[Select[Any], ColumnElement[str]]]:
    """The chosen messages without an answer, and the chosen answers; each with its cause."""
    dead = select(literal(1)).select_from(MESSAGES).where(_M.state == MessageState.DEAD)
    if choice.user is None and choice.group_id is None:
        # Left to itself MariaDB may read the rows, or all of them by their ids.
        for dialect in ("mysql", "mariadb"):
            dead = dead.with_hint(MESSAGES, f"FORCE INDEX ({COUNTED_BY})", dialect)
    unsent = (
        select(literal(1))
        .select_from(MESSAGES.join(_GIVEN_UP, _GIVEN_UP.c.id == _M.id))
        .where(_M.state == MessageState.DONE)
    )
    return [
        (dead.where(*_filters(choice, _DEAD_CAUSE)), _DEAD_CAUSE),
        (unsent.where(*_filters(choice, _DONE_CAUSE)), _DONE_CAUSE),
    ]


def _filters(choice: Choice, cause: ColumnElement[str]) -> list[ColumnElement[bool]]:
    filters = []
    if choice.since is not None:
        filters.append(_M.id >= _first_id(choice.since))
    if choice.until is not None:
        filters.append(_M.id < _first_id(choice.until))
    if choice.cause is not None:
        filters.append(cause == choice.cause)
    if choice.user is not None:
        filters.append(_M.from_user == choice.user)
    if choice.group_id is not None:
        filters.append(_M.group_id == choice.group_id)
    return filters


def _first_id(moment: datetime) -> int:
    """Ids of messages that were received then or later are not below."""
    return id_at(moment.timestamp())


def _sum(one: CauseCount | None, other: CauseCount) -> CauseCount:
    if one is None:
        return other
    return CauseCount(
        cause=one.cause,
        count=one.count + other.count,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
    )
