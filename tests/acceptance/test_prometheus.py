"""A real Prometheus with the files of docs/monitoring, and a whole bridge that it scrapes."""

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import ON_EMBEDDED, Bridge
from tests.fixtures.ports import free_port

FOLDER = Path(__file__).resolve().parents[2] / "docs/monitoring"
GROUP, MING = "40000000001@chatroom", "wxid_xiaoming0a1b21"
#: Panels of what did not happen here: nothing was cut short, nobody is alerted, no account is held.
QUIET = (
    "bridge_dify_limit_cuts_total",
    "bridge_dify_recovered_total",
    "bridge_dify_stops_total",
    "bridge_alerts_total",
    "bridge_sending_held",
)


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """One that runs."""

    url: str

    async def get(self, path: str, **query: str) -> Any:
        """What its API answers."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.url}/api/v1/{path}", params=query) as response,
        ):
            body = await response.json()
            assert body["status"] == "success", (query, body)
            return body["data"]

    async def value(self, expression: str) -> list[Any]:
        """What an expression is now; empty: nothing."""
        found: list[Any] = (await self.get("query", query=expression))["result"]
        return found

    async def rules(self) -> list[dict[str, Any]]:
        """All of them, as soon as each was evaluated once."""
        async with asyncio.timeout(60):
            while True:
                groups = (await self.get("rules"))["groups"]
                found = [rule for group in groups for rule in group["rules"]]
                if all(rule["health"] != "unknown" for rule in found):
                    return found
                await asyncio.sleep(0.1)

    async def until(self, expression: str) -> None:
        """Wait until an expression gives something."""
        async with asyncio.timeout(60):
            while not await self.value(expression):
                await asyncio.sleep(0.1)


@pytest.fixture
async def prometheus(idle_bridge: Bridge, tmp_path: Path) -> AsyncIterator[Prometheus]:
    """By the page's own configuration, but for the bridge's port and the intervals."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed on this machine (Debian's package prometheus)")
    text = (FOLDER / "prometheus.yml").read_text("utf-8")
    changed = text.replace("127.0.0.1:8000", f"127.0.0.1:{idle_bridge.port}")
    changed = changed.replace("interval: 15s", "interval: 2s").replace(
        "timeout: 10s", "timeout: 2s"
    )
    folder = tmp_path / "prometheus"
    folder.mkdir()
    (folder / "prometheus.yml").write_text(changed, "utf-8")
    shutil.copy(FOLDER / "alerts.yml", folder)
    port = free_port()
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/d"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        await _until_ready(f"http://127.0.0.1:{port}", process)
        yield Prometheus(url=f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


async def _until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as http:
        while True:
            assert process.poll() is None, "see the file log in its folder"
            try:
                async with http.get(f"{url}/-/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


def queries() -> Iterable[tuple[str, str]]:
    """Panels and their expressions, as Grafana would send them with a range of a minute."""
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            filled = target["expr"].replace("$__rate_interval", "1m").replace("$job", "ecloud-dify")
            yield panel["title"], filled


async def until_shown(prometheus: Prometheus) -> list[tuple[str, str]]:
    """Panels that show nothing: none, as soon as that is so; else those that do not after a minute."""
    left = [one for one in queries() if not any(name in one[1] for name in QUIET)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            while left:
                # A look may come right behind a scrape that was too late.
                left = [one for one in left if not await prometheus.value(one[1])]
                await asyncio.sleep(0.1)
    return left


@ON_EMBEDDED
async def test_every_panel_shows_something_and_every_rule_is_evaluated(
    idle_bridge: Bridge, prometheus: Prometheus, gateway: EcloudSimulator
) -> None:
    """After a few messages; a bridge that is well raises no alarm but for its newness."""
    await idle_bridge.start(DIFY_STREAMING_ENABLED="true")
    await prometheus.until('up{job="ecloud-dify"} == 1')
    gateway.say(GROUP, MING, "一 [[text=一]]")
    gateway.say(GROUP, MING, "二 [[text=二]]")
    await gateway.wait_for_sent(2)
    await prometheus.until('bridge_send_seconds_count{outcome="sent"} >= 2')
    # Rates want two looks at what was counted.
    await prometheus.until('increase(bridge_callbacks_total{verdict="accepted"}[1m]) >= 0')
    empty = await until_shown(prometheus)
    rules = await prometheus.rules()
    firing = await prometheus.value('ALERTS{alertstate="firing"}')

    assert empty == []
    assert len(rules) > 20
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [one["metric"]["alertname"] for one in firing] == []


@ON_EMBEDDED
async def test_a_bridge_that_is_gone_is_told_of(
    idle_bridge: Bridge, prometheus: Prometheus
) -> None:
    """Prometheus notices what the bridge cannot say itself any more."""
    await idle_bridge.start()
    await prometheus.until('up{job="ecloud-dify"} == 1')
    idle_bridge.kill()

    await prometheus.until('ALERTS{alertname="BridgeDown",alertstate="pending"}')
