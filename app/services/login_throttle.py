"""
How often somebody may try to log in: per account and per address, counted in Redis for all replicas.

A try is counted before it is made, so that many at once are no way around. While Redis is away
each process counts for itself: the console is wanted most when something is away.
"""

import hashlib
import time
from typing import Final

from redis.asyncio import Redis

from app.services.errors import QueueUnavailable
from app.services.queue.keys import Keys
from app.services.queue.scripts import translated

#: Tries within the window; then there is none until it is over.
PER_ACCOUNT: Final = 8
PER_ADDRESS: Final = 30
WINDOW_SECONDS: Final = 600
#: Names that one process counts while Redis is away.
MOST_NAMES: Final = 10_000


class LoginThrottle:
    """Counts tries."""

    def __init__(self, redis: Redis, *, namespace: str = "") -> None:
        self._redis = redis
        self._keys = Keys(namespace=namespace)
        self._own: dict[str, tuple[int, float]] = {}

    async def admit(self, *, account: str, address: str) -> int:
        """Count one try; seconds to wait until the next one is looked at, 0: this one is."""
        bounds = {self._key("account", account): PER_ACCOUNT}
        bounds[self._key("address", address)] = PER_ADDRESS
        try:
            counted = [await self._count(key) for key in bounds]
        except QueueUnavailable:
            counted = [self._count_here(key) for key in bounds]
        waits = [
            left
            for (count, left), most in zip(counted, bounds.values(), strict=True)
            if count > most
        ]
        return max(waits, default=0)

    async def clear(self, *, account: str) -> None:
        """The account's password was right: its earlier tries are forgotten."""
        key = self._key("account", account)
        self._own.pop(key, None)
        try:
            async with translated(self._redis):
                await self._redis.delete(key)
        except QueueUnavailable:
            # The count ends by itself.
            return

    async def _count(self, key: str) -> tuple[int, int]:
        async with translated(self._redis):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.set(key, 0, ex=WINDOW_SECONDS, nx=True)
            pipeline.incr(key)
            pipeline.ttl(key)
            _, count, left = await pipeline.execute()
        return int(count), max(1, int(left))

    def _count_here(self, key: str) -> tuple[int, int]:
        now = time.monotonic()
        count, ends = self._own.get(key, (0, 0.0))
        if now >= ends:
            if len(self._own) >= MOST_NAMES:
                self._own.clear()
            count, ends = 0, now + WINDOW_SECONDS
        self._own[key] = (count + 1, ends)
        return count + 1, max(1, round(ends - now))

    def _key(self, kind: str, name: str) -> str:
        """Names are digested: what somebody types becomes no key."""
        return self._keys.login(kind, hashlib.sha256(name.encode()).hexdigest()[:32])
