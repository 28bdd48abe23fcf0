"""Whether an app may take back what it streamed: learnt while its answers come, never waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

from loguru import logger

from app.services.dify.client import DifyClient
from app.services.dify.wire import AppParameters
from app.services.errors import DifyError, DifyRejected
from app.utils.clock import Clock

#: So long what was learnt is held to be true, in seconds.
MAX_AGE = 600.0
#: Between two looks while it is not known or not told, in seconds.
PAUSE = 15.0


class Moderation:
    """
    What ``/parameters`` of one app say about its output.

    As long as nobody knows, the app may take back; a refusal to say means that it does not. What
    was known stays in force while newer knowledge cannot be had.

    Args:
        is_ignored: the operator wants pieces at once, whatever the app may take back.
    """

    def __init__(self, dify: DifyClient, clock: Clock, *, is_ignored: bool = False) -> None:
        self._dify = dify
        self._clock = clock
        self._known: bool | None = False if is_ignored else None
        self._look_at = inf if is_ignored else -inf
        #: What was learnt from last, be it somebody else who asked.
        self._told: AppParameters | None = None
        self._lock = asyncio.Lock()

    def may_take_back(self) -> bool:
        """Whether what is streamed now may be replaced when it is out."""
        self._take_over()
        return self._known is not False

    @asynccontextmanager
    async def learning(self) -> AsyncIterator[None]:
        """For the length of the block it is looked up, if it is not known or was long ago."""
        looking = asyncio.create_task(self._look()) if self._is_due() else None
        try:
            yield
        finally:
            if looking is not None:
                looking.cancel()
                [outcome] = await asyncio.gather(looking, return_exceptions=True)
                if isinstance(outcome, Exception):
                    logger.opt(exception=outcome).error("dify.parameters_failed")

    def _take_over(self) -> None:
        told = self._dify.traits.parameters
        if told is not None and told is not self._told and self._look_at != inf:
            self._told = told
            self._learn(told.is_output_moderated)

    def _is_due(self) -> bool:
        self._take_over()
        return self._clock.monotonic() >= self._look_at

    async def _look(self) -> None:
        while True:
            async with self._lock:  # whoever waited here finds that it is known
                if self._is_due():
                    await self._ask()
            if self._known is not None:
                return
            await self._clock.sleep(PAUSE)

    async def _ask(self) -> None:
        try:
            await self._dify.parameters()
            self._take_over()
        except DifyError as error:
            logger.warning("dify.parameters_unknown", known=self._known, error=error)
            if self._known is None and isinstance(error, DifyRejected):
                self._known = False
            self._look_at = self._clock.monotonic() + PAUSE

    def _learn(self, is_moderated: bool) -> None:
        if is_moderated is not self._known:
            logger.info("dify.moderation", output=is_moderated)
        self._known = is_moderated
        self._look_at = self._clock.monotonic() + MAX_AGE
