"""Writes down what waits, once a minute, by one process at a time: nobody could tell it later."""

import asyncio
from typing import Final

from loguru import logger

from app.services.errors import ServiceError
from app.services.figures import read_figures
from app.services.minute_figures import keep_figures
from app.services.queue.leases import Lease
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.loops import stopped_within

LOOK_SECONDS: Final = 20.0
#: Longer than a look.
LEASE_SECONDS: Final = 60.0


class FiguresKeeper:
    """Looks some times a minute; the last look of a minute stays."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store = store
        self._lease = lease

    async def run(self, stop: asyncio.Event) -> None:
        """Write until stopped."""
        while not stop.is_set():
            try:
                if await self._lease.hold():
                    await keep_figures(self._store, await read_figures(self._store), utc_now())
            except ServiceError as error:
                logger.debug("figures.later", error=error)
            await stopped_within(stop, LOOK_SECONDS)
        await self._lease.free()
