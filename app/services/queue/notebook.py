"""A page in Redis that one process at a time writes and any may read; who may is decided elsewhere."""

from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.services.queue.keys import Keys
from app.services.queue.scripts import to_wire, translated

#: A page that nobody turned for so long is forgotten: its host may be no more.
KEPT_SECONDS: Final = 30 * 86_400


class Notebook:
    """
    One page.

    Every method raises ``QueueUnavailable`` when Redis cannot be reached in time or refuses.
    """

    def __init__(self, redis: Redis, name: str, *, namespace: str = "") -> None:
        self._redis = redis
        self._key = to_wire(Keys(namespace=namespace).alerts(name))

    async def read(self) -> bytes:
        """What was written last; empty: nothing, or something that is no page."""
        async with translated(self._redis):
            try:
                found = await self._redis.get(self._key)
            except ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                await self._redis.delete(self._key)
                return b""
        return to_wire(found or b"")

    async def write(self, page: bytes) -> None:
        """Write it over what is there."""
        async with translated(self._redis):
            await self._redis.set(self._key, page, ex=KEPT_SECONDS)
