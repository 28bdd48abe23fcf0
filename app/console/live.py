"""Figures that many tabs look at all the time: read once for all of them."""

import asyncio
import time
from typing import Final

from app.console.reading.last_hour import LastHour, read_last_hour
from app.console.reading.traffic import SPANS, Traffic, read_traffic
from app.services.figures import Figures, read_figures
from app.services.stages import utc_now
from app.services.store import Store

#: So long a look is good for everybody.
KEEP_SECONDS: Final = 1.5
#: Traffic of a range is good for this share of a column's width, and never for longer than that.
KEEP_SHARE: Final = 1 / 30
KEEP_AT_MOST: Final = 10.0


class LiveFigures:
    """Counts out of SQL, however many tabs are open."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looking = asyncio.Lock()
        self._kept: tuple[float, Figures] | None = None

    async def look(self) -> Figures:
        """
        The figures of this moment.

        Raises:
            StoreUnavailable: the database is away.
        """
        async with self._looking:
            now = time.monotonic()
            if self._kept is not None and now - self._kept[0] < KEEP_SECONDS:
                return self._kept[1]
            found = await read_figures(self._store)
            self._kept = (time.monotonic(), found)
            return found


class LiveTraffic:
    """Messages over time, however many tabs are open."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looking = asyncio.Lock()
        self._kept: dict[str, tuple[float, Traffic]] = {}

    async def look(self, name: str) -> Traffic:
        """
        Traffic of one of the ``SPANS`` up to this moment.

        Raises:
            StoreUnavailable: the database is away.
        """
        span = SPANS[name]
        async with self._looking:
            kept = self._kept.get(name)
            if kept is not None and time.monotonic() - kept[0] < min(
                KEEP_AT_MOST, span.width * KEEP_SHARE
            ):
                return kept[1]
            async with self._store.read() as connection:
                found = await read_traffic(connection, span, now=utc_now())
            self._kept[name] = (time.monotonic(), found)
            return found


class LiveHour:
    """The last hour minute by minute, however many tabs are open."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looking = asyncio.Lock()
        self._kept: tuple[float, LastHour] | None = None

    async def look(self) -> LastHour:
        """
        The last 60 minutes up to this moment, give or take some seconds.

        Raises:
            StoreUnavailable: the database is away.
        """
        async with self._looking:
            if self._kept is not None and time.monotonic() - self._kept[0] < KEEP_AT_MOST:
                return self._kept[1]
            async with self._store.read() as connection:
                found = await read_last_hour(connection, now=utc_now())
            self._kept = (time.monotonic(), found)
            return found
