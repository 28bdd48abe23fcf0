"""Runs that nobody will ever read are stopped in Dify; nobody waits for that."""

import asyncio

from loguru import logger

from app.services.dify.client import DifyClient
from app.services.errors import DifyError, loggable
from app.services.metrics import Metrics


class Stops:
    """Tells Dify, each within two seconds; a failure costs Dify's work and nothing of ours."""

    def __init__(self, *, dify: DifyClient, metrics: Metrics) -> None:
        self._dify = dify
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, task_id: str, user: str) -> None:
        """Have a run stopped; nothing if its id is not known."""
        if not task_id:
            return
        task = asyncio.create_task(self._stop(task_id, user), name="dify-stop")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Wait for those that are on their way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _stop(self, task_id: str, user: str) -> None:
        try:
            await self._dify.stop(task_id, user)
        except DifyError as error:
            self._metrics.stops.labels(outcome="failed").inc()
            logger.debug("dify.stop_failed", task=task_id, error=loggable(error))
        else:
            self._metrics.stops.labels(outcome="told").inc()
            logger.debug("dify.stopped", task=task_id)
