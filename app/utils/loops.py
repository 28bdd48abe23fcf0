"""Waiting that ends when the process is to stop."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

#: Before a task that has not ended is cancelled once more.
AGAIN_SECONDS: Final = 0.2


async def stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    """Wait *seconds*, less if *stop* is set; True: it is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def first_of(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Wait until one of the events is set, at most *seconds*."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def cancelled(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """
    Cancel tasks and wait for their end, however they end.

    Again and again: a client may swallow a cancellation that arrives while it connects.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
