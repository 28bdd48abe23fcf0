"""Starting and stopping as an operator sees it: exit codes, messages, and nothing left behind."""

import asyncio
import signal
import socket
import time
from pathlib import Path

import aiohttp
import pytest
import redis

from app.utils.database_init import create_database
from app.utils.db import sync_url
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import (
    ON_SERVERS,
    Bridge,
    Stores,
    embedded_stores,
    peer_variables,
)
from tests.fixtures.redis_server import RedisServer

GROUP = "40000000001@chatroom"
MING, HONG = "wxid_xiaoming0a1b21", "wxid_xiaohong0c2d22"


def lease_keys(bridge: Bridge) -> list[bytes]:
    """Keys that say that somebody is at work; empty on the embedded engine, which is gone."""
    if bridge.stores.redis is None:
        return []
    with redis.Redis(port=bridge.stores.redis.port) as client:
        names = ("ecloud_processing:*", "ecloud:sender:*", "ecloud:task:*")
        return [key for name in names for key in client.keys(name)]


async def test_a_stop_drains_and_the_next_start_goes_on(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Not ready, yet still taking callbacks; work is finished; leases are free; exit code 0."""
    bridge = await idle_bridge.start(SERVER_DRAIN_DELAY="1.5", MESSAGE_PROCESSING_LEASE="30")
    gateway.say(GROUP, MING, "一 [[wait=1]] [[text=一]]")
    await dify.recorder.until(lambda: len(dify.questions()) == 1)
    assert bridge.process is not None
    bridge.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(1), aiohttp.ClientSession() as http:
        while True:
            async with http.get(bridge.url + "/readyz") as response:
                ready = (response.status, await response.json())
            if ready[0] == 503:
                break
            await asyncio.sleep(0.02)
    gateway.say(GROUP, HONG, "二 [[text=二]]")
    await gateway.recorder.until(
        lambda: len([r for r in gateway.recorder.of("callback") if r.ended]) == 2
    )
    alive = (await bridge.get("/healthz"))[0]
    code = await asyncio.to_thread(bridge.process.wait, 20)
    leases = lease_keys(bridge)
    finished = [one.content.split("\u2005")[-1] for one in gateway.sent]
    await bridge.start()
    sent = await gateway.wait_for_sent(2)

    assert ready == (503, {"status": "not_ready", "reason": "draining"})
    assert [r.facts["status"] for r in gateway.recorder.of("callback")] == [200, 200]
    assert (alive, code, leases, finished) == (200, 0, [], ["一"])
    assert sent[1].content.split("\u2005")[-1] == "二"
    assert len(dify.questions()) == 2
    assert "Traceback" not in bridge.log


@ON_SERVERS
async def test_a_second_signal_does_not_wait_for_dify(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """What hangs is given back at once; the next process asks again without waiting for a lease."""
    bridge = await idle_bridge.start(SERVER_DRAIN_DELAY="20", MESSAGE_PROCESSING_LEASE="30")
    gateway.say(GROUP, MING, "一 [[wait=60;times=1]] [[text=一]]")
    await dify.recorder.until(lambda: len(dify.questions()) == 1)
    assert bridge.process is not None
    started = time.monotonic()
    for _ in range(2):
        bridge.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
    code = await asyncio.to_thread(bridge.process.wait, 20)
    seconds = time.monotonic() - started
    leases = lease_keys(bridge)
    await bridge.start()
    await gateway.wait_for_sent(1)

    assert (code, leases) == (0, [])
    assert seconds < 8
    assert len(dify.questions()) == 2


async def refused(bridge: Bridge) -> tuple[int, str]:
    """Exit code and output of a start that must not succeed."""
    try:
        return await asyncio.to_thread(bridge.launch().wait, 20), bridge.log
    finally:
        bridge.kill()


async def test_a_taken_port_is_named_and_nothing_is_begun(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Exit code 1, one plain sentence, no traceback."""
    bridge = Bridge(embedded_stores(tmp_path), peer_variables(gateway, dify))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", bridge.port))
        taken.listen()
        code, log = await refused(bridge)

    assert code == 1
    assert f"{bridge.port}" in log
    assert "端口已被占用" in log
    assert "SERVER_PORT" in log
    assert "Traceback" not in log
    assert "index.rebuilt" not in log


@pytest.mark.redis
@pytest.mark.mysql
async def test_pending_migrations_are_named_with_the_command_to_run(
    tmp_path: Path,
    bridge_redis: RedisServer,
    mysql_url: str,
    gateway: EcloudSimulator,
    dify: DifySimulator,
) -> None:
    """A server's database is the operator's to change."""
    create_database(sync_url(mysql_url))
    stores = Stores(
        name="servers", database_url=mysql_url, redis_url=bridge_redis.url, folder=tmp_path
    )
    code, log = await refused(Bridge(stores, peer_variables(gateway, dify)))

    assert code == 1
    assert "python app/utils/database_init.py" in log
    assert "Traceback" not in log
