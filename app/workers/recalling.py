"""
Takes segments of one account back, before anything else is said in their groups.

The call is marked in SQL before it goes out: of one that may have gone out there is no second one, and
when nobody knows what it gave the segment counts as sent.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from loguru import logger

from app.models.flow import WcId
from app.services.ecloud.pacing import RECALL_WINDOW, RecallPacer
from app.services.errors import EcloudError, EcloudRefused, EcloudThrottled, EcloudUndecided
from app.services.gateways import AccountGateway
from app.services.outbox import Outbox
from app.services.outbox_table import Planned
from app.services.stages import utc_now
from app.services.taking_back import RECALL_WITHIN
from app.utils.clock import Clock
from app.utils.log import message_context
from app.workers.availability import Availability
from app.workers.debts import Debts
from app.workers.own_login import OwnLogin
from app.workers.send_policy import THROTTLED_PAUSE, decide_pause

#: What must wait for the account is looked at again so often.
AGAIN_SECONDS = 0.5
#: Why a segment that was to be taken back is still there; kept in its row.
TOO_OLD, UNDECIDED = "recall: too_old", "recall: undecided"


class Recalling:
    """Of one account, as long as its sender has the lease."""

    def __init__(
        self,
        bot: WcId,
        *,
        has_lease: Callable[[], Awaitable[bool]],
        debts: Debts,
        availability: Availability,
        login: OwnLogin,
        ecloud: AccountGateway,
        outbox: Outbox,
        clock: Clock,
        timeout: float,
    ) -> None:
        """
        Args:
            has_lease: whether the account is ours.
            timeout: seconds after which a call to the gateway is certainly over.
        """
        self._bot = bot
        self._has_lease = has_lease
        self._debts = debts
        self._availability = availability
        self._login = login
        self._ecloud = ecloud
        self._outbox = outbox
        self._clock = clock
        self._timeout = timeout
        self._pacer = RecallPacer()
        #: Monotonic seconds before which the gateway wants no such call.
        self._not_before = 0.0
        #: Calls of another sender, and when they are certainly over (monotonic seconds).
        self._former: dict[int, float] = {}
        #: What SQL is still to hear: why it stays; empty: it is taken back; None: there may be another call.
        self._outcomes: dict[int, tuple[Planned, str | None]] = {}
        self._due_at: float | None = None

    async def remember(self) -> None:
        """
        Take in what this account took back lately, in whatever process.

        Raises:
            StoreUnavailable: SQL does not tell.
        """
        now = utc_now()
        since = now - timedelta(seconds=RECALL_WINDOW)
        calls = await self._outbox.recent_recalls(
            self._bot, since=since, sent_since=since - 2 * RECALL_WITHIN
        )
        monotonic = self._clock.monotonic()
        self._pacer.remember(monotonic - (now - at).total_seconds() for at in calls)

    def due_in(self) -> float:
        """Seconds until something is to be taken back that waits; infinite: nothing waits."""
        if self._due_at is None:
            return float("inf")
        return max(0.0, self._due_at - self._clock.monotonic())

    async def carry_out(self) -> None:
        """
        Take back what may be taken back now; what must wait holds up its group and no other.

        Raises:
            StoreUnavailable: it may be called again.
        """
        await self._write_down()
        self._due_at = None
        for segment in list(self._debts.unwanted):
            with message_context(segment.message_id):
                seconds = await self._serve(segment)
            if not seconds:
                self._debts.unwanted.remove(segment)
                await self._write_down()
                continue
            until = self._clock.monotonic() + seconds
            self._debts.lanes.hold_group(segment.group_id, until=until)
            self._due_at = until if self._due_at is None else min(until, self._due_at)

    async def _serve(self, segment: Planned) -> float:
        """Seconds that it must wait; 0: nothing is left to do, as far as is known here."""
        now = self._clock.monotonic()
        if segment.recall_called_at is not None:
            over_at = self._former.setdefault(segment.id, now + self._timeout)
            if now < over_at:
                return over_at - now
            self._end(segment, UNDECIDED)
            return 0.0
        if segment.sent_at is None or utc_now() - segment.sent_at > RECALL_WITHIN:
            self._end(segment, TOO_OLD)
            return 0.0
        seconds = max(
            self._not_before - now,
            self._debts.lanes.held_for_seconds(now),
            self._pacer.delay(now),
        )
        if seconds > 0:
            return min(seconds, AGAIN_SECONDS)
        return await self._ask(segment)

    async def _ask(self, segment: Planned) -> float:
        w_id = await self._availability.w_id()
        if not w_id or not await self._has_lease():
            return AGAIN_SECONDS
        is_marked = await self._outbox.mark_recall(segment)
        if not is_marked or not await self._has_lease():
            # Whoever marked it, or has the lease now, tells.
            return 0.0
        self._pacer.called(self._clock.monotonic())
        try:
            await self._ecloud.client().revoke(
                w_id=w_id, group_id=segment.group_id, sent=segment.receipt
            )
        except EcloudError as error:
            await self._fail(segment, w_id, error)
            may_be_again = self._outcomes[segment.id][1] is None
            return AGAIN_SECONDS if may_be_again else 0.0
        self._outcomes[segment.id] = (segment, "")
        logger.info("segment.recalled", seq=segment.seq)
        return 0.0

    async def _fail(self, segment: Planned, w_id: str, error: EcloudError) -> None:
        if isinstance(error, EcloudUndecided):
            self._login.doubt()
            self._end(segment, UNDECIDED)
            return
        if isinstance(error, EcloudRefused) and not await self._is_about_login(w_id):
            self._end(segment, f"recall: {error}")
            return
        # It certainly was not carried out.
        if isinstance(error, EcloudThrottled):
            self._not_before = self._clock.monotonic() + (error.retry_after or THROTTLED_PAUSE)
        elif not isinstance(error, EcloudRefused):
            failures = self._availability.failures + 1
            self._availability.pause(decide_pause(error, failures=failures), code=error.code)
        self._outcomes[segment.id] = (segment, None)
        logger.info("segment.recall_later", seq=segment.seq, code=error.code)

    async def _is_about_login(self, w_id: str) -> bool:
        """After a refusal: whether the wId was stale or the account is offline."""
        try:
            is_online = await self._login.ask()
        except EcloudError:
            return False
        if self._login.known_w_id not in ("", w_id):
            self._login.refuse(w_id)
            return True
        if not is_online:
            self._availability.pause_offline()
        return not is_online

    def _end(self, segment: Planned, reason: str) -> None:
        """It stays in the group."""
        self._former.pop(segment.id, None)
        self._outcomes[segment.id] = (segment, reason)
        logger.warning("segment.recall_failed", seq=segment.seq, reason=reason)

    async def _write_down(self) -> None:
        for segment, outcome in list(self._outcomes.values()):
            if outcome is None:
                await self._outbox.recall_later(segment)
            else:
                await self._outbox.close_recall(segment, error=outcome)
            del self._outcomes[segment.id]
