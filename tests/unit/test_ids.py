"""Our own ids grow with time, whatever the clock does."""

import time

from hypothesis import given
from hypothesis import strategies as st

from app.utils.ids import EPOCH_MS, LOW_BITS, IdMaker, id_milliseconds

#: From 2020 to 2089, in nanoseconds.
TIMES = st.integers(EPOCH_MS * 10**6, (EPOCH_MS + (1 << 41) - 1000) * 10**6)


@given(times=st.lists(TIMES, min_size=2, max_size=50))
def test_ids_of_one_process_strictly_grow(times: list[int]) -> None:
    """Also when the wall clock goes back, stands still, or jumps."""
    clock = iter(times)
    maker = IdMaker(lambda: next(clock))

    ids = [maker.next() for _ in times]

    assert ids == sorted(set(ids))
    assert all(0 < id_ < 1 << 63 for id_ in ids)


@given(now=TIMES)
def test_an_id_knows_when_it_was_made(now: int) -> None:
    """To the millisecond."""
    assert id_milliseconds(IdMaker(lambda: now).next()) == now // 10**6


def test_many_ids_within_one_millisecond_are_all_different() -> None:
    """A burst in a clock that stands still; there is room for millions."""
    maker = IdMaker(lambda: EPOCH_MS * 10**6)

    ids = {maker.next() for _ in range(10_000)}

    assert len(ids) == 10_000
    assert max(ids) < 1 << LOW_BITS


def test_two_processes_hardly_ever_make_the_same_id() -> None:
    """The low bits start at random."""
    ids = {IdMaker(lambda: EPOCH_MS * 10**6).next() for _ in range(50)}

    assert len(ids) > 45


def test_the_default_clock_is_the_machines() -> None:
    """Today."""
    made = id_milliseconds(IdMaker().next())

    assert abs(made - time.time() * 1000) < 60_000
