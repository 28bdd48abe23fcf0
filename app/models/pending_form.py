"""Runs of Dify that wait for a person: what they asked, to be answered by the next thing he says."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, Index, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import MYSQL_OPTIONS, Base, Moment, big_key, exact, long_text


class PendingFormRow(Base):
    """The form that one app wants one person in one group to fill in; gone as soon as it is."""

    __tablename__ = "pending_forms"
    __table_args__ = (
        UniqueConstraint("app", "bot_wc_id", "group_id", "from_user"),
        Index(None, "message_id"),
        Index(None, "offered_at"),
        MYSQL_OPTIONS,
    )

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    app: Mapped[str] = mapped_column(exact(64))
    bot_wc_id: Mapped[str] = mapped_column(exact(128))
    group_id: Mapped[str] = mapped_column(exact(128))
    from_user: Mapped[str] = mapped_column(exact(128))
    #: The message whose answer ends with the form.
    message_id: Mapped[int] = mapped_column(BigInteger)
    #: Under which key Dify knows it.
    key_digest: Mapped[str] = mapped_column(exact(16), default="")
    token: Mapped[str] = mapped_column(String(255))
    dify_conversation_id: Mapped[str] = mapped_column(exact(64), default="")
    dify_message_id: Mapped[str] = mapped_column(exact(64), default="")
    dify_task_id: Mapped[str] = mapped_column(exact(64), default="")
    dify_run_id: Mapped[str] = mapped_column(exact(64), default="")
    #: ``actions`` (id, title) and ``fields`` (names of texts).
    form: Mapped[dict[str, Any]] = mapped_column(JSON)
    #: What the run had said before: its whole answer begins with that.
    said: Mapped[str] = mapped_column(long_text(), default="")
    #: NULL: it does not say.
    expires_at: Mapped[datetime | None] = mapped_column(Moment)
    offered_at: Mapped[datetime] = mapped_column(Moment)


PENDING_FORMS = cast(Table, PendingFormRow.__table__)
