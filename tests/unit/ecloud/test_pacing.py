"""The pace of sends and look-ups."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.ecloud.pacing import WINDOW, Hold, Limits, LookupPacer, Pacer, Send, Why

TINY = 1e-6
HERE, THERE = "here@chatroom", "there@chatroom"


def make_pacer(*, history: tuple[Send, ...] = (), **limits: object) -> Pacer:
    figures = {"per_minute": 40, "gap": 0.6, **limits}
    return Pacer(Limits(**figures), rng=random.Random(7), history=history)  # type: ignore[arg-type]


def wait(pacer: Pacer, now: float, group: str = HERE, kind: str = "text") -> float:
    """Seconds until such a message may go out."""
    hold = pacer.look(now, group=group, kind=kind)
    return 0.0 if hold is None else hold.seconds


def send(pacer: Pacer, now: float, group: str = HERE, kind: str = "text") -> None:
    pacer.sent(now, group=group, kind=kind)


def test_the_first_send_waits_for_nothing() -> None:
    """An account that was silent may speak."""
    assert make_pacer().look(1000.0, group=HERE, kind="text") is None


def test_the_gap_is_random_between_a_third_and_the_whole() -> None:
    """A fixed gap looks like a machine."""
    pacer = make_pacer(per_minute=0, gap=0.9)
    gaps = []
    for now in range(0, 10_000, 10):
        send(pacer, float(now))
        gaps.append(wait(pacer, float(now)))

    assert 0.3 <= min(gaps) < 0.32
    assert 0.88 < max(gaps) <= 0.9


def test_the_gap_is_longer_into_another_group() -> None:
    """By the share that was drawn for it; a shorter setting shortens nothing."""
    pacer = make_pacer(gap=0.6, target_gap=3.0)
    send(pacer, 100.0)
    same, other = wait(pacer, 100.0), wait(pacer, 100.0, THERE)

    assert other == pytest.approx(5 * same)
    assert 1.0 <= other <= 3.0

    short = make_pacer(gap=0.6, target_gap=0.1)
    send(short, 100.0)
    assert wait(short, 100.0) == wait(short, 100.0, THERE)


def test_no_gap_means_none_into_another_group_either() -> None:
    """Whoever switches the gap off wants none at all."""
    pacer = make_pacer(gap=0, target_gap=3.0)
    send(pacer, 100.0)

    assert wait(pacer, 100.0, THERE) == 0.0


def test_asking_changes_nothing() -> None:
    """The wait shrinks only with the time."""
    pacer = make_pacer()
    send(pacer, 100.0)
    first = wait(pacer, 100.0)

    assert wait(pacer, 100.0) == first
    assert wait(pacer, 100.1) == pytest.approx(first - 0.1)
    assert wait(pacer, 101.0) == 0.0


def test_the_gap_counts_from_the_answer_of_the_last_call() -> None:
    """The gateway may have got it only then."""
    pacer = make_pacer(gap=0.6)
    send(pacer, 100.0)
    before = wait(pacer, 100.0)
    pacer.ended(110.0)

    assert wait(pacer, 110.0) == pytest.approx(before)


def test_the_bound_holds_over_any_minute() -> None:
    """The third send within a minute waits for the first to be a minute old."""
    pacer = make_pacer(per_minute=2, gap=0)
    send(pacer, 100.0)
    send(pacer, 130.0)

    assert pacer.look(131.0, group=HERE, kind="text") == Hold(29.0, Why.MINUTE)
    assert wait(pacer, 160.0) == 0.0


def test_a_kind_has_a_bound_of_its_own() -> None:
    """A picture must wait where a text need not."""
    pacer = make_pacer(gap=0, kinds={"image": 1})
    send(pacer, 100.0, kind="image")

    assert pacer.look(110.0, group=HERE, kind="image") == Hold(50.0, Why.KIND)
    assert wait(pacer, 110.0, kind="text") == 0.0


def test_zero_switches_everything_off() -> None:
    """No bound, not of a kind either, and no gap; and nothing is remembered for it."""
    pacer = make_pacer(per_minute=0, gap=0, target_gap=3.0, kinds={"image": 1})
    for _ in range(1000):
        send(pacer, 5.0, kind="image")

    assert wait(pacer, 5.0, THERE, "image") == 0.0
    assert len(pacer.history) == 1


def test_the_history_survives_a_restart() -> None:
    """A new process does not begin a new minute."""
    pacer = make_pacer(per_minute=3, gap=0)
    for moment in (10.0, 20.0, 30.0):
        send(pacer, moment)
    restored = make_pacer(per_minute=3, gap=0, history=tuple(reversed(pacer.history)))

    assert restored.history == pacer.history
    assert wait(restored, 31.0) == 39.0


def test_a_clock_that_goes_back_does_not_block_the_account() -> None:
    """An hour back is no hour of silence."""
    pacer = make_pacer(per_minute=2, gap=0.6)
    send(pacer, 5000.0)
    send(pacer, 5001.0)

    assert wait(pacer, 1000.0) <= WINDOW
    assert wait(pacer, 1000.0 + WINDOW) == 0.0


@pytest.mark.parametrize(
    ("factor", "most", "gap"), [(1.0, 40, 0.6), (2.0, 20, 1.2), (64.0, 1, 38.4)]
)
def test_a_slower_account_keeps_a_bound_and_gets_longer_gaps(
    factor: float, most: int, gap: float
) -> None:
    """However slow: one message a minute is left, and 0 stays no bound."""
    slow = Limits(per_minute=40, gap=0.6, kinds={"image": 3, "file": 0}).slowed(factor)

    assert slow.per_minute == most
    assert slow.gap == pytest.approx(gap)
    assert slow.kinds["file"] == 0
    assert slow.kinds["image"] >= 1


@given(
    cap=st.integers(0, 10),
    gap=st.sampled_from([0.0, 0.6, 3.0, 20.0]),
    target_gap=st.sampled_from([0.0, 2.0, 30.0]),
    seed=st.integers(0, 1000),
    idle=st.lists(st.tuples(st.floats(0, 90), st.sampled_from([HERE, THERE])), max_size=60),
    restart=st.integers(0, 60),
)
def test_no_minute_holds_more_than_the_bound_and_no_gap_is_too_short(
    cap: int,
    gap: float,
    target_gap: float,
    seed: int,
    idle: list[tuple[float, str]],
    restart: int,
) -> None:
    """Whenever there is something to send, also over a restart."""
    limits = Limits(per_minute=cap, gap=gap, target_gap=target_gap)
    rng = random.Random(seed)
    pacer = Pacer(limits, rng=rng)
    now = 1_767_000_000.0
    sends: list[Send] = []
    for turn, (pause, group) in enumerate(idle):
        if turn == restart:
            pacer = Pacer(limits, rng=rng, history=sends)
        now += pause
        seconds = wait(pacer, now, group)
        assert 0 <= seconds <= max(WINDOW, gap, target_gap) + TINY
        now += seconds
        assert wait(pacer, now, group) < TINY
        send(pacer, now, group)
        sends.append(Send(now, group, "text"))

    for earlier, later in pairwise(sends):
        longest = gap if earlier.group == later.group or not gap else max(gap, target_gap)
        assert later.at - earlier.at >= longest / 3 - TINY
    if cap:
        assert all(
            later.at - earlier.at >= WINDOW - TINY
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


def test_look_ups_have_a_bound_per_minute() -> None:
    """However short their gaps are."""
    pacer = LookupPacer(rng=random.Random(7), shortest=0, longest=0, per_minute=3)
    for now in (10.0, 20.0, 30.0):
        assert pacer.delay(now) == 0.0
        pacer.asked(now)

    assert pacer.delay(31.0) == 39.0
    assert pacer.delay(70.0) == 0.0
