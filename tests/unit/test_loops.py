"""Waiting that ends when the process is to stop."""

import asyncio
import time

from app.utils.loops import cancelled, first_of, stopped_within


async def test_waiting_ends_at_its_time_or_with_the_stop() -> None:
    """And says which it was."""
    stop = asyncio.Event()
    assert not await stopped_within(stop, 0.01)
    asyncio.get_running_loop().call_later(0.01, stop.set)

    started = time.monotonic()
    assert await stopped_within(stop, 60)

    assert time.monotonic() - started < 10
    assert await stopped_within(stop, 60)


async def test_the_first_event_ends_the_wait_and_leaves_no_task() -> None:
    """Of several; none at all ends it by its time."""
    one, other = asyncio.Event(), asyncio.Event()
    await first_of(one, other, seconds=0.01)
    asyncio.get_running_loop().call_later(0.01, other.set)

    async with asyncio.timeout(30):
        await first_of(one, other)
    await asyncio.sleep(0)

    assert not one.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_tasks_that_swallow_a_cancellation_are_cancelled_again() -> None:
    """As a client does that is connecting; others end however they like."""

    async def swallow() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("on the way out")

    tasks = [asyncio.create_task(swallow()), asyncio.create_task(fail())]
    done = asyncio.create_task(asyncio.sleep(0))
    await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await cancelled([*tasks, done])

    assert tasks[0].cancelled()
    assert isinstance(tasks[1].exception(), RuntimeError)
