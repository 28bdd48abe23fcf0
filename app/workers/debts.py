"""
What one account owes, and each change of it.

Where memory and SQL differ because a commit failed, memory is right: it knows which calls went out.
"""

from collections.abc import Sequence
from dataclasses import replace

from loguru import logger

from app.models.flow import SegmentKind, SentMessage, WcId
from app.models.segment import SegmentState
from app.services.errors import EcloudError, StoreUnavailable
from app.services.outbox import Outbox
from app.services.outbox_table import Planned, Sent
from app.services.stages import utc_now
from app.utils.clock import Clock
from app.utils.log import message_context
from app.workers.ending import Ending
from app.workers.lanes import Lane, Lanes
from app.workers.undecided import UndecidedSegments

LOAD_AT_MOST = 500
RECEIPT_PAUSE_SECONDS = 0.5


class Debts:
    """
    The segments that one account owes.

    Every method that awaits raises ``StoreUnavailable``; it may be called again.
    """

    def __init__(
        self, bot: WcId, *, outbox: Outbox, clock: Clock, sender: str, timeout: float
    ) -> None:
        """
        Args:
            sender: who marks the calls: the holder of the account's lease.
            timeout: seconds after which a call to the gateway is certainly over.
        """
        self.lanes = Lanes()
        #: Segments to be taken back, oldest first.
        self.unwanted: list[Planned] = []
        self.undecided = UndecidedSegments(timeout=timeout)
        #: Monotonic seconds.
        self.loaded_at = 0.0
        self._bot = bot
        self._outbox = outbox
        self._clock = clock
        self._sender = sender
        #: Of the last call; SQL gets it with the mark of the next.
        self._receipt: Sent | None = None
        self._owed_at = clock.monotonic()

    def paid_for(self) -> float:
        """Seconds that nothing has been owed."""
        if len(self.lanes) or self.unwanted or self._receipt is not None:
            return 0.0
        return self._clock.monotonic() - self._owed_at

    async def load(self) -> None:
        """Take in what SQL says is owed."""
        now = self.loaded_at = self._clock.monotonic()
        limit, is_full = 0, True
        # Groups that wait must not hide those that need not, however much they are owed.
        while is_full and limit < (enough := LOAD_AT_MOST + self.lanes.waiting(now)):
            limit = enough
            found = await self._outbox.open_segments(self._bot, limit=limit)
            is_full = len(found) >= limit
            if self._receipt is not None and self._is_unwanted(self._receipt.segment, found):
                # To be taken back before anything else is said in its group.
                await self.write_receipt()
                found = await self._outbox.open_segments(self._bot, limit=limit)
            self._take_in(found, now)
        if len(self.lanes) or self.unwanted:
            self._owed_at = now

    @staticmethod
    def _is_unwanted(segment: Planned, found: Sequence[Planned]) -> bool:
        return any(one.is_unwanted for one in found if one.id == segment.id)

    def _take_in(self, found: Sequence[Planned], now: float) -> None:
        # Sent already; only its receipt is not written yet.
        sent = self._receipt.segment.id if self._receipt is not None else None
        self.unwanted = [one for one in found if one.state is SegmentState.RECALLING]
        segments = [
            one for one in found if one.id != sent and one.state is not SegmentState.RECALLING
        ]
        for segment in segments:
            is_sending = segment.state is SegmentState.SENDING
            has_file = segment.kind is SegmentKind.FILE
            if is_sending and self.undecided.found_sending(segment.id, now=now, has_file=has_file):
                with message_context(segment.message_id):
                    logger.warning("segment.undecided", seq=segment.seq)
        self.lanes.add(segments)

    async def mark_sending(self, lane: Lane) -> bool:
        """
        Commit the mark, and with it the receipt of the call before; False: cancelled meanwhile.

        Whether a failed commit was carried out is unknown. Both parts may be repeated, and it is known
        that this segment's call did not go out.
        """
        segment = lane.segments[0]
        self.undecided.clear(segment.id)
        # From before the commit: the call's echo is certainly later.
        now = utc_now()
        is_open = await self._outbox.mark_sending(segment, sender=self._sender, sent=self._receipt)
        self._receipt = None
        self.undecided.forget(segment.id)
        lane.segments[0] = replace(
            segment, state=SegmentState.SENDING, sending_at=now, tries=segment.tries + 1
        )
        return is_open

    def sent(self, lane: Lane, receipt: SentMessage) -> None:
        """The head went out; SQL hears of it a little later."""
        self._receipt = Sent(segment=lane.segments[0], receipt=receipt, at=utc_now())
        self.settled(lane)

    async def echoed(self, lane: Lane, echo: SentMessage) -> None:
        """The head was sent, as its echo tells."""
        sent = Sent(segment=lane.segments[0], receipt=echo, at=utc_now())
        await self._outbox.mark_sent(sent)
        self.settled(lane)

    def take_back(self, lane: Lane) -> None:
        """The head's last call certainly did not go out, whether SQL can be told or not."""
        segment = lane.segments[0]
        self.undecided.clear(segment.id)
        lane.segments[0] = replace(segment, tries=segment.tries - 1, state=SegmentState.PLANNED)

    async def put_back(self, lane: Lane, error: EcloudError) -> None:
        """The head, whose call was taken back, is planned again."""
        await self._outbox.put_back(lane.segments[0], error=str(error))

    async def give_up(self, lane: Lane, reason: str) -> None:
        """The head will not be sent (again): failed, or unknown if a call of it may have gone out."""
        segment = lane.segments[0]
        state = SegmentState.UNKNOWN if segment.tries else SegmentState.FAILED
        await self._outbox.give_up(segment, state, error=reason)
        logger.error("segment.given_up", seq=segment.seq, reason=reason)
        self.settled(lane)

    def settled(self, lane: Lane) -> None:
        """Nothing is owed for the head any more."""
        segment = self.lanes.take(lane)
        self.undecided.forget(segment.id)
        self._owed_at = self._clock.monotonic()

    async def write_receipt(self) -> None:
        """Tell SQL of the last call, if it does not know."""
        if self._receipt is not None:
            await self._outbox.mark_sent(self._receipt)
            self._receipt = None

    async def write_receipt_at_last(self, ending: Ending) -> None:
        """
        The last receipt before the lease is given back; lost, it would be sent again.

        So it is tried as long as there is time; a lease that is over does not matter to it.
        """
        if self._receipt is None:
            return
        began = self._clock.monotonic()
        with message_context(self._receipt.segment.message_id):
            while self._receipt is not None:
                try:
                    await self.write_receipt()
                except StoreUnavailable as error:
                    if self._clock.monotonic() >= ending.latest_word(began=began):
                        logger.error("sender.receipt_lost", bot=self._bot, error=error)
                        return
                    logger.warning("sender.receipt_later", bot=self._bot, error=error)
                    await self._clock.sleep(RECEIPT_PAUSE_SECONDS)
