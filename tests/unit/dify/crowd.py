"""
Several processes at one Dify, in minutes that pass in no time.

The processes' own counting (``Places``) and the script that joins them are the real ones; the
Dify is a model: so many answers at a time, and the others wait without a byte, or are refused.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from app.models.limit import Grant
from app.services.dify.limit import Place, Places
from app.services.queue.limits import grant_of, news_argv
from tests.fixtures.lua import Lua

TICK = 0.05
EXCHANGE_SECONDS = 1.0
KEY = "ecloud:limit:default"


class Time:
    """A clock that stands where it is set."""

    def __init__(self, lua: Lua) -> None:
        self._lua = lua

    def time(self) -> float:
        """Seconds since 1970."""
        return self._lua.now

    def monotonic(self) -> float:
        """The same."""
        return self._lua.now

    async def sleep(self, seconds: float) -> None:
        """Nobody sleeps here."""
        raise NotImplementedError


def exchange(lua: Lua, places: Places, process: str, waiting: int = 0, **more: bool) -> Grant:
    """What the keeper does, on the script in memory."""
    argv = news_argv(
        places.news(waiting),
        process=process,
        start=places.limit,
        maximum=places.maximum,
        is_leaving=more.get("is_leaving", False),
    )
    reply = lua.run("limit_exchange", *argv, own_keys=[KEY])
    grant = grant_of(reply)
    places.take(grant)
    return grant


@dataclass
class Question:
    """One that is asked, and how long its answer takes once Dify is at it."""

    owner: Places
    place: Place
    first: float
    whole: float
    asked_at: float
    begun_at: float = -1.0


@dataclass
class Dify:
    """
    So many answers at a time; None: as many as come.

    Args:
        latency: seconds until the first byte, and of the whole answer, if there is no line.
        refuses: more than that are refused; else they wait.
        patience: seconds after which the bridge gives up one that has no byte.
    """

    capacity: int | None
    latency: Callable[[], tuple[float, float]]
    refuses: bool = False
    patience: float = 60.0
    active: list[Question] = field(default_factory=list)
    line: deque[Question] = field(default_factory=deque)
    in_vain: int = 0
    answered: int = 0

    @property
    def at_once(self) -> int:
        """How many are asked now."""
        return len(self.active) + len(self.line)

    def is_full(self) -> bool:
        """One more would wait."""
        return self.capacity is not None and len(self.active) >= self.capacity

    def ask(self, owner: Places, now: float) -> bool:
        """Whether it is taken."""
        place = owner.enter()
        if self.refuses and self.at_once >= (self.capacity or 0):
            self.in_vain += 1
            owner.fail(place, "dify_overloaded")
            return False
        first, whole = self.latency()
        self.line.append(Question(owner, place, first, whole, now))
        return True

    def pass_time(self, now: float) -> None:
        """Answers begin, go on and end."""
        while self.line and now - self.line[0].asked_at > self.patience:
            one = self.line.popleft()
            one.owner.fail(one.place, "dify_unavailable")
            self.in_vain += 1
        for one in list(self.active):
            if now >= one.begun_at + one.first:
                one.owner.hear(one.place, now - one.asked_at)
            if now >= one.begun_at + one.whole:
                self.active.remove(one)
                one.owner.succeed(one.place)
                self.answered += 1
        while self.line and not self.is_full():
            one = self.line.popleft()
            one.begun_at = now
            self.active.append(one)


@dataclass
class Crowd:
    """The processes, each with more to ask than it may (``backlog``), or so much per second."""

    dify: Dify
    processes: int = 2
    initial: int = 16
    maximum: int = 64
    rate: float | None = None
    seed: int = 1
    limits: list[float] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lua = Lua()
        clock = Time(self.lua)
        self.all = [
            Places(self.initial, maximum=self.maximum, clock=clock) for _ in range(self.processes)
        ]
        for at, places in enumerate(self.all):
            exchange(self.lua, places, f"p{at}")
        self._rng = random.Random(self.seed)
        self._waiting = [0] * self.processes
        self._next = [0.1 * at for at in range(self.processes)]
        self._full_since = [0.0] * self.processes
        self._paused_until = [0.0] * self.processes

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        for _ in range(round(seconds / TICK)):
            self.lua.now += TICK
            now = self.lua.now
            self.dify.pass_time(now)
            for at in range(self.processes):
                self._work(at, now)
            self.limits.append(max(one.limit for one in self.all))
            self.at_once.append(self.dify.at_once)

    def _work(self, at: int, now: float) -> None:
        places = self.all[at]
        if self.rate is not None:
            chance = self.rate / self.processes * TICK
            self._waiting[at] += int(chance) + (self._rng.random() < chance % 1)
        has_work = self.rate is None or self._waiting[at] > 0
        while places.in_use < places.slots and has_work and now >= self._paused_until[at]:
            if not self.dify.ask(places, now):
                # As the worker does: the message waits for a while.
                self._paused_until[at] = now + 0.5
                self._next[at] = now
                break
            if self.rate is not None:
                self._waiting[at] -= 1
                has_work = self._waiting[at] > 0
        waiting = 0 if self.rate is None else min(self._waiting[at], places.slots)
        if places.in_use < places.slots or not has_work:
            self._full_since[at] = now
        elif now - self._full_since[at] >= 1.0 and places.in_use:
            self._full_since[at] = now
            places.press()
        if places.note_demand(waiting):
            self._next[at] = min(self._next[at], now)
        if now >= self._next[at]:
            exchange(self.lua, places, f"p{at}", waiting)
            self._next[at] = now + EXCHANGE_SECONDS
