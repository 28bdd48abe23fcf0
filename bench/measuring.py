"""What speed is measured on: a program between the simulators, and what its records say."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.checker import Findings, check
from bench.chaos.fleet import Member, resident_bytes
from bench.chaos.history import Fate, fates
from bench.chaos.recording import Tape
from bench.chaos.servers import SharedMariadb, redis_server
from bench.chaos.talk import Compose, Talk
from bench.figures import percentile
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_world import World
from tests.fixtures.bridge import ROOT, Stores, peer_variables
from tests.fixtures.ports import free_port

BRIDGE, YARDSTICK = "bridge", "yardstick"
PROGRAMS = {
    BRIDGE: (str(ROOT / "main.py"),),
    YARDSTICK: ("-m", "bench.yardstick"),
}
LOOK_SECONDS = 0.02
LAG_SECONDS = 0.01
#: Above this share of a core the load generator and the simulators are what is measured.
BUSY = 0.8


@dataclass(eq=False)
class Effort:
    """How busy this very process was, and how late its own loop ran."""

    lags: list[float] = field(default_factory=list)
    _cpu: float = field(default_factory=time.process_time)
    _wall: float = field(default_factory=time.monotonic)

    @property
    def share(self) -> float:
        """Part of one core that was used so far."""
        return (time.process_time() - self._cpu) / max(1e-9, time.monotonic() - self._wall)

    @property
    def lag_p99(self) -> float:
        """Milliseconds that a timer was late."""
        return percentile(self.lags, 0.99) * 1000

    async def watch(self) -> None:
        """Look how late a timer is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.lags.append(loop.time() - due)

    def warning(self) -> str:
        """Whether the harness was the bottleneck; empty: it was not."""
        if self.share < BUSY:
            return ""
        return f"发生器和模拟器用了 {self.share:.0%} 个核,是它们的极限"


@dataclass(eq=False, kw_only=True)
class Trial:
    """One program under one load."""

    program: str
    member: Member
    gateway: EcloudSimulator
    dify: DifySimulator
    tape: Tape
    talk: Talk
    effort: Effort

    @property
    def pid(self) -> int:
        """The program's process."""
        if self.member.process is None:
            raise RuntimeError("it does not run")
        return self.member.process.pid

    @property
    def resident(self) -> int:
        """Its memory in bytes."""
        return resident_bytes(self.pid)

    @property
    def processor_seconds(self) -> float:
        """Processor time that it has used so far."""
        stat = Path(f"/proc/{self.pid}/stat").read_text("ascii", "replace")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    async def until_answered(self, count: int, seconds: float) -> None:
        """
        Wait until so many words are answered.

        Raises:
            TimeoutError: they were not in time.
        """
        async with asyncio.timeout(seconds):
            while len(self.tape.begun) < count:
                await asyncio.sleep(LOOK_SECONDS)
                self.tape.read()

    def fates(self) -> list[Fate]:
        """Everything by word."""
        return list(fates(self.tape.history()).values())

    def findings(self) -> Findings:
        """What the checker says."""
        return check(self.tape.history())

    def span(self) -> float:
        """Seconds from the first callback to the last reply."""
        known = self.fates()
        first = min(fate.spoken_at for fate in known)
        return max(fate.first_arrivals[-1][0] for fate in known) - first

    def overheads(self) -> list[float]:
        """Seconds from callback to reply, less the time Dify itself took."""
        return [
            fate.first_arrivals[-1][0]
            - fate.spoken_at
            - sum(one.ended - one.started for one in fate.askings)
            for fate in self.fates()
        ]


@asynccontextmanager
async def trial(
    program: str,
    shared: SharedMariadb,
    folder: Path,
    *,
    users: int,
    compose: Compose,
    slots: int = 0,
    streaming: bool = False,
) -> AsyncIterator[Trial]:
    """A started program with fresh stores; *slots* is twice the users unless given."""
    await asyncio.to_thread(folder.mkdir)
    room = str(slots or 2 * users)
    async with AsyncExitStack() as stack:
        world = World.crowd(groups=users, people=1)
        gateway = await stack.enter_async_context(
            EcloudSimulator.start(world=world, port=free_port())
        )
        dify = await stack.enter_async_context(
            DifySimulator.start(port=free_port(), name_seconds=0.0)
        )
        redis = stack.enter_context(redis_server(folder / "redis", aof=True))
        stores = Stores(
            name="servers",
            database_url=await asyncio.to_thread(shared.fresh_database),
            redis_url=redis.url,
            folder=folder,
            redis=redis,
        )
        variables = {
            **peer_variables(gateway, dify),
            "PYTHONPATH": str(ROOT),
            "DIFY_MAX_CONCURRENCY": room,
            "DIFY_INITIAL_CONCURRENCY": room,
            "DIFY_STREAMING_ENABLED": str(streaming).lower(),
            "WORKER_CONCURRENCY": room,
            "MESSAGE_PROCESSING_LEASE": "30",
            "MESSAGE_PROCESSING_MAX_QUEUE_LENGTH": "100000",
            "ECLOUD_TIMEOUT": "15",
            "LOG_LEVEL": "WARNING",
        }
        member = Member(stores, variables, program=PROGRAMS[program], name=program)
        stack.callback(member.kill)
        await member.start()
        gateway.callback_url = member.callback_url
        effort = Effort()
        watching = asyncio.create_task(effort.watch())
        stack.callback(watching.cancel)
        yield Trial(
            program=program,
            member=member,
            gateway=gateway,
            dify=dify,
            tape=Tape(gateway, dify),
            talk=Talk(gateway, random.Random(1), compose),
            effort=effort,
        )


def machine() -> str:
    """Cores and load, for the record."""
    return f"{os.cpu_count()} cores, load {' '.join(f'{one:.1f}' for one in os.getloadavg())}"
