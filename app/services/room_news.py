"""
News of groups in the address book: names, who joined, groups that we are no longer in.

What a callback says is written; what it does not say the keeper looks up, soon and not often.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import bindparam, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.contact import CONTACTS, GROUP_MEMBERS, GroupMember
from app.models.content import Newcomer, RoomChange, RoomNews
from app.models.flow import Origin, WcId
from app.services.contact_rows import GROUP
from app.services.stages import utc_now
from app.services.store import Store, upsert_rows
from app.services.text import clean_nickname

#: News in a row cost one look-up: each is a call that the gateway counts.
LOOKUP_PAUSE = timedelta(seconds=60)
GROUPS_AT_MOST = 1_000
NEWCOMERS_AT_MOST = 500
MAX_NAME = 255

_C = CONTACTS.c
_M = GROUP_MEMBERS.c
_THIS_GROUP = (_C.wc_id == bindparam("this_group")) & (_C.kind == GROUP)
_KNOWN = select(_C.fetched_at, _C.bot_wc_id, _C.next_fetch_at).where(_THIS_GROUP).with_for_update()
_CHANGE = update(CONTACTS).where(_THIS_GROUP)
_EMPTY = delete(GROUP_MEMBERS).where(_M.group_id == bindparam("this_group"))
_IS_SEEN_BY_OTHERS = select(
    exists(select(_C.id).where(_THIS_GROUP, _C.bot_wc_id != bindparam("this_bot")))
)
_OVER = frozenset({RoomChange.LEFT, RoomChange.DISSOLVED})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """All that one account heard of a group since the last flush."""

    bot: WcId
    change: RoomChange
    name: str = ""
    newcomers: tuple[Newcomer, ...] = ()

    def followed_by(self, news: RoomNews) -> "_Kept":
        """The same with later news; whoever joins a group of ours shows that it is one."""
        if news.change in _OVER:
            return _Kept(bot=self.bot, change=news.change)
        newcomers = (*self.newcomers, *news.newcomers)[:NEWCOMERS_AT_MOST]
        name = news.name or self.name
        return replace(self, change=news.change, name=name, newcomers=newcomers)


class RoomNewsBook:
    """Takes news in and writes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[WcId, _Kept] = {}

    def note(self, origin: Origin, news: RoomNews) -> None:
        """Remember news of a group; written with the next ``flush``. Losing them costs a stale name."""
        group = origin.group_id
        if not group or not origin.bot_wc_id:
            return
        if group in self._kept or len(self._kept) < GROUPS_AT_MOST:
            former = self._kept.get(group) or _Kept(bot=origin.bot_wc_id, change=news.change)
            self._kept[group] = former.followed_by(news)

    async def flush(self) -> None:
        """
        Write what was noted.

        Raises:
            StoreUnavailable: what was not written is kept.
        """
        for group, kept in sorted(self._kept.items()):
            await self._write_one(group, kept)
            # What was noted meanwhile is written the next time.
            if self._kept[group] is kept:
                del self._kept[group]
            logger.info("contacts.group_changed", group=group, change=kept.change)

    async def _write_one(self, group: WcId, kept: _Kept) -> None:
        await self._store.transact(lambda connection: _write(connection, group, kept))


async def _write(connection: AsyncConnection, group: WcId, kept: _Kept) -> None:
    this = {"this_group": group}
    known = (await connection.execute(_KNOWN, this)).one_or_none()
    if kept.change in _OVER:
        is_seen = await connection.scalar(_IS_SEEN_BY_OTHERS, {**this, "this_bot": kept.bot})
        if kept.change is RoomChange.DISSOLVED or not is_seen:
            await connection.execute(_EMPTY, this)
            await connection.execute(_CHANGE, {**this, "next_fetch_at": None})
        return
    if known is None:
        # Nobody has asked anything there: its first message makes it known.
        return
    values: dict[str, Any] = {"next_fetch_at": _due(known.fetched_at, known.next_fetch_at)}
    if name := clean_nickname(kept.name, limit=MAX_NAME):
        values["nick_name"] = name
    await connection.execute(_CHANGE, {**this, **values})
    if rows := _newcomer_rows(group, kept.newcomers):
        statement = upsert_rows(
            connection, GroupMember, key=("group_id", "wc_id"), changes=("nick_name",)
        )
        await connection.execute(statement, rows)


def _due(fetched_at: datetime | None, next_fetch_at: datetime | None) -> datetime:
    """When the group is to be looked up (pure); a date that is set stays, it may be a pause."""
    if next_fetch_at is not None:
        return next_fetch_at
    now = utc_now()
    return now if fetched_at is None else max(now, fetched_at + LOOKUP_PAUSE)


def _newcomer_rows(group: WcId, newcomers: tuple[Newcomer, ...]) -> list[Mapping[str, Any]]:
    now = utc_now()
    rows = {
        one.wc_id: {
            "group_id": group,
            "wc_id": one.wc_id,
            "display_name": "",
            "nick_name": clean_nickname(one.nick_name, limit=MAX_NAME),
            "small_avatar": "",
            "fetched_at": now,
        }
        for one in newcomers
    }
    return [rows[wc_id] for wc_id in sorted(rows)]
