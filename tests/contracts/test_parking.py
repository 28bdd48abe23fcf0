"""Users who wait until a peer is well: out of every other line, and back in their order."""

import asyncio

import pytest

from app.models.flow import MessageId, WcId
from app.services.queue.overview import QueueOverview
from app.services.queue.protocol import Enqueued
from app.services.queue.redis_queue import RedisQueue
from tests.contracts.queue_steps import ANN, BEN, BOT, Hands, entry, put, take, take_one
from tests.fixtures.redis import QueueFactory, RedisEngine

DIFY = "dify:default"
ACCOUNT = "account:wxid_bot"


@pytest.fixture
def hands(redis_engine: RedisEngine) -> Hands:
    """The keys of the test, for what a queue cannot do by itself."""
    return Hands(redis_engine)


async def park_all(queue: RedisQueue, *users: str, peer: str = DIFY, first: int = 1) -> None:
    """One message each, numbered from *first*, claimed and parked in this order."""
    for number, user in enumerate(users, start=first):
        await put(queue, user, number)
    claims = {claim.user: claim for claim in await take(queue)}
    for user in users:
        assert await queue.park(claims[WcId(user)], peer)
    # Within one millisecond nobody is earlier than somebody else.
    await asyncio.sleep(0.002)


async def test_a_parked_user_is_claimed_by_nobody_and_counts_no_try(
    queue: RedisQueue, hands: Hands
) -> None:
    """The head stays, the lease is gone, new messages line up behind; others go on."""
    await park_all(queue, ANN)

    assert await put(queue, ANN, 2) == [Enqueued.ADDED]
    await put(queue, BEN, 3)

    assert [claim.user for claim in await take(queue)] == [BEN]
    assert await hands.lines_of(ANN) == [hands.keys.parked(DIFY)]
    assert await hands.ids(ANN) == [1, 2]
    assert await hands.counts(ANN) == [0, 0, 0]
    assert await hands.redis.exists(hands.keys.processing(ANN)) == 0
    figures = await queue.figures()
    assert (figures.waiting, figures.parked_users, figures.ready_users) == (3, 1, 0)
    assert await queue.parked_peers() == {DIFY: 1}


async def test_a_last_try_may_be_counted_with_the_parking(queue: RedisQueue, hands: Hands) -> None:
    """And only for the message that was claimed."""
    await put(queue, ANN, 1)
    await queue.park(await take_one(queue), DIFY, counts=True)
    assert await hands.counts(ANN) == [1, 0, 0]
    await asyncio.sleep(0.002)
    await queue.unpark(DIFY, 1)
    claim = await take_one(queue)
    await hands.redis.lpush(hands.keys.queue(ANN), "7")

    await queue.park(claim, DIFY, counts=True)

    assert (claim.attempts, await hands.counts(ANN)) == (1, [1, 0, 0])


async def test_parked_users_come_back_in_the_order_in_which_they_were_parked(
    queue: RedisQueue, queue_factory: QueueFactory
) -> None:
    """Also before somebody who came later; another process may let them go on."""
    await park_all(queue, "dan", "cat", "ben", "ann")
    await put(queue, "new", 9)

    other = queue_factory(worker="worker-2")
    assert await other.unpark(DIFY, 3) == 3
    assert await other.unpark(DIFY, 3) == 1
    assert await other.unpark(DIFY, 3) == 0

    assert [claim.user for claim in await take(queue)] == ["dan", "cat", "ben", "ann", "new"]
    assert await queue.parked_peers() == {}


async def test_who_is_parked_once_more_stands_behind_the_others(queue: RedisQueue) -> None:
    """A probe that failed: the next one is somebody else's message."""
    await park_all(queue, ANN, BEN)
    assert await queue.unpark(DIFY, 1) == 1
    probe = await take_one(queue)
    assert await queue.park(probe, DIFY)

    assert await queue.unpark(DIFY, 1) == 1

    assert (probe.user, (await take_one(queue)).user) == (ANN, BEN)


async def test_letting_go_on_wakes_a_worker(queue: RedisQueue, hands: Hands) -> None:
    """Nobody has to look first."""
    await park_all(queue, ANN)
    await take(queue)
    assert await hands.redis.llen(hands.keys.wake) == 0

    await queue.unpark(DIFY, 1)

    assert await hands.redis.llen(hands.keys.wake) == 1


async def test_one_peer_lets_only_its_own_users_go_on(queue: RedisQueue) -> None:
    """Dify is well again, the account is not."""
    await park_all(queue, ANN)
    await park_all(queue, BEN, peer=ACCOUNT, first=2)

    assert await queue.unpark(DIFY, 10) == 1

    assert (await take_one(queue)).user == ANN
    assert await queue.parked_peers() == {ACCOUNT: 1}


async def test_parking_with_a_lease_that_is_not_ours_changes_nothing(
    queue: RedisQueue, hands: Hands
) -> None:
    """It ran out and somebody else has the message."""
    await put(queue, ANN, 1)
    late = await take_one(queue)
    await hands.crash_over(queue, ANN)
    current = await take_one(queue)

    assert not await queue.park(late, DIFY)

    assert await hands.lines_of(ANN) == [hands.keys.leases]
    assert await queue.ack(current)


async def test_a_suspect_that_was_parked_is_still_one(queue: RedisQueue, hands: Hands) -> None:
    """It goes back among the suspects with its crashes."""
    await put(queue, ANN, 1)
    await hands.crash(queue, ANN, times=2)
    await queue.park(await take_one(queue), DIFY)

    await queue.unpark(DIFY, 1)

    assert await hands.lines_of(ANN) == [hands.keys.suspects]
    assert await take(queue, may_take_suspect=False) == []
    assert (await take_one(queue)).crashes == 2


async def test_parking_over_a_list_that_is_gone_forgets_the_user(
    queue: RedisQueue, hands: Hands
) -> None:
    """Deleted by hand: nobody waits."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    await hands.redis.delete(hands.keys.queue(ANN))

    assert await queue.park(claim, DIFY)

    assert await hands.lines_of(ANN) == []
    assert await queue.parked_peers() == {}


async def test_a_list_that_is_gone_while_parked_brings_nobody_back(
    queue: RedisQueue, hands: Hands
) -> None:
    """A new message of the user is due at once, and a repair forgets whoever has none."""
    await park_all(queue, ANN, BEN)
    for user in (ANN, BEN):
        await hands.redis.delete(hands.keys.queue(user))
    await put(queue, ANN, 3)
    assert await hands.lines_of(ANN) == [hands.keys.ready]

    await queue.repair()

    assert await hands.lines_of(BEN) == []
    assert await queue.parked_peers() == {}
    assert await queue.unpark(DIFY, 5) == 0
    assert (await take_one(queue)).message_id == 3


async def test_a_repair_leaves_who_is_parked_where_he_is(queue: RedisQueue, hands: Hands) -> None:
    """It brings back who stands in no line, and nobody else."""
    await park_all(queue, ANN, BEN)
    await hands.redis.zrem(hands.keys.parked(DIFY), BEN)

    assert await queue.repair() == 1

    assert await hands.lines_of(ANN) == [hands.keys.parked(DIFY)]
    assert await hands.lines_of(BEN) == [hands.keys.ready]


async def test_a_rebuild_leaves_who_is_parked_where_he_is(queue: RedisQueue, hands: Hands) -> None:
    """The server's replication id changed; its data are still there."""
    await park_all(queue, ANN)
    assert await queue.begin_rebuild("me", seconds=10)
    assert await queue.restore([entry(ANN, 1), entry(ANN, 2)]) == [Enqueued.SEEN, Enqueued.ADDED]
    assert await queue.finish_rebuild("me", "e2")

    assert await hands.lines_of(ANN) == [hands.keys.parked(DIFY)]
    assert await hands.ids(ANN) == [1, 2]


async def test_the_only_message_of_a_parked_user_may_be_forgotten(
    queue: RedisQueue, hands: Hands
) -> None:
    """It turned out to be a duplicate."""
    await park_all(queue, ANN)

    await queue.forget(ANN, MessageId(1), BOT, "1")

    assert await hands.lines_of(ANN) == []
    assert await queue.parked_peers() == {}


async def test_a_user_in_two_lines_by_hand_is_served_once(queue: RedisQueue, hands: Hands) -> None:
    """Whichever line gives him out, he leaves the other."""
    await park_all(queue, ANN)
    await hands.redis.zadd(hands.keys.ready, {ANN: 1})

    claim = await take_one(queue)

    assert await hands.lines_of(ANN) == [hands.keys.leases]
    assert await queue.unpark(DIFY, 1) == 0
    assert await queue.ack(claim)


async def test_a_lease_taken_back_from_the_parked_ones_leaves_them(
    queue: RedisQueue, queue_factory: QueueFactory, hands: Hands
) -> None:
    """A worker hung; another one claimed and parked; the first is still at work."""
    await put(queue, ANN, 1)
    first = await take_one(queue)
    await hands.crash_over(queue, ANN)
    other = queue_factory(worker="worker-2")
    assert await other.park(await take_one(other), DIFY)

    assert await queue.heartbeat([first]) == []

    assert await hands.lines_of(ANN) == [hands.keys.leases]
    assert await queue.ack(first)


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
async def test_odd_keys_in_the_place_of_parked_ones_go_when_somebody_is_parked(
    queue: RedisQueue, hands: Hands, log_lines: list[str], kind: str
) -> None:
    """They read as nobody; nobody is lost over them."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    await hands.spoil(hands.keys.parked_peers, kind)
    await hands.spoil(hands.keys.parked(DIFY), kind)
    assert await queue.parked_peers() == {}
    assert await queue.unpark(DIFY, 1) == 0

    assert await queue.park(claim, DIFY)

    assert await hands.lines_of(ANN) == [hands.keys.parked(DIFY)]
    assert [line for line in log_lines if "queue.odd_keys_deleted" in line and "keys=2" in line]


@pytest.mark.parametrize("name", ["parked_peers", "line"])
async def test_a_repair_brings_back_who_was_parked_in_an_odd_key(
    queue: RedisQueue, hands: Hands, name: str
) -> None:
    """The key goes; whoever stood in it is due. Parked anew, nobody stands in two lines."""
    await park_all(queue, ANN, BEN)
    odd = hands.keys.parked_peers if name == "parked_peers" else hands.keys.parked(DIFY)
    await hands.spoil(odd, "string")

    assert await queue.repair() == 2
    claims = {claim.user: claim for claim in await take(queue)}
    assert await queue.park(claims[ANN], DIFY)

    assert await hands.lines_of(ANN) == [hands.keys.parked(DIFY)]
    assert await hands.lines_of(BEN) == [hands.keys.leases]


async def test_the_operator_sees_for_whom_a_user_is_parked(
    queue: RedisQueue, redis_engine: RedisEngine
) -> None:
    """Neither in work nor due."""
    await park_all(queue, ANN, peer=ACCOUNT)
    await put(queue, BEN, 2)
    overview = QueueOverview(redis_engine.redis, namespace=redis_engine.keys.namespace)

    ann, ben = sorted(await overview.users(), key=lambda one: one.user)

    assert (ann.parked_for, ann.due_in, ann.lease) == (ACCOUNT, None, None)
    assert (ben.parked_for, ben.due_in) == (None, 0.0)
