"""What accounts owe their groups and lately sent, as SQL has it; each function reads on the caller's connection."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId, Segment, SegmentKind, SentMessage, WcId
from app.models.segment import CALLING_STATES, SEGMENTS, SegmentState
from app.services.outbox_table import IS_LIVE, Planned


class RecentSend(NamedTuple):
    """The last call of one segment."""

    segment_id: int
    at: datetime
    group: str
    kind: str


_S = SEGMENTS.c
_OWING = select(_S.bot_wc_id).where(_S.state.in_(CALLING_STATES)).distinct()
_OPEN_SEGMENTS = (
    select(
        _S.id,
        _S.message_id,
        _S.seq,
        _S.bot_wc_id,
        _S.group_id,
        _S.kind,
        _S.content,
        _S.mention,
        _S.state,
        _S.tries,
        _S.planned_at,
        _S.sending_at,
        _S.sent_at,
        _S.msg_id,
        _S.new_msg_id,
        _S.created_time,
        _S.recall_wanted_at,
        _S.recall_called_at,
    )
    .where(_S.bot_wc_id == bindparam("bot"), _S.state.in_(CALLING_STATES))
    .order_by(_S.id)
)
_RECENT = (
    select(_S.id, _S.sending_at, _S.group_id, _S.kind)
    .where(_S.bot_wc_id == bindparam("bot"), _S.sending_at >= bindparam("since"))
    .order_by(_S.sending_at)
)
_CALLS = select(func.sum(_S.tries)).where(
    _S.bot_wc_id == bindparam("bot"), _S.sending_at >= bindparam("since")
)
_LIVE = (
    select(_S.seq, _S.kind, _S.content, _S.mention)
    .where(
        _S.message_id == bindparam("this_id"),
        IS_LIVE,
        _S.kind != SegmentKind.NOTICE,
    )
    .order_by(_S.seq)
)


async def owing_accounts(connection: AsyncConnection) -> list[WcId]:
    """Accounts that have something to send."""
    return [WcId(bot) for (bot,) in await connection.execute(_OWING)]


async def open_segments(connection: AsyncConnection, bot: WcId, *, limit: int) -> list[Planned]:
    """What one account owes, and what it is to take back, in the order of planning."""
    rows = await connection.execute(_OPEN_SEGMENTS.limit(limit), {"bot": bot})
    return [_planned(row) for row in rows]


async def live_segments(connection: AsyncConnection, message_id: MessageId) -> tuple[Segment, ...]:
    """What a group has, or will have, of the answer to a message."""
    rows = await connection.execute(_LIVE, {"this_id": message_id})
    return tuple(
        Segment(
            seq=row.seq,
            kind=SegmentKind(row.kind),
            content=row.content,
            mention=WcId(row.mention),
        )
        for row in rows
    )


async def recent_sends(
    connection: AsyncConnection, bot: WcId, *, since: datetime
) -> list[RecentSend]:
    """The last calls of one account's segments, oldest first, whatever became of them."""
    rows = await connection.execute(_RECENT, {"bot": bot, "since": since})
    return [RecentSend(row.id, row.sending_at, row.group_id, row.kind) for row in rows]


async def count_calls(connection: AsyncConnection, bot: WcId, *, since: datetime) -> int:
    """How many calls that may have gone out the segments had that were last called since then."""
    return int(await connection.scalar(_CALLS, {"bot": bot, "since": since}) or 0)


def _planned(row: Any) -> Planned:
    return Planned(
        id=row.id,
        message_id=MessageId(row.message_id),
        seq=row.seq,
        bot_wc_id=WcId(row.bot_wc_id),
        group_id=WcId(row.group_id),
        kind=SegmentKind(row.kind),
        content=row.content,
        mention=WcId(row.mention),
        state=SegmentState(row.state),
        tries=row.tries,
        planned_at=row.planned_at,
        sending_at=row.sending_at,
        receipt=SentMessage(
            msg_id=row.msg_id, new_msg_id=row.new_msg_id, created_at=row.created_time
        ),
        sent_at=row.sent_at,
        is_unwanted=row.recall_wanted_at is not None,
        recall_called_at=row.recall_called_at,
    )
