"""Questions that were suggested to a person, to be asked by their numbers."""

from datetime import datetime
from typing import cast

from sqlalchemy import JSON, BigInteger, Index, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import MYSQL_OPTIONS, Base, Moment, big_key, exact


class Suggestion(Base):
    """The newest list of one person in one group; in force until the next question, or for a while."""

    __tablename__ = "suggestions"
    __table_args__ = (
        UniqueConstraint("bot_wc_id", "group_id", "from_user"),
        Index(None, "message_id"),
        Index(None, "offered_at"),
        MYSQL_OPTIONS,
    )

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    bot_wc_id: Mapped[str] = mapped_column(exact(128))
    group_id: Mapped[str] = mapped_column(exact(128))
    from_user: Mapped[str] = mapped_column(exact(128))
    #: The message behind whose answer they stand.
    message_id: Mapped[int] = mapped_column(BigInteger)
    #: As they were shown, the first one is number 1.
    questions: Mapped[list[str]] = mapped_column(JSON)
    offered_at: Mapped[datetime] = mapped_column(Moment)


SUGGESTIONS = cast(Table, Suggestion.__table__)
