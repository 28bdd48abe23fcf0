"""Contacts: people and groups, as the gateway knows them."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import JSON, Index, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import MYSQL_OPTIONS, Base, Moment, big_key, exact, long_text


class Contact(Base):
    """A person or a group (README: 联系人表)."""

    __tablename__ = "contacts"
    __table_args__ = (
        UniqueConstraint("wc_id"),
        Index(None, "next_fetch_at"),
        MYSQL_OPTIONS,
    )

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    wc_id: Mapped[str] = mapped_column(exact(128))
    nick_name: Mapped[str] = mapped_column(String(255), default="")
    user_name: Mapped[str] = mapped_column(exact(128), default="")
    remark: Mapped[str] = mapped_column(String(255), default="")
    #: The WeChat number (微信号) as displayed.
    alias: Mapped[str] = mapped_column(String(128), default="")
    signature: Mapped[str] = mapped_column(String(512), default="")
    #: 0 unknown, 1 male, 2 female.
    sex: Mapped[int] = mapped_column(default=0)
    country: Mapped[str] = mapped_column(String(64), default="")
    province: Mapped[str] = mapped_column(String(64), default="")
    city: Mapped[str] = mapped_column(String(64), default="")
    big_avatar: Mapped[str] = mapped_column(String(1024), default="")
    small_avatar: Mapped[str] = mapped_column(String(1024), default="")
    labels: Mapped[str] = mapped_column(String(255), default="")
    v1: Mapped[str] = mapped_column(String(512), default="")
    #: ``person`` or ``group``.
    kind: Mapped[str] = mapped_column(exact(8))
    raw: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    #: The account through which it was seen, and the group for strangers.
    bot_wc_id: Mapped[str] = mapped_column(exact(128), default="")
    group_id: Mapped[str] = mapped_column(exact(128), default="")
    #: NULL: never looked up successfully.
    fetched_at: Mapped[datetime | None] = mapped_column(Moment)
    #: When the next look-up is due; NULL: not before it is seen again.
    next_fetch_at: Mapped[datetime | None] = mapped_column(Moment)
    failures: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(long_text(), default="")
    seen_at: Mapped[datetime] = mapped_column(Moment)


class GroupMember(Base):
    """What a person is called in one group."""

    __tablename__ = "group_members"
    __table_args__ = (UniqueConstraint("group_id", "wc_id"), MYSQL_OPTIONS)

    id: Mapped[int] = mapped_column(big_key(), primary_key=True, autoincrement=True)
    group_id: Mapped[str] = mapped_column(exact(128))
    wc_id: Mapped[str] = mapped_column(exact(128))
    #: Name in this group (群昵称); empty: none set.
    display_name: Mapped[str] = mapped_column(String(255), default="")
    nick_name: Mapped[str] = mapped_column(String(255), default="")
    small_avatar: Mapped[str] = mapped_column(String(1024), default="")
    fetched_at: Mapped[datetime] = mapped_column(Moment)


CONTACTS = cast(Table, Contact.__table__)
GROUP_MEMBERS = cast(Table, GroupMember.__table__)
