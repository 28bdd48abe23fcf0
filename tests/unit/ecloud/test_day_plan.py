"""Quiet hours, the day's bound and the warm-up."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.ecloud.day_plan import DayPlan, QuietHours
from app.services.ecloud.slowdown import STEP_SECONDS, Slowdown

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 1, tzinfo=UTC)


def plan(quiet: str = "", *, zone: ZoneInfo = SHANGHAI, **figures: int) -> DayPlan:
    return DayPlan(zone=zone, quiet=QuietHours.read(quiet), **figures)


@pytest.mark.parametrize(
    ("quiet", "clock", "hours"),
    [
        ("23:00-07:00", "22:59", 0),
        ("23:00-07:00", "23:00", 8),
        ("23:00-07:00", "01:00", 6),
        ("23:00-07:00", "07:00", 0),
        ("12:00-14:00", "13:00", 1),
        ("12:00-14:00", "14:00", 0),
        ("12:00-14:00", "11:59", 0),
        ("", "03:00", 0),
    ],
)
def test_quiet_hours_end_when_they_say(quiet: str, clock: str, hours: float) -> None:
    """In the zone of the settings, also over midnight."""
    now = datetime.combine(date(2026, 3, 3), time.fromisoformat(clock), tzinfo=SHANGHAI)

    assert plan(quiet).quiet_left(now.astimezone(UTC)) == hours * 3600


def test_quiet_hours_end_by_the_wall_clock_when_the_clocks_change() -> None:
    """One hour of that night is missing."""
    now = datetime(2026, 3, 29, 1, 0, tzinfo=BERLIN)

    assert plan("23:00-07:00", zone=BERLIN).quiet_left(now) == 5 * 3600


@given(
    minutes=st.integers(0, 5 * 525_600),
    quiet=st.sampled_from(["23:00-07:00", "02:15-02:45", "00:00-23:59"]),
)
def test_whoever_waits_for_the_end_of_the_quiet_hours_may_speak(minutes: int, quiet: str) -> None:
    """At once; they are not over before they said they would be."""
    moment = START + timedelta(minutes=minutes)
    left = plan(quiet).quiet_left(moment)

    assert plan(quiet).quiet_left(moment + timedelta(seconds=left)) == 0
    assert left == 0 or plan(quiet).quiet_left(moment + timedelta(seconds=left - 1)) > 0


@pytest.mark.parametrize("text", ["23-7", "24:00-07:00", "07:00-07:00", "23:00 - 07:00"])
def test_what_is_no_time_of_day_is_refused(text: str) -> None:
    """Better at the start than at night."""
    with pytest.raises(ValueError, match=r".+"):
        QuietHours.read(text)


def test_a_day_begins_at_the_local_midnight() -> None:
    """And ends at the next."""
    now = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)

    assert plan().day_begin(now) == datetime(2026, 3, 4, tzinfo=SHANGHAI)
    assert plan().day_left(now) == 23 * 3600


@pytest.mark.parametrize(
    ("days", "share"), [(0, 1 / 8), (0.9, 1 / 8), (1, 2 / 8), (6.5, 7 / 8), (7, 1.0), (400, 1.0)]
)
def test_a_new_account_may_send_more_every_day(days: float, share: float) -> None:
    """Until it has its whole share."""
    assert plan(warm_up_days=7).share(START, START + timedelta(days=days)) == share


def test_an_account_of_unknown_age_is_an_old_one() -> None:
    """It was there before anybody wrote that down; and without a plan everybody is old."""
    assert plan(warm_up_days=7).share(None, START) == 1.0
    assert plan().share(START, START) == 1.0


def test_the_daily_bound_warms_up_too() -> None:
    """But is never none, where there is one."""
    assert plan(per_day=100).most_today(0.25) == 25
    assert plan(per_day=2).most_today(0.125) == 1
    assert plan().most_today(0.5) == 0


def test_an_account_recovers_step_by_step_from_being_too_fast() -> None:
    """Another sentence makes it slower, up to a bound."""
    slow = Slowdown().throttled(0.0).throttled(1.0)

    assert slow.factor(1.0) == 4
    assert slow.factor(STEP_SECONDS) == 4
    assert slow.factor(1.0 + STEP_SECONDS) == 2
    assert slow.factor(slow.over_at()) == 1
    for _ in range(9):
        slow = slow.throttled(2.0)
    assert slow.factor(2.0) == 8


def test_an_account_that_is_slow_already_is_not_made_faster_by_having_been_offline() -> None:
    """One that is not goes at half the pace."""
    slow = Slowdown().throttled(0.0).throttled(0.0)

    assert slow.careful(1.0) is slow
    assert Slowdown().careful(1.0).factor(1.0) == 2
