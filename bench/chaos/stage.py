"""Everything of one run between the two simulators, for the scenarios to act on."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from bench.chaos.balancer import Balancer
from bench.chaos.fleet import Fleet
from bench.chaos.proxy import Link
from bench.chaos.recording import Tape
from bench.chaos.scenario import EMBEDDED, Layout, Scenario, Size
from bench.chaos.servers import RedisPair
from bench.chaos.talk import Talk
from bench.chaos.victims import Strike, draw_strikes
from bench.chaos.waiting_line import LineWatch
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Stores, read_rows
from tests.fixtures.mariadb import MariadbServer
from tests.fixtures.redis_server import RedisServer

LOOK_SECONDS = 0.05
QUIET_LOOK_SECONDS = 0.25
#: Waits that something happens in are longer.
LONGEST = 3
REST_LOOKS = 5
UNFINISHED = "state IN ('received', 'processing', 'answered')"
OPEN = "state IN ('planned', 'sending')"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What is run, and how."""

    scenario: Scenario
    size: Size
    size_name: str
    seed: int
    engine: str
    plant: str = ""

    @property
    def is_embedded(self) -> bool:
        """Whether it needs no servers."""
        return self.engine == EMBEDDED


@dataclass(eq=False, kw_only=True)
class Stage:
    """The parts of one run; scenarios act on them."""

    run: Run
    layout: Layout
    rng: random.Random
    gateway: EcloudSimulator
    dify: DifySimulator
    fleet: Fleet
    tape: Tape
    talk: Talk
    stores: Stores
    links: dict[str, Link] = field(default_factory=dict)
    balancer: Balancer | None = None
    redis: RedisServer | None = None
    pair: RedisPair | None = None
    mariadb: MariadbServer | None = None
    #: Reads along in Redis, where a scenario wants it.
    line: LineWatch | None = None
    #: What the scenario drew from the seed.
    strikes: tuple[Strike, ...] = ()
    #: How many of them have begun, and whether one is going on.
    begun: int = 0
    is_striking: bool = False
    words: set[str] = field(default_factory=set)
    #: Words by the part of the run in which they were said.
    phases: dict[str, set[str]] = field(default_factory=dict)
    #: What a scenario noted for its bounds and its row.
    facts: dict[str, float | str] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        """How big it is."""
        return self.run.size

    async def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """
        Wait until *condition* holds; the records are read before each look.

        Looked at twenty times a second: once per record would cost more than the record.

        Args:
            seconds: longest wait since anything happened at all; longest altogether: ``LONGEST`` times.

        Raises:
            TimeoutError: it did not; says *what* did not come.
        """
        events, last = -1, time.monotonic()
        ends = last + LONGEST * seconds
        while True:
            self.tape.read()
            if condition():
                return
            now = time.monotonic()
            if self.tape.events != events:
                events, last = self.tape.events, now
            if now > min(last + seconds, ends):
                raise TimeoutError(f"{what} did not come, and nothing else for {now - last:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)

    async def talk_and_strike(self, blow: Callable[[str], Awaitable[None]]) -> None:
        """Everything is said, and meanwhile the strikes are carried out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.talk.speak(self.size.messages, self.size.rate))
            group.create_task(self.strike(blow))

    async def until_over(self, count: int) -> None:
        """Wait until so many words are answered, at least in part, or were refused."""
        patience = self.size.patience
        await self.until(lambda: self.tape.over >= count, patience, f"answer {count}")

    def draw(self, victims: Sequence[str]) -> str:
        """Draw as many strikes as the size says; how they are printed."""
        size = self.size
        self.strikes = draw_strikes(self.rng, victims, strikes=size.strikes, messages=size.messages)
        return " ".join(map(str, self.strikes))

    async def strike(self, blow: Callable[[str], Awaitable[None]]) -> None:
        """Carry out the strikes, each when its time has come."""
        for one in self.strikes:
            await self.until_over(one.after)
            self.begun += 1
            self.is_striking = True
            await blow(one.victim)
            self.is_striking = False

    async def until_room(self) -> None:
        """
        Wait until the crowd may say more.

        Raises:
            TimeoutError: what it waits for will never come.
        """
        if self._is_enough():
            await self.until(lambda: not self._is_enough(), self.size.patience, "room for a word")

    def _is_enough(self) -> bool:
        """As many words wait for their answers as may, or a strike waits for its turn."""
        said = self.talk.count
        # Something is said during a strike, however much is owed already.
        owing, pending = self.size.owing * (1 + self.is_striking), self.strikes[self.begun :]
        waits_for_strike = bool(pending) and said >= pending[0].after + owing + 2 * self.size.depth
        return bool(owing) and (said - self.tape.over >= owing or waits_for_strike)

    async def until_quiet(self) -> None:
        """
        Wait until nothing is owed any more: not by the records, and not by the database.

        Raises:
            TimeoutError: something is owed still after the size's patience.
        """
        patience = self.size.patience
        courier = self.gateway.courier
        await asyncio.wait_for(courier.idle(), LONGEST * patience)
        resting = asyncio.create_task(self._until_at_rest())
        try:
            await self.until(
                lambda: not self.tape.owed or resting.done(), patience, "the last answer"
            )
        finally:
            resting.cancel()
        ends = time.monotonic() + patience
        # In a thread: while this loop stands still, both simulators do.
        while owed := await asyncio.to_thread(self.owed_in_database):
            if time.monotonic() > ends:
                raise TimeoutError(f"the database is not at rest: {owed}")
            await asyncio.sleep(QUIET_LOOK_SECONDS)
        self.tape.read()

    async def _until_at_rest(self) -> None:
        """Whatever is owed still when the database has long been at rest will never come."""
        looks = 0
        while looks < REST_LOOKS:
            await asyncio.sleep(1.0)
            at_rest = not await asyncio.to_thread(self.owed_in_database)
            spilled = any(self.stores.folder.rglob("*.spill"))
            looks = looks + 1 if at_rest and not spilled else 0

    def owed_in_database(self) -> str:
        """What the database says is unfinished; empty: nothing."""
        try:
            messages = self.count("messages", UNFINISHED)
            segments = self.count("segments", OPEN)
        except SQLAlchemyError as error:
            return type(error).__name__
        return f"{messages} messages, {segments} segments" if messages or segments else ""

    def count(self, table: str, condition: str) -> int:
        """Rows of a table."""
        statement = f"SELECT count(*) AS n FROM {table} WHERE {condition}"
        return int(self.rows(statement)[0]["n"])

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """Rows of the bridge's database, read past every link."""
        return read_rows(self.stores.database_url, statement)
