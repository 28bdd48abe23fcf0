"""What metrics show of the means: accounts that can speak, room on the disk, memory of Redis."""

import asyncio
from collections import Counter

from loguru import logger

from app.models.account import AccountState
from app.opening import REDIS
from app.runtime import Runtime, data_folder
from app.utils.disk import free_bytes

#: Longest time the disk is waited for: one that hangs must not hang the figures.
DISK_SECONDS = 1.5


async def refresh_means(runtime: Runtime) -> None:
    """Set the gauges; what does not tell keeps its last value."""
    counts = Counter(one.state for one in runtime.accounts.standing())
    for state in AccountState:
        runtime.metrics.accounts.labels(state=state.value).set(counts[state])
    # As the inspection found it at most half a minute ago.
    facts = runtime.inspection.last(REDIS).facts
    runtime.metrics.redis_memory.set(facts.get("used_memory") or 0)
    runtime.metrics.redis_memory_limit.set(facts.get("maxmemory") or 0)
    try:
        async with asyncio.timeout(DISK_SECONDS):
            free = await asyncio.to_thread(free_bytes, data_folder(runtime.settings))
    except (OSError, TimeoutError) as error:
        logger.debug("figures.no_disk", error=repr(error))
    else:
        runtime.metrics.disk_free.set(free)
