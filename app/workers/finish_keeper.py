"""Looks for answers that were sent whole by a process that died before it called them done."""

import asyncio
from datetime import timedelta

from loguru import logger

from app.services.errors import StoreUnavailable
from app.services.outbox import FINISH_AT_ONCE, Outbox
from app.services.stages import utc_now
from app.utils.loops import stopped_within

LOOK_SECONDS = 10.0
#: What was answered so lately is being sent, or about to be called done.
AGE = timedelta(seconds=5)


class FinishKeeper:
    """Looks at once and then every ten seconds; every process that sends does."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def run(self, stop: asyncio.Event) -> None:
        """Look until stopped."""
        while not stop.is_set():
            try:
                await self.look()
            except StoreUnavailable as error:
                logger.debug("finish.later", error=error)
            await stopped_within(stop, LOOK_SECONDS)

    async def look(self) -> int:
        """
        Finish what was left; how many.

        Raises:
            StoreUnavailable: the rest is left for the next time.
        """
        finished = 0
        while found := await self._outbox.finish_lost(before=utc_now() - AGE):
            finished += found
            if found < FINISH_AT_ONCE:
                break
        if finished:
            logger.info("finish.made_good", messages=finished)
        return finished
