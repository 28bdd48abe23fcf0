"""What an account sends next and when, under a clock of the test's own."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.models.flow import MessageId, SegmentKind, WcId
from app.models.segment import SegmentState
from app.services.ecloud.day_plan import DayPlan, QuietHours
from app.services.ecloud.pacing import WINDOW, Hold, Limits, Pacer, Why
from app.services.errors import EcloudThrottled
from app.services.outbox_table import Planned
from app.workers.lanes import Lanes
from app.workers.schedule import OFFLINE, PaceSettings, Schedule

ZONE = ZoneInfo("Asia/Shanghai")
#: Eight in the morning in that zone.
START = datetime(2026, 1, 1, tzinfo=UTC)
TINY = 1e-6
DEFAULTS = Limits(per_minute=40, gap=0.6, target_gap=2.0, kinds={"image": 3, "file": 3})


def segment(
    number: int, *, message: int, group: str, seq: int = 0, kind: SegmentKind = SegmentKind.TEXT
) -> Planned:
    """A planned segment."""
    return Planned(
        id=number,
        message_id=MessageId(message),
        seq=seq,
        bot_wc_id=WcId("bot"),
        group_id=WcId(group),
        kind=kind,
        content=str(number),
        mention=WcId(""),
        state=SegmentState.PLANNED,
        tries=0,
        planned_at=START,
        sending_at=None,
    )


@dataclass
class Call:
    """A call as the gateway sees it."""

    at: float
    segment: Planned
    is_taken: bool


@dataclass
class Run:
    """One account, driven through time; the gateway takes each call unless told otherwise."""

    limits: Limits = DEFAULTS
    quiet: str = ""
    per_day: int = 0
    warm_up_days: int = 0
    seed: int = 0
    call_seconds: float = 0.05
    now: float = 1000.0
    calls: list[Call] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lanes = Lanes()
        plan = DayPlan(
            zone=ZONE,
            quiet=QuietHours.read(self.quiet),
            per_day=self.per_day,
            warm_up_days=self.warm_up_days,
        )
        pacer = Pacer(self.limits, rng=random.Random(self.seed))
        self.schedule = Schedule(self.lanes, pacer, PaceSettings(limits=self.limits, plan=plan))

    @property
    def wall(self) -> datetime:
        """The time of day."""
        return START + timedelta(seconds=self.now - 1000)

    def drain(
        self,
        *,
        answer: Callable[["Run", Planned], bool] = lambda _run, _segment: True,
        arriving: Iterable[tuple[float, Sequence[Planned]]] = (),
        until: float = float("inf"),
    ) -> None:
        """Send until nothing is owed, or until then."""
        portions = iter(arriving)
        due = next(portions, None)
        while self.now < until:
            while due is not None and due[0] <= self.now:
                self.lanes.add(due[1])
                due = next(portions, None)
            turn = self.schedule.next(self.now, self.wall)
            if turn is None:
                if due is None:
                    return
                self.now = due[0]
            elif isinstance(turn, Hold):
                assert turn.seconds > 0
                self.holds.append(turn)
                self.now += turn.seconds
            else:
                head = turn.segments[0]
                self.schedule.sent(turn, self.now, self.wall)
                is_taken = answer(self, head)
                self.calls.append(Call(self.now, head, is_taken))
                self.now += self.call_seconds
                self.schedule.pacer.ended(self.now)
                if is_taken:
                    self.lanes.take(turn)

    @property
    def sent(self) -> list[Planned]:
        """What arrived, in order."""
        return [call.segment for call in self.calls if call.is_taken]


def check_pace(run: Run, limits: Limits | None = None) -> None:
    """From the log of calls: no minute above the bound, no gap below the limit."""
    limits = limits or run.limits
    times = [call.at for call in run.calls]
    if limits.per_minute:
        for earlier, later in zip(times, times[limits.per_minute :], strict=False):
            assert later - earlier >= WINDOW - TINY
    for before, after in pairwise(run.calls):
        is_same = before.segment.group_id == after.segment.group_id
        longest = limits.gap if is_same else max(limits.gap, limits.target_gap)
        assert after.at - before.at >= (longest / 3 if limits.gap else 0) - TINY
    for kind, most in limits.kinds.items():
        own = [call.at for call in run.calls if call.segment.kind == kind]
        if most and limits.per_minute:
            assert all(b - a >= WINDOW - TINY for a, b in zip(own, own[most:], strict=False))


def check_order(sent: Sequence[Planned], planned: Sequence[Planned]) -> None:
    """Nothing lost, nothing twice, each group in the order of planning."""
    assert sorted(one.id for one in sent) == [one.id for one in planned]
    got: dict[str, list[int]] = defaultdict(list)
    for one in sent:
        got[one.group_id].append(one.id)
    assert all(numbers == sorted(numbers) for numbers in got.values())


def check_together(sent: Sequence[Planned]) -> None:
    """The segments of each answer are neighbours."""
    runs = [message for message, _ in groupby(one.message_id for one in sent)]
    assert len(runs) == len(set(runs))


def answers(counts: Sequence[tuple[str, int]], *, first: int = 1) -> list[Planned]:
    """Answers of so many segments into these groups."""
    planned: list[Planned] = []
    for message, (group, count) in enumerate(counts, start=first):
        for seq in range(count):
            planned.append(segment(len(planned) + first, message=message, group=group, seq=seq))
    return planned


def crowd(account: int) -> list[Planned]:
    """1,000 answers over 20 groups."""
    chance = random.Random(account)
    groups = [f"{account}-{number}@chatroom" for number in range(20)]
    return answers([(chance.choice(groups), 1) for _ in range(1000)])


def in_portions(planned: Sequence[Planned]) -> Iterator[tuple[float, Sequence[Planned]]]:
    """Twenty at a time, every ten seconds."""
    for start in range(0, len(planned), 20):
        yield 1000.0 + start / 2, planned[start : start + 20]


@pytest.mark.parametrize("account", [1, 2])
def test_two_thousand_answers_of_two_accounts_keep_every_limit(account: int) -> None:
    """Each account by its own schedule: nothing lost, and as fast as the bound allows."""
    run, planned = Run(seed=account), crowd(account)
    run.drain(arriving=in_portions(planned))

    check_pace(run)
    check_order(run.sent, planned)
    assert run.now - 1000 < 1000 / 40 * 60 * 1.15


@pytest.mark.parametrize("account", [1, 2])
def test_they_do_so_while_the_gateway_throttles(account: int) -> None:
    """Slower for a while, then as fast as before; calls in vain count like others."""
    run, planned = Run(seed=account), crowd(account)

    def answer(run: Run, _segment: Planned) -> bool:
        if len(run.calls) not in {100, 101}:
            return True
        run.schedule.slowdown = run.schedule.slowdown.throttled(run.wall.timestamp())
        run.lanes.hold(until=run.now + 30, code=EcloudThrottled.code)
        return False

    run.drain(answer=answer, arriving=in_portions(planned))

    check_pace(run)
    check_order(run.sent, planned)
    second = [call for call in run.calls if not call.is_taken][-1].at
    slow = [call for call in run.calls if second < call.at < second + 600]
    assert len(slow) <= 10 * 10
    last = [call.at for call in run.calls if call.at > second + 1300]
    assert sum(at < last[0] + WINDOW for at in last) > 30
    assert Why.THROTTLED in {hold.why for hold in run.holds}


@pytest.mark.parametrize("account", [1, 2])
def test_they_do_so_over_new_logins(account: int) -> None:
    """A refused call is repeated in its place."""
    run, planned = Run(seed=account), crowd(account)
    run.drain(answer=lambda run, _segment: len(run.calls) % 97 != 96, arriving=in_portions(planned))

    check_pace(run)
    check_order(run.sent, planned)
    assert len(run.calls) == 1000 + len(run.calls) // 97


@pytest.mark.parametrize("account", [1, 2])
def test_they_do_so_over_ten_minutes_offline(account: int) -> None:
    """Nothing goes out meanwhile; back online the backlog goes out at half the pace first."""
    run, planned = Run(seed=account), crowd(account)
    run.drain(arriving=in_portions(planned), until=1300.0)
    gone = run.now
    run.lanes.hold(until=gone + 600, code=OFFLINE)
    left = [one for one in planned if one.id not in {sent.id for sent in run.sent}]
    run.lanes.add(left)
    run.schedule.slowdown = run.schedule.slowdown.careful(run.wall.timestamp() + 600)
    run.drain()

    check_pace(run)
    check_order(run.sent, planned)
    assert not [call for call in run.calls if gone <= call.at < gone + 600]
    back = [call for call in run.calls if gone + 600 <= call.at < gone + 660]
    assert 0 < len(back) <= 20


def test_a_minute_that_is_full_at_the_fall_of_the_pace_is_not_overdrawn() -> None:
    """The slower bound counts what went out before it held."""
    run = Run(limits=Limits(per_minute=4), call_seconds=0.0)
    run.lanes.add(answers([("a", 8)]))
    run.drain(until=1001.0)
    run.schedule.slowdown = run.schedule.slowdown.throttled(run.wall.timestamp())
    run.drain()

    check_pace(run)
    assert run.calls[4].at - run.calls[2].at >= WINDOW
    assert run.calls[5].at - run.calls[3].at >= WINDOW


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 4)), max_size=30),
    urgent=st.sets(st.integers(0, 29), max_size=4),
    cap=st.integers(0, 12),
    gap=st.sampled_from([0.0, 0.6, 5.0]),
    target_gap=st.sampled_from([0.0, 2.0, 30.0]),
    refused=st.sets(st.integers(0, 100), max_size=6),
    seed=st.integers(0, 99),
)
def test_any_work_goes_out_within_the_limits_in_order_and_together(
    counts: list[tuple[str, int]],
    urgent: set[int],
    cap: int,
    gap: float,
    target_gap: float,
    refused: set[int],
    seed: int,
) -> None:
    """In bounded time, what is urgent first."""
    run = Run(limits=Limits(per_minute=cap, gap=gap, target_gap=target_gap), seed=seed)
    planned = answers(counts)
    for position, one in enumerate(planned):
        if one.message_id - 1 in urgent:
            planned[position] = segment(
                one.id,
                message=one.message_id,
                group=one.group_id,
                seq=one.seq,
                kind=SegmentKind.COMMAND,
            )
    run.lanes.add(planned)
    run.drain(answer=lambda run, _segment: len(run.calls) not in refused)

    check_pace(run)
    check_together(run.sent)
    commands = [one for one in planned if one.kind is SegmentKind.COMMAND]
    others = [one for one in planned if one.kind is not SegmentKind.COMMAND]
    check_order(run.sent[: len(commands)], commands)
    check_order(run.sent[len(commands) :], others)
    calls = len(planned) + len(refused)
    longest = calls * (max(gap, target_gap) + run.call_seconds)
    assert run.now - 1000 <= longest + (calls / cap + 1 if cap else 0) * WINDOW


@settings(deadline=None, max_examples=40)
@given(
    kinds=st.lists(st.sampled_from([SegmentKind.TEXT, SegmentKind.IMAGE]), max_size=30),
    most=st.integers(1, 3),
)
def test_a_picture_that_must_wait_does_not_hold_up_texts(
    kinds: list[SegmentKind], most: int
) -> None:
    """Of other groups; each group keeps its order."""
    run = Run(limits=Limits(per_minute=40, gap=0.3, kinds={"image": most}))
    planned = [
        segment(number, message=number, group=kind, kind=kind)
        for number, kind in enumerate(kinds, start=1)
    ]
    run.lanes.add(planned)
    run.drain()

    check_pace(run)
    check_order(run.sent, planned)
    last_text = [call.at for call in run.calls if call.segment.kind == "text"][-1:]
    assert all(at < 1000 + 30 for at in last_text)


def test_a_command_is_answered_before_answers_that_are_not_begun() -> None:
    """But not in the middle of one."""
    run = Run(limits=Limits())
    run.lanes.add(answers([("a", 3), ("b", 1), ("a", 1)]))
    first = run.schedule.next(run.now, run.wall)
    assert not isinstance(first, Hold)
    assert first is not None
    run.lanes.take(first)
    run.lanes.add([segment(9, message=9, group="a", kind=SegmentKind.COMMAND)])
    run.drain()

    assert [one.id for one in run.sent] == [2, 3, 9, 4, 5]


def test_nothing_is_sent_in_quiet_hours_and_everything_after_them() -> None:
    """From ten to noon, as the settings' zone has it."""
    run = Run(quiet="10:00-12:00", limits=Limits(per_minute=1))
    planned = answers([("a", 1)] * 200)
    run.lanes.add(planned)
    run.drain()

    check_order(run.sent, planned)
    assert not [call for call in run.calls if 1000 + 7200 <= call.at < 1000 + 4 * 3600]
    assert Why.QUIET in {hold.why for hold in run.holds}


def test_the_rest_of_a_days_bound_goes_out_on_the_next_day() -> None:
    """What was sent before this sender began counts."""
    run = Run(per_day=10)
    run.schedule.sent_today(7, run.wall)
    planned = answers([("a", 1)] * 15)
    run.lanes.add(planned)
    run.drain()

    check_order(run.sent, planned)
    midnights = [16 * 3600 + 1000, 40 * 3600 + 1000]
    assert sum(call.at < midnights[0] for call in run.calls) == 3
    assert sum(midnights[0] <= call.at < midnights[1] for call in run.calls) == 10


@pytest.mark.parametrize(("days", "most"), [(0, 5), (3, 20), (9, 40)])
def test_a_new_account_sends_less_in_a_minute(days: int, most: int) -> None:
    """More every day, until it is an old one."""
    run = Run(warm_up_days=7)
    run.schedule.first_seen = run.wall - timedelta(days=days)
    run.lanes.add(answers([("a", 1)] * 100))
    run.drain(until=1060.0)

    assert len(run.calls) == most


def test_what_holds_an_account_back_has_a_name() -> None:
    """The operator reads it."""
    run = Run(limits=Limits())
    assert run.schedule.next(run.now, run.wall) is None
    run.lanes.add(answers([("a", 1)]))
    for code, why in [
        (EcloudThrottled.code, Why.THROTTLED),
        (OFFLINE, Why.OFFLINE),
        ("ecloud_unavailable", Why.FAILING),
    ]:
        run.lanes.release()
        run.lanes.hold(until=run.now + 5, code=code)
        assert run.schedule.next(run.now, run.wall) == Hold(5.0, why)
    run.lanes.release()
    lane = run.lanes.next(run.now)
    assert lane is not None
    lane.not_before = run.now + 3
    assert run.schedule.next(run.now, run.wall) == Hold(3.0, Why.GROUP)
