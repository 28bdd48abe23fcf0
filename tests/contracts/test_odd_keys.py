"""Keys of a type that is not ours, made by hand: they stop nobody, and go."""

from typing import Any

import pytest
from redis.exceptions import ResponseError

from app.models.flow import WcId
from app.services.errors import QueueUnavailable
from app.services.queue.leases import Leases
from app.services.queue.protocol import Enqueued, QueueFigures
from app.services.queue.redis_queue import RedisQueue
from app.utils.clock import SystemClock
from tests.contracts.queue_steps import ANN, BEN, BOT, Hands, entry, put, take, take_one
from tests.fixtures.redis import QueueFactory, RedisEngine


@pytest.fixture
def hands(redis_engine: RedisEngine) -> Hands:
    """The keys of the test, for what a queue cannot do by itself."""
    return Hands(redis_engine)


@pytest.mark.parametrize("kind", ["string", "hash", "set"])
async def test_a_key_in_the_place_of_a_list_is_deleted_by_the_next_message(
    queue: RedisQueue, hands: Hands, log_lines: list[str], kind: str
) -> None:
    """``SET ecloud_queue:<user> x``: the message is in, its neighbours in the batch are, too."""
    await hands.spoil(hands.keys.queue(ANN), kind)

    entries = [entry(BEN, 1), entry(ANN, 2), entry(BEN, 3)]
    results = await queue.enqueue(entries, user_bound=10, all_bound=10)

    assert results == [Enqueued.ADDED] * 3
    assert [await hands.ids(user) for user in (ANN, BEN)] == [[2], [1, 3]]
    assert {claim.user for claim in await take(queue)} == {ANN, BEN}
    assert [line for line in log_lines if "queue.odd_keys_deleted keys=1" in line]


@pytest.mark.parametrize("kind", ["string", "hash"])
async def test_a_rebuild_goes_on_over_a_key_in_the_place_of_a_list(
    queue_factory: QueueFactory, hands: Hands, kind: str
) -> None:
    """SQL is the truth: the index is complete afterwards."""
    queue = queue_factory()
    await hands.spoil(hands.keys.queue(ANN), kind)
    assert await queue.begin_rebuild("me", seconds=10)
    results = await queue.restore([entry(ANN, 1), entry(BEN, 2), entry(ANN, 3)])
    assert await queue.finish_rebuild("me", "e1")

    assert results == [Enqueued.ADDED] * 3
    assert await hands.ids(ANN) == [1, 3]


async def test_a_repair_deletes_keys_in_the_place_of_lists_and_says_how_many(
    queue: RedisQueue, hands: Hands, log_lines: list[str]
) -> None:
    """Also of somebody who never writes again; who waits is counted right."""
    await put(queue, ANN, 1, 2)
    for user in ("x", "y"):
        await hands.spoil(hands.keys.queue(WcId(user)), "string")

    assert await queue.repair() == 0

    assert await hands.redis.keys(f"{hands.keys.queue_prefix}*") == [hands.keys.queue(ANN).encode()]
    assert (await queue.figures()).waiting == 2
    assert [line for line in log_lines if "queue.odd_keys_deleted keys=2" in line]


@pytest.mark.parametrize("kind", ["list", "hash", "set"])
async def test_a_key_in_the_place_of_a_lease_costs_one_claim_and_no_other(
    queue_factory: QueueFactory, hands: Hands, kind: str
) -> None:
    """The lease is lost, as if it had been deleted; other users' heartbeats and claims go on."""
    queue = queue_factory(lease=30)
    assert await queue.begin_rebuild("me", seconds=10)
    assert await queue.finish_rebuild("me", "e1")
    await put(queue, ANN, 1)
    await put(queue, BEN, 2)
    claims = {claim.user: claim for claim in await take(queue)}
    await hands.spoil(hands.keys.processing(ANN), kind)

    assert await queue.heartbeat(list(claims.values())) == [claims[ANN]]
    assert not await queue.ack(claims[ANN])
    assert not await queue.retry(claims[ANN], delay=0, counts=True)
    assert not await queue.rewrite(ANN, claims[ANN].token, [claims[ANN].message_id])
    assert await queue.ack(claims[BEN])
    await hands.redis.zadd(hands.keys.leases, {ANN: 1}, xx=True)
    await take(queue)
    await hands.pass_delay(ANN)
    assert (await take_one(queue)).message_id == 1


async def test_a_key_in_the_place_of_a_list_under_a_lease_ends_the_claim(
    queue: RedisQueue, hands: Hands
) -> None:
    """There is no head any more: nothing is acknowledged, the lease is given back, SQL knows."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    await hands.spoil(hands.keys.queue(ANN), "string")

    assert not await queue.ack(claim)
    await queue.forget(ANN, claim.message_id, BOT, "1")
    assert await queue.retry(claim, delay=0, counts=True)
    assert await hands.redis.exists(hands.keys.processing(ANN)) == 0

    assert await queue.restore([entry(ANN, 1)]) == [Enqueued.ADDED]
    assert (await take_one(queue)).message_id == 1


async def test_a_key_in_the_place_of_a_list_is_rewritten(queue: RedisQueue, hands: Hands) -> None:
    """Whoever holds the lease knows the order."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    await hands.spoil(hands.keys.queue(ANN), "string")

    assert await queue.rewrite(ANN, claim.token, [claim.message_id])

    assert await hands.ids(ANN) == [1]


@pytest.mark.parametrize("kind", ["list", "hash"])
async def test_a_key_in_the_place_of_a_seen_mark_is_no_mark(
    queue: RedisQueue, hands: Hands, kind: str
) -> None:
    """The message is new; the mark is ours afterwards."""
    name = hands.keys.seen(BOT, "1")
    await hands.spoil(name, kind)

    assert await put(queue, ANN, 1, 1) == [Enqueued.ADDED, Enqueued.SEEN]
    assert await hands.redis.get(name) == b"1"


@pytest.mark.parametrize(
    "name",
    ["ready", "suspects", "leases", "attempts", "crashes", "sole_crashes", "wake"],
)
@pytest.mark.parametrize("kind", ["string", "set"])
async def test_a_repair_heals_the_keys_of_all(
    queue: RedisQueue, hands: Hands, log_lines: list[str], name: str, kind: str
) -> None:
    """Whatever stood in them, everybody who waits is served again."""
    await put(queue, ANN, 1)
    await put(queue, BEN, 2)
    await hands.spoil(getattr(hands.keys, name), kind)

    assert await queue.heal() == 1
    await queue.repair()

    assert await put(queue, ANN, 3) == [Enqueued.ADDED]
    assert [claim.message_id for claim in await take(queue)] == [1, 2]
    assert await queue.figures() == QueueFigures(
        waiting=3, ready_users=0, leased_users=2, parked_users=0
    )
    assert [line for line in log_lines if "queue.odd_keys_deleted keys=1" in line]


@pytest.mark.parametrize(
    "name", ["ready", "suspects", "leases", "wake", "waiting", "fence", "epoch"]
)
async def test_a_rebuild_heals_the_keys_of_all(queue: RedisQueue, hands: Hands, name: str) -> None:
    """An epoch of another type is none."""
    await put(queue, ANN, 1)
    await hands.spoil(getattr(hands.keys, name), "set")
    if name == "epoch":
        assert await queue.epoch() is None

    assert await queue.begin_rebuild("me", seconds=10)
    assert await queue.restore([entry(ANN, 1), entry(BEN, 2)])
    assert await queue.finish_rebuild("me", "e1")
    await queue.repair()

    assert await queue.epoch() == "e1"
    assert {claim.user for claim in await take(queue)} == {ANN, BEN}
    assert (await queue.figures()).waiting == 2


@pytest.mark.parametrize("kind", ["string", "set"])
async def test_a_total_or_fence_that_is_no_number_stops_nobody(
    queue: RedisQueue, hands: Hands, kind: str
) -> None:
    """The next repair counts anew; fences come from the clock."""
    await put(queue, ANN, 1)
    for name in (hands.keys.waiting, hands.keys.fence):
        await hands.spoil(name, kind)

    assert await put(queue, ANN, 2) == [Enqueued.ADDED]
    await queue.raise_fence(5)
    assert await queue.ack(await take_one(queue))
    await queue.repair()

    assert (await queue.figures()).waiting == 1


async def test_one_call_that_fails_takes_no_others_of_its_round_trip_with_it(
    queue: RedisQueue, hands: Hands, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told for itself; only what concerns the whole server is an outage."""
    original = queue._redis.pipeline

    def pipeline(**options: Any) -> Any:
        made = original(**options)
        execute = made.execute

        async def with_a_failure(**how: bool) -> list[object]:
            replies = list(await execute(**how))
            replies[1] = ResponseError("ERR of this call")
            return replies

        monkeypatch.setattr(made, "execute", with_a_failure)
        return made

    monkeypatch.setattr(queue._redis, "pipeline", pipeline)
    results = await queue.enqueue(
        [entry(ANN, 1), entry(BEN, 2), entry(ANN, 3)], user_bound=0, all_bound=0
    )

    assert results == [Enqueued.ADDED, Enqueued.FAILED, Enqueued.ADDED]
    assert [line for line in log_lines if "queue.entry_failed error=ERR of this call" in line]


async def test_a_failure_of_every_call_is_an_outage(queue: RedisQueue, hands: Hands) -> None:
    """A key of all users is odd: whoever asks leaves Redis alone for a while."""
    await hands.spoil(hands.keys.ready, "string")

    with pytest.raises(QueueUnavailable):
        await queue.enqueue([entry(ANN, 1), entry(BEN, 2)], user_bound=0, all_bound=0)


async def test_a_key_in_the_place_of_a_named_lease_is_taken_over(
    redis_engine: RedisEngine, hands: Hands
) -> None:
    """A sender or a periodic task would never begin."""
    leases = Leases(
        redis_engine.redis,
        holder="me",
        clock=SystemClock(),
        namespace=redis_engine.keys.namespace,
    )
    lease = leases.task("sweep", seconds=30)
    await lease.free()
    await hands.spoil(redis_engine.keys.task("sweep"), "hash")
    await lease.free()

    assert await lease.hold()
    assert await hands.redis.get(redis_engine.keys.task("sweep")) == lease.token.encode()


async def test_a_key_in_the_place_of_the_rebuild_lock_is_taken_over(
    queue_factory: QueueFactory, hands: Hands
) -> None:
    """Else nothing would ever be claimed again; while it lasts a rebuild is not finished."""
    queue = queue_factory()
    await hands.spoil(hands.keys.rebuild, "list")

    assert not await queue.finish_rebuild("me", "e1")
    assert await queue.begin_rebuild("me", seconds=10)
    assert await queue.finish_rebuild("me", "e1")
