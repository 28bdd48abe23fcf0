"""
The echo of a segment: our own message, come back from the group as a callback.

Each echo is one call's. One whose id another segment's receipt names is that segment's; calls of
equal texts that have no receipt take the oldest of the others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import SentMessage
from app.models.message import MESSAGES
from app.models.segment import SEGMENTS
from app.services.outbox_table import Planned

#: Later than this a callback with the same text is another one.
ECHO_WITHIN = timedelta(minutes=2)
#: How much the clocks of two of our hosts may differ, and the gateway's from ours.
CLOCK_SKEW = timedelta(seconds=5)
GATEWAY_SKEW = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Echo:
    """A callback with the segment's text."""

    received_at: datetime
    message: SentMessage


@dataclass(frozen=True, kw_only=True, slots=True)
class Rival:
    """Another segment with the same text for the same group."""

    #: The gateway's id of what was sent; empty if no receipt tells it.
    new_msg_id: str
    #: Calls that may have gone out.
    tries: int


_M = MESSAGES.c
_S = SEGMENTS.c
_ECHOES = (
    select(_M.received_at, _M.msg_id, _M.new_msg_id, _M.gateway_time)
    .where(
        _M.text_digest == bindparam("digest"),
        _M.bot_wc_id == bindparam("bot"),
        _M.group_id == bindparam("group"),
        _M.received_at.between(bindparam("since"), bindparam("until")),
    )
    .order_by(_M.received_at)
)
_RIVALS = select(_S.new_msg_id, _S.tries).where(
    _S.bot_wc_id == bindparam("bot"),
    _S.sending_at.between(bindparam("since"), bindparam("until")),
    _S.text_digest == bindparam("digest"),
    _S.group_id == bindparam("group"),
    _S.id != bindparam("this_id"),
)


async def find_echo(connection: AsyncConnection, segment: Planned) -> SentMessage | None:
    """What came back of a segment's call within two minutes; None: nothing yet."""
    called_at = segment.called_at
    # Earlier ones, too: they are what calls before this one take.
    values = {
        "digest": segment.text_digest,
        "bot": segment.bot_wc_id,
        "group": segment.group_id,
        "since": called_at - ECHO_WITHIN - CLOCK_SKEW,
        "until": called_at + ECHO_WITHIN,
    }
    found = (await connection.execute(_ECHOES, values)).all()
    if not found:
        return None
    rivals = await connection.execute(_RIVALS, {**values, "this_id": segment.id})
    echoes = [
        Echo(
            received_at=row.received_at,
            message=SentMessage(
                msg_id=row.msg_id, new_msg_id=row.new_msg_id, created_at=row.gateway_time
            ),
        )
        for row in found
    ]
    others = [Rival(new_msg_id=row.new_msg_id, tries=row.tries) for row in rivals]
    return echo_of(called_at, echoes, others)


def echo_of(
    called_at: datetime, echoes: Sequence[Echo], rivals: Iterable[Rival]
) -> SentMessage | None:
    """The first echo, oldest first, that no other segment's call accounts for (pure)."""
    rivals = list(rivals)
    taken = {rival.new_msg_id for rival in rivals if rival.new_msg_id}
    without_receipt = sum(max(0, rival.tries - bool(rival.new_msg_id)) for rival in rivals)
    free = [echo for echo in echoes if echo.message.new_msg_id not in taken]
    own = (echo for echo in free[without_receipt:] if _may_be_of(echo, called_at))
    return next((echo.message for echo in own), None)


def _may_be_of(echo: Echo, called_at: datetime) -> bool:
    """Whether it is not older than the call, by our clock and by the gateway's, if it tells one."""
    earliest = (called_at - GATEWAY_SKEW).timestamp()
    is_told = echo.message.created_at > 0
    is_old = echo.received_at < called_at - CLOCK_SKEW
    return not is_old and (not is_told or echo.message.created_at >= earliest)
