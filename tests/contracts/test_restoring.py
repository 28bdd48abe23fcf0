"""Bringing accepted messages back: many users in one script, long lists, and how long lists are."""

import pytest

from app.models.flow import WcId
from app.services.queue import restoring
from app.services.queue.protocol import Enqueued, QueueFigures
from app.services.queue.redis_queue import RedisQueue
from tests.contracts.queue_steps import ANN, BEN, Hands, entry, put, take, take_one
from tests.fixtures.redis import QueueFactory, RedisEngine

ADDED, SEEN = Enqueued.ADDED, Enqueued.SEEN


@pytest.fixture
def hands(redis_engine: RedisEngine) -> Hands:
    """The keys of the test, for what a queue cannot do by itself."""
    return Hands(redis_engine)


async def test_many_users_are_brought_back_each_in_order_and_stand_in_line_as_named(
    queue: RedisQueue, hands: Hands
) -> None:
    """More than one script takes; whoever waits longest, whose message is named first, is first."""
    users = [f"user-{number:03d}" for number in range(120, 0, -1)]
    entries = [entry(user, turn * 1000 + n) for turn in (1, 2) for n, user in enumerate(users)]

    assert await queue.restore(entries) == [ADDED] * 240

    assert [claim.user for claim in await take(queue, 200)] == users
    assert await hands.ids("user-120") == [1000, 2000]
    assert (await queue.figures()).waiting == 240


@pytest.mark.parametrize("missing", [[2], [2, 5, 6], list(range(2, 12))])
async def test_what_a_list_lacks_goes_behind_what_it_has(
    queue: RedisQueue, hands: Hands, missing: list[int]
) -> None:
    """Few are searched for one by one, many by reading the list once: the outcome is the same."""
    known = [number for number in range(1, 13) if number not in missing]
    await put(queue, ANN, *known)

    results = await queue.restore([entry(ANN, number) for number in range(1, 13)])

    assert results == [ADDED if number in missing else SEEN for number in range(1, 13)]
    assert await hands.ids(ANN) == [*known, *missing]


async def test_an_id_that_is_named_twice_comes_back_once(queue: RedisQueue, hands: Hands) -> None:
    """Two pages of the database may overlap when rows change meanwhile."""
    assert await queue.restore([entry(ANN, 1), entry(BEN, 2), entry(ANN, 1)]) == [
        ADDED,
        ADDED,
        SEEN,
    ]
    assert await hands.ids(ANN) == [1]


async def test_a_user_with_more_messages_than_one_script_takes_has_them_in_order(
    queue: RedisQueue, hands: Hands
) -> None:
    """Their list grows over several calls."""
    count = 2 * restoring.MESSAGES_AT_ONCE + 7
    entries = [entry(ANN, number) for number in range(1, count)]

    assert await queue.restore([*entries, entry(BEN, count)]) == [ADDED] * count
    assert await queue.restore(entries) == [SEEN] * (count - 1)

    assert await hands.ids(ANN) == list(range(1, count))
    assert await hands.ids(BEN) == [count]


async def test_lists_too_long_for_one_script_are_looked_at_in_several(
    queue: RedisQueue, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call does at least one user; nobody is left out."""
    users = [f"user-{number}" for number in range(4)]
    for place, user in enumerate(users):
        await put(queue, user, *range(place * 100 + 1, place * 100 + 21))
    monkeypatch.setattr(restoring, "LOOKS_AT_ONCE", 15)

    results = await queue.restore(
        [entry(user, place * 100 + 50) for place, user in enumerate([*users, "new"])]
    )

    assert results == [ADDED] * 5
    assert [len(await hands.ids(user)) for user in [*users, "new"]] == [21, 21, 21, 21, 1]


async def test_who_is_in_work_or_parked_stays_so(queue: RedisQueue, hands: Hands) -> None:
    """A list deleted by hand under a lease gets its messages back; the lease is not touched."""
    await put(queue, ANN, 1)
    await put(queue, BEN, 2)
    ann, ben = await take(queue)
    await queue.park(ben, "dify:default")
    await hands.redis.delete(hands.keys.queue(ANN))

    await queue.restore([entry(ANN, 1), entry(BEN, 2), entry(BEN, 3)])

    assert await hands.lines_of(ANN) == [hands.keys.leases]
    assert await hands.lines_of(BEN) == [hands.keys.parked("dify:default")]
    assert await take(queue) == []
    assert await queue.ack(ann)


async def test_a_parked_user_whose_list_was_gone_stands_in_line_again(
    queue: RedisQueue, hands: Hands
) -> None:
    """Exactly one place for each."""
    await put(queue, ANN, 1)
    await queue.park(await take_one(queue), "dify:default")
    await hands.redis.delete(hands.keys.queue(ANN))

    await queue.restore([entry(ANN, 1)])

    assert await hands.lines_of(ANN) == [hands.keys.ready]
    assert await queue.parked_peers() == {}


async def test_counts_of_a_former_head_do_not_stick_to_a_restored_one(
    queue: RedisQueue, hands: Hands
) -> None:
    """They are those that SQL has; a suspect stands among the suspects."""
    for user in (ANN, BEN):
        await put(queue, user, 1)
    await hands.crash(queue, ANN, times=2)
    for user in (ANN, BEN):
        await hands.redis.delete(hands.keys.queue(WcId(user)))

    await queue.restore([entry(ANN, 1), entry(BEN, 2, crashes=2)])

    assert await hands.counts(ANN) == [0, 0, 0]
    assert await hands.counts(BEN) == [0, 2, 0]
    assert await hands.lines_of(ANN) == [hands.keys.ready]
    assert await hands.lines_of(BEN) == [hands.keys.suspects]


async def test_restored_users_end_the_wait_of_as_many_workers(
    queue_factory: QueueFactory, hands: Hands
) -> None:
    """One token each, up to what the wake list holds."""
    queue = queue_factory()
    assert await queue.begin_rebuild("me", seconds=10)
    await queue.restore([entry("user-1", 1), entry("user-2", 2), entry("user-2", 3)])
    assert await hands.redis.llen(hands.keys.wake) == 2

    await queue.restore([entry(f"many-{number}", 10 + number) for number in range(100)])
    assert await hands.redis.llen(hands.keys.wake) == 64


async def test_nothing_to_bring_back_changes_nothing(queue: RedisQueue) -> None:
    """An empty page."""
    assert await queue.restore([]) == []
    assert await queue.figures() == QueueFigures(
        waiting=0, ready_users=0, leased_users=0, parked_users=0
    )


async def test_depths_are_the_lengths_of_the_lists(queue: RedisQueue, hands: Hands) -> None:
    """Those in work count; nobody's list and a key of another type have none."""
    await put(queue, ANN, 1, 2, 3)
    await take_one(queue)
    await hands.spoil(hands.keys.queue(BEN), "string")

    assert await queue.depths([ANN, BEN, WcId("nobody")]) == [3, 0, 0]
    assert await queue.depths([]) == []


async def test_a_rebuild_that_is_left_makes_room_for_the_next_one(
    queue_factory: QueueFactory,
) -> None:
    """At once, and still nothing is claimed; somebody else's lock stays."""
    queue = queue_factory()
    assert await queue.begin_rebuild("me", seconds=60)
    await queue.leave_rebuild("you")
    assert not await queue.begin_rebuild("you", seconds=60)

    await queue.leave_rebuild("me")

    assert await queue.epoch() is None
    assert await queue.begin_rebuild("you", seconds=60)
