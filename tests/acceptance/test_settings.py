"""Settings as a process takes them: what is wrong stops the start, named with its place."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.dify import API_KEY, DifySimulator
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from tests.fixtures.bridge import ON_EMBEDDED, Bridge

GROUP, MING = "40000000001@chatroom", "wxid_xiaoming0a1b21"
MAIN = Path(__file__).resolve().parents[2] / "main.py"


def start(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start the bridge in a folder where it finds its ``.env`` and ``config.json``."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    return subprocess.run(
        [sys.executable, str(MAIN)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("files", "variables", "words"),
    [
        (
            {},
            {"SERVER_PORT": "70000", "DIFY_API_KEY": "app-secret-value", "REPLY_MAX_LENGTH": "x"},
            ["server.port", "SERVER_PORT", "70000", "reply.max_length", "环境变量"],
        ),
        (
            {".env": "DIFY_BASE_ULR=http://x\n"},
            {},
            ["DIFY_BASE_ULR", ".env"],
        ),
        (
            {"config.json": '{"reply": {"max_lenght": 5}}'},
            {},
            ["reply.max_lenght", "config.json"],
        ),
        ({"config.json": "{"}, {}, ["config.json"]),
        ({}, {"DATABASE_URL": "sqlite://"}, ["database_url", "DATABASE_URL", "环境变量"]),
        (
            {"x.db": "no database " * 500},
            {"DATABASE_URL": "sqlite:///x.db"},
            ["DATABASE_URL", "x.db"],
        ),
        ({".env": "REDIS_URL=redis://127.0.0.1/abc\n"}, {}, ["redis_url", "REDIS_URL", ".env"]),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name_and_place(
    tmp_path: Path, files: dict[str, str], variables: dict[str, str], words: list[str]
) -> None:
    """Exit code 1, all problems at once, no traceback, no secret."""
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")

    done = start(tmp_path, **variables)

    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert [word for word in words if word not in output] == []
    assert "Traceback" not in output
    assert "app-secret-value" not in output
    assert not (tmp_path / "data").exists()


@ON_EMBEDDED
async def test_secrets_may_stand_in_files(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """``*_FILE``: as orchestrators give them."""
    folder = idle_bridge.stores.folder
    for name, secret in (("DIFY_API_KEY", API_KEY), ("ECLOUD_AUTHORIZATION", AUTHORIZATION)):
        (folder / name).write_text(f"{secret}\n")
        del idle_bridge.variables[name]
        idle_bridge.variables[f"{name}_FILE"] = str(folder / name)
    await idle_bridge.start()
    gateway.say("体验群", "小明", "一 [[text=一]]")

    assert (await gateway.wait_for_sent(1))[0].content.endswith("一")


#: A change of the console holds in every process by then.
LIVE_SECONDS = 10.0


def settings(bridge: Bridge, *arguments: str) -> str:
    """Run the command beside the service, as an operator does; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "settings", *arguments],
        cwd=bridge.stores.folder,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(MAIN.parent),
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
            "DATABASE_URL": bridge.stores.database_url,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def until_ignored(bridge: Bridge, gateway: EcloudSimulator) -> None:
    """Speak until somebody who does not begin with the prefix is not answered."""
    async with asyncio.timeout(LIVE_SECONDS):
        while not await bridge.rows("SELECT 1 FROM messages WHERE verdict = 'no_prefix'"):
            gateway.say(GROUP, MING, "没有前缀")
            await asyncio.sleep(0.25)


async def test_a_change_beside_the_running_service_holds_within_seconds_and_after_a_restart(
    bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """By another process, on both engines; what needs a restart has it then."""
    settings(bridge, "set", "groups.prefixes", '["/问"]')
    assert "几秒内生效" in settings(bridge, "set", "groups.trigger", "prefix")
    await until_ignored(bridge, gateway)
    assert "重启后生效" in settings(bridge, "set", "log.level", "WARNING")
    assert await bridge.stop() == 0
    at = len(bridge.log)
    await bridge.start()
    [before] = await bridge.rows("SELECT COUNT(*) AS n FROM messages WHERE verdict = 'no_prefix'")
    gateway.say(GROUP, MING, "/问 有前缀 [[text=好]]")
    gateway.say(GROUP, MING, "还是没有")
    await bridge.until_rows("SELECT 1 FROM segments WHERE state = 'sent' AND content LIKE '%好%'")
    await bridge.until_rows(
        "SELECT verdict FROM messages WHERE verdict = 'no_prefix' "
        f"GROUP BY verdict HAVING COUNT(*) > {before['n']}"
    )

    assert "callback.accepted" not in bridge.log[at:]
