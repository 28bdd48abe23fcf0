"""Words for the queue tests: making entries, taking claims, letting time pass without waiting."""

from app.models.flow import Claim, MessageId, WcId
from app.services.queue.protocol import Enqueued, Entry, MessageQueue
from app.services.queue.redis_queue import RedisQueue
from app.services.queue.scripts import from_wire
from tests.fixtures.redis import RedisEngine

BOT = WcId("wxid_bot")
ANN = WcId("wxid_ann")
BEN = WcId("wxid_ben")


def entry(user: str, message_id: int, *, key: str | None = None, crashes: int = 0) -> Entry:
    """One message whose dedupe key is its id, unless another one is given."""
    return Entry(
        user=WcId(user),
        message_id=MessageId(message_id),
        bot_wc_id=BOT,
        dedupe_key=str(message_id) if key is None else key,
        crashes=crashes,
    )


async def put(queue: MessageQueue, user: str, *message_ids: int) -> list[Enqueued]:
    """Enqueue messages of one user without bounds."""
    entries = [entry(user, message_id) for message_id in message_ids]
    return await queue.enqueue(entries, user_bound=0, all_bound=0)


async def take(
    queue: MessageQueue, limit: int = 100, *, may_take_suspect: bool = True
) -> list[Claim]:
    """What one look gives."""
    claims = await queue.claim(limit=limit, may_take_suspect=may_take_suspect)
    return list(claims.claims)


async def take_one(queue: MessageQueue) -> Claim:
    """The only claim there is."""
    claims = await take(queue)
    assert len(claims) == 1
    return claims[0]


class Hands:
    """Changes keys the way time, a crash or an operator does."""

    def __init__(self, engine: RedisEngine) -> None:
        self.redis = engine.redis
        self.keys = engine.keys

    async def end_lease(self, user: str) -> None:
        """Let the lease run out now: its key expires and its time is over."""
        await self.redis.delete(self.keys.processing(WcId(user)))
        await self.redis.zadd(self.keys.leases, {user: 1}, xx=True)

    async def pass_delay(self, user: str) -> None:
        """Let the time the user waits for be over."""
        for line in (self.keys.ready, self.keys.suspects):
            await self.redis.zadd(line, {user: 1}, xx=True)

    async def hold_back(self, user: str) -> None:
        """Let the time the user waits for be far away."""
        for line in (self.keys.ready, self.keys.suspects):
            await self.redis.zadd(line, {user: 9e15}, xx=True)

    async def crash(self, queue: RedisQueue, user: str, times: int = 1) -> None:
        """Claim the user's head and die, again and again; afterwards the user is due."""
        for _ in range(times):
            await self.pass_delay(user)
            assert user in {claim.user for claim in await take(queue)}
            await self.end_lease(user)
            await queue.claim(limit=0, may_take_suspect=False)
        await self.pass_delay(user)

    async def crash_over(self, queue: RedisQueue, user: str) -> None:
        """Let the lease of a claim run out and be noticed; afterwards the user is due."""
        await self.end_lease(user)
        await queue.claim(limit=0, may_take_suspect=False)
        await self.pass_delay(user)

    async def spoil(self, name: str, kind: str) -> None:
        """Put a key of this type in the place of whatever is there."""
        await self.redis.delete(name)
        match kind:
            case "string":
                await self.redis.set(name, "x")
            case "list":
                await self.redis.rpush(name, "x")
            case "set":
                await self.redis.sadd(name, "x")
            case "hash":
                await self.redis.hset(name, "x", "y")

    async def ids(self, user: str) -> list[int]:
        """The user's list."""
        raw = await self.redis.lrange(self.keys.queue(WcId(user)), 0, -1)
        return [int(element) for element in raw]

    async def counts(self, user: str) -> list[int]:
        """Tries, crashes and sole crashes of the user's head."""
        hashes = (self.keys.attempts, self.keys.crashes, self.keys.sole_crashes)
        return [int(await self.redis.hget(each, user) or 0) for each in hashes]

    async def lines_of(self, user: str) -> list[str]:
        """In which of the sets the user is."""
        peers = await self.redis.smembers(self.keys.parked_peers)
        parked = [self.keys.parked(from_wire(peer)) for peer in peers]
        lines = (self.keys.ready, self.keys.suspects, self.keys.leases, *parked)
        return [line for line in lines if await self.redis.zscore(line, user) is not None]
