"""The outbox: parts of answers, planned and sent."""

from datetime import datetime
from enum import StrEnum
from typing import cast

from sqlalchemy import BigInteger, Index, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import MYSQL_OPTIONS, Base, Moment, big_key, exact, long_text


class SegmentState(StrEnum):
    """Where a segment stands."""

    PLANNED = "planned"
    SENDING = "sending"
    SENT = "sent"
    #: Nobody knows whether it was sent, and the setting says not to send it again.
    UNKNOWN = "unknown"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: It was sent and is to be taken back; the gateway is asked next, or is being asked.
    RECALLING = "recalling"
    RECALLED = "recalled"


#: Segments that still owe something to the group.
OPEN_STATES = (SegmentState.PLANNED, SegmentState.SENDING)
#: Segments for which an account's sender has still something to do.
CALLING_STATES = (*OPEN_STATES, SegmentState.RECALLING)
#: Segments of which the group has not seen, or perhaps not seen, what was planned for it.
NOT_SENT_STATES = (*OPEN_STATES, SegmentState.UNKNOWN, SegmentState.FAILED)


class SegmentRow(Base):
    """One message into a group. It carries no wId: that is the account's at the time of sending."""

    __tablename__ = "segments"
    __table_args__ = (
        UniqueConstraint("message_id", "seq"),
        # What is owed, in all and per account: few rows, whatever was sent before.
        Index(None, "state", "bot_wc_id", "id"),
        # What an account sent in the last minutes.
        Index(None, "bot_wc_id", "sending_at"),
        # Which answer somebody quotes.
        Index(None, "new_msg_id"),
        MYSQL_OPTIONS,
    )

    #: Grows in the order of planning, which is the order of sending.
    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    message_id: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int]
    bot_wc_id: Mapped[str] = mapped_column(exact(128))
    group_id: Mapped[str] = mapped_column(exact(128))
    kind: Mapped[str] = mapped_column(exact(8))
    content: Mapped[str] = mapped_column(long_text())
    mention: Mapped[str] = mapped_column(exact(128), default="")
    text_digest: Mapped[str] = mapped_column(exact(64), default="")
    state: Mapped[str] = mapped_column(exact(16))
    #: The sender whose lease covered the call; its end makes the segment undecided.
    sender: Mapped[str] = mapped_column(exact(64), default="")
    #: Calls that may have gone out; one that certainly did not is taken back.
    tries: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(String(500), default="")
    msg_id: Mapped[str] = mapped_column(exact(32), default="")
    new_msg_id: Mapped[str] = mapped_column(exact(32), default="")
    #: Seconds since 1970, the gateway's.
    created_time: Mapped[int] = mapped_column(BigInteger, default=0)
    planned_at: Mapped[datetime] = mapped_column(Moment)
    sending_at: Mapped[datetime | None] = mapped_column(Moment)
    sent_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Since when it is to be taken back, as soon as it is known to be sent.
    recall_wanted_at: Mapped[datetime | None] = mapped_column(Moment)
    #: When the call that takes it back went out; one call that may have gone out is the only one.
    recall_called_at: Mapped[datetime | None] = mapped_column(Moment)


SEGMENTS = cast(Table, SegmentRow.__table__)
"""The same as a plain table: statements on it cost a third of those on the class."""
