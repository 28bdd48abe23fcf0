"""
Tells Dify what people think of its answers.

A feedback waits in the inbox until Dify has taken it, so no process that dies loses one; told twice
it is the same feedback.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from loguru import logger

from app.models.flow import DEFAULT_APP, MessageId
from app.services.dify.apps import AskedApp
from app.services.errors import (
    DifyError,
    DifyRejected,
    ServiceError,
    code_of,
    loggable,
)
from app.services.feedback_table import FeedbackTable, Rated
from app.services.queue.leases import Leases
from app.services.stages import utc_now
from app.utils.clock import Clock
from app.utils.log import message_context
from app.utils.loops import stopped_within

LOOK_SECONDS = 2.0
LEASE_SECONDS = 60.0
#: The receipt of a segment is written a moment after the group has it.
UNKNOWN_AGE = timedelta(seconds=60)
#: Seconds before the second try, how they grow, and the longest pause: an hour and a half in all.
FIRST_PAUSE = 5.0
GROWTH = 3.0
LONGEST_PAUSE = 1800.0
MOST_TRIES = 9


class FeedbackKeeper:
    """Looks every two seconds; one process at a time does."""

    def __init__(
        self,
        *,
        table: FeedbackTable,
        apps: Mapping[str, AskedApp],
        leases: Leases,
        clock: Clock,
    ) -> None:
        self._table = table
        self._apps = apps
        self._clock = clock
        self._lease = leases.task("feedback", seconds=LEASE_SECONDS)
        #: When a feedback that Dify gave no answer to is told again.
        self._due_at: dict[MessageId, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Tell until stopped; a call under way is waited for."""
        while not stop.is_set():
            try:
                if await self._lease.hold():
                    await self._look(stop)
            except ServiceError as error:
                logger.debug("feedback.look_later", error=error)
            await stopped_within(stop, LOOK_SECONDS)
        await self._lease.free()

    async def _look(self, stop: asyncio.Event) -> None:
        waiting: set[MessageId] = set()
        #: Answers of which an older feedback waits: a newer one must not be overwritten by it.
        held: set[MessageId] = set()
        async for one in self._table.waiting():
            waiting.add(one.message_id)
            # Others may have begun with it while Dify took its time.
            if stop.is_set() or not await self._lease.hold():
                return
            with message_context(one.message_id):
                is_closed = await self._settle(one, is_held=one.answered_id in held)
            if not is_closed and one.answered_id is not None:
                held.add(one.answered_id)
        self._due_at = {key: at for key, at in self._due_at.items() if key in waiting}

    async def _settle(self, one: Rated, *, is_held: bool) -> bool:
        """Whether it is closed."""
        if one.answered_id is None:
            return await self._close_unknown(one)
        if not one.dify_message_id:
            return await self._close(one, "no_dify_message")
        if is_held or self._clock.monotonic() < self._due_at.get(one.message_id, 0.0):
            return False
        return await self._tell(one)

    async def _tell(self, one: Rated) -> bool:
        app = self._apps.get(one.app or DEFAULT_APP)
        if app is None:
            return await self._close(one, "app_not_configured")
        try:
            await app.client.rate(one.dify_message_id, one.user, one.rating)
        except DifyRejected as error:
            logger.warning("feedback.refused", code=code_of(error), error=loggable(error))
            await self._table.close(one, "refused")
            return True
        except DifyError as error:
            return await self._later(one, error)
        logger.info("feedback.told", app=app.client.name, rating=one.rating)
        await self._table.close(one, "told")
        return True

    async def _later(self, one: Rated, error: DifyError) -> bool:
        if one.attempts + 1 >= MOST_TRIES:
            return await self._close(one, code_of(error))
        pause = max(
            min(FIRST_PAUSE * GROWTH**one.attempts, LONGEST_PAUSE), error.retry_after or 0.0
        )
        self._due_at[one.message_id] = self._clock.monotonic() + pause
        logger.info("feedback.later", code=code_of(error), error=loggable(error), seconds=pause)
        await self._table.note_try(one)
        return False

    async def _close_unknown(self, one: Rated) -> bool:
        if utc_now() - one.received_at < UNKNOWN_AGE:
            return False
        return await self._close(one, "unknown_answer")

    async def _close(self, one: Rated, reason: str) -> bool:
        logger.warning("feedback.given_up", reason=reason)
        await self._table.close(one, reason)
        return True
