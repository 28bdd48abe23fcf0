"""Lets callers wait for a place at one Dify app; how many places there are, ``limit.py`` knows."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.models.limit import Grant, LimitNews
from app.services.dify.limit import Place, Places
from app.services.errors import DifyOverloaded, DifyUnavailable, code_of


class Gate:
    """Lets callers through in the order they came, as many at once as there are places."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._queue: deque[asyncio.Future[Place]] = deque()
        #: There is something that the other processes should hear at once.
        self.is_urgent = asyncio.Event()

    @property
    def slots(self) -> int:
        """How many may be in flight now, in this process."""
        return self._places.slots

    @property
    def limit(self) -> float:
        """How many may be in flight in all processes together, as far as it is known here."""
        return self._places.limit

    @property
    def maximum(self) -> int:
        """What the limit never exceeds."""
        return self._places.maximum

    @property
    def in_use(self) -> int:
        """How many are in flight."""
        return self._places.in_use

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whoever came now would have to wait."""
        return self.in_use >= self.slots or bool(self._queue)

    @property
    def is_idle(self) -> bool:
        """Nobody is here."""
        return not self.in_use and not self._queue

    @asynccontextmanager
    async def slot(self) -> AsyncIterator["Slot"]:
        """
        One place in flight for the length of the block, after waiting for it.

        A block that ends well raises the limit; one that raises ``DifyOverloaded`` or
        ``DifyUnavailable`` lowers it; any other exception says nothing about the app's load.
        """
        place = await self._enter()
        try:
            yield Slot(self._places, place)
        except (DifyOverloaded, DifyUnavailable) as error:
            if self._places.fail(place, code_of(error)):
                self.is_urgent.set()
            raise
        else:
            self._places.succeed(place)
        finally:
            self._places.leave(place)
            self._admit()

    def press(self) -> None:
        """
        Somebody has waited for a second although nothing is wrong: answers take long, that is all.

        Else as many slow questions as there are places would hold up everybody until the first answer.
        """
        if self.is_full and not self.is_idle:
            self._places.press()

    def news(self) -> LimitNews:
        """What there is to tell."""
        self.is_urgent.clear()
        return self._places.news(self.waiting)

    def keep(self, news: LimitNews) -> None:
        """It could not be told."""
        self._places.keep(news)

    def take(self, grant: Grant) -> None:
        """From now on so many places."""
        self._places.take(grant)
        self._admit()

    async def _enter(self) -> Place:
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._admit()
        if self._places.note_demand(self.waiting):
            self.is_urgent.set()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                # Still in line; whoever is next may be free to go since.
                self._queue.remove(turn)
            else:
                self._places.leave(turn.result())
            self._admit()
            raise

    def _admit(self) -> None:
        """Give free places to those who have waited longest."""
        while self._queue and self.in_use < self.slots:
            turn = self._queue[0]
            if turn.cancelled():
                # Its owner removes it when it runs.
                break
            self._queue.popleft()
            turn.set_result(self._places.enter())


class Slot:
    """A place as its holder has it."""

    def __init__(self, places: Places, place: Place) -> None:
        self._places = places
        self._place = place

    def hear(self, seconds: float) -> None:
        """The first byte of the answer came, after so long a wait for Dify."""
        self._places.hear(self._place, seconds)
