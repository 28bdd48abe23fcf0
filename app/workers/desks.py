"""
The Dify apps as the answer loop uses them: each has places of its own in this process.

Whoever finds the places of an app taken gives the claim back and stands by for that app, so that
a slow app never fills what the others need.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from loguru import logger

from app.services.dify.gate import Gate
from app.services.errors import QueueUnavailable
from app.services.hearing import Hearing
from app.services.queue.breakers import limit_peer
from app.services.queue.protocol import MessageQueue
from app.services.replies import Replies

#: With several apps one may have so many claims more than its limit, one part of that: the next
#: question is at hand when an answer comes.
SPARE_PART = 4
#: Rounds of the keeper in which an app has been full before its limit is pressed.
PRESSED_AFTER = 2


class Desk:
    """One app at work in this process."""

    def __init__(self, app: str, *, gate: Gate, replies: Replies, hearing: Hearing) -> None:
        self.app = app
        self.gate = gate
        self.replies = replies
        self.hearing = hearing
        #: Claims that have a place here.
        self.taken = 0
        #: Somebody stands by for this app.
        self.has_waiting = False
        #: Places that nobody took since the last round.
        self.unused = 0
        self.full_rounds = 0


class Desks:
    """All apps of this process, and who may use how many of the worker's places."""

    def __init__(self, desks: Iterable[Desk], *, queue: MessageQueue, concurrency: int) -> None:
        self._desks: Mapping[str, Desk] = {desk.app: desk for desk in desks}
        self._queue = queue
        self._concurrency = concurrency
        #: Set when a place may have become free, or a limit higher.
        self.has_room = asyncio.Event()
        #: So many places nobody else may take from an app that uses fewer.
        self._reserve = max(1, concurrency // (2 * max(1, len(self._desks))))

    def __iter__(self) -> Iterator[Desk]:
        """All desks."""
        return iter(self._desks.values())

    def get(self, app: str) -> Desk | None:
        """The desk of an app; None: the settings name no such app."""
        return self._desks.get(app)

    def room(self, in_work: int) -> int:
        """
        How many more may be claimed: what no app will be asked now is better left to others.

        Args:
            in_work: claims of this process, those without a place (yet) among them.
        """
        taken = sum(desk.taken for desk in self)
        # What an app has above a limit that was lowered is its own: the others are claimed for.
        free = sum(max(0, self._places_of(desk) - desk.taken) for desk in self)
        return min(self._concurrency - in_work, free - (in_work - taken))

    def take_place(self, desk: Desk) -> bool:
        """Whether a claim may go on; whoever was given a place gives it back by ``leave``."""
        if self._free_at(desk) <= 0:
            desk.has_waiting = True
            return False
        desk.taken += 1
        desk.unused = min(desk.unused, self._free_at(desk))
        return True

    async def leave(self, desk: Desk) -> None:
        """A place is free again: who has stood by longest comes next."""
        desk.taken -= 1
        if desk.has_waiting and self._free_at(desk) > 0:
            await self._let_come(desk, 1)

    def press(self) -> None:
        """All places have been taken for a second: apps that are slow, and well, may get more."""
        for desk in self:
            desk.gate.press()

    async def round(self, waiting_for: Iterable[str]) -> None:
        """
        Twice a second: fill places that lie idle, and press the limits of those that are full.

        Args:
            waiting_for: peers for which somebody is parked, by whichever process.
        """
        peers = set(waiting_for)
        for desk in self:
            desk.has_waiting = limit_peer(desk.app) in peers
            free = max(0, self._free_at(desk))
            idle, desk.unused = min(desk.unused, free), free
            if not desk.has_waiting:
                desk.full_rounds = 0
                continue
            if idle > 0:
                await self._let_come(desk, idle)
            desk.full_rounds = desk.full_rounds + 1 if desk.gate.is_full else 0
            if desk.full_rounds >= PRESSED_AFTER:
                desk.full_rounds = 0
                desk.gate.press()

    async def end(self) -> None:
        """No more turns come; wait for what is on its way."""
        await asyncio.gather(*(desk.replies.end() for desk in self))

    def serves(self, peer: str) -> bool:
        """Whether *peer* is the limit of an app that is at work here."""
        return any(peer == limit_peer(desk.app) for desk in self)

    async def _let_come(self, desk: Desk, users: int) -> None:
        # Whoever stands by from now on is seen, whatever the queue says of now.
        desk.has_waiting = False
        try:
            found = await self._queue.unpark(limit_peer(desk.app), users)
            desk.has_waiting = desk.has_waiting or found == users
        except QueueUnavailable as error:
            logger.debug("desk.let_come_later", app=desk.app, error=error)

    def _places_of(self, desk: Desk) -> int:
        slots = desk.gate.slots
        return slots if len(self._desks) == 1 else slots + max(1, slots // SPARE_PART)

    def _free_at(self, desk: Desk) -> int:
        """Places of this app; the reserve of the others is not among them."""
        kept = sum(
            max(0, min(self._reserve, self._places_of(other)) - other.taken)
            for other in self
            if other is not desk
        )
        in_all = self._concurrency - sum(one.taken for one in self)
        # More apps than places: whoever has none may have one.
        most = in_all - kept if desk.taken else max(in_all - kept, min(in_all, 1))
        return min(self._places_of(desk) - desk.taken, most)
