"""Repairs the index by itself: who stands in no line, keys of another type, the total."""

import re
from collections.abc import AsyncIterator
from typing import Final

from loguru import logger
from redis.asyncio import Redis

from app.services.queue.keys import Keys
from app.services.queue.overview import read_parked
from app.services.queue.scripts import ScriptRunner, from_wire, translated
from app.utils.batches import batches

#: Keys or members per look; the most of them are of other kinds.
PAGE: Final = 500
#: Users of one script.
USERS_AT_ONCE: Final = 100


async def repair(redis: Redis, scripts: ScriptRunner, keys: Keys) -> int:
    """See ``MessageQueue.repair``."""
    await heal(scripts)  # else the first odd key would end it
    async with translated(redis):
        before = int(await redis.get(keys.waiting) or 0)
    counted = repaired = deleted = 0
    known: set[str] = set()
    async for users in _users(redis, scripts, keys):
        new = list(users - known)
        known.update(new)
        for some in batches(new, USERS_AT_ONCE):
            put_back, elements, odd = await scripts.run("repair", *some)
            repaired += put_back
            counted += elements
            deleted += odd
    log_deleted(deleted)
    await scripts.run("set_waiting", before, counted)
    return repaired


async def heal(scripts: ScriptRunner) -> int:
    """See ``MessageQueue.heal``."""
    deleted: int = await scripts.run("heal")
    log_deleted(deleted)
    return deleted


def log_deleted(keys: int) -> None:
    """Tell the operator of keys that stood in the way."""
    if keys:
        logger.warning("queue.odd_keys_deleted", keys=keys)


async def _users(redis: Redis, scripts: ScriptRunner, keys: Keys) -> AsyncIterator[set[str]]:
    """Who has a list or stands in line, page by page; some more than once."""
    prefix = keys.queue_prefix
    pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", prefix) + "*"
    cursor = None
    while cursor != 0:
        async with translated(redis):
            cursor, names = await redis.scan(cursor or 0, match=pattern, count=PAGE)
        yield {from_wire(name)[len(prefix) :] for name in names}
    parked = [keys.parked(peer) for peer in await read_parked(scripts)]
    for line in (keys.ready, keys.suspects, *parked):
        cursor = None
        while cursor != 0:
            async with translated(redis):
                cursor, members = await redis.zscan(line, cursor or 0, count=PAGE)
            yield {from_wire(user) for user, _ in members}
