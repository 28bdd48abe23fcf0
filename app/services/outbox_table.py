"""Statements of the outbox, built once; where it takes a connection, a function works on the caller's
transaction, else it is one of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, case, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import (
    MessageId,
    Segment,
    SegmentKind,
    SentMessage,
    Turn,
    WcId,
    echo_text,
)
from app.models.message import MESSAGES, MessageState
from app.models.segment import CALLING_STATES, OPEN_STATES, SEGMENTS, SegmentState
from app.services.errors import StaleFence
from app.services.stages import utc_now
from app.services.store import Store
from app.services.text import text_digest

#: The verdict of an answer of which the group saw nothing.
NOT_SENT = "failed:not_sent"


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A segment on its way out."""

    id: int
    message_id: MessageId
    seq: int
    bot_wc_id: WcId
    group_id: WcId
    kind: SegmentKind
    content: str
    mention: WcId
    state: SegmentState
    #: Calls that may have gone out.
    tries: int
    planned_at: datetime
    sending_at: datetime | None
    #: Of one that is sent, with the time of its receipt.
    receipt: SentMessage = field(default_factory=SentMessage)
    sent_at: datetime | None = None
    #: It is to be taken back.
    is_unwanted: bool = False
    #: When the call went out that takes it back; None: none did.
    recall_called_at: datetime | None = None

    @property
    def text_digest(self) -> str:
        """What an echo of it would have."""
        return text_digest(echo_text(self.kind, self.content))

    @property
    def called_at(self) -> datetime:
        """When its last call went out."""
        return self.sending_at or self.planned_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A segment and its receipt, not yet written."""

    segment: Planned
    receipt: SentMessage
    at: datetime


#: States of segments that the group saw, may have seen, or may still see.
_SEEN_OR_OPEN = (
    *CALLING_STATES,
    SegmentState.SENT,
    SegmentState.UNKNOWN,
    SegmentState.RECALLED,
)

_M = MESSAGES.c
_S = SEGMENTS.c
_THIS_MESSAGE = _M.id == bindparam("this_id")
_THIS_SEGMENT = _S.id == bindparam("this_id")
_INSERT = insert(SEGMENTS)
_CANCEL = (
    update(SEGMENTS)
    .where(
        _S.message_id == bindparam("this_id"),
        _S.state == SegmentState.PLANNED,
        _S.seq.between(bindparam("first"), bindparam("last")),
    )
    .values(state=SegmentState.CANCELLED)
)
_PLANNED_BEFORE = select(_S.seq, _S.content).where(_S.message_id == bindparam("this_id"))
#: The group has it or will have it, and nobody wants it back.
IS_LIVE = and_(
    _S.state.not_in((SegmentState.CANCELLED, SegmentState.RECALLING, SegmentState.RECALLED)),
    or_(_S.state != SegmentState.SENDING, _S.recall_wanted_at.is_(None)),
)
_LIVE = select(_S.seq).where(_S.message_id == bindparam("this_id"), IS_LIVE)
_LAST_SEQ = select(func.max(_S.seq)).where(_S.message_id == bindparam("this_id"))
#: Not what is to be taken back: a call of it that may have gone out is not repeated.
_MAY_BE_SENT = and_(
    or_(_S.tries == bindparam("known_tries"), _S.sender == bindparam("this_sender")),
    _S.recall_wanted_at.is_(None),
)
#: What is to be taken back is so as soon as its receipt is there.
_SENT_STATE = case(
    (_S.recall_wanted_at.is_not(None), SegmentState.RECALLING.value),
    else_=SegmentState.SENT.value,
)
#: Not if it was handed to another account meanwhile.
_IS_ITS = _S.bot_wc_id == bindparam("this_bot")
#: Not if another sender marked it since it was read: two may believe for a moment to have the lease.
_MARK_SENDING = (
    update(SEGMENTS)
    .where(_THIS_SEGMENT, _S.state.in_(OPEN_STATES), _MAY_BE_SENT, _IS_ITS)
    .values(state=SegmentState.SENDING)
)
_MARK_SENT = (
    update(SEGMENTS)
    .where(_THIS_SEGMENT, _S.state == SegmentState.SENDING)
    .values(state=_SENT_STATE, error="")
)
_IS_SENT = _S.id == bindparam("sent_id")
_IS_NEXT = _S.id == bindparam("next_id")
BOTH = 2
#: The numbers of all segments that a message may have.
ALL_SEGMENTS = range(2**31)


def _either(sent: Any, following: Any) -> Any:
    """What the row with the receipt gets, and what the other one gets (pure)."""
    return case((_IS_SENT, sent), else_=following)


_MARK_BOTH = (
    update(SEGMENTS)
    .where(
        or_(
            and_(_IS_SENT, _S.state == SegmentState.SENDING),
            and_(_IS_NEXT, _S.state.in_(OPEN_STATES), _MAY_BE_SENT, _IS_ITS),
        )
    )
    # MySQL goes by the values that it has set already: the choice looks at the id alone.
    .values(
        state=_either(_SENT_STATE, SegmentState.SENDING.value),
        error=_either("", _S.error),
        msg_id=_either(bindparam("msg", type_=_S.msg_id.type), _S.msg_id),
        new_msg_id=_either(bindparam("new_msg", type_=_S.new_msg_id.type), _S.new_msg_id),
        created_time=_either(bindparam("created", type_=_S.created_time.type), _S.created_time),
        sent_at=_either(bindparam("at", type_=_S.sent_at.type), _S.sent_at),
        sender=_either(_S.sender, bindparam("this_sender", type_=_S.sender.type)),
        sending_at=_either(_S.sending_at, bindparam("now", type_=_S.sending_at.type)),
        tries=_either(_S.tries, bindparam("known_tries", type_=_S.tries.type) + 1),
    )
)
_SETTLE = update(SEGMENTS).where(_THIS_SEGMENT, _S.state.in_(OPEN_STATES), _IS_ITS)
_IS_SEEN = select(
    exists(
        select(_S.id).where(
            _S.message_id == bindparam("this_id"),
            _S.state.in_(_SEEN_OR_OPEN),
            _S.kind != SegmentKind.NOTICE,
        )
    )
)
_NOTE_ERROR = update(MESSAGES).where(_THIS_MESSAGE, _M.state != MessageState.DEAD)
_NOTE_VERDICT = update(MESSAGES).where(_THIS_MESSAGE, _M.state == MessageState.ANSWERED)


async def live_seqs(connection: AsyncConnection, message_id: MessageId) -> set[int]:
    """Numbers of a message's segments that are not void."""
    return set(await connection.scalars(_LIVE, {"this_id": message_id}))


async def next_seq(connection: AsyncConnection, message_id: MessageId) -> int:
    """Number of a message's next segment."""
    last = await connection.scalar(_LAST_SEQ, {"this_id": message_id})
    return 0 if last is None else last + 1


async def insert_segments(
    connection: AsyncConnection, turn: Turn, segments: Sequence[Segment]
) -> None:
    """
    Plan segments of a turn; may be repeated after a commit that was perhaps carried out.

    Raises:
        StaleFence: a number is taken by another text, which a newer claim must have planned.
    """
    if not segments:
        return
    now = utc_now()
    rows = [
        {
            "message_id": turn.message_id,
            "seq": segment.seq,
            "bot_wc_id": turn.bot_wc_id,
            "group_id": turn.group_id,
            "kind": segment.kind,
            "content": segment.content,
            "mention": segment.mention,
            "text_digest": text_digest(echo_text(segment.kind, segment.content)),
            "state": SegmentState.PLANNED,
            "planned_at": now,
        }
        for segment in segments
    ]
    try:
        await connection.execute(_INSERT, rows)
    except IntegrityError:
        # The rows before the refused one may be in already; they are found like older ones.
        missing = await _missing(connection, turn, segments)
        if missing:
            await connection.execute(_INSERT, [row for row in rows if row["seq"] in missing])


async def _missing(
    connection: AsyncConnection, turn: Turn, segments: Sequence[Segment]
) -> set[int]:
    """Numbers that are not planned yet."""
    found = await connection.execute(_PLANNED_BEFORE, {"this_id": turn.message_id})
    known: dict[int, str] = {row.seq: row.content for row in found}
    for segment in segments:
        if known.get(segment.seq, segment.content) != segment.content:
            raise StaleFence(f"message {turn.message_id}: segment {segment.seq} is not ours")
    return {segment.seq for segment in segments} - known.keys()


async def cancel_unsent(connection: AsyncConnection, message_id: MessageId, void: range) -> int:
    """Make void what is planned and not on its way, of the segments with these numbers; how many were."""
    this = {"this_id": message_id, "first": void.start, "last": void.stop - 1}
    return (await connection.execute(_CANCEL, this)).rowcount


async def mark_sending(store: Store, segment: Planned, *, sender: str) -> bool:
    """
    The call goes out now; may be repeated: it is one call.

    Returns:
        False: the segment is closed, or another sender's call goes out.
    """
    known = {
        "this_id": segment.id,
        "known_tries": segment.tries,
        "this_sender": sender,
        "this_bot": segment.bot_wc_id,
    }
    values = {"sender": sender, "sending_at": utc_now(), "tries": segment.tries + 1}
    return await store.change(_MARK_SENDING, {**known, **values}) == 1


async def mark_sent(store: Store, sent: Sent) -> None:
    """Write a receipt; may be repeated."""
    values = {
        "this_id": sent.segment.id,
        "sent_at": sent.at,
        "msg_id": sent.receipt.msg_id,
        "new_msg_id": sent.receipt.new_msg_id,
        "created_time": sent.receipt.created_at,
    }
    await store.change(_MARK_SENT, values)


async def mark_both(store: Store, sent: Sent, segment: Planned, *, sender: str) -> bool:
    """
    ``mark_sent`` and ``mark_sending`` by one statement, which is one commit.

    Returns:
        False: one of them, or both, was not to be written; each is to be repeated by itself.
    """
    values = {
        "sent_id": sent.segment.id,
        "at": sent.at,
        "msg": sent.receipt.msg_id,
        "new_msg": sent.receipt.new_msg_id,
        "created": sent.receipt.created_at,
        "next_id": segment.id,
        "known_tries": segment.tries,
        "this_sender": sender,
        "this_bot": segment.bot_wc_id,
        "now": utc_now(),
    }
    return await store.change(_MARK_BOTH, values) == BOTH


async def settle(
    connection: AsyncConnection, segment: Planned, state: SegmentState, error: str
) -> bool:
    """Give an open segment another state, and the number of its calls; False: it is not open to it."""
    this = {"this_id": segment.id, "this_bot": segment.bot_wc_id}
    values = {"state": state, "error": error[:500], "tries": segment.tries}
    return (await connection.execute(_SETTLE, {**this, **values})).rowcount == 1


async def note_not_sent(connection: AsyncConnection, segment: Planned, error: str) -> None:
    """Say on the message which segment the group did not get; the verdict falls if it got none."""
    this = {"this_id": segment.message_id}
    is_seen = await connection.scalar(_IS_SEEN, this)
    text = f"segment {segment.seq} not sent: {error}"[:500]
    await connection.execute(_NOTE_ERROR, {**this, "error": text})
    if not is_seen:
        await connection.execute(_NOTE_VERDICT, {**this, "verdict": NOT_SENT})
