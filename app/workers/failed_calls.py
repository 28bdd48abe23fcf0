"""What a failed call means, and what is done about it."""

from loguru import logger

from app.services.errors import EcloudError, EcloudRefused, EcloudThrottled, EcloudUnavailable
from app.services.metrics import Metrics
from app.utils.clock import Clock
from app.workers.availability import Availability
from app.workers.debts import Debts
from app.workers.lanes import Lane
from app.workers.own_login import OwnLogin
from app.workers.own_pace import OwnPace
from app.workers.send_policy import (
    THROTTLED_LANE,
    GiveUp,
    PauseAccount,
    PauseGroup,
    SendDecision,
    SenderSettings,
    Settle,
    decide_send,
)

#: HTTP: never one group's, but the word of a proxy before the gateway.
TOO_MANY_REQUESTS = "429"


class FailedCalls:
    """Reads the failures of one account's calls and carries out what the policy decides."""

    def __init__(
        self,
        *,
        debts: Debts,
        availability: Availability,
        login: OwnLogin,
        pace: OwnPace,
        metrics: Metrics,
        clock: Clock,
        settings: SenderSettings,
    ) -> None:
        self._debts = debts
        self._availability = availability
        self._login = login
        self._pace = pace
        self._metrics = metrics
        self._clock = clock
        self._settings = settings

    async def settle(self, lane: Lane, w_id: str, error: EcloudError) -> None:
        """The call of the lane's head under *w_id* failed."""
        segment = lane.segments[0]
        logger.warning("segment.failed", seq=segment.seq, code=error.code, error=error)
        if isinstance(error, EcloudRefused) and await self._is_about_login(lane, w_id):
            return
        now = self._clock.monotonic()
        decision = self._decide(lane, error, now)
        if isinstance(decision, Settle):
            self._debts.undecided.after_call(segment.id, now=now)
            self._availability.doubt(decision.seconds, code=error.code)
            return
        self._debts.take_back(lane)
        match decision:
            case GiveUp(reason):
                await self._debts.give_up(lane, reason)
            case PauseGroup(seconds):
                lane.not_before = now + seconds
                await self._put_back(lane, error)
            case PauseAccount(seconds) as pause:
                self._availability.pause(pause, code=error.code)
                if isinstance(error, EcloudThrottled):
                    self._pace.throttled()
                    # It may be this group's fault: the next call is another's, if any is owed one.
                    self._debts.lanes.defer(lane, until=now + THROTTLED_LANE * seconds)
                await self._put_back(lane, error)

    async def _put_back(self, lane: Lane, error: EcloudError) -> None:
        self._metrics.retries.labels(stage="send").inc()
        await self._debts.put_back(lane, error)

    def _decide(self, lane: Lane, error: EcloudError, now: float) -> SendDecision:
        """What the policy says, in the light of what the group and the account were told before."""
        own, since = None, now
        if isinstance(error, EcloudThrottled) and error.peer_code != TOO_MANY_REQUESTS:
            own = self._availability.throttles.throttled(lane.group, now=now)
            since = now if own is None else own.since
        elif isinstance(error, EcloudRefused):
            lane.refused_since = now if lane.refused_since is None else lane.refused_since
            since = lane.refused_since
        return decide_send(
            error,
            failures=self._availability.failures + 1,
            refused_for=now - since,
            waited=self._availability.waited(lane.segments[0]),
            max_age=self._settings.max_age,
            own_throttles=0 if own is None else own.times,
        )

    async def _is_about_login(self, lane: Lane, w_id: str) -> bool:
        """
        After a refusal: whether it was the login that was wrong, not the segment.

        A stale wId is replaced and the segment goes out again at once; an account that the gateway
        does not list as online rests, and nothing is given up for it.
        """
        try:
            is_online = await self._login.ask()
        except EcloudError:
            return False
        is_stale = self._login.known_w_id not in ("", w_id)
        if is_stale:
            self._login.refuse(w_id)
        elif not is_online:
            self._availability.pause_offline()
        else:
            self._availability.works()
            return False
        refusal = EcloudUnavailable("账号不在线" if not is_online else "wId 已更换")
        self._debts.take_back(lane)
        await self._put_back(lane, refusal)
        return True
