"""``python -m app.cli ledger``: the sum over every callback, on both engines."""

import asyncio
import json
from pathlib import Path

import pytest

from app.models.flow import IgnoreReason
from app.services.store import Store
from tests.fixtures.callbacks import make_ignored, make_question
from tests.fixtures.commands import Run, runner
from tests.fixtures.ports import free_port
from tests.fixtures.stores import keep


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``ledger`` on a database."""
    return runner(monkeypatch, "ledger")


async def test_the_sum_is_told_in_words_and_as_json(store: Store, store_url: str, run: Run) -> None:
    """Received = verdicts + duplicates + waiting; the commonest verdict first."""
    await keep(store, make_ignored(IgnoreReason.NO_PREFIX), deliveries=3)
    for _ in range(2):
        await keep(store, make_ignored(IgnoreReason.NOT_MENTIONED))
    await keep(store, make_question())

    told = await asyncio.to_thread(run, store_url)
    as_json = await asyncio.to_thread(run, store_url, "--json")

    assert told.exit_code == as_json.exit_code == 0, told.output + as_json.output
    lines = told.output.split("\n")
    assert lines[0] == "收到 6 = 有结论 3 + 重复 2 + 等待 1"
    assert [line.split() for line in lines[2:4]] == [["not_mentioned", "2"], ["no_prefix", "1"]]
    assert json.loads(as_json.stdout) == {
        "received": 6,
        "duplicates": 2,
        "waiting": 1,
        "verdicts": {"no_prefix": 1, "not_mentioned": 2},
    }


@pytest.mark.parametrize("kind", ["file", "empty file", "server"])
def test_a_database_that_is_not_there_ends_with_1_and_is_not_made(
    run: Run, tmp_path: Path, kind: str
) -> None:
    """No traceback, and no file that the bridge would take for its own."""
    path = tmp_path / "data" / "bridge.db"
    if kind == "empty file":
        path.parent.mkdir()
        path.touch()
    urls = {"server": f"mysql+pymysql://nobody:nothing@127.0.0.1:{free_port()}/bridge"}

    done = run(urls.get(kind, f"sqlite:///{path}"))

    assert done.exit_code == 1
    assert "数据库" in done.output
    assert "Traceback" not in done.output
    assert path.exists() is (kind == "empty file")
    assert "nothing" not in done.output
