"""Figures that many tabs look at all the time: read once for all of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from app.console.reading.last_hour import LastHour, read_last_hour
from app.console.reading.traffic import SPANS, Span, Traffic, read_traffic
from app.services.figures import Figures, read_figures
from app.services.stages import utc_now
from app.services.store import Store

T = TypeVar("T")

#: So long a look is good for everybody.
KEEP_SECONDS: Final = 1.5
#: Traffic of a range is good for this share of a column's width, and never for longer than that.
KEEP_SHARE: Final = 1 / 30
KEEP_AT_MOST: Final = 10.0


class Kept(Generic[T]):
    """What is read at most every so many seconds, however many ask for it."""

    def __init__(self, read: Callable[[], Awaitable[T]], *, seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._looking = asyncio.Lock()
        self._kept: tuple[float, T] | None = None

    async def look(self) -> T:
        """
        As it is at this moment, give or take those seconds.

        Raises:
            StoreUnavailable: the database is away.
        """
        async with self._looking:
            if self._kept is None or time.monotonic() - self._kept[0] >= self._seconds:
                found = await self._read()
                self._kept = (time.monotonic(), found)
            return self._kept[1]


class Live:
    """All of them, out of SQL."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._figures = Kept(lambda: read_figures(store), seconds=KEEP_SECONDS)
        self._hour = Kept(self._read_hour, seconds=KEEP_AT_MOST)
        self._traffic = {name: self._of(span) for name, span in SPANS.items()}

    async def figures(self) -> Figures:
        """See ``Kept.look``, and so are the others."""
        return await self._figures.look()

    async def traffic(self, name: str) -> Traffic:
        """Of one of the ``SPANS`` up to now."""
        return await self._traffic[name].look()

    async def hour(self) -> LastHour:
        """The last 60 minutes, minute by minute."""
        return await self._hour.look()

    def _of(self, span: Span) -> Kept[Traffic]:
        async def read() -> Traffic:
            async with self._store.read() as connection:
                return await read_traffic(connection, span, now=utc_now())

        return Kept(read, seconds=min(KEEP_AT_MOST, span.width * KEEP_SHARE))

    async def _read_hour(self) -> LastHour:
        traffic = await self.traffic("1h")
        async with self._store.read() as connection:
            return await read_last_hour(connection, traffic.columns, now=utc_now())
