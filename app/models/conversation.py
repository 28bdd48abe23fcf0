"""Conversations: the hourly journal of the README, and the Dify conversation in force."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import JSON, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import MYSQL_OPTIONS, Base, Moment, big_key, exact


class Conversation(Base):
    """
    Turns of one person in one Dify conversation, group and hour (README: 对话记录表).

    ``conversation_id`` is '' while Dify has not named one: NULL would let rows repeat.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        UniqueConstraint("from_user", "conversation_id", "group", "hour"),
        MYSQL_OPTIONS,
    )

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    from_user: Mapped[str] = mapped_column(exact(128))
    conversation_id: Mapped[str] = mapped_column(exact(64), default="", server_default="")
    group: Mapped[str] = mapped_column(exact(128))
    #: Hour of receipt as YYYYMMDD_HH, in the operator's time zone.
    hour: Mapped[str] = mapped_column(exact(11))
    #: List of turns: message_id, at, question, answer, outcome.
    content: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    #: Every turn has its final outcome.
    is_processed: Mapped[bool] = mapped_column(default=False)
    #: Every segment of every turn is sent; nothing to send counts as sent.
    is_sent: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)


class Session(Base):
    """The Dify conversation that a person's next question goes on with."""

    __tablename__ = "sessions"
    __table_args__ = (
        UniqueConstraint("app", "bot_wc_id", "group_id", "from_user"),
        MYSQL_OPTIONS,
    )

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    app: Mapped[str] = mapped_column(exact(64))
    bot_wc_id: Mapped[str] = mapped_column(exact(128))
    group_id: Mapped[str] = mapped_column(exact(128))
    from_user: Mapped[str] = mapped_column(exact(128))
    conversation_id: Mapped[str] = mapped_column(exact(64))
    #: Of the app's address and key, under which alone Dify knows it; empty: of an older version.
    key_digest: Mapped[str] = mapped_column(exact(16), default="", server_default="")
    updated_at: Mapped[datetime] = mapped_column(Moment)
    #: When an operator had it begin anew: what was asked before does not come back; NULL: never.
    reset_at: Mapped[datetime | None] = mapped_column(Moment)


CONVERSATIONS = cast(Table, Conversation.__table__)
SESSIONS = cast(Table, Session.__table__)
