"""A claim for which the index is not as SQL is: the list is put right, the next claim goes on."""

from loguru import logger

from app.models.flow import Claim, MessageId
from app.services.queue.protocol import MessageQueue
from app.services.queue.spill_signs import SpillSigns
from app.services.turns import AlreadySettled, FenceBehind, FormerLife, OutOfOrder, UnknownEntry
from app.utils.clock import Clock
from app.utils.ids import id_milliseconds

#: Before a lone entry that SQL does not know is looked at again.
LOOK_AGAIN_SECONDS = 1.0
#: So long an entry that SQL does not know holds the user's place, from the first time that SQL was
#: there and did not know it; and longer while some process shows that it has spilled rows.
PLACE_SECONDS = 3.0
#: After this time nobody brings its row any more.
UNKNOWN_SECONDS = 600.0
#: So much another process's clock may be ahead of ours.
CLOCK_SKEW_SECONDS = 60.0


class ClaimMending:
    """Sets the index right where a claim found it wrong, and gives the lease back."""

    def __init__(self, *, queue: MessageQueue, signs: SpillSigns, clock: Clock) -> None:
        self._queue = queue
        self._signs = signs
        self._clock = clock
        #: Monotonic seconds at which SQL first did not know an entry, oldest first.
        self._unknown_since: dict[MessageId, float] = {}

    async def set_right(
        self,
        claim: Claim,
        opening: OutOfOrder | AlreadySettled | FormerLife | UnknownEntry | FenceBehind,
    ) -> None:
        """Do what the look-up in SQL calls for."""
        match opening:
            case AlreadySettled():
                await self._queue.ack(claim)
            case FormerLife():
                logger.info("queue.former_life", attempts=claim.attempts, crashes=claim.crashes)
                await self._queue.ack(claim)
            case OutOfOrder(message_ids):
                logger.warning("queue.reordered", messages=len(message_ids))
                await self._queue.rewrite(claim.user, claim.token, message_ids)
            case FenceBehind(row_fence):
                logger.warning("queue.fence_behind", row=row_fence, claim=claim.fence)
                await self._queue.raise_fence(row_fence)
                await self._queue.retry(claim, delay=0.0, counts=False)
            case UnknownEntry():
                await self._set_unknown_right(claim, opening)

    async def _set_unknown_right(self, claim: Claim, opening: UnknownEntry) -> None:
        """
        A process has it in its spill file and brings it to SQL soon; or nobody has it.

        Behind what SQL knows it holds up nobody. Once its row is there it is the older one, and the
        next claim of another message of this user puts the list in order.
        """
        age = self._clock.time() - id_milliseconds(claim.message_id) / 1000
        if not -CLOCK_SKEW_SECONDS <= age < UNKNOWN_SECONDS:
            logger.warning("queue.unknown_entry_dropped", entry=claim.message_id)
            await self._queue.ack(claim)
        elif await self._is_in_the_way(claim, opening):
            logger.warning("queue.unknown_entry_moved", entry=claim.message_id)
            await self._queue.rewrite(claim.user, claim.token, opening.waiting)
        else:
            await self._queue.retry(claim, delay=LOOK_AGAIN_SECONDS, counts=False)

    async def _is_in_the_way(self, claim: Claim, opening: UnknownEntry) -> bool:
        """Nobody alive is about to bring its row, and others of this user wait."""
        is_late = self._unknown_for(claim.message_id) >= PLACE_SECONDS
        return is_late and bool(opening.waiting) and not await self._signs.anybody()

    def _unknown_for(self, message_id: MessageId) -> float:
        """Seconds since SQL first did not know it; what was not looked at for long is forgotten."""
        now = self._clock.monotonic()
        known = self._unknown_since
        while known and now - known[oldest := next(iter(known))] >= UNKNOWN_SECONDS:
            del known[oldest]
        return now - known.setdefault(message_id, now)
