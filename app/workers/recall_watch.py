"""Stops the work on questions that were taken back, in whichever process their recall was heard."""

import asyncio

from loguru import logger

from app.services.errors import StoreUnavailable
from app.services.recalls import Recalls
from app.utils.loops import first_of
from app.workers.worker import Worker

#: Nothing wrong is sent meanwhile: SQL takes no answer to what was taken back.
LOOK_SECONDS = 1.0


class RecallWatch:
    """Looks every second, as long as something is in work, and at once if this process took it back."""

    def __init__(self, recalls: Recalls, worker: Worker) -> None:
        self._recalls = recalls
        self._worker = worker

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until stopped."""
        news = self._recalls.news
        while not stop.is_set():
            await first_of(stop, news, seconds=LOOK_SECONDS)
            news.clear()
            in_work = self._worker.in_work
            if not in_work:
                continue
            try:
                self._worker.drop(await self._recalls.among(in_work))
            except StoreUnavailable as error:
                logger.debug("message.recall_later", error=error)
