"""The inbox: every callback, its one verdict, and how far its answer is."""

from datetime import datetime
from enum import StrEnum
from typing import cast

from sqlalchemy import BigInteger, Float, Index, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import MYSQL_OPTIONS, Base, Moment, exact, long_text


class MessageState(StrEnum):
    """Where a message stands; ``UNFINISHED`` ones are owed an answer."""

    RECEIVED = "received"
    PROCESSING = "processing"
    ANSWERED = "answered"
    DONE = "done"
    DEAD = "dead"
    IGNORED = "ignored"
    #: A feedback that Dify has still to be told; then it is ignored like others that need no answer.
    RATING = "rating"
    #: A command that is still to be carried out; then it is ignored, too.
    COMMAND = "command"
    REFUSED = "refused"
    #: Left to another account of ours that it mentions, until it is known whether that one has it.
    LEFT = "left"


#: The index that holds all that is counted by state and cause.
COUNTED_BY = "ix_messages_state_id_verdict"

UNFINISHED = (MessageState.RECEIVED, MessageState.PROCESSING)


class Message(Base):
    """One callback. Ids of the gateway are strings of digits, exact to 64 bits."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("bot_wc_id", "dedupe_key"),
        Index(None, "from_user", "state", "id"),
        # With the verdict, so that causes are counted out of the index alone.
        Index(None, "state", "id", "verdict"),
        # What was said in one group, newest first.
        Index(None, "group_id", "id"),
        Index(None, "text_digest"),
        Index(None, "journal_id"),
        # Of what was said once, one copy is answered (services/twins.py).
        Index("uq_messages_twin_id", "twin_id", unique=True),
        Index("uq_messages_twin_text_twin_no", "twin_text", "twin_no", unique=True),
        Index("uq_messages_twin_of_bot_wc_id", "twin_of", "bot_wc_id", unique=True),
        MYSQL_OPTIONS,
    )

    #: Made by us at receipt (app/utils/ids.py): its order is the order of receipt.
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    bot_wc_id: Mapped[str] = mapped_column(exact(128))
    dedupe_key: Mapped[str] = mapped_column(exact(191))
    #: How often the gateway delivered it.
    deliveries: Mapped[int] = mapped_column(default=1)
    account: Mapped[str] = mapped_column(exact(64), default="")
    w_id: Mapped[str] = mapped_column(exact(128), default="")
    message_type: Mapped[str] = mapped_column(exact(16), default="")
    from_user: Mapped[str] = mapped_column(exact(128), default="")
    group_id: Mapped[str] = mapped_column(exact(128), default="")
    msg_id: Mapped[str] = mapped_column(exact(32), default="")
    new_msg_id: Mapped[str] = mapped_column(exact(32), default="")
    #: Seconds since 1970 as the gateway says; 0 if it does not.
    gateway_time: Mapped[int] = mapped_column(BigInteger, default=0)
    sender_name: Mapped[str] = mapped_column(String(255), default="")
    #: What the person wrote; NULL on ignored rows unless a setting keeps it.
    text: Mapped[str | None] = mapped_column(long_text())
    #: What Dify is asked: the text without mention or prefix.
    question: Mapped[str | None] = mapped_column(long_text())
    #: The callback as it came; NULL where nothing needs explaining.
    raw: Mapped[str | None] = mapped_column(long_text())
    #: SHA-256 of an own message's text: the echo that settles an undecided segment.
    text_digest: Mapped[str | None] = mapped_column(exact(64))

    state: Mapped[str] = mapped_column(exact(16))
    #: Why it ended as it did; empty while it waits.
    verdict: Mapped[str] = mapped_column(exact(40), default="")
    detail: Mapped[str] = mapped_column(String(500), default="")
    error: Mapped[str] = mapped_column(String(500), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    sole_crashes: Mapped[int] = mapped_column(default=0)
    #: In work as the only suspect of its process.
    runs_alone: Mapped[bool] = mapped_column(default=False)
    #: Newest claim that wrote this row.
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    #: Epoch of the Redis index that holds it; NULL: in none yet.
    queued_epoch: Mapped[str | None] = mapped_column(exact(64))

    received_at: Mapped[datetime] = mapped_column(Moment)
    queued_at: Mapped[datetime | None] = mapped_column(Moment)
    claimed_at: Mapped[datetime | None] = mapped_column(Moment)
    asked_at: Mapped[datetime | None] = mapped_column(Moment)
    first_text_at: Mapped[datetime | None] = mapped_column(Moment)
    answered_at: Mapped[datetime | None] = mapped_column(Moment)
    done_at: Mapped[datetime | None] = mapped_column(Moment)

    dify_app: Mapped[str] = mapped_column(exact(64), default="")
    dify_conversation_id: Mapped[str] = mapped_column(exact(64), default="")
    dify_message_id: Mapped[str] = mapped_column(exact(64), default="")
    dify_task_id: Mapped[str] = mapped_column(exact(64), default="")
    dify_run_id: Mapped[str] = mapped_column(exact(64), default="")
    total_tokens: Mapped[int | None] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int | None] = mapped_column(BigInteger)
    completion_tokens: Mapped[int | None] = mapped_column(BigInteger)
    #: Seconds of the model by Dify's clock.
    model_seconds: Mapped[float | None] = mapped_column(Float)
    total_price: Mapped[str] = mapped_column(exact(32), default="")
    currency: Mapped[str] = mapped_column(exact(8), default="")
    #: The stream broke off after parts of it had been sent.
    is_cut_short: Mapped[bool] = mapped_column(default=False)
    #: The row of ``conversations`` that holds this turn.
    journal_id: Mapped[int | None] = mapped_column(BigInteger)
    #: Of a feedback: ``like`` or ``dislike``, and newMsgId of the segment that it is about.
    rating: Mapped[str] = mapped_column(exact(8), default="", server_default="")
    quoted_id: Mapped[str] = mapped_column(exact(32), default="", server_default="")
    #: How often an operator let it go on after it had been given up, and when last.
    replays: Mapped[int] = mapped_column(default=0, server_default="0")
    replayed_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Of (group, newMsgId), on the copy that is answered; NULL on all others.
    twin_id: Mapped[str | None] = mapped_column(exact(32))
    #: Of (group, user, time, text), on every copy; and which message of those it claims.
    twin_text: Mapped[str | None] = mapped_column(exact(32))
    twin_no: Mapped[int | None]
    #: The copy that is answered instead, which came through another account.
    twin_of: Mapped[int | None] = mapped_column(BigInteger)


MESSAGES = cast(Table, Message.__table__)
"""The same as a plain table: statements on it cost a third of those on the class."""
