"""Callbacks that say an account went offline: from whoever took them in to whoever looks after it."""

import asyncio

from loguru import logger
from redis.asyncio import Redis

from app.models.flow import WcId
from app.services.errors import QueueUnavailable
from app.services.queue.keys import Keys
from app.services.queue.scripts import from_wire, translated
from app.utils.loops import first_of

#: So long a notice is of interest: the next poll finds the account anyway.
NOTICE_SECONDS = 300
#: Most accounts in one look.
MOST = 100
PAUSE_SECONDS = 1.0


class OfflineNotices:
    """Passes them on by Redis; nothing that takes callbacks in waits for it."""

    def __init__(self, redis: Redis, *, namespace: str = "") -> None:
        self._redis = redis
        self._key = Keys(namespace=namespace).doubted
        self._unsaid: set[WcId] = set()
        self._bell = asyncio.Event()

    def give(self, bot: WcId) -> None:
        """A callback said so of this account."""
        if len(self._unsaid) < MOST:
            self._unsaid.add(bot)
            self._bell.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Pass them on until stopped."""
        while not stop.is_set():
            await first_of(self._bell, stop)
            self._bell.clear()
            try:
                await self._say()
            except QueueUnavailable as error:
                logger.debug("account.notice_later", error=error)
                self._bell.set()
                await asyncio.sleep(PAUSE_SECONDS)

    async def _say(self) -> None:
        bots = sorted(self._unsaid)
        if not bots:
            return
        async with translated(self._redis):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.sadd(self._key, *bots)
            pipeline.expire(self._key, NOTICE_SECONDS)
            await pipeline.execute()
        self._unsaid -= set(bots)

    async def take(self) -> list[WcId]:
        """
        Accounts of which it was said since the last look.

        Raises:
            QueueUnavailable: Redis is away.
        """
        async with translated(self._redis):
            found = await self._redis.spop(self._key, MOST)
        return sorted(WcId(from_wire(bot)) for bot in found or ())
