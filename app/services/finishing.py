"""Messages of which everything was sent: called done, many at once; on the caller's transaction."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import bindparam, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId
from app.models.message import MESSAGES, MessageState
from app.models.segment import OPEN_STATES, SEGMENTS
from app.services.conversations import refresh_flags
from app.services.stages import utc_now

_M = MESSAGES.c
_S = SEGMENTS.c
_OWES = exists(
    select(_S.id).where(_S.message_id == _M.id, _S.state.in_(OPEN_STATES)).correlate(MESSAGES)
)

_THESE_MESSAGES = _M.id.in_(bindparam("these_ids", expanding=True))
_FINISH = (
    update(MESSAGES)
    .where(_THESE_MESSAGES, _M.state == MessageState.ANSWERED, ~_OWES)
    .values(state=MessageState.DONE)
)
_CLOSED_JOURNALS = (
    select(_M.journal_id)
    .where(
        _THESE_MESSAGES,
        _M.state.in_((MessageState.DONE, MessageState.DEAD)),
        ~_OWES,
        _M.journal_id.is_not(None),
    )
    .distinct()
)
_FINISHED = (
    select(_M.id)
    .where(_M.state == MessageState.ANSWERED, _M.answered_at < bindparam("before"), ~_OWES)
    .order_by(_M.id)
    .limit(bindparam("most"))
)


async def finish_sent(connection: AsyncConnection, message_ids: Collection[MessageId]) -> None:
    """
    Answered messages that owe nothing more are done; their journal rows are brought up to date.

    As it stands for ``Stages.gather``.
    """
    these = {"these_ids": sorted(message_ids)}
    await connection.execute(_FINISH, {**these, "done_at": utc_now()})
    closed = await connection.scalars(_CLOSED_JOURNALS, these)
    await refresh_flags(connection, closed.all())


async def finished_messages(
    connection: AsyncConnection, *, before: datetime, most: int
) -> list[MessageId]:
    """Messages answered before then that owe nothing more, and that nobody has called done."""
    found = await connection.scalars(_FINISHED, {"before": before, "most": most})
    return [MessageId(id_) for id_ in found]
