"""Only the time in which somebody else was waited for counts."""

from collections.abc import AsyncGenerator

import pytest
from typing_extensions import override

from app.utils.clock import SystemClock
from app.utils.stopwatch import Stopwatch, Timed


class HandClock(SystemClock):
    """Goes on when it is told to."""

    now = 100.0

    @override
    def monotonic(self) -> float:
        return self.now


async def test_the_time_between_items_counts_and_that_with_them_does_not() -> None:
    """Reading takes 1, 2, 3 seconds, and finding the end 4; working on each item takes 50."""
    clock = HandClock()
    watch = Stopwatch(clock)

    async def items() -> AsyncGenerator[int]:
        for number in (1, 2, 3):
            clock.now += number
            yield number
        clock.now += 4

    found = []
    async for number in Timed(items(), watch):
        found.append(number)
        clock.now += 50

    assert found == [1, 2, 3]
    assert watch.seconds == 10


async def test_the_first_item_tells_how_long_it_was_waited_for_and_no_other_does() -> None:
    """What is done with the items does not count."""
    clock = HandClock()
    heard: list[float] = []

    async def items() -> AsyncGenerator[int]:
        for number in (3, 5):
            clock.now += number
            yield number

    async for _ in Timed(items(), Stopwatch(clock), on_first=heard.append):
        clock.now += 50

    assert heard == [3.0]


def test_a_block_that_fails_counts_as_well() -> None:
    """It took its time."""
    clock = HandClock()
    watch = Stopwatch(clock)

    def fail() -> None:
        with watch.running():
            clock.now += 7
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert watch.seconds == 7
