"""The console on a real process: a tab that listens does not hold up its end."""

import asyncio
import re
import time
from datetime import datetime
from pathlib import Path

import aiohttp

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge, embedded_stores, peer_variables
from tests.fixtures.console import Browser

PASSWORD = "correct horse battery"
DRAIN_SECONDS = 1.0
#: From the end of the drain until everything is put away, by the process's own clock.
TABS_SECONDS = 1.0
#: Of the rest of the process, with Python's own end; streams that were held open would cost three.
END_SECONDS = 20.0


async def test_open_tabs_hear_of_the_stop_at_once_and_do_not_hold_up_the_end(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The streams are ended cleanly, and nothing is logged as an error."""
    bridge = Bridge(embedded_stores(tmp_path), peer_variables(gateway, dify))
    jar = aiohttp.CookieJar(unsafe=True)
    try:
        await bridge.start(CONSOLE_PASSWORD=PASSWORD, SERVER_DRAIN_DELAY=str(DRAIN_SECONDS))
        async with aiohttp.ClientSession(cookie_jar=jar) as http:
            answer = await Browser(http, bridge.url).log_in(password=PASSWORD)
            assert answer.status == 303
            streams = [await http.get(f"{bridge.url}/console/events") for _ in range(5)]
            for stream in streams:
                await stream.content.readuntil(b"\n\n")
            began = time.monotonic()
            stopping = asyncio.create_task(bridge.stop())
            rests = [await stream.content.read() for stream in streams]
            heard = time.monotonic() - began
            await stopping
            ended = time.monotonic() - began
    finally:
        bridge.kill()

    assert rests == [b""] * 5
    assert heard < DRAIN_SECONDS + END_SECONDS / 2
    assert seconds_between(bridge.log, "bridge.stopping", "bridge.stopped") < (
        DRAIN_SECONDS + TABS_SECONDS
    )
    assert ended < DRAIN_SECONDS + END_SECONDS
    assert "ERROR" not in bridge.log


def seconds_between(log: str, first: str, second: str) -> float:
    """Between two lines of a log, the last of each kind."""
    moments = [
        datetime.fromisoformat(re.findall(rf"^(\S+ \S+) \|.*{event}", log, re.MULTILINE)[-1])
        for event in (first, second)
    ]
    return (moments[1] - moments[0]).total_seconds()
