"""Small parts of the chaos harness: strikes by seed, reports, growth, fairness, planted defects."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.chaos.__main__ import GREEN, WRONG, main
from bench.chaos.checker import Findings, Violation
from bench.chaos.history import Asking, Delivery, History
from bench.chaos.report import Bound, Report, at_most, none_of
from bench.chaos.scenarios import SCENARIOS
from bench.chaos.scenarios.dify import draw_fault
from bench.chaos.scenarios.endurance import growth
from bench.chaos.scenarios.fairness import turns_meanwhile
from bench.chaos.victims import FROM, TO, draw_strikes
from bench.chaos.waiting_line import Step, read_step, turns_while_waiting

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["all-1", "all-2", "worker-3"]


@given(seed=st.integers(0, 1_000), strikes=st.integers(0, 20), messages=st.integers(10, 5_000))
def test_strikes_are_the_same_for_a_seed_and_hit_everybody_about_equally(
    seed: int, strikes: int, messages: int
) -> None:
    """In order, within the work."""
    first, second = (
        draw_strikes(random.Random(seed), NAMES, strikes=strikes, messages=messages)
        for _ in range(2)
    )
    hits = [sum(one.victim == name for one in first) for name in NAMES]
    times = [one.after for one in first]

    assert first == second
    assert len(first) == strikes
    assert max(hits) - min(hits) <= 1
    assert times == sorted(times)
    assert all(int(FROM * messages) <= after <= int(TO * messages) for after in times)


def make_report(*bounds: Bound, trouble: str = "") -> Report:
    """A report with these bounds."""
    return Report(
        scenario="kill",
        title="杀",
        engine="servers",
        size="ci",
        seed=7,
        plant="",
        settings={"lease": "2"},
        schedule="3:all-1",
        bounds=bounds,
        figures={"said": 60, "drain s": 1.25},
        seconds=9.04,
        trouble=trouble,
    )


def test_a_report_is_green_only_with_all_bounds_kept_and_an_end() -> None:
    """The row says so, and the broken bound is marked."""
    kept, broken = Bound(name="lost", value=0, most=0), Bound(name="dead", value=2, most=0)

    assert make_report(kept).is_green
    assert not make_report(kept, trouble="TimeoutError").is_green
    red = make_report(kept, broken)
    assert not red.is_green
    assert red.row() == (
        "| kill | servers | ci | 7 | 红 | lost 0 ≤ 0; dead 2 ≤ 0 ✗ | said 60, drain s 1.25 | 9.0 s |"
    )
    assert json.loads(red.as_json())["bounds"][1] == {
        "name": "dead",
        "value": 2,
        "most": 0,
        "kept": False,
    }


def test_broken_bounds_show_their_first_cases() -> None:
    """Not all of a thousand."""
    cases = tuple(Violation(f"w{number:06d}", "gone") for number in range(8))
    findings = Findings(lost=cases)
    red = make_report(*none_of(findings, "lost", "reordered"), at_most("cut_short", (), 1))

    assert red.broken()[0] == "lost 8 ≤ 0 ✗"
    assert red.broken()[1] == "    w000000: gone"
    assert red.broken()[-1] == "    … 3 more"


def test_growth_is_the_slope_of_the_last_two_thirds() -> None:
    """The first third warms up."""
    warm_up = [(float(at), 100.0 * at) for at in range(10)]
    flat = [(float(at), 1_000.0 + 2.0 * at) for at in range(10, 30)]

    assert growth([*warm_up, *flat]) == pytest.approx(2.0)
    assert growth([(0.0, 1.0)]) == 0.0


def history_of_calls(order: str, *, accepted: float) -> History:
    """One call a second in this order, ``b`` for the busy user; ``x`` was accepted at that time."""
    askings = [
        Asking(
            word="w000900" if user == "x" else f"w{number:06d}",
            user="busy" if user == "b" else user,
            attempt=1,
            outcome="answered",
            started=float(number),
            ended=number + 0.1,
        )
        for number, user in enumerate(order)
    ]
    delivery = Delivery(
        word="w000900", user="x", group="g", status=200, started=accepted - 0.1, ended=accepted
    )
    return History(deliveries=(delivery,), askings=tuple(askings))


@pytest.mark.parametrize(
    ("order", "accepted", "turns"),
    [
        # Calls before it was accepted, and the last two before its own, do not count.
        ("bbocbopqx", 1.5, 1),
        ("bbocbobbx", 1.5, 1),
        ("bbocbobqqx", 1.5, 2),
        ("bbbbx", 3.5, 0),
        ("bbbbopx", -1.0, 4),
        ("xbbbb", -1.0, 0),
        # Tries again are no first call.
        ("bocxbbbx", -1.0, 1),
    ],
)
def test_turns_of_one_user_while_another_waits_are_counted(
    order: str, accepted: float, turns: int
) -> None:
    """From the 200 to the first question to Dify, less the calls that were under way with it."""
    found = turns_meanwhile(history_of_calls(order, accepted=accepted), "busy", places=2)

    assert found == {"w000900": turns}


def monitored(order: str) -> list[Step]:
    """Capital: joins the line; small: is claimed. ``b`` is the busy user."""
    return [Step("joined" if one.isupper() else "claimed", one.lower()) for one in order]


@pytest.mark.parametrize(
    ("order", "turns"),
    [
        ("BBBXbx", {"x": 1}),
        ("BBBXbbx", {"x": 2}),
        ("BbbXx", {"x": 0}),
        # Only the first message counts up to its first turn: what is tried again comes later.
        ("BXxbbbx", {"x": 0}),
        ("BXbbb", {"x": 3}),
        ("BXbYbxby", {"x": 2, "y": 2}),
    ],
)
def test_turns_between_joining_the_line_and_being_claimed_are_counted(
    order: str, turns: dict[str, int]
) -> None:
    """As the Redis server tells the order."""
    assert turns_while_waiting(monitored(order), "b") == turns


def test_a_line_of_redis_monitor_is_read_where_it_is_about_the_waiting_line() -> None:
    """Raw lines of a Redis 7.0."""
    lines = {
        b'+1.2 [0 lua] "RPUSH" "ecloud_queue:wxid_a" "4711"': Step("joined", "wxid_a"),
        b'+1.2 [0 lua] "SET" "ecloud_processing:wxid_a" "9:w:4711" "PX" "3000" "NX"': Step(
            "claimed", "wxid_a"
        ),
        b'+1.2 [0 lua] "SET" "ecloud_processing:wxid_a" "9:w:4711" "PX" "3000"': None,
        b'+1.2 [0 127.0.0.1:1] "RPUSH" "ecloud:wake" "1"': None,
        b"+OK": None,
    }

    assert {line: read_step(line) for line in lines} == lines


def test_faults_of_dify_have_their_shares() -> None:
    """10 % 500, 5 % 429, 5 % cut, 2 % hang; the first try or the first two."""
    rng = random.Random(1)
    drawn = [draw_fault(rng) for _ in range(20_000)]
    shares = {
        order: sum(order in one for one in drawn) / len(drawn)
        for order in ("fail=500", "fail=429", "cut=0", "hang=0")
    }

    assert shares == pytest.approx(
        {"fail=500": 0.10, "fail=429": 0.05, "cut=0": 0.05, "hang=0": 0.02}, abs=0.01
    )
    assert {one.split(";")[1] for one in drawn if one} == {"times=1]]", "times=2]]"}


FORKS = """
import os, sys
import app.runtime, app.workers.background, app.api.server
from bench.chaos.plants import PLANTS

for plant in PLANTS.values():
    child = os.fork()
    if not child:
        try:
            plant.plant()
        except Exception as error:
            print(plant.name, repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print("tried", len(PLANTS))
"""


def test_every_planted_defect_still_fits_the_code() -> None:
    """Each in a process of its own, as it would be planted."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("tried "), done.stdout


def test_waits_of_the_product_that_a_ci_run_makes_short_exist() -> None:
    """A wait that was moved would only make the run longer; here it is told."""
    hasten = sorted({wait for one in SCENARIOS.values() for wait in one.ci.hasten})
    script = ["-m", "bench.chaos.planted", "none", *(f"--hasten={wait}" for wait in hasten)]
    done = subprocess.run(
        [sys.executable, *script, "bench/__init__.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""


def test_the_list_names_every_scenario_and_a_wrong_name_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With what must show; exit codes 0 and 2."""
    assert main(["--list"]) == GREEN
    listed = capsys.readouterr().out
    assert all(name in listed and one.must_show in listed for name, one in SCENARIOS.items())
    assert main(["--scenario", "nonsense"]) == WRONG
