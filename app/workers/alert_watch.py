"""Looks at what the bridge knows of itself, for the alerts: asks what health asks, and judges nothing."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from loguru import logger

from app.services.accounts import Accounts
from app.services.alerts.conditions import (
    NEARLY_BROKEN,
    Condition,
    Topic,
    account_conditions,
    breaker_conditions,
    database_condition,
    disk_conditions,
    finding_conditions,
    letter_condition,
    redis_condition,
    refusing_condition,
    waiting_conditions,
)
from app.services.alerts.growth import Tally, counted
from app.services.checks.inspection import Inspection
from app.services.dead_letters import CauseCount, Choice, DeadLetters
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.figures import Figures, read_figures
from app.services.findings import Effect, Look
from app.services.inbox import Inbox
from app.services.pauses import Paused
from app.services.queue.breakers import Breakers
from app.services.queue.redis_queue import RedisQueue
from app.services.store import Store
from app.utils.disk import free_bytes

#: Whatever does not answer by then is not known, in seconds.
PATIENCE: Final = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one look found."""

    conditions: Sequence[Condition]
    #: What could be read.
    known: frozenset[Topic]
    #: None: nothing was ever counted.
    tallies: Mapping[str, Tally] | None = None


class Watch(Protocol):
    """One kind of look."""

    async def look(self, tallies: Mapping[str, Tally] | None, now: float) -> Seen:
        """
        Look; *tallies* are those of the last look.

        Raises:
            QueueUnavailable: Redis is away, and what only it knows is not known.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedWatch:
    """What is the same whoever looks: accounts, breakers, messages, the database, the apps."""

    accounts: Accounts
    breakers: Breakers
    store: Store
    #: Of database and Redis, by name in the health report.
    inspection: Inspection
    app_inspection: Inspection
    gateway_inspection: Inspection
    #: Names of the two stores there.
    database: str
    redis: str
    #: Seconds; 0: whatever waits.
    longest_wait: float
    #: What operators have paused now.
    paused: Callable[[], Paused]

    async def look(self, tallies: Mapping[str, Tally] | None, now: float) -> Seen:
        """See ``Watch``."""
        open_ones = await self.breakers.states()
        conditions = account_conditions(self.accounts.standing(), open_ones)
        conditions += breaker_conditions(open_ones)
        conditions += self._of_servers()
        known = {Topic.ACCOUNTS, Topic.BREAKERS, Topic.DATABASE}
        inspections = {
            Topic.SERVERS: self.inspection,
            Topic.APPS: self.app_inspection,
            Topic.GATEWAY: self.gateway_inspection,
        }
        known |= {topic for topic, one in inspections.items() if one.knows_all}
        reason, figures, counts = await self._ask_database()
        if reason:
            conditions.append(database_condition(reason))
        if figures is not None:
            known.add(Topic.WAITING)
            paused = self.paused()
            conditions += waiting_conditions(
                figures,
                now=now,
                longest=self.longest_wait,
                is_paused=paused.is_taking or paused.is_sending,
            )
        if counts is not None:
            known.add(Topic.DEAD_LETTERS)
            tallies = counted(
                tallies,
                {one.cause: one.count for one in counts},
                now,
                last={one.cause: one.last.timestamp() for one in counts},
            )
            conditions += letter_conditions(tallies, counts, now)
        return Seen(conditions=conditions, known=frozenset(known), tallies=tallies)

    def _of_servers(self) -> list[Condition]:
        # A Redis that refuses writes cannot keep what was told of it: every process tells by itself.
        stores = {
            self.database: ("数据库", self.inspection.last(self.database)),
            self.redis: ("Redis", _only(self.inspection.last(self.redis), NEARLY_BROKEN)),
        }
        found: list[Condition] = []
        for name, (title, look) in stores.items():
            found += finding_conditions(name, look, topic=Topic.SERVERS, title=title)
        for name, look in self.app_inspection.looks.items():
            app = f"Dify 应用 {name}"
            found += finding_conditions(f"dify:{name}", look, topic=Topic.APPS, title=app)
        for name, look in self.gateway_inspection.looks.items():
            login = f"ecloud:{name}"
            found += finding_conditions(login, look, topic=Topic.GATEWAY, title="E云管家")
        return found

    async def _ask_database(self) -> tuple[str, Figures | None, list[CauseCount] | None]:
        """Why it takes no rows, if so; and what it says, as far as it answers in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.store.probe()
        except (StoreUnavailable, TimeoutError) as error:
            return _reason(error), None, None
        figures = counts = None
        try:
            async with asyncio.timeout(PATIENCE):
                figures = await read_figures(self.store)
                counts = await DeadLetters(self.store).counts(Choice())
        except (StoreUnavailable, TimeoutError) as error:
            logger.debug("alert.not_known", error=error)
        return "", figures, counts


def letter_conditions(
    tallies: Mapping[str, Tally], counts: Sequence[CauseCount], now: float
) -> list[Condition]:
    """Those that became more lately (pure)."""
    return [
        letter_condition(one, since=tallies[one.cause].since)
        for one in counts
        if tallies[one.cause].is_growing(now)
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class HostWatch:
    """What is the same for all processes on one machine: its disk."""

    host: str
    folder: Path
    #: MiB.
    least_free: int

    async def look(self, tallies: Mapping[str, Tally] | None, now: float) -> Seen:  # noqa: ARG002 - as all
        """See ``Watch``."""
        folder = self.folder.absolute()
        try:
            async with asyncio.timeout(PATIENCE):
                free = await asyncio.to_thread(free_bytes, folder)
        except (OSError, TimeoutError) as error:
            logger.debug("alert.not_known", error=repr(error))
            return Seen(conditions=(), known=frozenset())
        found = disk_conditions(self.host, str(folder), free=free, least=self.least_free)
        return Seen(conditions=found, known=frozenset({Topic.DISK}))


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnWatch:
    """What only this process can tell: whether it has Redis, whether it takes callbacks."""

    queue: RedisQueue
    #: What the last look at Redis found.
    redis_look: Callable[[], Look]
    inbox: Inbox

    async def look(self, tallies: Mapping[str, Tally] | None, now: float) -> Seen:  # noqa: ARG002 - as all
        """See ``Watch``; never raises."""
        conditions = []
        reason = await self._redis_reason()
        if reason:
            conditions.append(redis_condition(reason))
        if self.inbox.is_refusing:
            conditions.append(refusing_condition())
        return Seen(conditions=conditions, known=frozenset({Topic.REDIS, Topic.CALLBACKS}))

    async def _redis_reason(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.queue.ping()
        except (QueueUnavailable, TimeoutError) as error:
            return _reason(error)
        broken = [one for one in self.redis_look().findings if one.effect is Effect.BROKEN]
        return " ".join(one.text for one in broken)


def _only(look: Look, codes: frozenset[str]) -> Look:
    return Look(findings=tuple(one for one in look.findings if one.code in codes))


def _reason(error: StoreUnavailable | QueueUnavailable | TimeoutError) -> str:
    """Why, without the users and hosts that a server's words may hold."""
    return f"{PATIENCE:g} 秒内没有回应" if isinstance(error, TimeoutError) else error.code
