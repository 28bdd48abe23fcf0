"""How a sender ends after a stop: what can go out goes out for some seconds, and no longer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loguru import logger

from app.models.flow import WcId
from app.utils.clock import Clock

#: After a stop what can go out goes out for so long: the answers that were finished while draining.
#: Together with the 25 s of draining it stays below the time a process has to end.
LAST_SECONDS = 9.0
#: No call begins later than so long before that end (or its time-out, if that is shorter); one
#: that takes longer is cut off and undecided.
LAST_CALL_SECONDS = 4.0


class Ending:
    """The bound of one sender's life after a stop."""

    def __init__(self, bot: WcId, *, clock: Clock, timeout: float) -> None:
        """
        Args:
            timeout: seconds of one call to the gateway.
        """
        self._bot = bot
        self._clock = clock
        self._timeout = timeout
        self._ends_at: float | None = None

    @asynccontextmanager
    async def watched(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """After a stop nothing inside, not even a slow call, keeps the process for longer."""
        bound = asyncio.timeout(None)
        watching = None
        try:
            async with bound:
                watching = asyncio.create_task(self._end_in_time(stop, bound))
                yield
        except TimeoutError:
            if not bound.expired():
                raise
            logger.warning("sender.cut_off", bot=self._bot)
        finally:
            if watching is not None:
                watching.cancel()

    async def _end_in_time(self, stop: asyncio.Event, bound: asyncio.Timeout) -> None:
        await stop.wait()
        self._ends_at = self._clock.monotonic() + LAST_SECONDS
        bound.reschedule(asyncio.get_running_loop().time() + LAST_SECONDS)

    def latest_call(self) -> float:
        """Monotonic seconds after which no call begins any more."""
        ends_at = self._ends_at or self._clock.monotonic() + LAST_SECONDS
        return ends_at - min(self._timeout, LAST_CALL_SECONDS)

    def latest_word(self, *, began: float) -> float:
        """
        Monotonic seconds after which nothing is written down any more.

        Args:
            began: when the sender ended; without a stop it has one time-out of a call from then on:
                no successor decides on an undecided segment sooner.
        """
        return began + self._timeout if self._ends_at is None else self._ends_at
