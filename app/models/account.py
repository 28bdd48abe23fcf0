"""Our WeChat accounts at the gateway, and the groups they sit in."""

from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column
from typing_extensions import override

from app.models.base import MYSQL_OPTIONS, Base, Moment, big_key, exact


class AccountState(StrEnum):
    """Whether an account can send, as far as anybody noticed."""

    ONLINE = "online"
    #: The gateway does not list it as online.
    OFFLINE = "offline"
    #: Its calls fail, and nobody says that it is offline: the gateway is away, or throttles it.
    FAILING = "failing"
    UNKNOWN = "unknown"

    @classmethod
    @override
    def _missing_(cls, value: object) -> "AccountState":
        """A word that this version does not know."""
        return cls.UNKNOWN


#: States in which the answers of an account wait for it.
DOWN_STATES = (AccountState.OFFLINE, AccountState.FAILING)


class Account(Base):
    """One WeChat account. Its wId changes with every login; its wcId never."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("wc_id"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    wc_id: Mapped[str] = mapped_column(exact(128))
    w_id: Mapped[str] = mapped_column(exact(128), default="")
    #: The callback time (seconds since 1970) that named this wId; newer ones win.
    w_id_time: Mapped[int] = mapped_column(BigInteger, default=0)
    #: ``callback`` or ``query``.
    w_id_source: Mapped[str] = mapped_column(exact(16), default="")
    #: A wId the gateway refused as stale; it is never taken back.
    refused_w_id: Mapped[str] = mapped_column(exact(128), default="")
    #: Name of the gateway login that listed it last; empty: none has yet.
    gateway: Mapped[str] = mapped_column(exact(64), default="", server_default="")
    #: An ``AccountState``.
    state: Mapped[str] = mapped_column(exact(16), default=AccountState.UNKNOWN)
    #: When the state began; for a down one: when the account stopped being able to send.
    since: Mapped[datetime] = mapped_column(Moment)
    #: Of the last time in which it was down and came back; NULL: of none is known.
    outage_began_at: Mapped[datetime | None] = mapped_column(Moment)
    outage_ended_at: Mapped[datetime | None] = mapped_column(Moment)
    #: When this bridge first heard of it; NULL: before that was written down.
    first_seen_at: Mapped[datetime | None] = mapped_column(Moment)


class Group(Base):
    """One group as one account sees it, with what the operator set for it (NULL: the default)."""

    __tablename__ = "groups"
    __table_args__ = (UniqueConstraint("bot_wc_id", "group_id"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    bot_wc_id: Mapped[str] = mapped_column(exact(128))
    group_id: Mapped[str] = mapped_column(exact(128))
    is_enabled: Mapped[bool | None]
    trigger: Mapped[str | None] = mapped_column(exact(16))
    prefixes: Mapped[list[Any] | None] = mapped_column(JSON)
    keywords: Mapped[list[Any] | None] = mapped_column(JSON)
    pattern: Mapped[str | None] = mapped_column(String(1000))
    mention_sender: Mapped[bool | None]
    #: Markdown is turned into text that WeChat shows well.
    plain_text: Mapped[bool | None]
    #: The documents that an answer is from are named behind it.
    citations: Mapped[bool | None]
    #: What Dify suggests to ask next stands behind the answer.
    suggestions: Mapped[bool | None]
    #: Name of the Dify app that this group asks.
    dify_app: Mapped[str | None] = mapped_column(exact(64))
    first_seen_at: Mapped[datetime] = mapped_column(Moment)
    #: The bot answers nothing that is said before; NULL: it is not muted.
    muted_until: Mapped[datetime | None] = mapped_column(Moment)


GROUPS = cast(Table, Group.__table__)
