"""Nobody gets two turns while another one waits, whoever claims and however much somebody has."""

import random
from dataclasses import dataclass, field

import pytest

from app.models.flow import Claim
from app.services.queue.redis_queue import RedisQueue
from tests.contracts.queue_steps import ANN, BEN, Hands, put, take, take_one
from tests.fixtures.redis import QueueFactory, RedisEngine

HEAVY = "heavy"


@pytest.fixture
def hands(redis_engine: RedisEngine) -> Hands:
    """The keys of the test, for what a queue cannot do by itself."""
    return Hands(redis_engine)


@dataclass
class Line:
    """Since when everybody waits, as an onlooker counts it."""

    #: Waiting users who are due, the longest waiting one first.
    due: list[str] = field(default_factory=list)
    #: Who was passed over by somebody behind him.
    passed_over: list[str] = field(default_factory=list)

    def stand(self, user: str) -> None:
        """He is due from now on, unless he was."""
        if user not in self.due:
            self.due.append(user)

    def take(self, users: list[str]) -> None:
        """These were claimed together: nobody who is left may have stood before them."""
        first = self.due[: len(users)]
        self.passed_over += [user for user in first if user not in users]
        self.due = [user for user in self.due if user not in users]


@pytest.mark.parametrize("seed", range(2))
async def test_turns_are_given_in_the_order_in_which_users_became_due(
    queue: RedisQueue, queue_factory: QueueFactory, hands: Hands, seed: int
) -> None:
    """Two processes claim several at a time; one user has a hundred messages, some have to be retried."""
    rng = random.Random(seed)
    workers = [queue, queue_factory(worker="worker-2")]
    line, held, delayed = Line(), list[Claim](), list[str]()
    left = {HEAVY: 100}
    await put(queue, HEAVY, *range(1, 101))
    line.stand(HEAVY)
    for number in range(250):
        step = rng.random()
        if step < 0.3:
            user = f"user-{rng.randrange(30)}"
            await put(queue, user, 10_000 + number)
            left[user] = left.get(user, 0) + 1
            if user not in delayed and user not in {claim.user for claim in held}:
                line.stand(user)
        elif step < 0.6:
            claims = await take(rng.choice(workers), rng.randrange(1, 5))
            line.take([claim.user for claim in claims])
            held += claims
        elif step < 0.95 and held:
            claim = held.pop(rng.randrange(len(held)))
            if rng.random() < 0.3:
                await queue.retry(claim, delay=1000, counts=True)
                delayed.append(claim.user)
                continue
            assert await queue.ack(claim)
            left[claim.user] -= 1
            if left[claim.user]:
                line.stand(claim.user)
        elif delayed:
            # His time comes: from now on he waits like the others.
            user = delayed.pop(rng.randrange(len(delayed)))
            seconds, micros = await hands.redis.time()
            await hands.redis.zadd(
                hands.keys.ready, {user: seconds * 1000 + micros / 1000}, xx=True
            )
            line.stand(user)

    assert line.passed_over == []
    assert len(left) > 20


async def test_the_order_holds_within_one_millisecond(queue: RedisQueue, hands: Hands) -> None:
    """Names do not decide who is first: the later one's sorts before the earlier one's."""
    for number in range(20):
        await put(queue, f"user-{99 - number}", number + 1)

    users = [claim.user for claim in await take(queue, 20)]

    assert users == [f"user-{99 - number}" for number in range(20)]


async def test_a_user_waits_from_when_his_retry_is_due(queue: RedisQueue, hands: Hands) -> None:
    """While he has to wait, others go on; then one turn of somebody else is the most before his."""
    await put(queue, ANN, 1)
    await queue.retry(await take_one(queue), delay=1000, counts=True)
    await put(queue, BEN, *range(2, 10))
    for _ in range(3):
        assert await queue.ack(await take_one(queue))

    claim = await take_one(queue)
    assert claim.user == BEN
    await hands.pass_delay(ANN)
    assert await queue.ack(claim)

    assert [one.user for one in await take(queue, 1)] == [ANN]
