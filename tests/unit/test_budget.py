"""The time of one piece of work: begun, ended, spent, and kept though a cancellation is lost."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from app.utils.budget import Budget


async def test_without_a_beginning_there_is_no_limit() -> None:
    """And none any more behind the end."""
    async with Budget() as budget:
        await asyncio.sleep(0.01)
        budget.begin(0.02)
        budget.end()
        await asyncio.sleep(0.05)
        budget.check()

    assert not budget.is_spent


async def test_a_spent_budget_cancels_and_is_told_as_time_out() -> None:
    """Behind the block; inside, who cleans up sees that it is spent."""
    budget, seen = Budget(), []

    async def work() -> None:
        async with budget:
            budget.begin(0.01)
            try:
                await asyncio.sleep(60)
            finally:
                seen.append(budget.is_spent)

    with pytest.raises(TimeoutError):
        await work()
    assert [*seen, budget.is_spent] == [True, True]


async def test_who_missed_the_cancellation_is_told_at_the_next_item() -> None:
    """As ``asyncio.wait_for`` misses it in Python 3.11."""

    budget, made = Budget(), 0

    async def numbers() -> AsyncGenerator[int]:
        nonlocal made
        for number in range(1000):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
            made += 1
            yield number

    async def work() -> None:
        async with budget:
            budget.begin(0.05)
            assert not [number async for number in budget.bounded(numbers())]

    with pytest.raises(TimeoutError):
        await work()
    assert 0 < made < 1000


async def test_work_that_is_done_is_kept_though_the_time_is_over() -> None:
    """What follows is not bounded: neither its beginning nor its end complains."""
    async with Budget() as budget:
        budget.begin(0.01)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        budget.end()
        budget.begin(60)

    assert budget.is_spent
