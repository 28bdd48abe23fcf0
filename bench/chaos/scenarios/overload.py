"""Much at once: what a backlog costs, and what is refused at the bounds."""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import aiohttp
from typing_extensions import override

from bench.chaos.checker import Findings
from bench.chaos.fleet import resident_bytes
from bench.chaos.report import Bound, none_of
from bench.chaos.scenario import EMBEDDED, HASTE, SERVERS, Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage
from bench.chaos.words import question
from bench.memory import MEGABYTE, peak_bytes
from tests.fixtures.bridge import ROOT

OF_USER, IN_ALL = "user_queue_full", "too_many_waiting"
#: Said before the gateway's answers are waited for.
AT_ONCE = 50
#: So much a user may have waiting beside his share, and all together.
ROOM = 10
#: Lines about refusals come so often at most, and the last one so much later.
TELLING_SECONDS = 60.0
#: How often the product compares the whole index with the database.
FULL_PASS_SECONDS = 60.0


class Overload(Scenario):
    """
    Dify stands still; messages wait until both bounds are reached, and then some more are said.

    Nothing of what waits is kept in memory, and whatever is refused can be told by the row, the
    metric, the log and the ledger.
    """

    name = "overload"
    title = "Dify 停住,积压 100 000 条消息,再超过两个上限"
    must_show = "每个进程 RSS 增长 < 50 MB;拒收的每条都回 200,有结论、指标、日志,账目相符"
    ci = replace(
        ci_size(messages=600, users=60, rate=2_000, depth=5),
        hasten=(*HASTE, "app.services.refusal_log:PAUSE_SECONDS=1"),
    )
    full = Size(messages=100_000, users=1_000, rate=500, seconds=1.5 * FULL_PASS_SECONDS, depth=50)
    engines = (SERVERS, EMBEDDED)
    plant = "leak"
    settles = False

    @override
    def layout(self, size: Size) -> Layout:
        return Layout(
            roles=("all",),
            variables={
                "MESSAGE_PROCESSING_MAX_QUEUE_LENGTH": str(size.messages // size.users + ROOM),
                "MESSAGE_PROCESSING_MAX_WAITING": str(size.messages + ROOM),
                "DIFY_MAX_CONCURRENCY": "16",
                "DIFY_INITIAL_CONCURRENCY": "16",
            },
        )

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        return question(word, length=60, orders="[[wait=3600]]")

    @override
    async def play(self, stage: Stage) -> None:
        size, member = stage.size, stage.fleet.members[0]
        if member.process is None:
            raise RuntimeError("no process on the stage")
        pid, everybody = member.process.pid, range(size.users)
        await _say(stage, everybody)
        before = resident_bytes(pid)
        rounds = size.messages // size.users - 1
        await _say(stage, [person for _ in range(rounds) for person in everybody])
        # One of them reaches his own bound; then nobody has room any more.
        await _say(stage, [0] * (ROOM + size.depth))
        await _say(stage, range(1, 1 + size.depth))
        # What is compared with the database now and then must fit, too.
        await asyncio.sleep(size.seconds)
        stage.tape.read()
        stage.facts["RSS MB"] = round(resident_bytes(pid) / MEGABYTE, 1)
        stage.facts["RSS growth MB"] = round((peak_bytes(pid) - before) / MEGABYTE, 1)
        for verdict, count in (await _counted(member.url)).items():
            stage.facts[f"metric {verdict}"] = count
        await self._until_told(stage)

    async def _until_told(self, stage: Stage) -> None:
        """The log counts what is refused; the last of it some seconds later."""
        refused = await asyncio.to_thread(stage.count, "messages", "state = 'refused'")
        ends = time.monotonic() + TELLING_SECONDS
        while sum((told := _told(stage.fleet.members[0].log)).values()) < refused:
            if time.monotonic() > ends:
                break
            await asyncio.sleep(0.2)
        stage.facts |= {f"log {verdict}": count for verdict, count in told.items()}

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        size, facts = stage.size, stage.facts
        waiting = stage.count("messages", "state IN ('received', 'processing')")
        ledger = _ledger(stage)
        bounds = [
            *none_of(findings, "refused", "reordered"),
            Bound(name="RSS growth MB", value=float(facts.get("RSS growth MB", 1e9)), most=50),
            Bound(name="waiting wrong", value=abs(size.messages + ROOM - waiting), most=0),
        ]
        for verdict in (OF_USER, IN_ALL):
            rows = stage.count("messages", f"state = 'refused' AND verdict = '{verdict}'")
            counts = {
                "rows": size.depth,
                "metric": facts.get(f"metric {verdict}", 0),
                "log": facts.get(f"log {verdict}", 0),
                "ledger": ledger["verdicts"].get(verdict, 0),
            }
            wrong = tuple(f"{where}: {count}" for where, count in counts.items() if count != rows)
            bounds.append(Bound(name=f"{verdict} not told", value=len(wrong), most=0, detail=wrong))
        told = ledger["waiting"] + ledger["duplicates"] + sum(ledger["verdicts"].values())
        off = abs(ledger["received"] - told) + abs(findings.accepted - ledger["received"])
        return [*bounds, Bound(name="ledger off", value=off, most=0)]


async def _say(stage: Stage, people: Sequence[int]) -> None:
    """Each says something; no faster than the size says, and no faster than it is taken."""
    for start in range(0, len(people), AT_ONCE):
        some = people[start : start + AT_ONCE]
        pause = asyncio.create_task(asyncio.sleep(len(some) / stage.size.rate))
        for person in some:
            stage.talk.say(person=person)
        await stage.gateway.courier.idle()
        await pause
        stage.tape.read()


async def _counted(url: str) -> dict[str, float]:
    """Callbacks by verdict, as the process counts them."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
        text = await response.text()
    found = re.findall(r'^bridge_callbacks_total\{verdict="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {verdict: float(count) for verdict, count in found}


def _told(log: str) -> dict[str, float]:
    """Refusals by verdict, as the lines of a log say together."""
    told: dict[str, float] = {OF_USER: 0, IN_ALL: 0}
    for verdict, count in re.findall(r"callback\.refusing .*verdict=(\w+) count=(\d+)", log):
        told[verdict] += int(count)
    return told


def _ledger(stage: Stage) -> dict[str, Any]:
    """What the operator's command says."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "ledger", "--json"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
            "DATABASE_URL": stage.stores.database_url,
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"ledger: {done.stdout}{done.stderr}")
    ledger: dict[str, Any] = json.loads(done.stdout)
    return ledger
