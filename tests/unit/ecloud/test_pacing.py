"""The pace of sends and look-ups."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.ecloud.pacing import WINDOW, LookupPacer, Pacer

TINY = 1e-6


def make_pacer(cap: int = 40, gap: float = 0.6, *, history: tuple[float, ...] = ()) -> Pacer:
    return Pacer(sends_per_minute=cap, gap=gap, rng=random.Random(7), history=history)


def test_the_first_send_waits_for_nothing() -> None:
    """An account that was silent may speak."""
    assert make_pacer().delay(1000.0) == 0.0


def test_the_gap_is_random_between_a_third_and_the_whole() -> None:
    """A fixed gap looks like a machine."""
    pacer = make_pacer(cap=0, gap=0.9)
    gaps = []
    for now in range(0, 10_000, 10):
        pacer.sent(float(now))
        gaps.append(pacer.delay(float(now)))

    assert 0.3 <= min(gaps) < 0.32
    assert 0.88 < max(gaps) <= 0.9


def test_asking_changes_nothing() -> None:
    """The delay shrinks only with the time."""
    pacer = make_pacer()
    pacer.sent(100.0)
    first = pacer.delay(100.0)

    assert pacer.delay(100.0) == first
    assert pacer.delay(100.1) == pytest.approx(first - 0.1)
    assert pacer.delay(101.0) == 0.0


def test_the_bound_holds_over_any_minute() -> None:
    """The third send within a minute waits for the first to be a minute old."""
    pacer = make_pacer(cap=2, gap=0)
    pacer.sent(100.0)
    pacer.sent(130.0)

    assert pacer.delay(131.0) == 29.0
    assert pacer.delay(160.0) == 0.0


def test_zero_switches_both_off() -> None:
    """No bound and no gap."""
    pacer = make_pacer(cap=0, gap=0)
    for _ in range(1000):
        pacer.sent(5.0)

    assert pacer.delay(5.0) == 0.0


def test_the_history_survives_a_restart() -> None:
    """A new process does not begin a new minute."""
    pacer = make_pacer(cap=3, gap=0)
    for moment in (10.0, 20.0, 30.0):
        pacer.sent(moment)
    restored = make_pacer(cap=3, gap=0, history=tuple(reversed(pacer.history)))

    assert restored.history == pacer.history == (10.0, 20.0, 30.0)
    assert restored.delay(31.0) == 39.0


def test_a_clock_that_goes_back_does_not_block_the_account() -> None:
    """An hour back is no hour of silence."""
    pacer = make_pacer(cap=2, gap=0.6)
    pacer.sent(5000.0)
    pacer.sent(5001.0)

    assert pacer.delay(1000.0) <= WINDOW
    assert pacer.delay(1000.0 + WINDOW) == 0.0


@given(
    cap=st.integers(0, 10),
    gap=st.sampled_from([0.0, 0.6, 3.0, 20.0]),
    seed=st.integers(0, 1000),
    idle=st.lists(st.floats(0, 90), max_size=60),
    restart=st.integers(0, 60),
)
def test_no_minute_holds_more_than_the_bound_and_no_gap_is_too_short(
    cap: int, gap: float, seed: int, idle: list[float], restart: int
) -> None:
    """Whenever there is something to send, also over a restart."""
    rng = random.Random(seed)
    pacer = Pacer(sends_per_minute=cap, gap=gap, rng=rng)
    now = 1_767_000_000.0
    sends: list[float] = []
    for turn, pause in enumerate(idle):
        if turn == restart:
            pacer = Pacer(sends_per_minute=cap, gap=gap, rng=rng, history=sends)
        now += pause
        wait = pacer.delay(now)
        assert 0 <= wait <= max(WINDOW, gap) + TINY
        now += wait
        assert pacer.delay(now) < TINY
        pacer.sent(now)
        sends.append(now)

    assert all(later - earlier >= gap / 3 - TINY for earlier, later in pairwise(sends))
    if cap:
        assert all(
            later - earlier >= WINDOW - TINY
            for earlier, later in zip(sends, sends[cap:], strict=False)
        )


def test_look_ups_keep_a_random_distance() -> None:
    """Frequent ones get an account logged out."""
    pacer = LookupPacer(rng=random.Random(7))
    assert pacer.delay(0.0) == 0.0
    gaps = []
    for now in range(1000):
        pacer.asked(now * 10.0)
        gaps.append(pacer.delay(now * 10.0))

    assert 0.8 <= min(gaps) < 0.82
    assert 1.48 < max(gaps) <= 1.5
    assert pacer.delay(-5000.0) <= 1.5
