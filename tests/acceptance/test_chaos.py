"""
The fault scenarios of ``bench/chaos`` in small: each keeps its bounds, and is red with a planted defect.

The recorder is outside the bridge: the two simulators' own logs. All runs that were chosen are played
before the first result is looked at, some at a time: mostly they wait. In large, one at a time:
``python -m bench chaos --scenario kill --size full --seeds 1``; see ``docs/reliability.md``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from typing_extensions import override

from bench.chaos.report import Report
from bench.chaos.run import make_run
from bench.chaos.scenario import CI, EMBEDDED, Scenario
from bench.chaos.scenarios import SCENARIOS
from bench.chaos.servers import missing_servers
from bench.chaos.stage import Run
from bench.chaos.suite import Lane, open_lane, play

AT_ONCE = 4
SEED = 1
#: Have many messages: ``python -m bench chaos --scenario overload,fairness``.
ELSEWHERE = frozenset({"overload", "fairness"})
#: Played with their defects in every test run; the others by ``make chaos``. As it is each is always played.
PLANTED_ALWAYS = frozenset({"kill", "kill-embedded", "redis-wipe", "duplicates", "rolling"})
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True, slots=True)
class Case:
    """One run: a scenario as it is, or with its planted defect."""

    scenario: str
    is_planted: bool

    @property
    def plays(self) -> Scenario:
        """What is played."""
        return SCENARIOS[self.scenario]

    @property
    def run(self) -> Run:
        """How it is played."""
        plant = self.plays.plant if self.is_planted else ""
        return make_run(self.plays, CI, seed=SEED, plant=plant)

    @override
    def __str__(self) -> str:
        return f"{self.scenario}-{self.plays.plant}" if self.is_planted else self.scenario


def cases(*, are_planted: bool) -> list[object]:
    """All that can be run with the product as it is."""
    servers = [pytest.mark.redis, pytest.mark.mysql]
    return [
        pytest.param(
            Case(name, are_planted),
            marks=[
                *([] if one.engines[0] == EMBEDDED else servers),
                *([pytest.mark.whole] if are_planted and name not in PLANTED_ALWAYS else []),
            ],
            id=name,
        )
        for name, one in SCENARIOS.items()
        if name not in ELSEWHERE
    ]


class Reports:
    """
    Plays what was chosen when the first result is asked for.

    Beside other workers of the same test run each plays what it is asked for, in one lane of its own.
    """

    def __init__(self, chosen: Sequence[Case]) -> None:
        self._chosen = chosen
        self._played: dict[Case, Report] = {}
        self._lane: Lane | None = None

    def of(self, case: Case) -> Report:
        """Its report; skips without servers on this machine."""
        lacking = missing_servers()
        if lacking and not case.run.is_embedded:
            pytest.skip(lacking)
        if not self._chosen:
            self._lane = self._lane or open_lane()
            return self._lane.play(case.run)
        if case not in self._played:
            some = [one for one in self._chosen if not lacking or one.run.is_embedded]
            played = play([one.run for one in some], at_once=AT_ONCE)
            self._played |= dict(zip(some, played, strict=True))
        return self._played[case]

    def close(self) -> None:
        """End the lane."""
        if self._lane is not None:
            self._lane.close()


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest) -> Iterator[Reports]:
    """Of all runs that were chosen."""
    found: list[object] = []
    if not hasattr(request.config, "workerinput"):
        calls = [getattr(item, "callspec", None) for item in request.session.items]
        found = [call.params.get("case") for call in calls if call is not None]
    reports = Reports([case for case in found if isinstance(case, Case)])
    yield reports
    reports.close()


@pytest.mark.parametrize("case", cases(are_planted=False))
def test_every_bound_is_kept(case: Case, reports: Reports) -> None:
    """Whatever happens to processes, stores, links and peers."""
    report = reports.of(case)

    assert report.is_green, "\n".join([report.row(), *report.broken(), report.logs[-20_000:]])


@pytest.mark.parametrize("case", cases(are_planted=True))
def test_a_planted_defect_is_found(case: Case, reports: Reports) -> None:
    """Or the scenario would be blind."""
    report = reports.of(case)

    assert not report.is_green, report.row()
    assert any(not bound.is_kept for bound in report.bounds), report.row()
