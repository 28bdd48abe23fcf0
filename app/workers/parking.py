"""Lets parked users go on: all once their peer is well, one where a probe is due."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from loguru import logger

from app.services.errors import QueueUnavailable
from app.services.pauses import Paused
from app.services.queue.breakers import LIMIT, PAUSE, Breakers, kind_of
from app.services.queue.protocol import MessageQueue
from app.utils.loops import stopped_within
from app.workers.desks import Desks

LOOK_SECONDS = 0.5
#: Users per round trip.
PAGE = 100
#: So long the processes that serve an app are trusted to let those come who stand by for it.
UNSERVED_SECONDS = 30.0


async def let_all_go(queue: MessageQueue, peer: str) -> int:
    """
    Everybody who is parked for *peer*, in their order; how many.

    Raises:
        QueueUnavailable: the rest stays parked; the keeper goes on.
    """
    users = 0
    while found := await queue.unpark(peer, PAGE):
        users += found
    logger.info("breaker.unparked", peer=peer, users=users)
    return users


class ParkingKeeper:
    """
    Looks twice a second; every process that works does.

    Whoever closes a breaker lets the parked go on; what was lost on the way is made good here.
    """

    def __init__(
        self,
        *,
        queue: MessageQueue,
        breakers: Breakers,
        keep_probes: Callable[[], Awaitable[None]],
        desks: Desks,
        paused: Callable[[], Paused],
    ) -> None:
        self._paused = paused
        self._queue = queue
        self._breakers = breakers
        self._keep_probes = keep_probes
        self._desks = desks
        #: Limits of apps that this process does not serve, since when it sees somebody parked there.
        self._unserved: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Look until stopped."""
        while not await stopped_within(stop, LOOK_SECONDS):
            try:
                await self._keep_probes()
                await self.look()
            except QueueUnavailable as error:
                logger.debug("breaker.look_later", error=error)

    def _is_served_elsewhere(self, peer: str) -> bool:
        """Whether somebody who stands by for an app that is not ours may still be let come by others."""
        if kind_of(peer) != LIMIT:
            return False
        now = time.monotonic()
        if now - self._unserved.setdefault(peer, now) < UNSERVED_SECONDS:
            return True
        del self._unserved[peer]
        return False

    async def look(self) -> None:
        """
        Let go whoever may.

        Raises:
            QueueUnavailable: Redis is away.
        """
        parked = await self._queue.parked_peers()
        await self._desks.round(parked)
        if not parked:
            return
        open_peers = {state.peer for state in await self._breakers.states()}
        for peer in parked:
            if kind_of(peer) == PAUSE:
                if self._paused().is_over(peer):
                    await let_all_go(self._queue, peer)
            elif self._desks.serves(peer) or self._is_served_elsewhere(peer):
                continue
            elif peer not in open_peers:
                await let_all_go(self._queue, peer)
            elif await self._breakers.invite(peer):
                await self._queue.unpark(peer, 1)
