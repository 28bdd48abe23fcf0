"""Asks the gateway's logins again and again who is online, and under which wId."""

import asyncio

from loguru import logger

from app.services.errors import QueueUnavailable
from app.services.gateways import Gateways
from app.services.queue.leases import Lease
from app.utils.loops import stopped_within

#: Between two looks, in seconds; others learn of it from SQL.
LOOK_SECONDS = 60.0


class LoginKeeper:
    """Keeps the wIds and the standing of our accounts fresh where no callback tells of them."""

    def __init__(self, gateways: Gateways, *, lease: Lease) -> None:
        """
        Args:
            lease: one replica does it at a time.
        """
        self._gateways = gateways
        self._lease = lease

    async def run(self, stop: asyncio.Event) -> None:
        """Look until stopped; the first look was at the start."""
        while not await stopped_within(stop, LOOK_SECONDS):
            try:
                if await self._lease.hold():
                    for error in await self._gateways.query_all():
                        logger.warning("account.logins_not_told", error=error)
            except QueueUnavailable as error:
                logger.debug("account.logins_later", error=error)
        await self._lease.free()
