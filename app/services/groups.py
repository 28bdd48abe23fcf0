"""Groups: which rules hold in each, and which ones we have seen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import Select, bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.account import Group
from app.models.flow import Trigger, WcId
from app.services.decide import GroupRules, compile_pattern
from app.services.errors import StoreUnavailable
from app.services.stages import utc_now
from app.services.store import Store, upsert_rows
from app.utils.batches import batches
from app.utils.loops import stopped_within

REFRESH_SECONDS = 5.0
#: Most groups that callbacks alone can make known.
MAX_GROUPS = 20_000
#: Most rows of one transaction.
BATCH = 100
#: Rows that are read at a time.
PAGE = 500

Key = tuple[WcId, WcId]

_RULES = (
    Group.is_enabled,
    Group.trigger,
    Group.prefixes,
    Group.keywords,
    Group.pattern,
    Group.mention_sender,
    Group.plain_text,
    Group.citations,
    Group.suggestions,
    Group.muted_until,
)


def _paged(*columns: Any) -> Select[Any]:
    key = (Group.id, Group.bot_wc_id, Group.group_id)
    page = Group.id > bindparam("after")
    return select(*key, *columns).where(page).order_by(Group.id).limit(bindparam("page"))


_NEW = _paged()
_SET = _paged(*_RULES).where(or_(*(rule.is_not(None) for rule in _RULES)))


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSettings:
    """What holds in one group."""

    rules: GroupRules
    mention_sender: bool = True
    #: Markdown is turned into text that WeChat shows well.
    is_plain: bool = False
    #: The documents that an answer is from are named behind it.
    cites: bool = False
    #: What Dify suggests to ask next is offered behind an answer.
    suggests: bool = False


def _key_of(row: Any) -> Key:
    return WcId(row.bot_wc_id), WcId(row.group_id)


class Groups:
    """Rules per group in memory: the settings' defaults, with what the ``groups`` table says on top."""

    def __init__(self, store: Store, defaults: GroupSettings) -> None:
        self._store = store
        self._defaults = defaults
        self._own: dict[Key, GroupSettings] = {}
        #: The rows behind ``_own``.
        self._read: dict[Key, Any] = {}
        #: Rows up to here are known.
        self._last_id = 0
        self._known: set[Key] = set()
        self._unseen: set[Key] = set()
        #: Rows whose rules cannot be read; told once each.
        self._odd: set[Key] = set()

    def settings(self, bot: WcId, group: WcId) -> GroupSettings:
        """What holds in this group of this account."""
        return self._own.get((bot, group), self._defaults)

    def use_defaults(self, defaults: GroupSettings) -> None:
        """The settings have changed: these are the defaults from now on."""
        self._defaults = defaults
        self._own = {key: self._of(row) for key, row in self._read.items()}

    def note(self, bot: WcId, group: WcId) -> None:
        """A message came from this group: unknown ones appear in the table by themselves."""
        if (bot, group) not in self._known and len(self._known) < MAX_GROUPS:
            self._known.add((bot, group))
            self._unseen.add((bot, group))

    async def load(self) -> None:
        """
        Read what is new in the table and what is set in it; the many rows with nothing set cost nothing.

        Raises:
            StoreUnavailable: the rules stay as they were.
        """
        async for rows in self._pages(_NEW, after=self._last_id):
            self._known |= {_key_of(row) for row in rows}
            self._last_id = rows[-1].id
        own: dict[Key, GroupSettings] = {}
        read: dict[Key, Any] = {}
        async for rows in self._pages(_SET, after=0):
            for row in rows:
                key = _key_of(row)
                is_same = self._read.get(key) == row
                own[key], read[key] = self._own[key] if is_same else self._of(row), row
        self._own, self._read = own, read

    async def _pages(self, statement: Select[Any], *, after: int) -> AsyncIterator[Sequence[Any]]:
        """Rows by id; between two pages others have their turn."""
        while True:
            async with self._store.read() as connection:
                found = await connection.execute(statement, {"after": after, "page": PAGE})
                rows = found.all()
            if rows:
                yield rows
            if len(rows) < PAGE:
                return
            after = rows[-1].id

    def _of(self, row: Any) -> GroupSettings:
        key = _key_of(row)
        try:
            own = overlaid(self._defaults, row)
        except ValueError as error:
            if key not in self._odd:
                logger.error("groups.odd_row", group=row.group_id, error=error)
            self._odd.add(key)
            # Above all a group that is switched off stays silent.
            return without_trigger(self._defaults, row)
        self._odd.discard(key)
        return own

    async def save(self) -> None:
        """
        Write groups seen for the first time, some at a time: others who write must not wait long.

        Raises:
            StoreUnavailable: those that were not written are kept for the next time.
        """
        for some in batches(sorted(self._unseen), BATCH):
            await self._save_some(some)
            self._unseen.difference_update(some)

    async def _save_some(self, some: Sequence[Key]) -> None:
        now = utc_now()
        rows = [{"bot_wc_id": bot, "group_id": group, "first_seen_at": now} for bot, group in some]

        async def work(connection: AsyncConnection) -> None:
            key = ("bot_wc_id", "group_id")
            statement = upsert_rows(connection, Group, key=key, changes=["group_id"])
            await connection.execute(statement, rows)

        await self._store.transact(work)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep in step with the table until stopped."""
        while not stop.is_set():
            try:
                if self._unseen:
                    await self.save()
                await self.load()
            except StoreUnavailable as error:
                logger.debug("groups.later", error=error)
            await stopped_within(stop, REFRESH_SECONDS)


def overlaid(defaults: GroupSettings, row: Any) -> GroupSettings:
    """
    The defaults with one row of the table on top; NULL leaves the default (pure).

    Raises:
        ValueError: the row's trigger or pattern is none.
    """
    own = without_trigger(defaults, row)
    rules = replace(
        own.rules,
        trigger=_or(row.trigger, defaults.rules.trigger, Trigger),
        prefixes=_or(row.prefixes, defaults.rules.prefixes, tuple),
        keywords=_or(row.keywords, defaults.rules.keywords, tuple),
        pattern=_or(row.pattern, defaults.rules.pattern, compile_pattern),
    )
    return replace(own, rules=rules)


def without_trigger(defaults: GroupSettings, row: Any) -> GroupSettings:
    """The defaults with those values of a row on top that cannot be wrong (pure)."""
    is_enabled = _or(row.is_enabled, defaults.rules.is_enabled, bool)
    muted_until = _or(row.muted_until, 0, datetime.timestamp)
    return GroupSettings(
        rules=replace(defaults.rules, is_enabled=is_enabled, muted_until=muted_until),
        mention_sender=_or(row.mention_sender, defaults.mention_sender, bool),
        is_plain=_or(row.plain_text, defaults.is_plain, bool),
        cites=_or(row.citations, defaults.cites, bool),
        suggests=_or(row.suggestions, defaults.suggests, bool),
    )


def _or(value: Any, default: Any, convert: Callable[[Any], Any]) -> Any:
    return default if value is None else convert(value)
