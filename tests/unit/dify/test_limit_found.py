"""What limit several processes find at Difys of several kinds: minutes of it, with random latencies."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.models.limit import LimitNews
from app.services.dify.limit import Places
from app.services.queue.limits import grant_of, news_argv
from tests.fixtures.lua import Lua
from tests.unit.dify.crowd import KEY, Crowd, Dify, Time, exchange

SEEDS = [1, 2]


def latency(seed: int, first: float, whole: float, spread: float = 0.8) -> Callable[[], Any]:
    """Seconds until the first byte around *first*, some of them many times that, and *whole* after it."""
    rng = random.Random(seed)

    def one() -> tuple[float, float]:
        begin = first * rng.lognormvariate(0, spread)
        return begin, begin + whole * rng.lognormvariate(0, 0.3)

    return one


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("first", [0.3, 1.0, 4.0])
def test_a_dify_without_a_limit_is_asked_as_much_as_may_be(seed: int, first: float) -> None:
    """However its latency varies by itself: the maximum is found, and held."""
    crowd = Crowd(Dify(None, latency(seed, first, 4.0)))
    crowd.run(900)
    begin = len(crowd.limits)
    crowd.run(300)

    assert max(crowd.at_once) <= 64
    assert mean(crowd.limits[begin:]) >= 45
    assert min(crowd.limits[begin:]) >= 20


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dify_that_becomes_slow_for_another_reason_is_soon_asked_as_much_again(seed: int) -> None:
    """The model has a bad hour: five times as slow, however few are asked."""
    good, bad = latency(seed, 0.8, 4.0), latency(seed, 4.0, 6.0)
    crowd = Crowd(Dify(None, good))
    crowd.run(400)
    crowd.dify.latency = bad
    crowd.run(100)
    begin = len(crowd.limits)
    crowd.run(1200)

    assert min(crowd.limits[begin:]) >= 4
    assert mean(crowd.limits[-6000:]) >= 25


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("processes", "initial"), [(1, 4), (2, 16), (5, 16)])
def test_a_dify_of_ten_connections_that_lets_the_rest_wait_is_found_out(
    seed: int, processes: int, initial: int
) -> None:
    """The community image: the eleventh waits without a byte; hardly any place lies idle."""
    dify = Dify(10, latency(seed, 0.8, 4.0, spread=0.5))
    crowd = Crowd(dify, processes=processes, initial=initial)
    crowd.run(300)
    begin, answered = len(crowd.limits), dify.answered
    crowd.run(600)

    assert 9 <= mean(crowd.limits[begin:]) <= 17
    assert max(crowd.limits[begin:]) <= 28
    most = 600 * 10 / (0.8 * 1.13 + 4.0 * 1.05)
    assert dify.answered - answered >= 0.85 * most


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dify_that_refuses_the_eleventh_is_used_well_and_asked_in_vain_seldom(seed: int) -> None:
    """429: halved, and grown again."""
    dify = Dify(10, latency(seed, 0.8, 4.0, spread=0.5), refuses=True)
    crowd = Crowd(dify)
    crowd.run(300)
    begin, answered, in_vain = len(crowd.limits), dify.answered, dify.in_vain
    crowd.run(600)

    assert 5 <= mean(crowd.limits[begin:]) <= 11
    assert max(crowd.at_once) <= 10
    assert dify.in_vain - in_vain <= 0.1 * (dify.answered - answered)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("initial", [2, 16])
def test_a_dify_with_one_worker_is_hardly_asked_more_than_it_can_do(
    seed: int, initial: int
) -> None:
    """Release 1.13's image: one chatflow at a time; the others hold connections and get none."""
    dify = Dify(1, latency(seed, 0.2, 3.0, spread=0.3))
    crowd = Crowd(dify, initial=initial)
    crowd.run(900)
    begin = len(crowd.limits)
    crowd.run(300)

    assert 1 <= mean(crowd.limits[begin:]) <= 6
    assert dify.in_vain <= 30


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quiet_app_keeps_its_limit(seed: int) -> None:
    """Answers of calm moments say nothing: it neither grows unused nor falls."""
    crowd = Crowd(Dify(10, latency(seed, 0.8, 2.0)), rate=0.5)
    crowd.run(600)

    assert 16 <= min(crowd.limits) <= max(crowd.limits) <= 20
    assert crowd.dify.answered >= 200


def test_slow_answers_that_hold_all_places_let_others_come() -> None:
    """Nobody knows of a first byte yet: a second of full places is one more, and one more."""
    crowd = Crowd(Dify(None, lambda: (30.0, 35.0)), processes=1, initial=4)
    crowd.run(10.5)

    assert crowd.dify.at_once >= 12


@settings(max_examples=60, deadline=None)
@given(
    initial=st.integers(1, 20),
    steps=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 30), st.integers(0, 6), st.floats(0, 3)),
        max_size=60,
    ),
)
def test_all_processes_together_never_ask_more_than_the_limit(
    initial: int, steps: list[tuple[int, int, int, float]]
) -> None:
    """Whoever comes, leaves, is silent for long, or wants how much: shares are lent, never doubled."""
    lua = Lua()
    every = [Places(initial, maximum=20, clock=Time(lua)) for _ in range(5)]
    known: dict[int, float] = {}
    for at, come, go, seconds in steps:
        lua.now += seconds
        places = every[at]
        if at in known and lua.now - known[at] >= 4.9:
            # It was silent for so long that it has left; as a new one it begins.
            every[at] = places = Places(initial, maximum=20, clock=Time(lua))
        for place in list(places.in_flight)[:go]:
            places.leave(place)
        exchange(lua, places, f"p{at}", come)
        known[at] = lua.now
        for _ in range(min(come, max(0, places.slots - places.in_use))):
            places.enter()
        alive = [every[one] for one, heard in known.items() if lua.now - heard < 4.9]
        assert sum(max(one.slots, one.in_use) for one in alive) <= 20
        assert sum(one.slots for one in alive) <= max(int(one.limit) for one in alive)


@pytest.mark.parametrize(("processes", "limit"), [(2, 1), (5, 2), (7, 6), (3, 3)])
def test_with_more_processes_than_places_everybody_gets_a_turn(processes: int, limit: int) -> None:
    """All want some all the time; whoever has been without for longest comes next."""
    lua = Lua()
    every = [Places(limit, maximum=limit, clock=Time(lua)) for _ in range(processes)]
    turns = [0] * processes
    last = [lua.now] * processes
    for _ in range(20 * processes):
        lua.now += 1 / processes
        for at, places in enumerate(every):
            lua.now += 0.5 / processes
            exchange(lua, places, f"p{at}", 3)
            if places.slots:
                turns[at] += 1
                last[at] = lua.now
            assert lua.now - last[at] <= 4 * processes

    assert min(turns) >= max(turns) / 4


def test_whoever_has_much_to_do_has_nearly_all_and_gives_half_to_the_next() -> None:
    """The idle one keeps a place, so that a first question waits for nobody."""
    lua = Lua()
    busy, idle = (Places(16, maximum=16, clock=Time(lua)) for _ in range(2))

    def talk(waits: int) -> tuple[int, int]:
        for _ in range(3):
            lua.now += 1
            exchange(lua, busy, "busy", 40)
            exchange(lua, idle, "idle", waits)
        return busy.slots, idle.slots

    assert talk(0) == (15, 1)
    assert talk(40) == (8, 8)
    assert talk(2) == (13, 3)


def test_the_share_of_one_who_left_or_fell_silent_goes_to_the_others() -> None:
    """At once, or after five seconds."""
    lua = Lua()
    every = [Places(12, maximum=12, clock=Time(lua)) for _ in range(3)]
    for _ in range(3):
        lua.now += 1
        for at, places in enumerate(every):
            exchange(lua, places, f"p{at}", 20)
    assert [one.slots for one in every] == [4, 4, 4]

    lua.run("limit_leave", "p2", own_keys=[KEY])
    for _ in range(2):
        lua.now += 1
        for at in (0, 1):
            exchange(lua, every[at], f"p{at}", 20)
    assert [one.slots for one in every[:2]] == [6, 6]

    lua.now += 5
    exchange(lua, every[0], "p0", 20)
    assert every[0].slots == 12


def test_one_who_finishes_before_it_leaves_gets_nothing_new() -> None:
    """What it still uses is its own."""
    lua = Lua()
    leaving, other = (Places(8, maximum=8, clock=Time(lua)) for _ in range(2))
    exchange(lua, leaving, "a", 20)
    held = [leaving.enter() for _ in range(3)]
    for _ in range(2):
        lua.now += 1
        exchange(lua, leaving, "a", 0, is_leaving=True)
        exchange(lua, other, "b", 20)
    assert (leaving.slots, other.slots) == (3, 5)

    for place in held:
        leaving.leave(place)
    for _ in range(2):
        lua.now += 1
        exchange(lua, leaving, "a", 0, is_leaving=True)
        exchange(lua, other, "b", 20)
    assert (leaving.slots, other.slots) == (0, 8)


def test_a_wiped_redis_begins_from_what_the_processes_remember() -> None:
    """Not from the setting; and nobody takes what another still uses."""
    lua = Lua()
    every = [Places(16, maximum=64, clock=Time(lua)) for _ in range(2)]
    for _ in range(3):
        lua.now += 1
        for at, places in enumerate(every):
            exchange(lua, places, f"p{at}", 40)
    place = every[0].enter()
    every[0].fail(place, "dify_overloaded")
    for at in (0, 1, 0):
        exchange(lua, every[at], f"p{at}", 40)
    assert [one.limit for one in every] == [8.0, 8.0]

    lua.hashes.clear()
    for _ in range(4):
        lua.now += 0.6
        for at, places in enumerate(every):
            exchange(lua, places, f"p{at}", 40)
            assert sum(one.slots for one in every) <= 8
    assert [(one.limit, one.slots) for one in every] == [(8.0, 4), (8.0, 4)]


def test_trouble_of_all_processes_in_one_moment_halves_once() -> None:
    """All of it is of the same generation."""
    lua = Lua()
    every = [Places(16, maximum=64, clock=Time(lua)) for _ in range(2)]
    for _ in range(3):
        lua.now += 1
        for at, places in enumerate(every):
            exchange(lua, places, f"p{at}", 40)
    cuts = []
    for at, places in enumerate(every):
        for place in [places.enter() for _ in range(4)]:
            places.fail(place, "dify_overloaded")
        cuts.append(exchange(lua, places, f"p{at}", 40).lowered_by)

    assert cuts == ["dify_overloaded", ""]
    assert every[1].limit == 8.0


@pytest.mark.parametrize("value", ["nan", "-5", "x", "inf", "1e999"])
def test_a_limit_made_by_hand_is_brought_into_order(value: str) -> None:
    """Between one and the maximum; what is no number counts as nothing."""
    lua = Lua()
    lua.hashes[KEY] = dict.fromkeys(
        ["limit", "generation", "base", "pressed", "born", "hold", "of:x", "of:p0", "window"], value
    )
    places = Places(4, maximum=8, clock=Time(lua))
    lua.hashes[KEY]["generation"] = "0"
    for _ in range(4):
        lua.now += 1
        exchange(lua, places, "p0", 20)

    assert 1 <= places.limit <= 8
    assert 1 <= places.slots <= 8


@dataclass(frozen=True, kw_only=True)
class Member:
    """One process as the hash has it."""

    name: str
    share: int
    in_use: int
    wanted: int
    served: int
    leaves: bool

    @property
    def record(self) -> str:
        """Its field."""
        return f"1700000000000 {self.share} {self.in_use} 0 {self.wanted} {self.served} {self.leaves:d}"


def fair(places: int, members: list[Member]) -> dict[str, int]:
    """
    What everybody should have: one place at a time to whoever has fewest and wants more, then the rest.

    The same as the script does by dividing; this says what it means.
    """
    has_plenty = places >= 4 * len(members)
    wants = {one.name: max(one.wanted, int(has_plenty and not one.leaves)) for one in members}
    target = dict.fromkeys(wants, 0)
    hungry = [one for one in members if wants[one.name]]
    if len(hungry) > places:
        hungry.sort(key=lambda one: (-one.served, one.name))
        return target | {one.name: 1 for one in hungry[len(hungry) - places :]}
    hungry.sort(key=lambda one: (one.share, one.name), reverse=True)
    left = places
    while left and (more := [one for one in hungry if target[one.name] < wants[one.name]]):
        least = min(target[one.name] for one in more)
        level = [one for one in more if target[one.name] == least]
        # Who wants most, then who has most, comes first: it may be the last place.
        level.sort(key=lambda one: -wants[one.name])
        for one in level[:left]:
            target[one.name] += 1
        left -= min(left, len(level))
    stays = sorted(
        (one for one in members if not one.leaves), key=lambda one: (one.share, one.name)
    )
    for at, one in enumerate(stays):
        target[one.name] += (left + at) // len(stays)
    return target


@settings(max_examples=200, deadline=None)
@given(
    places=st.integers(1, 40),
    raw=st.lists(
        st.tuples(
            st.integers(0, 12),
            st.integers(0, 12),
            st.integers(0, 50),
            st.integers(1, 9),
            st.booleans(),
        ),
        min_size=1,
        max_size=7,
    ),
)
def test_shares_are_those_of_the_model(
    places: int, raw: list[tuple[int, int, int, int, bool]]
) -> None:
    """What is due, as far as the others have given back what they had."""
    members = [
        Member(
            name=f"p{at}",
            share=share,
            in_use=min(used, wanted),
            wanted=wanted,
            served=served,
            leaves=leaves and at > 0,
        )
        for at, (share, used, wanted, served, leaves) in enumerate(raw)
    ]
    me, *others = members
    lua = Lua()
    # The script counts whoever has a share as served until now.
    now = round(lua.now * 1000)
    seen = [replace(me, served=now if me.share else me.served), *others]
    lua.hashes[KEY] = {f"of:{one.name}": one.record for one in members} | {
        "limit": str(places),
        "generation": "0",
    }
    news = LimitNews(share=me.share, in_use=me.in_use, waiting=0, wanted=me.wanted, generation=0)
    argv = news_argv(news, process=me.name, start=1, maximum=100, is_leaving=False)
    share = grant_of(lua.run("limit_exchange", *argv, own_keys=[KEY])).share

    held = sum(max(one.share, one.in_use) for one in others)
    assert share == max(0, min(fair(places, seen)["p0"], places - held))
