"""
Carries out what the staff of a group told the bridge to do.

A command waits in the inbox until it is written down what it wants, so no process that dies loses one.
"""

import asyncio

from loguru import logger

from app.services.errors import ServiceError
from app.services.outbox import Outbox
from app.services.queue.leases import Leases
from app.services.take_backs import TakeBacks, Told
from app.utils.log import message_context
from app.utils.loops import stopped_within

LOOK_SECONDS = 0.5
LEASE_SECONDS = 15.0


class CommandKeeper:
    """Looks twice a second; one process at a time does."""

    def __init__(self, *, take_backs: TakeBacks, outbox: Outbox, leases: Leases) -> None:
        self._take_backs = take_backs
        self._outbox = outbox
        self._lease = leases.task("commands", seconds=LEASE_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Carry out until stopped."""
        while not stop.is_set():
            try:
                if await self._lease.hold():
                    for told in await self._take_backs.waiting():
                        await self._carry_out(told)
            except ServiceError as error:
                logger.debug("command.later", error=error)
            await stopped_within(stop, LOOK_SECONDS)
        await self._lease.free()

    async def _carry_out(self, told: Told) -> None:
        with message_context(told.message_id):
            outcome = await self._take_backs.carry_out(told)
            if outcome is None:
                return
            fates = outcome.fates
            logger.info(
                "command.carried_out",
                outcome=outcome.word,
                answered=outcome.answered_id,
                going=len(fates.going),
                cancelled=len(fates.cancelled),
                staying=len(fates.staying),
            )
        for bot in fates.bots:
            await self._outbox.ring(bot)
