"""Tables behind the operator's console: figures, operators, their sessions and deeds."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, Index, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import MYSQL_OPTIONS, Base, Moment, big_key, exact, long_text


class StatsMinute(Base):
    """One counter or latency bucket of one minute."""

    __tablename__ = "stats_minutes"
    __table_args__ = (MYSQL_OPTIONS,)

    #: Minutes since 1970.
    minute: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(exact(96), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)


class Operator(Base):
    """Somebody who may log in."""

    __tablename__ = "operators"
    __table_args__ = (UniqueConstraint("name"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(exact(64))
    password_hash: Mapped[str] = mapped_column(String(255))
    #: An ``OperatorRole``.
    role: Mapped[str] = mapped_column(exact(16))
    created_at: Mapped[datetime] = mapped_column(Moment)
    #: NULL: may log in.
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)


class ConsoleSession(Base):
    """A login; the cookie holds the secret, the row its digest."""

    __tablename__ = "console_sessions"
    __table_args__ = (UniqueConstraint("digest"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    digest: Mapped[str] = mapped_column(exact(64))
    operator_id: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Moment)
    #: Whatever happens, it is over then.
    expires_at: Mapped[datetime] = mapped_column(Moment)
    #: Of the last request, give or take a minute; NULL: none since the login.
    seen_at: Mapped[datetime | None] = mapped_column(Moment)


class AuditEntry(Base):
    """Who changed what, from what, to what."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "at"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(Moment)
    operator: Mapped[str] = mapped_column(exact(64))
    action: Mapped[str] = mapped_column(exact(64))
    subject: Mapped[str] = mapped_column(exact(255))
    before: Mapped[str | None] = mapped_column(long_text())
    after: Mapped[str | None] = mapped_column(long_text())
    #: From where; empty: on the machine itself.
    address: Mapped[str] = mapped_column(exact(64), default="", server_default="")


class SettingOverride(Base):
    """A setting changed in the console; environment and .env stand above it."""

    __tablename__ = "setting_overrides"
    __table_args__ = (UniqueConstraint("name"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(exact(128))
    value: Mapped[Any] = mapped_column(JSON)
    changed_at: Mapped[datetime] = mapped_column(Moment)


OPERATORS = cast(Table, Operator.__table__)
CONSOLE_SESSIONS = cast(Table, ConsoleSession.__table__)
AUDIT_LOG = cast(Table, AuditEntry.__table__)
SETTING_OVERRIDES = cast(Table, SettingOverride.__table__)
