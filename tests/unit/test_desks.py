"""Places of several Dify apps in one process: nobody fills what the others need."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from app.models.limit import Grant
from app.services.dify.gate import Gate
from app.services.dify.limit import Places
from app.services.errors import DifyOverloaded, QueueUnavailable
from app.services.queue.breakers import limit_peer
from app.utils.clock import SystemClock
from app.workers.desks import Desk, Desks


class Queue:
    """Has users parked by peer; remembers how many were let go."""

    def __init__(self, **parked: int) -> None:
        self.parked = {limit_peer(app): users for app, users in parked.items()}
        self.let_go: list[tuple[str, int]] = []
        self.is_away = False

    async def unpark(self, peer: str, users: int) -> int:
        """As Redis does."""
        if self.is_away:
            raise QueueUnavailable("away")
        found = min(users, self.parked.get(peer, 0))
        self.parked[peer] = self.parked.get(peer, 0) - found
        self.let_go.append((peer, found))
        return found

    @property
    def peers(self) -> list[str]:
        """Peers with somebody parked."""
        return [peer for peer, users in self.parked.items() if users]


def gate(places: int) -> Gate:
    """So many, until somebody grants others."""
    return Gate(Places(places, maximum=100, clock=SystemClock()))


def make_desks(queue: Any, concurrency: int, **slots: int) -> Desks:
    """Desks with so many places each."""
    return Desks(
        [
            Desk(app, gate=gate(limit), replies=None, hearing=None)  # type: ignore[arg-type]
            for app, limit in slots.items()
        ],
        queue=queue,
        concurrency=concurrency,
    )


def desk_of(desks: Desks, app: str) -> Desk:
    """A desk that is there."""
    found = desks.get(app)
    assert found is not None
    return found


def fill(desks: Desks, app: str) -> int:
    """Take places until there are none; how many there were."""
    desk = desk_of(desks, app)
    while desks.take_place(desk):
        pass
    return desk.taken


def test_one_app_has_all_places_up_to_its_limit() -> None:
    """What Dify will not be asked now is left to other processes."""
    desks = make_desks(Queue(), 256, default=16)
    assert desks.room(3) == 13
    assert fill(desks, "default") == 16
    assert desks.room(16) == 0


def test_an_app_at_its_limit_leaves_the_places_of_the_others() -> None:
    """Its own limit and one part more; the others' come whole."""
    desks = make_desks(Queue(), 256, slow=8, good=16)
    assert (fill(desks, "slow"), fill(desks, "good")) == (10, 20)
    assert desks.room(30) == 0


def test_a_process_with_few_places_keeps_some_for_every_app() -> None:
    """However high the limit of the one is."""
    desks = make_desks(Queue(), 8, slow=64, good=64)
    assert desks.room(0) == 8
    assert (fill(desks, "slow"), fill(desks, "good")) == (6, 2)


@given(
    st.integers(1, 300),
    st.lists(st.integers(1, 90), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=200),
)
async def test_never_more_are_at_work_than_there_are_places(
    concurrency: int, limits: list[int], steps: list[tuple[int, bool]]
) -> None:
    """Whatever comes and goes in which order; and whoever is alone is never refused."""
    desks = make_desks(Queue(), concurrency, **{f"a{at}": one for at, one in enumerate(limits)})
    every = list(desks)
    for at, comes in steps:
        desk = every[at % len(every)]
        if comes:
            is_free = not any(one.taken for one in every)
            assert desks.take_place(desk) or not is_free
        elif desk.taken:
            await desks.leave(desk)
        assert sum(one.taken for one in every) <= concurrency
        assert all(one.taken >= 0 for one in every)


@pytest.mark.parametrize(("apps", "concurrency"), [(2, 1), (3, 2), (257, 256)])
def test_more_apps_than_places_are_served_all_the_same(apps: int, concurrency: int) -> None:
    """Whoever has none may have one, as long as there are any."""
    desks = make_desks(Queue(), concurrency, **{f"a{at}": 16 for at in range(apps)})
    every = list(desks)
    assert sum(desks.take_place(desk) for desk in every) == concurrency
    assert not desks.take_place(every[-1])


async def test_an_app_above_its_lowered_limit_costs_the_others_no_claims() -> None:
    """It had eighty in work when its limit was halved twice."""
    desks = make_desks(Queue(), 256, slow=64, good=16)
    slow = desk_of(desks, "slow")
    assert fill(desks, "slow") == 80
    for _ in range(2):
        with pytest.raises(DifyOverloaded):
            async with slow.gate.slot():
                raise DifyOverloaded("429")
    assert slow.gate.slots == 16

    assert desks.room(80) == 20
    assert desks.room(90) == 10
    assert fill(desks, "good") == 20


async def test_somebody_who_comes_to_stand_by_meanwhile_is_not_forgotten() -> None:
    """He is not in Redis yet when it says that nobody else is."""

    class SlowQueue(Queue):
        @override
        async def unpark(self, peer: str, users: int) -> int:
            slow.has_waiting = True
            return await super().unpark(peer, users)

    desks = make_desks(SlowQueue(), 256, slow=1, good=1)
    slow = desk_of(desks, "slow")
    fill(desks, "slow")
    await desks.leave(slow)

    assert slow.has_waiting


async def test_whoever_leaves_lets_the_first_that_stands_by_come() -> None:
    """One place, one user; nobody asks Redis while nobody stands by."""
    queue = Queue(slow=2)
    desks = make_desks(queue, 256, slow=1, good=1)
    slow = desk_of(desks, "slow")
    fill(desks, "slow")
    slow.has_waiting = False
    await desks.leave(slow)
    assert queue.let_go == []

    assert fill(desks, "slow") == 2
    assert slow.has_waiting
    await desks.leave(slow)
    assert queue.let_go == [(limit_peer("slow"), 1)]


async def test_places_that_lie_idle_for_a_round_are_filled_for_other_processes_too() -> None:
    """Somebody was parked by a process that is gone."""
    queue = Queue(slow=9)
    desks = make_desks(queue, 256, slow=4, good=4)
    await desks.round(queue.peers)
    assert queue.let_go == []
    await desks.round(queue.peers)
    assert queue.let_go == [(limit_peer("slow"), 5)]


async def test_a_full_app_with_somebody_standing_by_is_pressed() -> None:
    """Its answers take long, that is all; nobody standing by: its limit need not grow."""
    queue = Queue(slow=9)
    desks = make_desks(queue, 256, slow=2, good=2)
    slow = desk_of(desks, "slow")
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(slow.gate.slot())
        pressed = []
        for peers in ([], [], *[queue.peers] * 4):
            await desks.round(peers)
            pressed.append(slow.gate.news().is_pressed)
    assert pressed == [False, False, False, True, False, True]


async def test_a_granted_share_is_what_may_be_claimed_for() -> None:
    """Nothing at all, if the other processes have it: who has no place claims nothing."""
    desks = make_desks(Queue(), 256, default=16)
    grant = Grant(share=0, limit=16.0, generation=0, pace=0)
    desk_of(desks, "default").gate.take(grant)
    assert (desks.room(0), desks.take_place(desk_of(desks, "default"))) == (0, False)
    desk_of(desks, "default").gate.take(replace(grant, share=5))
    assert (desks.room(0), fill(desks, "default")) == (5, 5)


async def test_redis_away_holds_up_nobody_who_leaves() -> None:
    """The next round lets them come."""
    queue = Queue(slow=3)
    desks = make_desks(queue, 256, slow=1, good=1)
    fill(desks, "slow")
    queue.is_away = True
    await desks.leave(desk_of(desks, "slow"))
    queue.is_away = False
    for _ in range(2):
        await desks.round(queue.peers)
    assert queue.let_go == [(limit_peer("slow"), 1)]


@pytest.mark.parametrize(("peer", "served"), [("limit:good", True), ("limit:gone", False)])
def test_only_apps_of_this_process_are_served(peer: str, *, served: bool) -> None:
    """Whoever stands by for an app that nobody has is let go, and then hears so."""
    assert make_desks(Queue(), 8, good=1).serves(peer) is served


async def test_the_end_waits_for_every_app() -> None:
    """What is on its way to Dify gets there."""
    ended: list[str] = []

    class Replies:
        def __init__(self, app: str) -> None:
            self.app = app

        async def end(self) -> None:
            await asyncio.sleep(0)
            ended.append(self.app)

    both = [Desk(app, gate=gate(1), replies=Replies(app), hearing=None) for app in "ab"]  # type: ignore[arg-type]
    await Desks(both, queue=None, concurrency=1).end()  # type: ignore[arg-type]
    assert sorted(ended) == ["a", "b"]
