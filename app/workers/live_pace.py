"""How fast accounts may speak, as the settings say at the moment."""

from zoneinfo import ZoneInfo

from app.models.flow import SegmentKind
from app.services.ecloud.day_plan import DayPlan, QuietHours
from app.services.ecloud.pacing import Limits
from app.services.live_settings import LiveSettings
from app.workers.schedule import PaceSettings
from config import Settings


class LivePace:
    """See ``Pace``; made anew when the settings have changed."""

    def __init__(self, live: LiveSettings) -> None:
        self._live = live
        self._settings = live.now
        self._pace = make_pace(self._settings)

    @property
    def limits(self) -> Limits:
        """Of a minute, and the gaps."""
        return self._current().limits

    @property
    def plan(self) -> DayPlan:
        """Of a day."""
        return self._current().plan

    def _current(self) -> PaceSettings:
        if self._settings is not self._live.now:
            self._settings = self._live.now
            self._pace = make_pace(self._settings)
        return self._pace


def make_pace(settings: Settings) -> PaceSettings:
    """How fast the accounts may speak by these settings."""
    ecloud = settings.ecloud
    limits = Limits(
        per_minute=ecloud.sends_per_minute,
        gap=ecloud.send_gap,
        target_gap=ecloud.target_gap,
        kinds={
            SegmentKind.IMAGE: ecloud.images_per_minute,
            SegmentKind.FILE: ecloud.files_per_minute,
        },
    )
    plan = DayPlan(
        zone=ZoneInfo(settings.conversations.timezone),
        quiet=QuietHours.read(ecloud.quiet_hours),
        per_day=ecloud.sends_per_day,
        warm_up_days=ecloud.warm_up_days,
    )
    return PaceSettings(limits=limits, plan=plan)
