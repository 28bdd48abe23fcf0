"""
Calls that take segments back, as SQL has them: marked before they go out, closed by what they gave.

A call that may have gone out is the only one of its asking, whoever made it.
"""

from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import WcId
from app.models.segment import SEGMENTS, SegmentState
from app.services.outbox_table import Planned
from app.services.stages import utc_now
from app.services.store import Store

_S = SEGMENTS.c
_THIS = (_S.id == bindparam("this_id"), _S.state == SegmentState.RECALLING)
_MARK = (
    update(SEGMENTS)
    .where(*_THIS, _S.recall_called_at.is_(None))
    .values(recall_called_at=bindparam("now", type_=_S.recall_called_at.type))
)
_PUT_BACK = update(SEGMENTS).where(*_THIS).values(recall_called_at=None)
_CLOSE = update(SEGMENTS).where(*_THIS)
_RECENT = (
    select(_S.recall_called_at)
    .where(
        _S.bot_wc_id == bindparam("bot"),
        # What may be taken back was sent a few minutes ago: found by an index.
        _S.sending_at >= bindparam("sent_since"),
        _S.recall_called_at >= bindparam("since"),
    )
    .order_by(_S.recall_called_at)
)


async def mark_called(store: Store, segment: Planned) -> bool:
    """
    The call goes out now.

    Returns:
        False: somebody else's did, or it is closed.

    Raises:
        StoreUnavailable: it is unknown whether it is marked; the call must not go out.
    """
    return await store.change(_MARK, {"this_id": segment.id, "now": utc_now()}) == 1


async def put_back(store: Store, segment: Planned) -> None:
    """The call certainly was not carried out: there may be another."""
    await store.change(_PUT_BACK, {"this_id": segment.id})


async def close(store: Store, segment: Planned, *, error: str = "") -> None:
    """It is taken back, or stays, and why."""
    state = SegmentState.SENT if error else SegmentState.RECALLED
    values = {"state": state, "error": error[:500]}
    await store.change(_CLOSE, {"this_id": segment.id, **values})


async def recent_calls(
    connection: AsyncConnection, bot: WcId, *, since: datetime, sent_since: datetime
) -> list[datetime]:
    """When this account took something back lately, oldest first."""
    values = {"bot": bot, "since": since, "sent_since": sent_since}
    return list(await connection.scalars(_RECENT, values))
