"""The queue on Redis: thin methods over the Lua in ``scripts/``, which holds all the rules."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

from loguru import logger
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from typing_extensions import override

from app.models.flow import Claim, MessageId, WcId
from app.services.queue.index_repair import heal, log_deleted, repair
from app.services.queue.keys import Keys
from app.services.queue.overview import read_figures, read_parked
from app.services.queue.protocol import Claims, Enqueued, Entry, MessageQueue, QueueFigures
from app.services.queue.restoring import restore
from app.services.queue.scripts import ScriptRunner, Wire, from_wire, translated

#: Longest single BLPOP in seconds; below the client's socket time-out, and the longest time a
#: cancellation can go unnoticed.
BLOCK: Final = 1.0
#: Shortest BLPOP; 0 would block for ever.
SHORTEST_BLOCK: Final = 0.01
#: Seeds of the generator in ``scripts/claim.lua`` are 1 to this.
MAX_SEED: Final = 2_147_483_646


class RedisQueue(MessageQueue):
    """
    ``MessageQueue`` on Redis 6.2 or later, Valkey, or the embedded engine.

    Args:
        redis: bytes client (``decode_responses=False``) that repeats no commands by itself and
            whose socket time-out is longer than ``BLOCK``; see ``app.utils.redis_client``.
        worker: name of this process in the leases; shown to the operator by ``GET``.
        lease: seconds a claim lasts without a heartbeat.
        namespace: in front of all key names; empty in production.
        seen_seconds: how long a message is known to have been enqueued; 0: not at all, SQL
            tells duplicates.
        rng: source of the delays after crashes.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        worker: str,
        lease: float = 30.0,
        namespace: str = "",
        seen_seconds: int = 86_400,
        rng: random.Random | None = None,
    ) -> None:
        self._redis = redis
        self._worker = worker
        self._lease = milliseconds(lease)
        self._keys = Keys(namespace=namespace)
        self._seen_seconds = seen_seconds
        self._rng = rng or random.SystemRandom()
        self._scripts = ScriptRunner(redis, self._keys)

    @override
    async def enqueue(
        self,
        entries: Sequence[Entry],
        *,
        user_bound: int,
        all_bound: int,
        trusts_seen: bool = True,
    ) -> list[Enqueued]:
        bounds = (self._seen_seconds, user_bound, all_bound, int(trusts_seen))
        calls: list[tuple[list[Wire], list[str]]] = [
            (
                [one.user, one.message_id, *bounds],
                [self._seen(one.bot_wc_id, one.dedupe_key, one.message_id)],
            )
            for one in entries
        ]
        return self._enqueued(await self._scripts.run_many("enqueue", calls))

    @override
    async def restore(self, entries: Sequence[Entry]) -> list[Enqueued]:
        results, deleted = await restore(self._scripts, entries, self._delay_of)
        log_deleted(deleted)
        return results

    @override
    async def depths(self, users: Sequence[WcId]) -> list[int]:
        return list(await self._scripts.run("depths", *users))

    def _enqueued(self, replies: Sequence[Any]) -> list[Enqueued]:
        """What became of each, out of the replies of ``enqueue.lua``."""
        results, deleted = [], 0
        for reply in replies:
            if isinstance(reply, ResponseError):
                logger.error("queue.entry_failed", error=reply)
                results.append(Enqueued.FAILED)
            else:
                results.append(Enqueued(from_wire(reply[0])))
                deleted += reply[1]
        log_deleted(deleted)
        return results

    def _delay_of(self, entry: Entry) -> int:
        """What crashed together must not come back together, also where a new index is told of it."""
        return self._rng.randint(0, self._lease // 2) if entry.crashes else 0

    def _seen(self, bot: WcId, dedupe_key: str, message_id: MessageId) -> str:
        """A message without a dedupe key is only ever the same as itself."""
        return self._keys.seen(bot, dedupe_key or f"id:{message_id}")

    @override
    async def rewrite(self, user: WcId, token: str, message_ids: Sequence[MessageId]) -> bool:
        return bool(await self._scripts.run("rewrite", user, token, *message_ids))

    @override
    async def forget(self, user: WcId, message_id: MessageId, bot: WcId, dedupe_key: str) -> None:
        seen = self._seen(bot, dedupe_key, message_id)
        await self._scripts.run("forget", user, message_id, own_keys=[seen])

    @override
    async def claim(self, *, limit: int, may_take_suspect: bool) -> Claims:
        """
        See ``MessageQueue.claim``.

        Cancelled while it asks, it waits for the answer and gives back what it got: a lease that
        nobody knows of would count as a crash.
        """
        asking = asyncio.ensure_future(self._claim(limit, may_take_suspect=may_take_suspect))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            for claim in (await asking).claims:
                await self.retry(claim, delay=0, counts=False)
            raise

    async def _claim(self, limit: int, *, may_take_suspect: bool) -> Claims:
        seed = self._rng.randint(1, MAX_SEED)
        reply = await self._scripts.run(
            "claim", self._worker, self._lease, limit, int(may_take_suspect), seed
        )
        left, dropped, *taken = reply
        if dropped:
            logger.warning("queue.elements_dropped", elements=dropped)
        return Claims(
            claims=tuple(parse_claim(fields) for fields in taken),
            next_due=None if left < 0 else left / 1000,
        )

    @override
    async def wait(self, timeout: float) -> None:
        """See ``MessageQueue.wait``; a cancellation is noticed within ``BLOCK`` seconds."""
        task = asyncio.current_task()
        cancellations = task.cancelling() if task else 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while (left := deadline - loop.time()) > 0:
            block = max(SHORTEST_BLOCK, min(BLOCK, left))
            async with translated(self._redis):
                token = await self._redis.blpop([self._keys.wake], timeout=block)
            # The client swallows a cancellation that arrives while it connects.
            if task and task.cancelling() > cancellations:
                raise asyncio.CancelledError
            if token:
                return

    @override
    async def heartbeat(self, claims: Sequence[Claim]) -> list[Claim]:
        if not claims:
            return []
        parts = [
            part
            for one in claims
            for part in (one.user, one.token, one.message_id, one.crashes, one.sole_crashes)
        ]
        held = await self._scripts.run("heartbeat", self._lease, *parts)
        return [claim for claim, is_held in zip(claims, held, strict=True) if not is_held]

    @override
    async def ack(self, claim: Claim) -> bool:
        return bool(await self._scripts.run("ack", claim.user, claim.token, claim.message_id))

    @override
    async def retry(self, claim: Claim, *, delay: float, counts: bool) -> bool:
        after = milliseconds(delay)
        return bool(await self._scripts.run("retry", claim.user, claim.token, after, int(counts)))

    @override
    async def park(self, claim: Claim, peer: str, *, counts: bool = False) -> bool:
        parked, deleted = await self._scripts.run(
            "park", claim.user, claim.token, peer, int(counts)
        )
        log_deleted(deleted)
        return bool(parked)

    @override
    async def unpark(self, peer: str, most: int) -> int:
        return int(await self._scripts.run("unpark", peer, most))

    @override
    async def parked_peers(self) -> dict[str, int]:
        return await read_parked(self._scripts)

    @override
    async def raise_fence(self, at_least: int) -> None:
        await self._scripts.run("raise_fence", at_least)

    @override
    async def epoch(self) -> str | None:
        async with translated(self._redis):
            try:
                value = await self._redis.get(self._keys.epoch)
            except ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                # As good as none; the rebuild deletes it.
                value = None
        if value is None:
            return None
        stored, _, epoch = from_wire(value).partition("|")
        current = await self._replication_id()
        return None if stored and current and stored != current else epoch

    @override
    async def begin_rebuild(self, owner: str, *, seconds: float) -> bool:
        lock = [self._keys.rebuild]
        await heal(self._scripts)
        return bool(
            await self._scripts.run("begin_rebuild", owner, milliseconds(seconds), own_keys=lock)
        )

    @override
    async def leave_rebuild(self, owner: str) -> None:
        await self._scripts.run("free_lease", owner, own_keys=[self._keys.rebuild])

    @override
    async def finish_rebuild(self, owner: str, epoch: str) -> bool:
        value = f"{await self._replication_id()}|{epoch}"
        return bool(
            await self._scripts.run("finish_rebuild", owner, value, own_keys=[self._keys.rebuild])
        )

    async def _replication_id(self) -> str:
        """The server's, or nothing where it has none (embedded) or does not tell (managed)."""
        async with translated(self._redis):
            try:
                info = await self._redis.info("replication")
            except ResponseError:
                return ""
        return str(info.get("master_replid", ""))

    @override
    async def heal(self) -> int:
        return await heal(self._scripts)

    @override
    async def repair(self) -> int:
        return await repair(self._redis, self._scripts, self._keys)

    @override
    async def figures(self) -> QueueFigures:
        return await read_figures(self._redis, self._scripts, self._keys)

    @override
    async def ping(self) -> None:
        async with translated(self._redis):
            await self._redis.ping()


def milliseconds(seconds: float) -> int:
    """Seconds as Redis takes them."""
    return round(seconds * 1000)


def parse_claim(fields: Sequence[Any]) -> Claim:
    """One claim out of the reply of ``claim.lua``."""
    user, message_id, token, fence, attempts, crashes, sole_crashes = fields
    return Claim(
        user=WcId(from_wire(user)),
        message_id=MessageId(int(message_id)),
        token=from_wire(token),
        fence=int(fence),
        attempts=attempts,
        crashes=crashes,
        sole_crashes=sole_crashes,
    )
