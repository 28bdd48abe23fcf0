"""How many questions one Dify app is asked at once: a limit that finds its own height."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from app.services.errors import DifyOverloaded, DifyUnavailable

#: After trouble so many presses pass before the limit grows without successes again.
CALM_PRESSES = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptiveLimit:
    """
    Additive increase, multiplicative decrease: one more after as many successes as it allows, or
    after a press; half after trouble; between 1 and *maximum*.
    """

    current: float
    maximum: int

    @classmethod
    def starting_at(cls, initial: int, *, maximum: int) -> "AdaptiveLimit":
        """A limit between 1 and *maximum*, beginning at *initial*."""
        ceiling = max(1, maximum)
        return cls(current=float(min(max(1, initial), ceiling)), maximum=ceiling)

    @property
    def slots(self) -> int:
        """How many may be in flight."""
        return int(self.current)

    def after_success(self) -> "AdaptiveLimit":
        """Grown by one part of itself."""
        return replace(self, current=min(self.current + 1 / self.current, float(self.maximum)))

    def after_press(self) -> "AdaptiveLimit":
        """One more."""
        return replace(self, current=min(self.current + 1, float(self.maximum)))

    def after_trouble(self) -> "AdaptiveLimit":
        """Halved."""
        return replace(self, current=max(self.current / 2, 1.0))


class Gate:
    """
    Lets callers through in the order they came, as many at once as its limit allows.

    Trouble of callers that were let through before the last halving says nothing new and does not
    halve again; otherwise one bad moment of sixteen callers would end at 1.
    """

    def __init__(self, limit: AdaptiveLimit) -> None:
        self._limit = limit
        self._in_use = 0
        self._generation = 0
        self._calm_presses = CALM_PRESSES
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def slots(self) -> int:
        """How many may be in flight now."""
        return self._limit.slots

    @property
    def in_use(self) -> int:
        """How many are in flight."""
        return self._in_use

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whoever came now would have to wait."""
        return self._in_use >= self.slots or bool(self._queue)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """
        One place in flight for the length of the block, after waiting for it.

        A block that ends well raises the limit; one that raises ``DifyOverloaded`` or
        ``DifyUnavailable`` lowers it; any other exception says nothing about the app's load.
        """
        await self._enter()
        generation = self._generation
        try:
            yield
        except (DifyOverloaded, DifyUnavailable):
            if generation == self._generation:
                self._generation += 1
                self._calm_presses = 0
                self._limit = self._limit.after_trouble()
            raise
        else:
            self._limit = self._limit.after_success()
        finally:
            self._in_use -= 1
            self._admit()

    def press(self) -> None:
        """
        Somebody has waited for a second although nothing is wrong: answers take long, that is all.

        Else as many slow questions as there are places would hold up everybody until the first answer.
        """
        if not self.is_full:
            return
        self._calm_presses += 1
        if self._calm_presses > CALM_PRESSES:
            self._limit = self._limit.after_press()
            self._admit()

    async def _enter(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                # Still in line; whoever is next may be free to go since.
                self._queue.remove(turn)
            else:
                self._in_use -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        """Give free places to those who have waited longest."""
        while self._queue and self._in_use < self.slots:
            turn = self._queue[0]
            if turn.cancelled():
                # Its owner removes it when it runs.
                break
            self._queue.popleft()
            self._in_use += 1
            turn.set_result(None)
