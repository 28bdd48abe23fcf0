"""Tells the operator what is wrong and when it is well again, out of one ledger."""

import asyncio
from dataclasses import replace
from typing import Final

from loguru import logger

from app.services.alerts.ledger import Event, Notice, Timing, cleared, looked, queued
from app.services.errors import QueueUnavailable
from app.utils.clock import Clock
from app.utils.loops import cancelled
from app.workers.alert_post import AlertPost
from app.workers.alert_shelf import Shelf
from app.workers.alert_watch import Watch

LOOK_SECONDS: Final = 10.0


class AlertDesk:
    """One ledger: what is looked at, where it lies, and who is told."""

    def __init__(
        self, *, watch: Watch, shelf: Shelf, post: AlertPost, timing: Timing, clock: Clock
    ) -> None:
        self._watch = watch
        self._shelf = shelf
        self._post = post
        self._timing = timing
        self._clock = clock

    async def look(self) -> None:
        """
        Look once, and tell what is to be told, unless another process does.

        What is decided is kept before it is told: whoever dies in between leaves it to the next one,
        who may tell it once more.

        Raises:
            QueueUnavailable: nothing is decided; what was told is noted at the next look.
        """
        ledger = await self._shelf.take()
        if ledger is None:
            return
        now = self._clock.time()
        seen = await self._watch.look(ledger.tallies, now)
        ledger = replace(ledger, tallies=seen.tallies)
        ledger, notices = looked(
            ledger, seen.conditions, known=seen.known, now=now, timing=self._timing
        )
        ledger, late = cleared(queued(ledger, notices, self._post.names), self._post.names, now)
        if late:
            logger.error("alert.given_up 一天内没有送到", notices=late)
        await self._shelf.put(ledger)
        for one in notices:
            _log(one)
        await self._shelf.put(await self._post.deliver(ledger))
        self._post.noted()

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until stopped."""
        looking = asyncio.create_task(self._look_until_cancelled(), name="alert-looks")
        try:
            await stop.wait()
        finally:
            await cancelled([looking])
            await self._post.stop()
            await self._shelf.leave()

    async def _look_until_cancelled(self) -> None:
        while True:
            try:
                await self.look()
            except QueueUnavailable as error:
                logger.debug("alert.later", error=error)
            except Exception as error:  # noqa: BLE001 - who only tells of faults must not stop the bridge
                logger.opt(exception=error).error("alert.failed")
            await self._clock.sleep(LOOK_SECONDS)


def _log(notice: Notice) -> None:
    condition = notice.condition
    level = "INFO" if notice.event is Event.RECOVERED else "WARNING"
    event = "alert.recovered" if notice.event is Event.RECOVERED else "alert.firing"
    logger.log(level, event, key=condition.key, code=condition.code)
