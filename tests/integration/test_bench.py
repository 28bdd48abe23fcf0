"""The measurements can be found and run by one command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.console.site import PAGES
from bench.console import addresses
from tests.fixtures import mariadb, redis_server
from tests.fixtures.console import address_of

ROOT = Path(__file__).resolve().parents[2]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` with these words."""
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.parametrize(("words", "code"), [((), 0), (("nothing",), 2)])
def test_without_a_known_name_the_measurements_are_listed(
    words: tuple[str, ...], code: int
) -> None:
    """Each file of the folder, with what it measures."""
    done = bench("bench", *words)

    assert done.returncode == code, done.stderr
    files = (ROOT / "bench").glob("[!_]*.py")
    names = {"chaos", *(path.stem for path in files if "\ndef main(" in path.read_text("utf-8"))}
    assert {line.split()[0] for line in done.stdout.splitlines() if line[:2] == "  "} == names
    assert "burst  A burst of callbacks" in done.stdout


def test_a_measurement_is_a_module_too() -> None:
    """``python -m bench.burst`` is the same program."""
    assert bench("bench.burst", "--help").stdout == bench("bench", "burst", "--help").stdout != ""


def test_a_burst_gives_its_figures() -> None:
    """Every message is answered once and in order."""
    done = bench("bench", "burst", "--engine", "embedded", "--users", "2", "--messages", "4")

    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert (figures["engine"], figures["users"], figures["messages"]) == ("embedded", 2, 4)
    assert (figures["sent"], figures["asked"]) == (4, 4)
    assert (figures["disordered"], figures["overlaps"]) == (0, [])


@pytest.mark.redis
@pytest.mark.mysql
def test_workers_at_a_small_dify_give_their_figures() -> None:
    """Two workers, one place: everything is answered, and what was asked in vain is counted."""
    if reason := redis_server.missing_reason() or mariadb.missing_reason():
        pytest.skip(reason)
    small = ["--capacity", "1", "--users", "4", "--messages", "6", "--dify-seconds", "0.1"]
    done = bench("bench", "dify_limit", "--workers", "2", "--retry-delay", "0.2", *small)

    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert (figures["outcomes"], figures["at_once"]) == ({"done": 6}, 1)
    assert figures["asked"] == 6 + figures["asked_in_vain"]
    assert 0 < figures["capacity_used"] <= 1


def test_a_page_that_nothing_stands_for_is_not_left_out_of_the_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is named instead."""
    monkeypatch.setattr("tests.fixtures.console.PAGE_SAMPLES", {})

    with pytest.raises(RuntimeError, match="parameter of /static/"):
        addresses(1, 1)


@pytest.mark.redis
@pytest.mark.mysql
def test_every_page_of_the_console_is_measured() -> None:
    """On few messages; each answers, also those with nothing to show."""
    if reason := redis_server.missing_reason() or mariadb.missing_reason():
        pytest.skip(reason)
    small = ["--messages", "2000", "--contacts", "100", "--groups", "5", "--waiting", "4"]
    done = bench("bench", "console", "--times", "1", *small)

    pages = {page.path for page in PAGES if page.method == "GET"} - {"/events"}
    rows = re.findall(
        r"^\| `(/[^`]*)` (?:\| \d+ ){5}\| (?:未?达到) \| (\d*) \|$", done.stdout, re.MULTILINE
    )
    assert len(rows) > len([page for page in PAGES if page.method == "GET"]), done.stderr
    plain = {
        re.sub(r"(?<=/messages/)\d+", "1", address) for address, _ in rows if "?" not in address
    }
    assert plain == {address_of(page, message=1, person="wxid_0") for page in pages}
    assert {code for _, code in rows} <= {"", "303", "404"}
    assert f"{len(rows)} addresses" in done.stdout
