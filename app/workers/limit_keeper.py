"""Keeps this process' shares of the apps' limits in step with the other processes."""

import asyncio
from typing import Final

from loguru import logger

from app.services.errors import QueueUnavailable
from app.services.metrics import Metrics
from app.services.queue.limits import Limits
from app.utils.loops import first_of, stopped_within
from app.workers.desks import Desk, Desks

EXCHANGE_SECONDS: Final = 1.0
#: Between two exchanges at least, whatever is urgent; and between two looks whether all have left.
URGENT_SECONDS: Final = 0.1


class LimitKeeper:
    """
    Tells of each app once a second, at once if there was trouble or much more to do.

    While Redis is away the process goes on with the share that it has.
    """

    def __init__(self, *, desks: Desks, limits: Limits, metrics: Metrics) -> None:
        self._desks = desks
        self._limits = limits
        self._metrics = metrics
        #: Every app was told of once, or Redis is away.
        self.has_begun = asyncio.Event()

    async def run(self, stop: asyncio.Event, ended: asyncio.Event) -> None:
        """
        Keep step until stopped, then ask for nothing more; in the end leave.

        Args:
            ended: what was in work is finished.
        """
        await asyncio.gather(*(self.exchange(desk) for desk in self._desks))
        self.has_begun.set()
        await asyncio.gather(*(self._keep(desk, stop, ended) for desk in self._desks))

    async def exchange(self, desk: Desk, *, is_leaving: bool = False) -> None:
        """Tell and hear once."""
        gate = desk.gate
        news = gate.news()
        try:
            grant = await self._limits.exchange(
                desk.app, news, start=gate.limit, maximum=gate.maximum, is_leaving=is_leaving
            )
        except QueueUnavailable as error:
            gate.keep(news)
            logger.debug("limit.told_later", app=desk.app, error=error)
            return
        gate.take(grant)
        self._desks.has_room.set()
        if grant.lowered_by:
            self._metrics.limit_cuts.labels(app=desk.app, cause=grant.lowered_by).inc()
            logger.info(
                "limit.lowered 同时的提问减少",
                app=desk.app,
                cause=grant.lowered_by,
                limit=int(grant.limit),
            )

    async def _keep(self, desk: Desk, stop: asyncio.Event, ended: asyncio.Event) -> None:
        while not await stopped_within(stop, URGENT_SECONDS):
            await first_of(desk.gate.is_urgent, stop, seconds=EXCHANGE_SECONDS - URGENT_SECONDS)
            await self.exchange(desk)
        while not await stopped_within(ended, URGENT_SECONDS):
            await self.exchange(desk, is_leaving=True)
        try:
            await self._limits.leave(desk.app)
        except QueueUnavailable as error:
            # The others take its share in a few seconds.
            logger.debug("limit.left_unsaid", app=desk.app, error=error)
