"""
Answers that wait for an account which is offline, handed to another of ours that got the message, too.

Only whole answers of which no call may be under way, so that nothing is said twice and every person's
answers stay in order.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, exists, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId, WcId
from app.models.message import MESSAGES, UNFINISHED, MessageState
from app.models.segment import OPEN_STATES, SEGMENTS, SegmentState
from app.services.store import Store

#: Segments of one look that another account may send.
AT_ONCE = 500

_M = MESSAGES.c
_S = SEGMENTS.c
_C = MESSAGES.alias("copies").c
#: Another account of those that can send got the message, too.
_HAS_TAKER = or_(
    _M.bot_wc_id.in_(bindparam("takers", expanding=True)),
    exists().where(_C.twin_of == _M.id, _C.bot_wc_id.in_(bindparam("takers", expanding=True))),
)
_MOVABLE = (
    select(_M.from_user)
    .select_from(SEGMENTS)
    .join(MESSAGES, _M.id == _S.message_id)
    .where(
        _S.bot_wc_id.in_(bindparam("bots", expanding=True)),
        _S.state == SegmentState.PLANNED,
        _HAS_TAKER,
    )
    .order_by(_S.id)
    .limit(AT_ONCE)
)
_WAITING = (
    select(_M.bot_wc_id)
    .where(
        _M.state.in_(UNFINISHED),
        _M.bot_wc_id.in_(bindparam("bots", expanding=True)),
        _HAS_TAKER,
    )
    .distinct()
)
#: All that these people are owed, since what can be moved stays behind what cannot.
_OWED = (
    select(
        _S.message_id,
        _S.bot_wc_id,
        _S.group_id,
        _S.state,
        _S.tries,
        _M.from_user,
        _M.state.label("stage"),
    )
    .join(MESSAGES, _M.id == _S.message_id)
    .where(
        _S.bot_wc_id.in_(bindparam("bots", expanding=True)),
        _S.state.in_(OPEN_STATES),
        _M.from_user.in_(bindparam("users", expanding=True)),
    )
    .order_by(_S.id)
)
_LOCK = (
    select(_S.message_id, _S.state, _S.tries)
    .where(_S.message_id.in_(bindparam("ids", expanding=True)), _S.state.in_(OPEN_STATES))
    .with_for_update()
)
#: Through which accounts a message came: the copy that is answered, then those that yielded to it.
_COPIES = union_all(
    select(_M.id.label("message"), _M.id, _M.bot_wc_id).where(
        _M.id.in_(bindparam("ids", expanding=True))
    ),
    select(_M.twin_of.label("message"), _M.id, _M.bot_wc_id).where(
        _M.twin_of.in_(bindparam("ids", expanding=True))
    ),
)
_MOVE = (
    update(SEGMENTS)
    .where(
        _S.message_id == bindparam("this_id"),
        _S.bot_wc_id == bindparam("former"),
        _S.state == SegmentState.PLANNED,
        _S.tries == 0,
    )
    .values(bot_wc_id=bindparam("other"))
)
#: Whose the last segment is that a person is owed in a group.
_LAST_OWED = (
    select(_S.bot_wc_id)
    .join(MESSAGES, _M.id == _S.message_id)
    .where(
        _M.from_user == bindparam("this_user"),
        _M.state == MessageState.ANSWERED,
        _S.group_id == bindparam("this_group"),
        _S.state.in_(OPEN_STATES),
    )
    .order_by(_S.id.desc())
    .limit(1)
)
#: The worker plans nothing more for these.
_WHOLE = (MessageState.ANSWERED, MessageState.DEAD)


@dataclass(frozen=True, kw_only=True, slots=True)
class Owed:
    """One open segment."""

    message_id: MessageId
    bot: WcId
    group: WcId
    user: WcId
    #: No call of it may have gone out, and the answer is whole.
    is_free: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """The rest of one answer, to another account."""

    message_id: MessageId
    former: WcId
    other: WcId


def choose_moves(
    owed: Sequence[Owed], takers: Mapping[MessageId, Sequence[WcId]], online: Collection[WcId]
) -> list[Move]:
    """
    Which answers go to which account (pure).

    What a person is owed in a group stays behind what cannot be moved of it.

    Args:
        owed: in the order of sending.
        takers: accounts that got the message.
    """
    stuck = {one.message_id for one in owed if not one.is_free}
    behind: set[tuple[WcId, WcId]] = set()
    moves: dict[MessageId, Move] = {}
    for one in owed:
        lane = (one.group, one.user)
        other = next((bot for bot in takers.get(one.message_id, ()) if bot in online), None)
        if one.message_id in stuck or other is None or lane in behind:
            behind.add(lane)
        elif one.message_id not in moves:
            moves[one.message_id] = Move(message_id=one.message_id, former=one.bot, other=other)
    return list(moves.values())


class Handover:
    """Moves answers in SQL; whoever still has one in memory finds that it is not his any more."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def takers(self, message_id: MessageId) -> list[WcId]:
        """
        Accounts through which a message came, the one that is to answer it first.

        Raises:
            StoreUnavailable: nothing is known.
        """
        async with self._store.read() as connection:
            return (await _takers(connection, [message_id])).get(message_id, [])

    async def has_waiting(self, offline: Collection[WcId], online: Collection[WcId]) -> set[WcId]:
        """
        For which *offline* accounts a question waits that one of *online* got, too.

        Raises:
            StoreUnavailable: nothing is known.
        """
        looked = {"bots": sorted(offline), "takers": sorted(online)}
        async with self._store.read() as connection:
            return {WcId(bot) for bot in await connection.scalars(_WAITING, looked)}

    async def owing(self, group: WcId, user: WcId) -> WcId | None:
        """
        Which account has the last answer that a person is still owed in a group.

        Raises:
            StoreUnavailable: nothing is known.
        """
        this = {"this_group": group, "this_user": user}
        async with self._store.read() as connection:
            found = await connection.scalar(_LAST_OWED, this)
        return None if found is None else WcId(found)

    async def move(self, offline: Collection[WcId], online: Collection[WcId]) -> list[Move]:
        """
        Give what *offline* accounts owe to *online* ones, where that can be done.

        Raises:
            StoreUnavailable: it is unknown what was moved; to be called again.
        """
        looked = {"bots": sorted(offline), "takers": sorted(online)}
        async with self._store.read() as connection:
            users = sorted({row[0] for row in await connection.execute(_MOVABLE, looked)})
            wanted = {"bots": sorted(offline), "users": users}
            # Nothing is written, and nobody waits for it, where nothing can be moved.
            if not users or not await _moves(connection, wanted, online, locks=False):
                return []

        async def work(connection: AsyncConnection) -> list[Move]:
            moves = await _moves(connection, wanted, online, locks=True)
            for one in moves:
                values = {"this_id": one.message_id, "former": one.former, "other": one.other}
                await connection.execute(_MOVE, values)
            return moves

        return await self._store.transact(work)


async def _moves(
    connection: AsyncConnection, wanted: Mapping[str, Any], online: Collection[WcId], *, locks: bool
) -> list[Move]:
    rows = (await connection.execute(_OWED, wanted)).all()
    ids = sorted({row.message_id for row in rows})
    takers = await _takers(connection, ids)
    marked = (await connection.execute(_LOCK, {"ids": ids})).all() if locks else rows
    called = {row.message_id for row in marked if not _is_uncalled(row)}
    return choose_moves([_owed(row, called) for row in rows], takers, online)


def _is_uncalled(row: Any) -> bool:
    return row.state == SegmentState.PLANNED and not row.tries


def _owed(row: Any, called: Collection[int]) -> Owed:
    return Owed(
        message_id=MessageId(row.message_id),
        bot=WcId(row.bot_wc_id),
        group=WcId(row.group_id),
        user=WcId(row.from_user),
        is_free=row.stage in _WHOLE and row.message_id not in called,
    )


async def _takers(connection: AsyncConnection, ids: Sequence[int]) -> dict[MessageId, list[WcId]]:
    found = (await connection.execute(_COPIES, {"ids": list(ids)})).all()
    takers: dict[MessageId, list[WcId]] = defaultdict(list)
    for row in sorted(found, key=lambda row: (row.id != row.message, row.id)):
        takers[MessageId(row.message)].append(WcId(row.bot_wc_id))
    return takers
