"""What every MessageQueue does, run on the embedded engine and on a real server."""

import asyncio
import math
import time
from collections import Counter
from dataclasses import replace

import pytest

from app.models.flow import Claim, MessageId, WcId
from app.services.queue.protocol import Enqueued, QueueFigures
from app.services.queue.redis_queue import RedisQueue
from tests.contracts.queue_steps import ANN, BEN, BOT, Hands, entry, put, take, take_one
from tests.fixtures.redis import QueueFactory, RedisEngine


@pytest.fixture
def hands(redis_engine: RedisEngine) -> Hands:
    """The keys of the test, for what a queue cannot do by itself."""
    return Hands(redis_engine)


# Order and exclusion


async def test_second_message_of_a_user_waits_for_the_first(queue: RedisQueue) -> None:
    """While the head is in work, the user's next message is not given out."""
    await put(queue, ANN, 1, 2)
    first = await take_one(queue)

    assert first.message_id == 1
    assert await take(queue) == []
    assert await queue.ack(first)
    assert (await take_one(queue)).message_id == 2


async def test_messages_of_different_users_are_given_side_by_side(queue: RedisQueue) -> None:
    """One look gives the heads of all users who are due."""
    await put(queue, ANN, 1, 2)
    await put(queue, BEN, 3)

    assert [(claim.user, claim.message_id) for claim in await take(queue)] == [(ANN, 1), (BEN, 3)]


async def test_claim_gives_no_more_than_its_limit(queue: RedisQueue) -> None:
    """The rest stays for the next look."""
    for number in range(5):
        await put(queue, f"user-{number}", number + 1)

    assert len(await take(queue, 3)) == 3
    assert len(await take(queue, 3)) == 2
    assert await take(queue, 0) == []


async def test_ids_of_63_bits_stay_exact(queue: RedisQueue) -> None:
    """No number on the way has only 53 bits."""
    largest = 2**63 - 1
    await put(queue, ANN, largest, largest - 1)
    claim = await take_one(queue)

    assert claim.message_id == largest
    assert await queue.ack(claim)
    assert (await take_one(queue)).message_id == largest - 1


async def test_two_claimers_at_once_never_get_the_same_user(
    queue_factory: QueueFactory, queue: RedisQueue
) -> None:
    """Side by side looks of two workers share the users out."""
    for number in range(40):
        await put(queue, f"user-{number}", number + 1)
    other = queue_factory(worker="worker-2")

    looks = await asyncio.gather(*(take(who, 3) for _ in range(7) for who in (queue, other)))
    users = Counter(claim.user for look in looks for claim in look)

    assert len(users) == 40
    assert set(users.values()) == {1}


async def test_one_busy_user_does_not_hold_up_fifty_quiet_ones(queue: RedisQueue) -> None:
    """2,000 messages of one user and 4 of each of 50 others: those are done within 254 claims."""
    await put(queue, "busy", *range(1, 2001))
    quiet = {f"quiet-{number}" for number in range(50)}
    for number, user in enumerate(sorted(quiet)):
        await put(queue, user, *range(10_000 + number * 10, 10_004 + number * 10))

    left, served = 200, 0
    while left:
        claim = (await take(queue, 1))[0]
        assert await queue.ack(claim)
        served += 1
        left -= claim.user in quiet

    assert served <= 254


# Enqueueing


async def test_message_that_was_enqueued_before_is_seen(queue: RedisQueue, hands: Hands) -> None:
    """A second delivery changes nothing, also when the first one is done."""
    assert await put(queue, ANN, 1, 1) == [Enqueued.ADDED, Enqueued.SEEN]
    assert await hands.ids(ANN) == [1]

    assert await queue.ack(await take_one(queue))
    assert await put(queue, ANN, 1) == [Enqueued.SEEN]
    assert await take(queue) == []


async def test_message_without_dedupe_key_is_the_same_only_as_itself(queue: RedisQueue) -> None:
    """Two messages without a key are two; the same one again is seen."""
    entries = [entry(ANN, 1, key=""), entry(ANN, 2, key=""), entry(ANN, 1, key="")]

    result = await queue.enqueue(entries, user_bound=0, all_bound=0)

    assert result == [Enqueued.ADDED, Enqueued.ADDED, Enqueued.SEEN]


async def test_user_bound_refuses_and_takes_again_when_there_is_room(queue: RedisQueue) -> None:
    """A refused message is not marked as seen."""
    entries = [entry(ANN, 1), entry(ANN, 2), entry(ANN, 3), entry(BEN, 4)]

    assert await queue.enqueue(entries, user_bound=2, all_bound=0) == [
        Enqueued.ADDED,
        Enqueued.ADDED,
        Enqueued.USER_FULL,
        Enqueued.ADDED,
    ]
    ann = next(claim for claim in await take(queue) if claim.user == ANN)
    assert await queue.ack(ann)
    assert await queue.enqueue([entry(ANN, 3)], user_bound=2, all_bound=0) == [Enqueued.ADDED]


async def test_total_bound_refuses_until_something_is_done(queue: RedisQueue) -> None:
    """The bound counts the messages of all users."""
    entries = [entry(ANN, 1), entry(BEN, 2), entry(BEN, 3)]

    assert await queue.enqueue(entries, user_bound=9, all_bound=2) == [
        Enqueued.ADDED,
        Enqueued.ADDED,
        Enqueued.ALL_FULL,
    ]
    assert await queue.ack((await take(queue))[0])
    assert await queue.enqueue([entry(BEN, 3)], user_bound=9, all_bound=2) == [Enqueued.ADDED]


async def test_nothing_given_to_enqueue_gives_nothing(queue: RedisQueue) -> None:
    """An empty batch is no round trip and no error."""
    assert await queue.enqueue([], user_bound=1, all_bound=1) == []


async def test_waiting_message_whose_seen_key_is_gone_is_not_doubled(
    queue: RedisQueue, hands: Hands
) -> None:
    """Bringing back accepted messages (no bounds) also looks into the list."""
    await put(queue, ANN, 1, 2)
    await hands.redis.delete(hands.keys.seen(BOT, "2"))

    assert await put(queue, ANN, 2) == [Enqueued.SEEN]
    await queue.restore([entry(ANN, 1)])
    assert await hands.ids(ANN) == [1, 2]


# Acknowledging


async def test_ack_of_another_message_than_the_head_is_refused(
    queue: RedisQueue, hands: Hands
) -> None:
    """A list that changed under the lease loses nothing by an ack."""
    await put(queue, ANN, 1, 2)
    claim = await take_one(queue)
    await hands.redis.lpush(hands.keys.queue(ANN), "7")

    assert not await queue.ack(claim)
    assert await hands.ids(ANN) == [7, 1, 2]
    assert await hands.redis.exists(hands.keys.processing(ANN))


async def test_ack_after_the_lease_is_refused(queue: RedisQueue, hands: Hands) -> None:
    """The message goes to another worker; the late one removes nothing."""
    await put(queue, ANN, 1)
    late = await take_one(queue)
    await hands.end_lease(ANN)
    assert await take(queue) == []
    await hands.pass_delay(ANN)
    current = await take_one(queue)

    assert not await queue.ack(late)
    assert not await queue.retry(late, delay=0, counts=True)
    assert await hands.ids(ANN) == [1]
    assert await queue.ack(current)


async def test_second_ack_of_the_same_claim_is_refused(queue: RedisQueue, hands: Hands) -> None:
    """It must not take the next message along."""
    await put(queue, ANN, 1, 2)
    claim = await take_one(queue)

    assert await queue.ack(claim)
    assert not await queue.ack(claim)
    assert await hands.ids(ANN) == [2]


async def test_lease_deleted_by_an_operator_keeps_the_message(
    queue: RedisQueue, hands: Hands
) -> None:
    """``DEL ecloud_processing:<user>``: the ack is refused and the message runs again."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    await hands.redis.delete(hands.keys.processing(ANN))

    assert await queue.heartbeat([claim]) == [claim]
    assert not await queue.ack(claim)
    await hands.end_lease(ANN)
    await take(queue)
    await hands.pass_delay(ANN)
    assert (await take_one(queue)).message_id == 1


async def test_done_user_leaves_no_keys_but_the_seen_ones(
    queue: RedisQueue, hands: Hands, redis_engine: RedisEngine
) -> None:
    """Users come and go by the thousand."""
    await put(queue, ANN, 1)
    await queue.retry(await take_one(queue), delay=0, counts=True)
    await queue.ack(await take_one(queue))

    pattern = f"{redis_engine.keys.namespace}*"
    names = {name async for name in hands.redis.scan_iter(match=pattern)}
    keys = redis_engine.keys
    stay = {keys.seen(BOT, "1"), keys.epoch, keys.fence, keys.wake, keys.waiting}
    assert names <= {name.encode() for name in stay}


# Retrying


async def test_failed_message_comes_back_first_with_its_tries_counted(queue: RedisQueue) -> None:
    """The head stays the head."""
    await put(queue, ANN, 1, 2)

    assert await queue.retry(await take_one(queue), delay=0, counts=True)
    assert await queue.retry(await take_one(queue), delay=0, counts=True)
    third = await take_one(queue)
    assert (third.message_id, third.attempts) == (1, 2)
    assert await queue.ack(third)
    following = await take_one(queue)
    assert (following.message_id, following.attempts) == (2, 0)


async def test_failed_try_does_not_count_for_another_head(queue: RedisQueue, hands: Hands) -> None:
    """The list may have changed under the lease."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    await hands.redis.lpush(hands.keys.queue(ANN), "7")

    assert await queue.retry(claim, delay=0, counts=True)
    head = await take_one(queue)
    assert (head.message_id, head.attempts) == (7, 0)


async def test_given_back_message_counts_no_try(queue: RedisQueue) -> None:
    """Waiting for a peer is no failure."""
    await put(queue, ANN, 1)
    await queue.retry(await take_one(queue), delay=0, counts=False)

    assert (await take_one(queue)).attempts == 0


async def test_delayed_retry_holds_up_only_its_own_user(queue: RedisQueue, hands: Hands) -> None:
    """Others go on; the user's second message does not overtake the first."""
    await put(queue, ANN, 1, 2)
    await put(queue, BEN, 3)
    ann = next(claim for claim in await take(queue, 1) if claim.user == ANN)
    await queue.retry(ann, delay=60, counts=True)

    looked = await queue.claim(limit=9, may_take_suspect=True)
    assert [claim.user for claim in looked.claims] == [BEN]
    await queue.ack(looked.claims[0])
    looked = await queue.claim(limit=9, may_take_suspect=True)
    assert looked.claims == ()
    assert looked.next_due == pytest.approx(60, abs=2)
    await hands.pass_delay(ANN)
    assert (await take_one(queue)).message_id == 1


async def test_short_delay_is_over_when_the_claim_said(queue: RedisQueue) -> None:
    """``next_due`` is long enough and not much longer."""
    await put(queue, ANN, 1)
    await queue.retry(await take_one(queue), delay=0.05, counts=True)
    looked = await queue.claim(limit=1, may_take_suspect=True)
    assert looked.next_due is not None
    assert 0 < looked.next_due <= 0.05

    await asyncio.sleep(looked.next_due + 0.002)
    assert (await take_one(queue)).message_id == 1


async def test_empty_queue_has_nothing_in_sight(queue: RedisQueue) -> None:
    """There is no time to wait for."""
    assert (await queue.claim(limit=1, may_take_suspect=True)).next_due is None


# Leases, crashes, suspects


async def test_heartbeat_renews_and_names_what_is_lost(
    queue: RedisQueue, hands: Hands, redis_engine: RedisEngine
) -> None:
    """All leases go in one call; the lost one is returned, the others last on."""
    await put(queue, ANN, 1)
    await put(queue, BEN, 2)
    ann, ben = await take(queue)
    await hands.redis.pexpire(hands.keys.processing(ANN), 5000)
    await hands.redis.delete(hands.keys.processing(BEN))

    assert await queue.heartbeat([ann, ben]) == [ben]
    assert await hands.redis.pttl(hands.keys.processing(ANN)) > 20_000
    assert await queue.heartbeat([]) == []


@pytest.mark.parametrize("is_swept", [False, True])
async def test_lease_that_ran_out_is_taken_back_while_nobody_has_it(
    queue: RedisQueue, hands: Hands, *, is_swept: bool
) -> None:
    """Redis was away for longer than a lease: the worker goes on, uncounted, and nobody else can."""
    await put(queue, ANN, 1, 2)
    claim = await take_one(queue)
    await hands.end_lease(ANN)
    if is_swept:
        await take(queue, 0)

    assert await queue.heartbeat([claim]) == []
    assert await hands.lines_of(ANN) == [hands.keys.leases]
    assert await hands.counts(ANN) == [0, 0, 0]
    assert await take(queue) == []
    assert await queue.ack(claim)
    assert await hands.ids(ANN) == [2]


async def test_lease_is_not_taken_back_from_somebody_else_nor_after_it_was_given_back(
    queue: RedisQueue, hands: Hands
) -> None:
    """Held by another, finished by another, given back, or wiped: it is lost."""
    await put(queue, ANN, 1, 2)
    claim = await take_one(queue)
    await hands.crash_over(queue, ANN)
    other = await take_one(queue)
    assert await queue.heartbeat([claim]) == [claim]
    assert await queue.ack(other)
    assert await queue.heartbeat([claim]) == [claim]

    second = await take_one(queue)
    assert await queue.retry(second, delay=0, counts=False)
    assert await queue.heartbeat([second]) == [second]
    third = await take_one(queue)
    await hands.end_lease(ANN)
    await hands.redis.delete(hands.keys.epoch)
    assert await queue.heartbeat([third]) == [third]


async def test_lease_really_ends_by_the_clock_of_the_server(
    queue_factory: QueueFactory, queue: RedisQueue
) -> None:
    """Without heartbeats the message is given again after the lease and a random delay."""
    short = queue_factory(lease=0.05)
    await put(queue, ANN, 1)
    first = await take_one(short)
    again: list[Claim] = []
    deadline = time.monotonic() + 5
    while not again and time.monotonic() < deadline:
        looked = await short.claim(limit=1, may_take_suspect=True)
        again = list(looked.claims)
        await asyncio.sleep(0.005)
        assert looked.next_due is not None

    assert (again[0].message_id, again[0].crashes) == (1, 1)
    assert again[0].fence > first.fence


async def test_crashed_message_comes_back_after_a_delay_within_half_a_lease(
    queue: RedisQueue, hands: Hands
) -> None:
    """The delay differs, so that neighbours of a poisoned message part from it."""
    users = [f"user-{number}" for number in range(20)]
    for number, user in enumerate(users):
        await put(queue, user, number + 1)
    await take(queue)
    for user in users:
        await hands.end_lease(user)
    looked = await queue.claim(limit=0, may_take_suspect=True)
    now = time.time() * 1000

    due = [await hands.redis.zscore(hands.keys.ready, user) for user in users]
    assert all(score is not None and now - 5000 < score < now + 15_001 for score in due)
    assert len(set(due)) > 10
    assert looked.next_due is not None


async def test_message_becomes_a_suspect_with_its_second_crash(
    queue: RedisQueue, hands: Hands
) -> None:
    """From then on it is only given to who may take a suspect, and only that counts as sole."""
    await put(queue, ANN, 1)
    await hands.crash(queue, ANN, times=1)
    claim = (await take(queue, may_take_suspect=False))[0]
    assert (claim.crashes, claim.sole_crashes) == (1, 0)
    await hands.end_lease(ANN)
    await take(queue)
    await hands.pass_delay(ANN)

    assert await take(queue, may_take_suspect=False) == []
    suspect = await take_one(queue)
    assert (suspect.crashes, suspect.sole_crashes) == (2, 0)
    await hands.end_lease(ANN)
    await take(queue)
    await hands.pass_delay(ANN)
    suspect = await take_one(queue)
    assert (suspect.crashes, suspect.sole_crashes) == (3, 1)


async def test_at_most_one_suspect_is_given_per_look(queue: RedisQueue, hands: Hands) -> None:
    """The others keep their place."""
    await queue.restore([entry(f"user-{number}", number + 1, crashes=2) for number in range(3)])
    for number in range(3):
        await hands.pass_delay(f"user-{number}")
    await put(queue, ANN, 9)

    assert Counter(claim.crashes for claim in await take(queue)) == {2: 1, 0: 1}
    assert [claim.crashes for claim in await take(queue)] == [2]
    assert [claim.crashes for claim in await take(queue)] == [2]
    assert await take(queue) == []


async def test_many_suspects_in_front_do_not_hide_the_healthy_ones(
    queue: RedisQueue, hands: Hands
) -> None:
    """300 users wait with a suspect; a healthy one behind them is found in one look."""
    suspects = [entry(f"user-{number}", number + 1, crashes=2) for number in range(300)]
    await queue.restore(suspects)
    await put(queue, ANN, 9999)

    assert [claim.user for claim in await take(queue, 1, may_take_suspect=False)] == [ANN]
    looked = await queue.claim(limit=1, may_take_suspect=False)
    assert looked.claims == ()


async def test_suspect_waits_no_longer_than_the_healthy_ones_before_it(
    queue: RedisQueue, hands: Hands
) -> None:
    """Where there is room for one only, the longest waiting user has it."""
    await queue.restore([entry(ANN, 1, crashes=2)])
    await hands.pass_delay(ANN)
    await put(queue, BEN, 2)

    assert [claim.user for claim in await take(queue, 1)] == [ANN]
    assert [claim.user for claim in await take(queue, 1)] == [BEN]


async def test_suspect_that_is_done_leaves_its_user_healthy(
    queue: RedisQueue, hands: Hands
) -> None:
    """Crashes belong to the message, not to the person."""
    await put(queue, ANN, 1, 2)
    await hands.crash(queue, ANN, times=2)
    await queue.ack(await take_one(queue))

    following = (await take(queue, may_take_suspect=False))[0]
    assert (following.message_id, following.crashes, following.sole_crashes) == (2, 0, 0)


async def test_suspect_that_is_not_to_be_taken_is_nothing_to_wait_for(
    queue: RedisQueue, hands: Hands
) -> None:
    """Otherwise the worker would look again and again without a pause."""
    await queue.restore([entry(ANN, 1, crashes=2)])

    assert (await queue.claim(limit=1, may_take_suspect=False)).next_due is None


# Fence


async def test_fences_grow_over_users_and_workers(
    queue_factory: QueueFactory, queue: RedisQueue
) -> None:
    """Every claim has a greater fence than all before, also within one look."""
    other = queue_factory(worker="worker-2")
    for number in range(10):
        await put(queue, f"user-{number}", number + 1)
    fences = [claim.fence for claim in await take(queue, 5)]
    fences += [claim.fence for claim in await take(other, 5)]

    assert fences == sorted(set(fences))
    assert len(fences) == 10
    assert abs(fences[0] / 1e6 - time.time()) < 60


async def test_raised_fence_is_exceeded_by_all_later_claims(queue: RedisQueue) -> None:
    """A server whose clock went back still gives fences that SQL accepts."""
    ahead = int((time.time() + 3600) * 1e6)
    await queue.raise_fence(ahead)
    await queue.raise_fence(ahead - 5)
    await put(queue, ANN, 1)
    await put(queue, BEN, 2)

    assert [claim.fence for claim in await take(queue)] == [ahead + 1, ahead + 2]


# Waking


async def test_wait_returns_when_a_message_comes(queue: RedisQueue) -> None:
    """The worker need not poll."""
    await take(queue)
    waiting = asyncio.ensure_future(queue.wait(20))
    await asyncio.sleep(0.02)
    started = time.monotonic()
    await put(queue, ANN, 1)
    await waiting

    assert time.monotonic() - started < 10


async def test_wait_returns_when_the_next_message_of_a_user_may_start(queue: RedisQueue) -> None:
    """An ack wakes, too."""
    await put(queue, ANN, 1, 2)
    claim = await take_one(queue)
    await take(queue)
    waiting = asyncio.ensure_future(queue.wait(20))
    await asyncio.sleep(0.02)
    await queue.ack(claim)

    await asyncio.wait_for(waiting, 2)


async def test_wait_ends_by_itself(queue: RedisQueue) -> None:
    """Nothing comes: it returns after its time."""
    await take(queue)
    started = time.monotonic()
    await queue.wait(0.1)
    await queue.wait(0)

    assert 0.09 < time.monotonic() - started < 5


async def test_wait_that_is_cancelled_ends_soon(
    redis_engine: RedisEngine, queue: RedisQueue
) -> None:
    """Whenever the cancellation arrives, also while the client is connecting."""
    await take(queue)
    loop = asyncio.get_running_loop()
    for turn in range(40):
        fresh = RedisQueue(redis_engine.client(), worker="w", namespace=redis_engine.keys.namespace)
        waiting = asyncio.ensure_future(fresh.wait(30))
        loop.call_later(turn * 0.0002, waiting.cancel)
        done, _ = await asyncio.wait([waiting], timeout=3)
        assert done
        assert waiting.cancelled()


async def test_claim_that_is_cancelled_gives_back_what_it_got(
    queue: RedisQueue, hands: Hands
) -> None:
    """No lease is left behind that nobody knows of."""
    await put(queue, ANN, 1)
    for turn in range(30):
        claiming = asyncio.ensure_future(take(queue))
        for _ in range(turn):
            await asyncio.sleep(0)
        claiming.cancel()
        result = (await asyncio.gather(claiming, return_exceptions=True))[0]
        if isinstance(result, list):
            assert await queue.retry(result[0], delay=0, counts=False)
        assert (await queue.figures()).leased_users == 0

    assert (await take_one(queue)).crashes == 0


async def test_wake_tokens_stay_few(queue: RedisQueue, hands: Hands) -> None:
    """They are a hint, not a queue; and they go when nobody is due."""
    for number in range(100):
        await put(queue, f"user-{number}", number + 1)
    assert await hands.redis.llen(hands.keys.wake) == 64

    await take(queue, 200)
    assert await hands.redis.llen(hands.keys.wake) == 0


# Rebuilding


async def test_without_an_epoch_nothing_is_taken_or_claimed(queue_factory: QueueFactory) -> None:
    """A new or wiped Redis is filled from SQL first."""
    queue = queue_factory()
    assert await queue.epoch() is None
    assert await put(queue, ANN, 2) == [Enqueued.REBUILDING]
    assert await queue.begin_rebuild("me", seconds=10)
    await queue.restore([entry(ANN, 1)])
    assert await take(queue) == []
    assert await queue.finish_rebuild("me", "e1")

    assert await queue.epoch() == "e1"
    assert (await take_one(queue)).message_id == 1
    assert await put(queue, ANN, 2) == [Enqueued.ADDED]


async def test_only_one_rebuilds(queue_factory: QueueFactory, hands: Hands) -> None:
    """The second one is told; the owner may go on; a lost lock changes nothing."""
    queue = queue_factory()
    assert await queue.begin_rebuild("me", seconds=10)
    assert not await queue.begin_rebuild("you", seconds=10)
    assert await queue.begin_rebuild("me", seconds=10)
    assert not await queue.finish_rebuild("you", "e-you")
    assert await queue.epoch() is None

    await hands.redis.delete(hands.keys.rebuild)
    assert not await queue.finish_rebuild("me", "e-me")
    assert await queue.begin_rebuild("you", seconds=10)
    assert await queue.finish_rebuild("you", "e-you")
    assert await queue.epoch() == "e-you"


async def test_rebuild_of_an_open_queue_closes_it(queue: RedisQueue) -> None:
    """Until it is finished nothing is given out that SQL may order otherwise."""
    await put(queue, ANN, 1)
    assert await queue.begin_rebuild("me", seconds=10)

    assert await queue.epoch() is None
    assert await take(queue) == []


async def test_restore_appends_what_is_missing_and_skips_the_rest(
    queue: RedisQueue, hands: Hands
) -> None:
    """It may run again and again."""
    await put(queue, ANN, 1)
    await queue.restore([entry(ANN, 1), entry(ANN, 2)])
    await queue.restore([entry(ANN, 1), entry(ANN, 2), entry(BEN, 3)])

    assert await hands.ids(ANN) == [1, 2]
    assert await queue.figures() == QueueFigures(
        waiting=3, ready_users=2, leased_users=0, parked_users=0
    )


async def test_restored_crashes_count_for_the_head_only(queue: RedisQueue, hands: Hands) -> None:
    """The counters in Redis are those of the head."""
    await queue.restore([entry(ANN, 1, crashes=1), entry(ANN, 2, crashes=3)])
    await hands.pass_delay(ANN)

    first = (await take(queue, may_take_suspect=False))[0]
    assert (first.message_id, first.crashes) == (1, 1)
    await queue.ack(first)
    second = (await take(queue, may_take_suspect=False))[0]
    assert (second.message_id, second.crashes) == (2, 0)


async def test_restored_heads_that_crashed_are_due_after_delays_within_half_a_lease(
    queue_factory: QueueFactory, hands: Hands
) -> None:
    """The process died with them and forgot its leases: they part like those whose lease ran out."""
    queue = queue_factory(lease=30)
    assert await queue.begin_rebuild("test", seconds=10)
    crashed = [entry(f"user-{n}", n + 1, crashes=1 + n % 2) for n in range(20)]
    started = time.time() * 1000
    await queue.restore([*crashed, entry(ANN, 99)])
    assert await queue.finish_rebuild("test", "e1")
    ended = time.time() * 1000

    lines = (hands.keys.ready, hands.keys.suspects)
    scores = [await hands.redis.zscore(lines[n % 2], f"user-{n}") for n in range(20)]
    due = [score for score in scores if score is not None]
    assert len(due) == 20
    assert all(started - 5 <= score <= ended + 15_000 for score in due)
    assert max(due) - min(due) > 2_000
    assert (await hands.redis.zscore(hands.keys.ready, ANN) or ended + 1) <= ended


async def test_a_replayed_message_that_was_left_in_the_list_begins_without_its_old_counts(
    queue: RedisQueue, hands: Hands
) -> None:
    """It was given up, but its ack got lost: its tries, crashes and being a suspect are of that time."""
    await put(queue, ANN, 1, 2)
    await hands.crash(queue, ANN, 3)
    await queue.retry(await take_one(queue), delay=0, counts=True)
    assert await hands.counts(ANN) == [1, 3, 1]

    again = replace(entry(ANN, 1), is_replayed=True)
    assert await queue.restore([entry(ANN, 1)]) == [Enqueued.SEEN]
    assert await hands.counts(ANN) == [1, 3, 1]
    assert await queue.restore([again]) == [Enqueued.SEEN]

    assert await hands.counts(ANN) == [0, 0, 0]
    assert await hands.lines_of(ANN) == [hands.keys.ready]
    claim = await take_one(queue)
    assert (claim.message_id, claim.attempts, claim.crashes) == (1, 0, 0)


async def test_a_replayed_message_behind_another_leaves_that_ones_counts(
    queue: RedisQueue, hands: Hands
) -> None:
    """They are the head's; and one in work keeps its lease."""
    await put(queue, ANN, 5)
    await queue.retry(await take_one(queue), delay=0, counts=True)
    claim = await take_one(queue)
    again = replace(entry(ANN, 1), is_replayed=True)

    assert await queue.restore([again]) == [Enqueued.ADDED]
    assert await queue.restore([again]) == [Enqueued.SEEN]

    assert await hands.counts(ANN) == [1, 0, 0]
    assert await hands.ids(ANN) == [5, 1]
    assert await queue.ack(claim)
    assert (await take_one(queue)).attempts == 0


# Rewriting, forgetting, repairing


async def test_rewrite_puts_the_list_into_the_given_order_and_frees_the_user(
    queue: RedisQueue, hands: Hands
) -> None:
    """The oldest unfinished message becomes the head; the old head's tries are not its own."""
    await put(queue, ANN, 3, 2)
    await queue.retry(await take_one(queue), delay=0, counts=True)
    claim = await take_one(queue)

    assert await queue.rewrite(ANN, claim.token, [MessageId(1), MessageId(2), MessageId(3)])
    assert await hands.ids(ANN) == [1, 2, 3]
    assert (await queue.figures()).waiting == 3
    head = await take_one(queue)
    assert (head.message_id, head.attempts) == (1, 0)


async def test_rewrite_with_the_same_head_keeps_its_tries(queue: RedisQueue) -> None:
    """Tries belong to the message."""
    await put(queue, ANN, 1, 3)
    await queue.retry(await take_one(queue), delay=0, counts=True)
    claim = await take_one(queue)

    assert await queue.rewrite(ANN, claim.token, [MessageId(1), MessageId(2), MessageId(3)])
    assert (await take_one(queue)).attempts == 1


async def test_rewrite_keeps_what_arrived_after_the_caller_looked(
    queue: RedisQueue, hands: Hands
) -> None:
    """Ids that are not named follow behind."""
    await put(queue, ANN, 2)
    claim = await take_one(queue)
    await put(queue, ANN, 5, 6)

    assert await queue.rewrite(ANN, claim.token, [MessageId(1), MessageId(2)])
    assert await hands.ids(ANN) == [1, 2, 5, 6]
    assert (await queue.figures()).waiting == 4


async def test_rewrite_of_a_very_long_list_works(queue: RedisQueue, hands: Hands) -> None:
    """Lua can pass only some thousand values at once."""
    await put(queue, ANN, 20_000)
    claim = await take_one(queue)
    ids = [MessageId(number) for number in range(1, 12_001)]

    assert await queue.rewrite(ANN, claim.token, ids)
    assert await hands.ids(ANN) == [*ids, 20_000]


async def test_rewrite_without_the_lease_changes_nothing(queue: RedisQueue, hands: Hands) -> None:
    """Another worker may be at work."""
    await put(queue, ANN, 1, 2)
    claim = await take_one(queue)
    await hands.end_lease(ANN)

    assert not await queue.rewrite(ANN, claim.token, [MessageId(2), MessageId(1)])
    assert await hands.ids(ANN) == [1, 2]


async def test_forgotten_message_goes_with_its_seen_key(queue: RedisQueue, hands: Hands) -> None:
    """Its twin can then be enqueued under the same key."""
    await put(queue, ANN, 1, 2, 3)
    await queue.forget(ANN, MessageId(2), BOT, "2")

    assert await hands.ids(ANN) == [1, 3]
    assert (await queue.figures()).waiting == 2
    twin = await queue.enqueue([entry(ANN, 22, key="2")], user_bound=0, all_bound=0)
    assert twin == [Enqueued.ADDED]


async def test_forgetting_keeps_the_seen_key_of_the_twin(queue: RedisQueue, hands: Hands) -> None:
    """The key that names another id stays."""
    await put(queue, ANN, 1)
    await queue.forget(ANN, MessageId(7), BOT, "1")

    assert await hands.ids(ANN) == [1]
    assert await hands.redis.get(hands.keys.seen(BOT, "1")) == b"1"


async def test_forgetting_the_only_message_leaves_no_user(queue: RedisQueue, hands: Hands) -> None:
    """An empty list has no place in line."""
    await put(queue, ANN, 1)
    await queue.forget(ANN, MessageId(1), BOT, "1")

    assert await hands.lines_of(ANN) == []
    assert await queue.figures() == QueueFigures(
        waiting=0, ready_users=0, leased_users=0, parked_users=0
    )


async def test_forgetting_a_suspect_head_frees_the_user(queue: RedisQueue, hands: Hands) -> None:
    """The next message is no suspect."""
    await put(queue, ANN, 1, 2)
    await hands.crash(queue, ANN, times=2)
    await queue.forget(ANN, MessageId(1), BOT, "1")

    claim = (await take(queue, may_take_suspect=False))[0]
    assert (claim.message_id, claim.crashes) == (2, 0)


async def test_repair_serves_a_message_pushed_by_hand(queue: RedisQueue, hands: Hands) -> None:
    """``RPUSH ecloud_queue:<user> <id>`` is found and counted."""
    await hands.redis.rpush(hands.keys.queue(ANN), "41", "42")

    assert await take(queue) == []
    assert await queue.repair() == 1
    assert (await queue.figures()).waiting == 2
    assert (await take_one(queue)).message_id == 41
    assert await queue.repair() == 0


async def test_repair_drops_users_whose_list_is_gone(queue: RedisQueue, hands: Hands) -> None:
    """After ``DEL ecloud_queue:<user>`` nothing of the user stays, and the total is right."""
    await put(queue, ANN, 1, 2)
    await queue.retry(await take_one(queue), delay=9, counts=True)
    await put(queue, BEN, 3)
    await hands.redis.delete(hands.keys.queue(ANN))

    assert await queue.repair() == 0
    assert await hands.lines_of(ANN) == []
    assert not await hands.redis.hexists(hands.keys.attempts, ANN)
    assert await queue.figures() == QueueFigures(
        waiting=1, ready_users=1, leased_users=0, parked_users=0
    )


async def test_repair_leaves_a_held_lease_alone(queue: RedisQueue, hands: Hands) -> None:
    """A user who is in work is not put in line, even if the set of leases was damaged."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    await hands.redis.zrem(hands.keys.leases, ANN)

    assert await queue.repair() == 1
    assert await take(queue) == []
    assert await queue.ack(claim)


async def test_repair_finds_everybody_among_many(queue: RedisQueue, hands: Hands) -> None:
    """It goes through all pages of the key space."""
    pipeline = hands.redis.pipeline(transaction=False)
    for number in range(1, 1301):
        pipeline.rpush(hands.keys.queue(WcId(f"user-{number}")), str(number))
    await pipeline.execute()

    assert await queue.repair() == 1300
    figures = await queue.figures()
    assert (figures.waiting, figures.ready_users) == (1300, 1300)


async def test_repair_keeps_to_its_own_namespace(
    queue_factory: QueueFactory, redis_engine: RedisEngine
) -> None:
    """Signs that mean something in a search pattern are taken as they are."""
    space = redis_engine.keys.namespace
    odd = queue_factory(namespace=f"{space}[a-z]*?\\:")
    await redis_engine.redis.rpush(f"{space}[a-z]*?\\:ecloud_queue:{ANN}", "1")
    await redis_engine.redis.rpush(f"{space}aa?\\:ecloud_queue:{BEN}", "2")

    assert await odd.repair() == 1
    assert (await odd.figures()).waiting == 1


async def test_user_in_line_with_a_foreign_lease_is_not_claimed(
    queue: RedisQueue, hands: Hands
) -> None:
    """The lease key itself keeps a second worker out, whatever the sets say."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    await hands.redis.zadd(hands.keys.ready, {ANN: 1})

    assert await take(queue) == []
    assert await queue.ack(claim)


async def test_claim_drops_users_whose_list_is_gone(queue: RedisQueue, hands: Hands) -> None:
    """One look is enough, however many there are."""
    for number in range(30):
        await put(queue, f"user-{number}", number + 1)
        await hands.redis.delete(hands.keys.queue(WcId(f"user-{number}")))
    await put(queue, ANN, 99)

    assert [claim.user for claim in await take(queue, 5)] == [ANN]
    assert (await queue.figures()).ready_users == 0


@pytest.mark.parametrize("damage", ["text", "string", "hash", "huge"])
async def test_damaged_list_of_one_user_holds_up_nobody_else(
    queue: RedisQueue, hands: Hands, damage: str
) -> None:
    """What is no message id is dropped, and so is what is no list."""
    await put(queue, ANN, 1)
    name = hands.keys.queue(ANN)
    if damage == "text":
        await hands.redis.lpush(name, "no id")
    elif damage == "huge":
        await hands.redis.lpush(name, "9" * 40)
    else:
        await hands.redis.delete(name)
        await (
            hands.redis.set(name, "x") if damage == "string" else hands.redis.hset(name, "a", "b")
        )
    await put(queue, BEN, 2)

    expected = {ANN, BEN} if damage in {"text", "huge"} else {BEN}
    assert {claim.user for claim in await take(queue)} == expected
    assert await hands.redis.exists(name) == (ANN in expected)
    assert await queue.repair() == 0


async def test_names_that_are_no_text_are_served_all_the_same(
    queue: RedisQueue, hands: Hands
) -> None:
    """A key made by hand with odd bytes must not stop the claims of others."""
    prefix = hands.keys.queue_prefix.encode()
    await hands.redis.rpush(prefix + b"\xff\xfe", "5")
    await queue.repair()
    claim = await take_one(queue)

    assert claim.message_id == 5
    assert await queue.ack(claim)


# Figures


async def test_figures_count_what_waits_and_who_works(queue: RedisQueue, hands: Hands) -> None:
    """Messages in work are still waiting for their end."""
    await put(queue, ANN, 1, 2)
    await put(queue, BEN, 3)
    await queue.restore([entry("wxid_suspect", 4, crashes=2)])
    await take(queue, 1)
    await queue.ping()

    assert await queue.figures() == QueueFigures(
        waiting=4, ready_users=2, leased_users=1, parked_users=0
    )


async def test_lease_key_names_fence_worker_and_message(queue: RedisQueue, hands: Hands) -> None:
    """That is what an operator reads by GET."""
    await put(queue, ANN, 1)
    claim = await take_one(queue)
    value = await hands.redis.get(hands.keys.processing(ANN))

    assert value == f"{claim.fence}:worker-1:1".encode() == claim.token.encode()
    assert math.isclose(await hands.redis.pttl(hands.keys.processing(ANN)), 30_000, abs_tol=2000)
