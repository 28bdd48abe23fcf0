"""Saving an answer even if the database is away just then: Dify is not asked again for that."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from loguru import logger

from app.models.flow import Answer, Segment, Turn
from app.services.errors import StoreUnavailable
from app.services.outbox import Outbox
from app.utils.clock import Clock

PLAN_PAUSE_SECONDS = 1.0
#: So long a finished answer is kept in memory while the database is away.
PLAN_SECONDS = 120.0

T = TypeVar("T")


async def patiently(clock: Clock, work: Callable[[bool], Awaitable[T]]) -> T:
    """
    What *work* gives, repeated for two minutes while the database is away.

    Args:
        work: is told whether it is repeated, so that it was perhaps carried out before.

    Raises:
        StoreUnavailable: the database was away all the time.
    """
    ends = clock.monotonic() + PLAN_SECONDS
    is_repeated = False
    while True:
        try:
            return await work(is_repeated)
        except StoreUnavailable as error:
            if clock.monotonic() >= ends:
                raise
            logger.warning("reply.plan_later", error=error)
        is_repeated = True
        await asyncio.sleep(PLAN_PAUSE_SECONDS)


async def plan_patiently(
    outbox: Outbox, clock: Clock, turn: Turn, segments: Sequence[Segment], answer: Answer
) -> None:
    """
    ``Outbox.plan``, repeated for two minutes while the database is away.

    Raises:
        StaleFence: as ``Outbox.plan``.
        StoreUnavailable: the database was away all the time.
    """
    await patiently(
        clock,
        lambda is_repeated: outbox.plan(turn, segments, answer, is_repeated=is_repeated),
    )
