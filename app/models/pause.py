"""Pauses that operators make: of taking, of sending, or of one person."""

from datetime import datetime
from enum import StrEnum
from typing import cast

from sqlalchemy import Index, Table
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import MYSQL_OPTIONS, Base, Moment, big_key, exact


class PauseKind(StrEnum):
    """What is paused."""

    #: Callbacks are received, and nothing is claimed.
    TAKING = "taking"
    #: Nothing goes out into groups.
    SENDING = "sending"
    #: One person's messages are not claimed.
    USER = "user"


class Pause(Base):
    """One pause; it stays for a while when it is over: the time in it is nobody's fault."""

    __tablename__ = "pauses"
    __table_args__ = (Index(None, "ended_at"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    #: A ``PauseKind``.
    kind: Mapped[str] = mapped_column(exact(16))
    #: wxid of the person; empty: everybody.
    subject: Mapped[str] = mapped_column(exact(128), default="", server_default="")
    began_at: Mapped[datetime] = mapped_column(Moment)
    #: NULL: it lasts.
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    #: Who began it.
    operator: Mapped[str] = mapped_column(exact(64))


PAUSES = cast(Table, Pause.__table__)
