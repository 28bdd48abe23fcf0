"""Settings as a process takes them: what is wrong stops the start, named with its place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.dify import API_KEY, DifySimulator
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from tests.fixtures.bridge import ON_EMBEDDED, Bridge

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
