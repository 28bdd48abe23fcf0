"""An operator mends what was wrong and replays: each answer arrives once, under the same id."""

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_envelope import Refused
from simulators.ecloud_world import Account
from tests.fixtures.bridge import ROOT, Bridge

GROUP = "40000000001@chatroom"
MING, HONG = "wxid_xiaoming0a1b21", "wxid_xiaohong0c2d22"
#: The bridge as it is, but for the minute in which a refused segment is tried again.
PROGRAM = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
from app.workers import send_policy
send_policy.REFUSED_SECONDS, send_policy.REFUSED_PAUSE = 0.5, 0.2
runpy.run_path({str(ROOT / "main.py")!r}, run_name="__main__")
"""


async def cli(bridge: Bridge, *arguments: str) -> Any:
    """What ``python -m app.cli … --json`` prints beside the running bridge."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "app.cli", *arguments, "--json"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
            "DATABASE_URL": bridge.stores.database_url,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(180)
async def test_what_dify_rejected_and_what_the_gateway_refused_arrives_once_after_a_replay(
    idle_bridge: Bridge,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An app that is off, then a group that is closed in the middle of an answer; both are mended."""
    original, limit = gateway._sends._check_receiver, [2]

    def check(account: Account, receiver: str) -> None:
        if len(gateway.sent) >= limit[0]:
            raise Refused("发送失败")
        original(account, receiver)

    monkeypatch.setattr(gateway._sends, "_check_receiver", check)
    idle_bridge.program = ("-c", PROGRAM)
    bridge = await idle_bridge.start(REPLY_MAX_LENGTH="60")
    gateway.say(GROUP, MING, "一 [[fail=400:app_unavailable;times=1]] [[text=甲]]")
    gateway.say(GROUP, HONG, "二 [[long=200]]")
    [half] = await bridge.until_rows(
        "SELECT * FROM messages WHERE error LIKE 'segment%' AND state = 'done'", seconds=60
    )
    limit[0] = 100

    listed = await cli(bridge, "failed", "list")
    replayed = await cli(bridge, "failed", "replay", "--all", "--yes")
    done = await bridge.until_rows(
        "SELECT * FROM messages"
        " WHERE 2 = (SELECT count(*) FROM messages WHERE replays = 1 AND state = 'done')",
        seconds=60,
    )
    ledger = await cli(bridge, "ledger")
    turns = await bridge.rows("SELECT is_processed, is_sent FROM conversations")
    segments = await bridge.rows(
        f"SELECT content FROM segments WHERE message_id = {half['id']} ORDER BY seq"
    )

    letters = {one["cause"]: one for one in listed["letters"]}
    assert letters["partly_sent"]["segments"] == len(segments) > 2
    assert (replayed["replayed"], replayed["asks"], replayed["sends"]) == (2, 1, 1)
    assert {str(row["id"]) for row in done} == {letters["dify_rejected"]["id"], str(half["id"])}
    contents = [one.content for one in gateway.sent]
    assert [one for one in contents if not one.endswith("甲")] == [
        row["content"] for row in segments
    ]
    assert [one for one in contents if one.endswith("甲")] == ["@小明\u2005甲"]
    assert sorted(str(one.facts["query"])[0] for one in dify.questions()) == ["一", "一", "二"]
    assert ledger == {"received": 2, "duplicates": 0, "waiting": 0, "verdicts": {"answered": 2}}
    assert {(turn["is_processed"], turn["is_sent"]) for turn in turns} == {(1, 1)}
