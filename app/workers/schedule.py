"""What one account sends next, and when: order, pace and the day's bounds together (pure)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.services.ecloud.day_plan import DayPlan
from app.services.ecloud.pacing import Hold, Limits, Pacer, Why
from app.services.ecloud.slowdown import Slowdown
from app.services.errors import EcloudThrottled
from app.workers.lanes import Lane, Lanes

#: Why an account rests that the gateway does not list as online.
OFFLINE = "account_offline"
_WHY = {EcloudThrottled.code: Why.THROTTLED, OFFLINE: Why.OFFLINE}


class Pace(Protocol):
    """How fast accounts may speak at the moment."""

    @property
    def limits(self) -> Limits:
        """Of a minute, and the gaps."""
        ...

    @property
    def plan(self) -> DayPlan:
        """Of a day."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PaceSettings:
    """A pace that stays as it is."""

    limits: Limits
    plan: DayPlan


class Schedule:
    """
    Of one account.

    Two clocks: *now* is monotonic and rules gaps and minutes; *wall* is the time of day.
    """

    def __init__(self, lanes: Lanes, pacer: Pacer, settings: Pace) -> None:
        self.lanes = lanes
        self.pacer = pacer
        self.slowdown = Slowdown()
        #: When this bridge first saw the account; None: before anybody wrote that down.
        self.first_seen: datetime | None = None
        self._settings = settings
        #: Sends since the midnight that this day began with.
        self._today = 0
        self._day: datetime | None = None

    def sent_today(self, count: int, wall: datetime) -> None:
        """So much was sent on this day, as far as is known."""
        self._day, self._today = self._settings.plan.day_begin(wall), count

    def next(self, now: float, wall: datetime) -> Lane | Hold | None:
        """The lane whose head goes out now, or what holds the account back; None: nothing is owed."""
        if not len(self.lanes):
            return None
        if held := self._held(now, wall):
            return held
        self.pacer.limits = self._limits(wall)
        waits = []
        for lane in self.lanes.candidates(now):
            head = lane.segments[0]
            hold = self.pacer.look(now, group=lane.group, kind=head.kind)
            if hold is None:
                return lane
            if hold.why is not Why.KIND:
                # Whose turn it is goes first, even where another could go sooner.
                return hold
            waits.append(hold)
        if waits:
            return min(waits, key=lambda hold: hold.seconds)
        return Hold(self.lanes.due_in(now) or 0.0, Why.GROUP)

    def sent(self, lane: Lane, now: float, wall: datetime) -> None:
        """The head of the lane goes out at this moment."""
        self.pacer.sent(now, group=lane.group, kind=lane.segments[0].kind)
        begin = self._settings.plan.day_begin(wall)
        if begin != self._day:
            self.sent_today(0, wall)
        self._today += 1

    def resting(self, wall: datetime) -> Hold | None:
        """Hours in which nothing goes out, whatever is owed."""
        plan = self._settings.plan
        if quiet := plan.quiet_left(wall):
            return Hold(quiet, Why.QUIET)
        most = plan.most_today(plan.share(self.first_seen, wall))
        is_today = self._day == plan.day_begin(wall)
        if most and is_today and self._today >= most:
            return Hold(plan.day_left(wall), Why.DAY)
        return None

    def _held(self, now: float, wall: datetime) -> Hold | None:
        if rest := self.resting(wall):
            return rest
        if seconds := self.lanes.held_for_seconds(now):
            return Hold(seconds, _WHY.get(self.lanes.held_for, Why.FAILING))
        return None

    def _limits(self, wall: datetime) -> Limits:
        limits = self._settings.limits
        if limits.are_none:
            return limits
        share = self._settings.plan.share(self.first_seen, wall)
        return limits.at_share(share).slowed(self.slowdown.factor(wall.timestamp()))
