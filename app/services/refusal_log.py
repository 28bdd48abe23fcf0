"""Tells the log what is refused: an overload must not fill the disk with it."""

import asyncio
from collections import Counter
from typing import Final

from loguru import logger

from app.models.flow import Refused, RefuseReason
from app.utils.clock import Clock
from app.utils.loops import stopped_within

#: Between two lines; the counts of all lines together are what was refused.
PAUSE_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 1.0


class RefusalLog:
    """The first refusal is told at once, those that follow together and now and then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[RefuseReason] = Counter()
        self._next = 0.0

    def note(self, receipt: Refused) -> None:
        """One more; its own line is for those who look closely."""
        logger.debug("callback.refused", message_id=receipt.message_id, verdict=receipt.reason)
        self._counts[receipt.reason] += 1
        self._tell_if_due()

    async def run(self, stop: asyncio.Event) -> None:
        """Tell what is left to tell until stopped, then the rest."""
        while not await stopped_within(stop, LOOK_SECONDS):
            self._tell_if_due()
        self._tell()

    def _tell_if_due(self) -> None:
        if self._counts and self._clock.monotonic() >= self._next:
            self._tell()

    def _tell(self) -> None:
        for reason, count in sorted(self._counts.items()):
            logger.warning("callback.refusing 拒收", verdict=reason, count=count)
        self._counts.clear()
        self._next = self._clock.monotonic() + PAUSE_SECONDS
