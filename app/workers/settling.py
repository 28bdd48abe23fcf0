"""What becomes of a segment of which nobody knows whether it was sent."""

from loguru import logger

from app.services.metrics import Metrics
from app.services.outbox import Outbox
from app.services.stages import utc_now
from app.utils.clock import Clock
from app.workers.availability import Availability
from app.workers.debts import Debts
from app.workers.lanes import Lane
from app.workers.send_policy import GiveUp, SenderSettings, decide_undecided

ECHO_LOOK_SECONDS = 1.0


class Settling:
    """Settles the undecided segments of one account."""

    def __init__(
        self,
        *,
        debts: Debts,
        availability: Availability,
        outbox: Outbox,
        metrics: Metrics,
        clock: Clock,
        settings: SenderSettings,
    ) -> None:
        self._debts = debts
        self._availability = availability
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self._settings = settings

    async def settle(self, lane: Lane) -> None:
        """Look for the echo of the lane's head; when none comes in time, send it again or give it up."""
        segment = lane.segments[0]
        case = self._debts.undecided[segment.id]
        now = self._clock.monotonic()
        if now < case.earliest:
            lane.not_before = case.earliest
            return
        echo = await self._outbox.find_echo(segment)
        if echo is not None:
            logger.info("segment.echoed", seq=segment.seq)
            await self._debts.echoed(lane, echo)
        elif now < case.latest:
            lane.not_before = min(now + ECHO_LOOK_SECONDS, case.latest)
        else:
            await self._decide(lane)

    async def _decide(self, lane: Lane) -> None:
        segment = lane.segments[0]
        decision = decide_undecided(
            calls=segment.tries,
            age=(utc_now() - segment.called_at).total_seconds(),
            waited=self._availability.waited(segment),
            max_age=self._settings.max_age,
            on_unknown_send=self._settings.on_unknown_send,
        )
        if isinstance(decision, GiveUp):
            await self._debts.give_up(lane, decision.reason)
        elif await self._outbox.is_unwanted(segment):
            await self._debts.give_up(lane, "recalled")
        elif await self._availability.w_id():
            logger.warning("segment.resend", seq=segment.seq)
            self._metrics.retries.labels(stage="send").inc()
            self._debts.undecided.clear(segment.id)
        # Else the gateway does not answer, and this was the last call of it: it waits, undecided.
