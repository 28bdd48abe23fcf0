"""Named leases and wake-ups that all processes share: one sender per account, one sweep at a time."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from loguru import logger
from redis.asyncio import Redis

from app.models.flow import WcId
from app.services.errors import QueueUnavailable
from app.services.queue.keys import WAKE_TOKENS, Keys
from app.services.queue.scripts import ScriptRunner, from_wire, to_wire, translated
from app.utils.clock import Clock


class Lease:
    """A right that one process holds for some seconds at a time."""

    def __init__(
        self, scripts: ScriptRunner, key: str, *, holder: str, seconds: float, clock: Clock
    ) -> None:
        self._scripts = scripts
        self._key = key
        self._seconds = seconds
        self._clock = clock
        self.holder = holder
        self.token = f"{holder}:{secrets.token_hex(6)}"
        self._held_until = 0.0

    @property
    def seconds(self) -> float:
        """How long it lasts from one renewal."""
        return self._seconds

    @property
    def is_held(self) -> bool:
        """Whether it is certainly ours still, by our own clock."""
        return self._clock.monotonic() < self._held_until

    async def hold(self) -> bool:
        """
        Take or renew it; False: somebody else has it.

        Raises:
            QueueUnavailable: unknown; it stays ours until its time is over.
        """
        # Counted from before the call: the answer may have taken its time.
        asked = self._clock.monotonic()
        milliseconds = round(self._seconds * 1000)
        held = await self._scripts.run("hold_lease", self.token, milliseconds, own_keys=[self._key])
        self._held_until = asked + self._seconds if held else 0.0
        return bool(held)

    async def confirm(self, *, within: float) -> bool:
        """
        Whether it is ours, as Redis said within the last seconds; else it is renewed.

        Raises:
            QueueUnavailable: as ``hold``.
        """
        renewed_at = self._held_until - self._seconds
        if self.is_held and self._clock.monotonic() - renewed_at < within:
            return True
        return await self.hold()

    async def free(self) -> None:
        """Give it back; while Redis is away it ends by itself."""
        self._held_until = 0.0
        try:
            await self._scripts.run("free_lease", self.token, own_keys=[self._key])
        except QueueUnavailable as error:
            logger.warning("lease.left", key=self._key, error=error)


class Leases:
    """Makes leases on one Redis."""

    def __init__(self, redis: Redis, *, holder: str, clock: Clock, namespace: str = "") -> None:
        self._keys = Keys(namespace=namespace)
        self._scripts = ScriptRunner(redis, self._keys)
        self._holder = holder
        self._clock = clock

    def sender(self, bot: WcId, *, seconds: float) -> Lease:
        """The right to send for one account."""
        return self._lease(self._keys.sender(bot), seconds)

    def task(self, name: str, *, seconds: float) -> Lease:
        """The right to do one of the periodic tasks."""
        return self._lease(self._keys.task(name), seconds)

    def _lease(self, key: str, seconds: float) -> Lease:
        return Lease(self._scripts, key, holder=self._holder, seconds=seconds, clock=self._clock)


class OutboxBell:
    """Tells senders, in whichever process, that an account has something to send."""

    def __init__(self, redis: Redis, *, namespace: str = "") -> None:
        self._redis = redis
        self._keys = Keys(namespace=namespace)
        #: Senders of this process: they need no Redis to hear it.
        self._near: dict[WcId, Callable[[], None]] = {}

    @contextmanager
    def heard_here(self, bot: WcId, sender: Callable[[], None]) -> Iterator[None]:
        """For the length of the block the account's sender runs in this process."""
        self._near[bot] = sender
        try:
            yield
        finally:
            del self._near[bot]

    async def ring(self, bot: WcId) -> None:
        """
        Something is planned for this account.

        A sender that loses its lease in this very moment may be told in vain: the next one looks by
        itself within seconds.

        Raises:
            QueueUnavailable: nobody heard; senders look by themselves every few seconds.
        """
        if (sender := self._near.get(bot)) is not None:
            sender()
            return
        key = self._keys.outbox(bot)
        async with translated(self._redis):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.rpush(key, b"1")
            pipeline.ltrim(key, 0, WAKE_TOKENS - 1)
            pipeline.expire(key, 60)
            await pipeline.execute()

    async def listen(self, bots: Sequence[WcId], *, seconds: float) -> WcId | None:
        """
        The first of these accounts for which it rings; None after *seconds* (at most 1).

        Raises:
            QueueUnavailable: Redis is away.
        """
        keys = {to_wire(self._keys.outbox(bot)): bot for bot in bots}
        async with translated(self._redis):
            heard = await self._redis.blpop(list(keys), timeout=min(seconds, 1.0))
        return keys[to_wire(from_wire(heard[0]))] if heard else None
