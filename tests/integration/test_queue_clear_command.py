"""``queue clear``: what waits of one person is given up, each with its verdict; nothing is lost."""

import asyncio
import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from app import cli
from simulators.dify import DifySimulator
from tests.fixtures.inside import Inside, StartInside

Run = Callable[..., Result]
#: The command is a process of its own: it reaches only a Redis that is one.
SERVERS = pytest.mark.parametrize("inside_stores", ["servers"], indirect=True)


@pytest.fixture
def run() -> Run:
    """Runs ``queue clear`` with a bridge's settings."""

    def invoke(bridge: Inside, *arguments: str, typed: str | None = None) -> Result:
        settings = bridge.runtime.settings
        env = {
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "REDIS_URL": settings.redis_url.get_secret_value(),
        }
        return CliRunner().invoke(cli.app, ["queue", "clear", *arguments], env=env, input=typed)

    return invoke


@SERVERS
@pytest.mark.redis
@pytest.mark.mysql
async def test_what_waits_is_given_up_and_what_is_in_work_is_answered(
    inside: StartInside, dify: DifySimulator, run: Run
) -> None:
    """The person goes on with the next question; what was given up can be replayed."""
    async with inside() as bridge:
        for text in ("一 [[wait=3]] [[text=甲]]", "二 [[text=乙]]", "三 [[text=丙]]"):
            await bridge.hear(text)
        await dify.recorder.until(lambda: bool(dify.questions()))
        person = (await bridge.rows("SELECT from_user FROM messages LIMIT 1"))[0]["from_user"]

        refused = await asyncio.to_thread(run, bridge, person, typed="no\n")
        told = await asyncio.to_thread(run, bridge, person, "--yes", "--json")
        await bridge.hear("四 [[text=丁]]")
        rows = await bridge.until_settled(4)
        audit = await bridge.rows("SELECT action, operator, subject FROM audit_log")

    assert (refused.exit_code, told.exit_code) == (1, 0)
    assert json.loads(told.stdout)["cleared"] == 2
    assert [row["verdict"] for row in rows] == [
        "answered",
        "failed:cleared",
        "failed:cleared",
        "answered",
    ]
    assert audit == [{"action": "queue.clear", "operator": "cli", "subject": person}]


@SERVERS
@pytest.mark.redis
@pytest.mark.mysql
async def test_nobody_waits_is_no_error(inside: StartInside, run: Run) -> None:
    """Nothing is done, and that is said."""
    async with inside() as bridge:
        told = await asyncio.to_thread(run, bridge, "wxid_nobody", "--yes")

    assert told.exit_code == 0
    assert "放弃了 0 条" in told.output
