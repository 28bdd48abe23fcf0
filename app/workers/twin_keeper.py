"""Where several accounts of ours sit in one group: what was left to another is not left for ever."""

import asyncio

from loguru import logger

from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.handover import Handover
from app.services.left_messages import AT_ONCE, LeftMessages
from app.services.outbox import Bell
from app.services.queue.breakers import account_peer
from app.services.queue.leases import Lease
from app.services.queue.protocol import MessageQueue
from app.utils.clock import Clock
from app.utils.ids import id_at
from app.utils.log import message_context
from app.utils.loops import stopped_within
from app.workers.parking import let_all_go

LOOK_SECONDS = 1.0
#: So long the account that is mentioned has time to get its own copy.
LEFT_SECONDS = 5.0
#: Those who wait for an account that is offline look again so often whether another can answer.
UNPARK_SECONDS = 30.0


class TwinKeeper:
    """Looks every second; one process at a time does. With one account nothing is handed over."""

    def __init__(
        self,
        *,
        left: LeftMessages,
        handover: Handover,
        accounts: Accounts,
        queue: MessageQueue,
        bell: Bell,
        lease: Lease,
        clock: Clock,
    ) -> None:
        self._left = left
        self._handover = handover
        self._accounts = accounts
        self._queue = queue
        self._bell = bell
        self._lease = lease
        self._clock = clock
        self._online: frozenset[WcId] = frozenset()
        self._unparked_at = float("-inf")

    async def run(self, stop: asyncio.Event) -> None:
        """Look until stopped."""
        while not await stopped_within(stop, LOOK_SECONDS):
            try:
                if await self._lease.hold():
                    await self.look()
            except (StoreUnavailable, QueueUnavailable) as error:
                logger.debug("twins.later", error=error)
        await self._lease.free()

    async def look(self) -> None:
        """
        Take up what the account that was meant has not got; move what an offline one owes.

        Raises:
            StoreUnavailable, QueueUnavailable: the rest is done the next time.
        """
        before = id_at(self._clock.time() - LEFT_SECONDS)
        while await self._left.settle(before=before) == AT_ONCE:
            continue
        offline = self._accounts.offline_ids
        # One that fails or is too fast has enough to do with its own.
        online = frozenset(one.wc_id for one in self._accounts.standing() if not one.is_down)
        if offline and online:
            for one in await self._handover.move(offline, online):
                with message_context(one.message_id):
                    logger.info("message.handed_to", offline=one.former, bot=one.other)
                await self._bell.ring(one.other)
            await self._let_go(offline, online)
        self._online = online

    async def _let_go(self, offline: frozenset[WcId], online: frozenset[WcId]) -> None:
        """Who waits for an offline account may be answered by one that came back, or got the message later."""
        now = self._clock.monotonic()
        if online <= self._online and now - self._unparked_at < UNPARK_SECONDS:
            return
        self._unparked_at = now
        parked = await self._queue.parked_peers()
        waited_for = {bot for bot in offline if account_peer(bot) in parked}
        if waited_for:
            # Who would only be parked again stays where he is.
            waited_for = await self._handover.has_waiting(waited_for, online)
        for bot in sorted(waited_for):
            await let_all_go(self._queue, account_peer(bot))
