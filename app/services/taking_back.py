"""
Taking back what the bot said: who wants it writes so in SQL, the account's sender carries it out.

What is sent becomes ``recalling``; a segment whose call is under way is marked and becomes so with its
receipt; what is only planned is cancelled. One statement, so that none slips through between two.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.account import Account
from app.models.flow import MessageId, WcId
from app.models.segment import SEGMENTS, SegmentState
from app.services.outbox_table import ALL_SEGMENTS
from app.services.stages import utc_now

#: WeChat takes nothing back that is older.
RECALL_WITHIN = timedelta(seconds=120)
#: An answer whose last call is older is not looked for: nobody means it.
LAST_WITHIN = timedelta(minutes=10)

_S = SEGMENTS.c
_OUT = (SegmentState.SENDING, SegmentState.SENT, SegmentState.RECALLING)
_THESE = and_(
    _S.message_id == bindparam("this_id"), _S.seq.between(bindparam("first"), bindparam("last"))
)
#: The gateway wants all three ids of its receipt.
_HAS_IDS = and_(_S.msg_id != "", _S.new_msg_id != "", _S.created_time > 0)
_CAN_GO = and_(_S.state == SegmentState.SENT, _S.sent_at >= bindparam("since"), _HAS_IDS)
_WANT = (
    update(SEGMENTS)
    .where(_THESE, or_(_S.state.in_((SegmentState.PLANNED, SegmentState.SENDING)), _CAN_GO))
    .ordered_values(
        (_S.recall_wanted_at, bindparam("now", type_=_S.recall_wanted_at.type)),
        (_S.recall_called_at, None),
        (_S.error, ""),
        # Last: MySQL goes by the values that it has set already.
        (
            _S.state,
            case(
                (_S.state == SegmentState.PLANNED, SegmentState.CANCELLED.value),
                (_S.state == SegmentState.SENT, SegmentState.RECALLING.value),
                else_=_S.state,
            ),
        ),
    )
)
_FATES = (
    select(_S.seq, _S.state, _S.bot_wc_id, _CAN_GO.label("can_go")).where(_THESE).order_by(_S.seq)
)
_OURS = _S.bot_wc_id.in_(select(Account.wc_id))
_IN_GROUP = and_(
    _OURS,
    _S.group_id == bindparam("group"),
    _S.sending_at >= bindparam("since"),
    _S.sending_at <= bindparam("until"),
    _S.state.in_(_OUT),
)
_LAST = select(_S.message_id).where(_IN_GROUP).order_by(_S.sending_at.desc(), _S.id.desc()).limit(1)
_QUOTED = select(_S.message_id).where(_IN_GROUP, _S.new_msg_id == bindparam("quoted")).limit(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fates:
    """What becomes of an answer's segments; by their numbers."""

    #: The gateway is asked to take them back, now or as soon as they are known to be sent.
    going: tuple[int, ...] = ()
    #: They were not out.
    cancelled: tuple[int, ...] = ()
    #: Sent too long ago, or without the ids that the gateway wants.
    staying: tuple[int, ...] = ()
    bots: frozenset[WcId] = frozenset()


async def want_back(
    connection: AsyncConnection, message_id: MessageId, numbers: range = ALL_SEGMENTS
) -> None:
    """Segments with these numbers are to be taken back; may be repeated. On the caller's transaction."""
    now = utc_now()
    values = {**_numbered(message_id, numbers), "now": now, "since": now - RECALL_WITHIN}
    await connection.execute(_WANT, values)


async def fates_of(connection: AsyncConnection, message_id: MessageId, *, since: datetime) -> Fates:
    """
    What becomes of a message's segments, or would become of them.

    Args:
        since: what was sent before then is too old.
    """
    going: list[int] = []
    cancelled: list[int] = []
    staying: list[int] = []
    bots: set[WcId] = set()
    values = {**_numbered(message_id, ALL_SEGMENTS), "since": since}
    for row in await connection.execute(_FATES, values):
        if row.state in (SegmentState.RECALLING, SegmentState.SENDING):
            going.append(row.seq)
            bots.add(WcId(row.bot_wc_id))
        elif row.can_go:
            going.append(row.seq)
        elif row.state == SegmentState.SENT:
            staying.append(row.seq)
        elif row.state in (SegmentState.CANCELLED, SegmentState.PLANNED):
            cancelled.append(row.seq)
    return Fates(
        going=tuple(going),
        cancelled=tuple(cancelled),
        staying=tuple(staying),
        bots=frozenset(bots),
    )


async def last_answer(
    connection: AsyncConnection, group: WcId, *, until: datetime, quoted: str = ""
) -> MessageId | None:
    """
    Whose answer was said last in a group, by any account of ours, and is not taken back; None: none lately.

    Args:
        until: what was said later is not meant.
        quoted: newMsgId of the segment that is meant; empty: the last one.
    """
    values = {"group": group, "since": until - LAST_WITHIN, "until": until}
    if quoted:
        found = await connection.scalar(_QUOTED, {**values, "quoted": quoted})
    else:
        found = await connection.scalar(_LAST, values)
    return None if found is None else MessageId(found)


def _numbered(message_id: MessageId, numbers: range) -> dict[str, int]:
    return {"this_id": message_id, "first": numbers.start, "last": numbers.stop - 1}
