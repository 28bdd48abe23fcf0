"""``python -m app.cli bench``: the stores of an installation, measured beside a bridge that runs."""

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from app import cli
from app.commands.bench import GOOD_MS, Timed
from app.models.console import StatsMinute
from app.services.store import Store
from tests.fixtures.commands import Run, runner
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs ``bench`` on a database, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return runner(monkeypatch, "bench")


async def test_commits_and_syncs_are_measured_and_nothing_is_left(
    store: Store, store_url: str, run: Run, tmp_path: Path
) -> None:
    """The row that it wrote is gone, and so is the file."""
    told = await asyncio.to_thread(run, store_url, "--rounds", "20", "--json")
    async with store.read() as connection:
        rows = await connection.scalar(select(func.count()).select_from(StatsMinute))
    files = await asyncio.to_thread(lambda: list(tmp_path.rglob(".bench*")))

    found = json.loads(told.stdout)
    assert set(found) == {"commit", "fsync"}
    assert all(0 < one["p50_ms"] <= one["p95_ms"] <= one["max_ms"] for one in found.values())
    assert (rows, files) == (0, [])


@pytest.mark.redis
def test_a_redis_server_is_measured_too(
    run: Run, migrated_sqlite: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one inside the process is no server."""
    monkeypatch.setenv("REDIS_URL", redis_server.url)

    told = run(f"sqlite+aiosqlite:///{migrated_sqlite}", "--rounds", "20")

    assert told.exit_code == 0
    assert "Redis 往返" in told.output


def test_a_store_that_is_away_is_said_with_the_next_step(
    migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback."""
    env = {
        "BRIDGE_ENV_FILE": "",
        "BRIDGE_CONFIG_FILE": "",
        "DATABASE_URL": f"sqlite+aiosqlite:///{migrated_sqlite}",
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }

    told = CliRunner().invoke(cli.app, ["bench", "--rounds", "10"], env=env)

    assert told.exit_code == 1
    assert "app.cli doctor" in told.output


def test_slow_is_said() -> None:
    """By the middle value: one hiccup is none."""
    good = GOOD_MS["commit"]
    hiccup = Timed(name="commit", milliseconds=(good, good, good * 50))
    slow = Timed(name="commit", milliseconds=(good, good * 2, good * 2))

    assert (hiccup.is_good, slow.is_good) == (True, False)
