"""Random steps against the queue and against a model of it in plain Python; both must agree."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis
from typing_extensions import override

from app.models.flow import Claim, MessageId, WcId
from app.services.queue.protocol import Enqueued
from app.utils.embedded_redis import EmbeddedRedis
from app.utils.redis_client import make_redis
from tests.contracts.queue_steps import BOT, Hands, entry, put, take
from tests.fixtures.redis import RedisEngine, open_queue

USERS = ("ann", "ben", "cat", "dan")
PEERS = ("dify:default", "account:wxid_bot")
LEASE_SECONDS = 10_000
T = TypeVar("T")


@dataclass
class Person:
    """What the model knows of one user."""

    ids: list[int] = field(default_factory=list)
    attempts: int = 0
    crashes: int = 0
    sole_crashes: int = 0
    is_due: bool = True
    parked_for: str | None = None
    claim: Claim | None = None

    def start_head(self) -> None:
        """Another message is the head now."""
        self.attempts = self.crashes = self.sole_crashes = 0

    @property
    def is_suspect(self) -> bool:
        return self.crashes >= 2


class QueueMachine(RuleBasedStateMachine):
    """One queue with two workers, four users, and whatever can happen to them."""

    def __init__(self, open_client: Callable[[], Redis]) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.people = {user: Person() for user in USERS}
        self.parked: dict[str, list[str]] = {peer: [] for peer in PEERS}
        self.last_id = self.last_fence = 0
        self.old_claims: list[Claim] = []
        self.open_client = open_client
        self.run(self.open())

    async def open(self) -> None:
        self.engine = RedisEngine("any", self.open_client, f"model-{uuid.uuid4().hex}:")
        self.hands = Hands(self.engine)
        # No lease runs out by itself, however slow the machine is: only the steps below end one.
        self.queue = self.engine.make_queue(lease=LEASE_SECONDS)
        self.other = self.engine.make_queue(worker="worker-2", lease=LEASE_SECONDS)
        await open_queue(self.queue)

    def run(self, step: Awaitable[T]) -> T:
        async def wait() -> T:
            return await step

        return self.runner.run(wait())

    @override
    def teardown(self) -> None:
        self.run(self.engine.close())
        self.runner.close()

    def working(self) -> list[Person]:
        return [person for person in self.people.values() if person.claim]

    @rule(user=st.sampled_from(USERS), count=st.integers(1, 3))
    def enqueue(self, user: str, count: int) -> None:
        ids = [self.last_id + number for number in range(1, count + 1)]
        self.last_id += count
        assert self.run(put(self.queue, user, *ids)) == [Enqueued.ADDED] * count
        person = self.people[user]
        if not person.ids:
            person.start_head()
            person.is_due = True
        person.ids += ids

    @precondition(lambda self: self.last_id)
    @rule(user=st.sampled_from(USERS), data=st.data())
    def deliver_again(self, user: str, data: st.DataObject) -> None:
        waiting = self.people[user].ids
        if waiting:
            again = data.draw(st.sampled_from(waiting))
            assert self.run(put(self.queue, user, again)) == [Enqueued.SEEN]

    @rule(limit=st.integers(0, 5), may=st.booleans(), by_other=st.booleans())
    def claim(self, *, limit: int, may: bool, by_other: bool) -> None:
        queue = self.other if by_other else self.queue
        claims = self.run(take(queue, limit, may_take_suspect=may))
        due = {
            user
            for user, person in self.people.items()
            if person.ids and not person.claim and not person.parked_for and person.is_due
        }
        suspects = {user for user in due if self.people[user].is_suspect}
        assert len({claim.user for claim in claims}) == len(claims)
        assert len(claims) == min(limit, len(due - suspects) + min(len(suspects), int(may)))
        assert sum(claim.user in suspects for claim in claims) <= may
        for claim in claims:
            person = self.people[claim.user]
            assert claim.user in due
            expected = (person.ids[0], person.attempts, person.crashes, person.sole_crashes)
            got = (claim.message_id, claim.attempts, claim.crashes, claim.sole_crashes)
            assert got == expected
            assert claim.fence > self.last_fence
            self.last_fence = claim.fence
            person.claim = claim

    @precondition(lambda self: self.working())
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(self.working()))
        assert person.claim
        assert self.run(self.queue.ack(person.claim))
        self.end(person)
        person.ids.pop(0)
        person.start_head()

    @precondition(lambda self: self.working())
    @rule(data=st.data(), counts=st.booleans(), is_delayed=st.booleans())
    def retry(self, data: st.DataObject, *, counts: bool, is_delayed: bool) -> None:
        person = data.draw(st.sampled_from(self.working()))
        assert person.claim
        delay = 1000.0 if is_delayed else 0.0
        assert self.run(self.queue.retry(person.claim, delay=delay, counts=counts))
        self.end(person)
        person.attempts += counts
        person.is_due = not is_delayed

    @precondition(lambda self: self.working())
    @rule(data=st.data(), peer=st.sampled_from(PEERS))
    def park(self, data: st.DataObject, peer: str) -> None:
        person = data.draw(st.sampled_from(self.working()))
        assert person.claim
        assert self.run(self.queue.park(person.claim, peer))
        self.parked[peer].append(person.claim.user)
        self.end(person)
        person.parked_for = peer

    @rule(peer=st.sampled_from(PEERS), most=st.integers(1, 3), by_other=st.booleans())
    def unpark(self, *, peer: str, most: int, by_other: bool) -> None:
        queue = self.other if by_other else self.queue
        assert self.run(queue.unpark(peer, most)) == min(most, len(self.parked[peer]))
        self.parked[peer], first = self.parked[peer][most:], self.parked[peer][:most]
        for user in first:
            self.people[user].parked_for = None

    @precondition(lambda self: self.working())
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(self.working()))
        assert person.claim
        self.run(self.hands.end_lease(person.claim.user))
        self.run(take(self.queue, 0))
        # The delay after a crash is random, and may be none.
        self.run(self.hands.hold_back(person.claim.user))
        self.end(person)
        person.sole_crashes += person.is_suspect
        person.crashes += 1
        person.is_due = False

    @rule(user=st.sampled_from(USERS))
    def pass_time(self, user: str) -> None:
        self.run(self.hands.pass_delay(user))
        self.people[user].is_due = True

    @precondition(lambda self: self.old_claims)
    @rule(data=st.data())
    def come_late(self, data: st.DataObject) -> None:
        late = data.draw(st.sampled_from(self.old_claims))
        assert not self.run(self.queue.ack(late))
        assert not self.run(self.queue.retry(late, delay=0, counts=True))
        # One that ran out and was not taken since is taken back: that has its own test.
        if self.people[late.user].crashes == late.crashes:
            assert self.run(self.queue.heartbeat([late])) == [late]

    @precondition(lambda self: self.working())
    @rule(data=st.data())
    def rewrite(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(self.working()))
        assert person.claim
        named = data.draw(st.permutations(person.ids))[: data.draw(st.integers(0, 5))]
        ids = [MessageId(number) for number in named]
        assert self.run(self.queue.rewrite(person.claim.user, person.claim.token, ids))
        head = person.ids[0]
        person.ids = named + [number for number in person.ids if number not in named]
        self.end(person)
        if person.ids[0] != head:
            person.start_head()
        person.is_due = True

    @rule(user=st.sampled_from(USERS), data=st.data())
    def forget(self, user: str, data: st.DataObject) -> None:
        person = self.people[user]
        # A head in work belongs to its worker.
        free = person.ids[1:] if person.claim else person.ids
        if free:
            number = data.draw(st.sampled_from(free))
            self.run(self.queue.forget(WcId(user), MessageId(number), BOT, str(number)))
            if person.ids[0] == number:
                person.start_head()
            person.ids.remove(number)
            if not person.ids and person.parked_for:
                self.parked[person.parked_for].remove(user)
                person.parked_for = None

    @rule(user=st.sampled_from(USERS))
    def push_by_hand(self, user: str) -> None:
        self.last_id += 1
        self.run(self.hands.redis.rpush(self.hands.keys.queue(WcId(user)), str(self.last_id)))
        person = self.people[user]
        if not person.ids:
            person.start_head()
            person.is_due = True
        person.ids.append(self.last_id)
        self.run(self.queue.repair())

    @rule()
    def start_again(self) -> None:
        assert self.run(self.queue.begin_rebuild("me", seconds=10))
        assert self.run(take(self.queue)) == []
        entries = [
            entry(user, number) for user, person in self.people.items() for number in person.ids
        ]
        self.run(self.queue.restore(entries))
        assert self.run(self.queue.finish_rebuild("me", "again"))

    def end(self, person: Person) -> None:
        assert person.claim
        self.old_claims.append(person.claim)
        person.claim = None
        person.is_due = True

    @invariant()
    def lists_are_the_same(self) -> None:
        for user, person in self.people.items():
            assert self.run(self.hands.ids(user)) == person.ids

    @invariant()
    def everybody_stands_in_one_line(self) -> None:
        keys = self.hands.keys
        for user, person in self.people.items():
            line = [keys.suspects if person.is_suspect else keys.ready] if person.ids else []
            if person.parked_for:
                line = [keys.parked(person.parked_for)]
            expected = [keys.leases] if person.claim else line
            assert self.run(self.hands.lines_of(user)) == expected

    @invariant()
    def counters_are_those_of_the_head(self) -> None:
        for user, person in self.people.items():
            expected = [person.attempts, person.crashes, person.sole_crashes]
            assert self.run(self.hands.counts(user)) == (expected if person.ids else [0, 0, 0])

    @invariant()
    def totals_are_right(self) -> None:
        figures = self.run(self.queue.figures())
        assert figures.waiting == sum(len(person.ids) for person in self.people.values())
        assert figures.leased_users == len(self.working())
        parked = {peer: len(users) for peer, users in self.parked.items() if users}
        assert self.run(self.queue.parked_peers()) == parked
        assert figures.parked_users == sum(parked.values())


def run_machine(open_client: Callable[[], Redis], examples: int) -> None:
    """Let hypothesis look for steps after which queue and model differ."""

    class Machine(QueueMachine):
        def __init__(self) -> None:
            super().__init__(open_client)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_embedded_queue_does_what_the_model_does() -> None:
    """Order, exclusion, counters, lines and totals, on the embedded engine."""
    run_machine(lambda: EmbeddedRedis().client(), 25)


@pytest.mark.redis
def test_real_queue_does_what_the_model_does(redis_url: str) -> None:
    """The same on a real server."""
    run_machine(lambda: make_redis(redis_url), 25)
