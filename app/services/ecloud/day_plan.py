"""When on a day an account may speak, and how much: quiet hours, a daily bound, warm-up (pure)."""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

_SPAN = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A time of day in which nothing is sent; it may go over midnight."""

    begin: time
    end: time

    @classmethod
    def read(cls, text: str) -> "QuietHours | None":
        """
        Read ``23:00-07:00``; None: empty.

        Raises:
            ValueError: it is something else, or no time at all.
        """
        if not text:
            return None
        found = _SPAN.fullmatch(text)
        if found is None:
            raise ValueError("HH:MM-HH:MM is expected")
        hours = [int(part) for part in found.groups()]
        begin, end = time(hours[0], hours[1]), time(hours[2], hours[3])
        if begin == end:
            raise ValueError("begin and end are the same")
        return cls(begin, end)

    def left(self, now: datetime) -> float:
        """Seconds until they end; 0: it is not quiet. *now* is local and knows its zone."""
        clock = now.time()
        is_over_midnight = self.begin > self.end
        if is_over_midnight:
            is_quiet = clock >= self.begin or clock < self.end
        else:
            is_quiet = self.begin <= clock < self.end
        if not is_quiet:
            return 0.0
        day = now.date() + (_DAY if is_over_midnight and clock >= self.begin else timedelta())
        end = datetime.combine(day, self.end, tzinfo=now.tzinfo)
        # In the hour that a change of the clocks takes out, there is always a moment left.
        return max(1.0, end.timestamp() - now.timestamp())


@dataclass(frozen=True, kw_only=True, slots=True)
class DayPlan:
    """What holds on every day for every account."""

    zone: ZoneInfo
    quiet: QuietHours | None = None
    #: Most sends of an account between two midnights; 0: no bound.
    per_day: int = 0
    #: An account gets from a small share of its bounds to the whole in so many days; 0: at once.
    warm_up_days: int = 0

    def quiet_left(self, now: datetime) -> float:
        """Seconds until the quiet hours end; 0: it is not quiet."""
        return 0.0 if self.quiet is None else self.quiet.left(now.astimezone(self.zone))

    def day_begin(self, now: datetime) -> datetime:
        """The last midnight."""
        return datetime.combine(now.astimezone(self.zone).date(), time(), tzinfo=self.zone)

    def day_left(self, now: datetime) -> float:
        """Seconds until the next midnight."""
        local = now.astimezone(self.zone)
        end = datetime.combine(local.date() + _DAY, time(), tzinfo=self.zone)
        return max(1.0, end.timestamp() - now.timestamp())

    def share(self, first_seen: datetime | None, now: datetime) -> float:
        """What an account may send of its bounds by now; one of unknown age is an old one."""
        if not self.warm_up_days or first_seen is None:
            return 1.0
        days = max(0, (now - first_seen) // _DAY)
        return min(1.0, (days + 1) / (self.warm_up_days + 1))

    def most_today(self, share: float) -> int:
        """Most sends of today; 0: no bound."""
        return max(1, int(self.per_day * share)) if self.per_day else 0
