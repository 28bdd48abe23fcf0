"""What is left in Redis of people and messages that are done with: nothing that grows without an end."""

import pytest

from app.models.flow import WcId
from app.services.queue.breakers import NOBODY_THERE, Breakers, dify_peer
from app.services.queue.leases import Leases, OutboxBell
from app.services.queue.redis_queue import RedisQueue
from app.services.queue.scripts import from_wire
from app.utils.clock import SystemClock
from tests.contracts.queue_steps import ANN, BEN, BOT, Hands, put, take
from tests.fixtures.redis import RedisEngine

DAY = 86_400


@pytest.fixture
def hands(redis_engine: RedisEngine) -> Hands:
    """Time, crashes and operators."""
    return Hands(redis_engine)


async def live(queue: RedisQueue, hands: Hands, engine: RedisEngine) -> None:
    """Ann fails and crashes, Ben is parked; in the end both are answered."""
    options = {"namespace": engine.keys.namespace}
    breakers = Breakers(engine.redis, probe_seconds=30, **options)
    leases = Leases(engine.redis, holder="w", clock=SystemClock(), **options)
    peer = dify_peer("default")
    await put(queue, ANN, 1, 2)
    await hands.crash(queue, ANN, times=2)
    await put(queue, BEN, 3)
    [ann, ben] = sorted(await take(queue), key=lambda claim: claim.message_id)
    await breakers.failed(peer, BEN, "dify_unavailable", NOBODY_THERE)
    await queue.park(ben, peer)
    await queue.retry(ann, delay=0, counts=True)
    await breakers.ok(peer)
    await queue.unpark(peer, 10)
    while claims := await take(queue):
        for claim in claims:
            assert await queue.ack(claim)
    await OutboxBell(engine.redis, **options).ring(BOT)
    await leases.sender(BOT, seconds=30).hold()
    await leases.task("sweep", seconds=30).hold()


async def test_done_people_and_messages_leave_nothing_without_an_end(
    queue: RedisQueue, hands: Hands, redis_engine: RedisEngine
) -> None:
    """Only single values of the whole queue stay; what bears an id is gone, or will be within a day."""
    keys, redis = redis_engine.keys, redis_engine.redis
    await live(queue, hands, redis_engine)

    names = [from_wire(name) async for name in redis.scan_iter(match=f"{keys.namespace}*")]
    lasting = {name for name in names if await redis.ttl(name) == -1}
    seen = [name for name in names if name.startswith(keys.seen(BOT, ""))]

    assert lasting <= {keys.waiting, keys.fence, keys.epoch, keys.wake}
    assert len(seen) == 3
    assert all([DAY - 600 < await redis.ttl(name) <= DAY for name in seen])
    assert await redis.get(keys.waiting) == b"0"


async def test_list_deleted_by_hand_leaves_no_counts(
    queue: RedisQueue, hands: Hands, redis_engine: RedisEngine
) -> None:
    """Of a person in work, and of one who waits for the next try."""
    keys, redis = redis_engine.keys, redis_engine.redis
    await put(queue, ANN, 1)
    await hands.crash(queue, ANN)
    await put(queue, BEN, 2)
    ann, ben = sorted(await take(queue), key=lambda claim: claim.message_id)
    await queue.retry(ben, delay=0, counts=True)
    for user in (ANN, BEN):
        await redis.delete(keys.queue(WcId(user)))
    assert not await queue.ack(ann)
    await hands.end_lease(ANN)
    assert await take(queue) == []

    assert [await hands.counts(user) for user in (ANN, BEN)] == [[0, 0, 0], [0, 0, 0]]
    assert [await hands.lines_of(user) for user in (ANN, BEN)] == [[], []]
