"""Signs of processes that have callbacks in their spill files, for the others to wait for."""

from redis.asyncio import Redis

from app.services.queue.keys import Keys
from app.services.queue.scripts import ScriptRunner

#: A sign counts so long: a process that died brings nothing before it is started again.
SIGN_SECONDS = 10.0


class SpillSigns:
    """
    Gives the sign of one process, and sees those of all.

    Every method raises ``QueueUnavailable`` when Redis cannot be reached in time.
    """

    def __init__(self, redis: Redis, *, holder: str, namespace: str = "") -> None:
        keys = Keys(namespace=namespace)
        self._scripts = ScriptRunner(redis, keys)
        self._own = [keys.spilling]
        self._holder = holder

    async def give(self) -> None:
        """From now on, for ``SIGN_SECONDS``, this process has something."""
        await self._run(round(SIGN_SECONDS * 1000))

    async def take_back(self) -> None:
        """It has nothing any more."""
        await self._run(0)

    async def anybody(self) -> bool:
        """Whether some process has something."""
        return await self._run(-1) > 0

    async def _run(self, milliseconds: int) -> int:
        run = self._scripts.run("spill_sign", self._holder, milliseconds, own_keys=self._own)
        return int(await run)
