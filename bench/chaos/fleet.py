"""
Processes of the bridge by role: started, killed, frozen, stopped and started again.

Each is ``main.py`` as an operator runs it; with a plant, or with waits made short, it is run through
``bench.chaos.planted``. A process dies with the harness, however that ends.
"""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from bench.chaos.nursery import Fork
from bench.chaos.plants import NONE
from tests.fixtures.bridge import Bridge, Child, Stores

WATCH_SECONDS = 0.1
ALL = "all"
TAKES_CALLBACKS = ("all", "api")
#: Outlives a harness that was killed: the pipe on its standard input ends with it.
_WATCH = 'cat >/dev/null; kill -9 "$1" 2>/dev/null'


@dataclass(eq=False)
class Member(Bridge):
    """One process of the fleet."""

    name: str = ""
    role: str = ALL
    #: Whether it is meant to run: one that ended by itself is started again.
    is_wanted: bool = False
    #: Arguments of ``bench.chaos.planted`` before those of the program; None: it is run as it is.
    planted: tuple[str, ...] | None = None
    _watcher: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    @override
    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        if self.planted is None:
            return super().spawn(arguments, environment)
        return Fork(
            [*self.planted, *self.program, *arguments],
            folder=self.stores.folder,
            environment=environment,
            log=self.log_path,
        )

    @override
    def launch(self, *arguments: str, **changes: str) -> Child:
        process = super().launch("--role", self.role, *arguments, **changes)
        self._unwatch()
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "watch", str(process.pid)], stdin=subprocess.PIPE
        )
        self.is_wanted = True
        return process

    @override
    async def stop(self) -> int:
        self.is_wanted = False
        code = await super().stop()
        self._unwatch()
        return code

    @override
    def kill(self) -> None:
        self.is_wanted = False
        super().kill()
        self._unwatch()

    def freeze(self) -> None:
        """Let it stand still (SIGSTOP): connections stay open, nothing happens."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.is_running:
            self.process.send_signal(number)

    def _unwatch(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.kill()
            watcher.wait()
            if watcher.stdin is not None:
                watcher.stdin.close()


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended without being told to."""

    at: float
    name: str
    code: int


@dataclass(eq=False, kw_only=True)
class Fleet:
    """All processes of one run; ``kills`` and ``deaths`` are its record."""

    stores: Stores
    roles: Sequence[str]
    variables: dict[str, str]
    #: Name of a planted defect, and waits to be made short; both empty: plain ``main.py``.
    plant: str = ""
    hasten: Sequence[str] = ()
    kills: list[tuple[float, str]] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        planted = self._planted()
        self.members = [
            Member(
                self.stores,
                dict(self.variables),
                planted=planted,
                name=f"{role}-{number}",
                role=role,
            )
            for number, role in enumerate(self.roles, start=1)
        ]

    def _planted(self) -> tuple[str, ...] | None:
        if not self.plant and not self.hasten:
            return None
        return (self.plant or NONE, *(f"--hasten={wait}" for wait in self.hasten))

    @property
    def doors(self) -> list[str]:
        """Addresses of those that take callbacks."""
        return [one.url for one in self.members if one.role in TAKES_CALLBACKS]

    def named(self, name: str) -> Member:
        """One of them."""
        return next(one for one in self.members if one.name == name)

    def of_role(self, *roles: str) -> list[Member]:
        """Those of some roles."""
        return [one for one in self.members if one.role in roles]

    async def start(self) -> None:
        """Start all and wait until they are ready."""
        await asyncio.gather(*(one.start() for one in self.members))

    async def kill(self, member: Member, *, restart: bool = True) -> None:
        """kill -9, and start it again."""
        await asyncio.to_thread(member.kill)
        self.kills.append((time.monotonic(), member.name))
        if restart:
            await member.start()

    async def freeze(self, member: Member, seconds: float) -> None:
        """Let it stand still for so long."""
        member.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            member.thaw()

    async def supervise(self) -> None:
        """Start again whoever ended by itself, until cancelled."""
        while True:
            for member in self.members:
                code = None if member.process is None else member.process.poll()
                if code is not None and member.is_wanted:
                    self.deaths.append(Death(time.monotonic(), member.name, code))
                    member.launch()
            await asyncio.sleep(WATCH_SECONDS)

    async def stop(self) -> dict[str, int]:
        """Stop all in order; exit codes by name."""
        running = [one for one in self.members if one.is_running]
        codes = await asyncio.gather(*(one.stop() for one in running))
        return {one.name: code for one, code in zip(running, codes, strict=True)}

    def close(self) -> None:
        """Kill what still runs."""
        for member in self.members:
            member.thaw()
            with contextlib.suppress(OSError):
                member.kill()

    def logs(self) -> Iterator[tuple[str, str]]:
        """What each of them wrote, by name."""
        for member in self.members:
            yield member.name, member.log


def resident_bytes(pid: int) -> int:
    """Memory of a process (RSS); 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
            lines = [line for line in status if line.startswith("VmRSS:")]
    except OSError:
        return 0
    return int(lines[0].split()[1]) * 1024 if lines else 0
