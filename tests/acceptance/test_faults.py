"""Servers die, processes die: what was answered with 200 is neither lost nor answered twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
from sqlalchemy import create_engine, text

from app.utils.db import sync_url
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge, Stores, peer_variables, server_stores
from tests.fixtures.crowd import Crowd, crowd_world
from tests.fixtures.mariadb import MariadbServer
from tests.fixtures.redis_server import RedisServer


@pytest.fixture
async def gateway() -> AsyncIterator[EcloudSimulator]:
    """A gateway with a crowd."""
    async with EcloudSimulator.start(world=crowd_world()) as simulator:
        yield simulator


@pytest.fixture
def crowd(gateway: EcloudSimulator, dify: DifySimulator) -> Crowd:
    """Who speaks."""
    return Crowd(gateway, dify)


@asynccontextmanager
async def started(
    stores: Stores, gateway: EcloudSimulator, dify: DifySimulator
) -> AsyncIterator[Bridge]:
    """A started bridge between the simulators."""
    bridge = Bridge(stores, peer_variables(gateway, dify))
    gateway.callback_url = bridge.callback_url
    try:
        yield await bridge.start()
    finally:
        bridge.kill()


@pytest.fixture
async def server_bridge(
    tmp_path: Path,
    bridge_redis: RedisServer,
    mysql_url: str,
    gateway: EcloudSimulator,
    dify: DifySimulator,
) -> AsyncIterator[Bridge]:
    """A started bridge on a Redis of its own and on a database server."""
    async with started(server_stores(tmp_path, bridge_redis, mysql_url), gateway, dify) as bridge:
        yield bridge


@pytest.fixture
async def private_bridge(
    tmp_path: Path,
    bridge_redis: RedisServer,
    private_mysql_url: str,
    gateway: EcloudSimulator,
    dify: DifySimulator,
) -> AsyncIterator[Bridge]:
    """A started bridge on a Redis of its own and on the private MariaDB."""
    stores = server_stores(tmp_path, bridge_redis, private_mysql_url)
    async with started(stores, gateway, dify) as bridge:
        yield bridge


async def until_health(bridge: Bridge, status: int, seconds: float = 15.0) -> dict[str, str]:
    """States by dependency as soon as health has this status."""
    async with asyncio.timeout(seconds):
        while True:
            found, body = await bridge.get("/api/v1/health")
            if found == status:
                return {name: one["state"] for name, one in body["dependencies"].items()}
            await asyncio.sleep(0.1)


def refused_callbacks(gateway: EcloudSimulator) -> list[object]:
    """Deliveries that did not get 200."""
    return [
        record.as_json()
        for record in gateway.recorder.of("callback")
        if record.ended is not None and record.facts.get("status") != 200
    ]


@pytest.mark.redis
@pytest.mark.mysql
async def test_without_redis_callbacks_are_taken_and_answered_when_it_is_back(
    server_bridge: Bridge, bridge_redis: RedisServer, gateway: EcloudSimulator, crowd: Crowd
) -> None:
    """Stopped under load, away for longer than a lease, started again; then wiped, too."""
    crowd.speak(2)
    await crowd.gateway.recorder.until(lambda: len(gateway.sent) >= 3)
    bridge_redis.stop()
    crowd.speak(2)
    states = await until_health(server_bridge, 503)
    await gateway.recorder.until(
        lambda: len([r for r in gateway.recorder.of("callback") if r.ended]) >= crowd.count
    )
    await asyncio.sleep(3.5)
    ready = (await server_bridge.get("/readyz"))[0]
    bridge_redis.start()
    await until_health(server_bridge, 200)
    await crowd.until_answered(60)

    assert (states["redis"], states["database"], ready) == ("down", "up", 200)
    assert refused_callbacks(gateway) == []
    crowd.check()

    crowd.speak(3, "[[wait=0.2]]")
    await gateway.recorder.until(lambda: len(gateway.sent) >= crowd.count - 30)
    await asyncio.to_thread(wipe, bridge_redis)
    await crowd.until_answered(60)
    crowd.check()


@pytest.mark.redis
@pytest.mark.mysql
async def test_a_wiped_redis_does_not_let_two_processes_send_the_same(
    tmp_path: Path,
    bridge_redis: RedisServer,
    mysql_url: str,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    crowd: Crowd,
) -> None:
    """The lease is gone with everything else while a slow call is out: nothing comes twice, none too fast."""
    stores = server_stores(tmp_path, bridge_redis, mysql_url)
    bridges = [Bridge(stores, peer_variables(gateway, dify)) for _ in range(2)]
    gateway.faults.set("slow", 0.3, endpoints=("/sendText",))
    try:
        for bridge in bridges:
            await bridge.start(MESSAGE_PROCESSING_LEASE="9", ECLOUD_SEND_GAP="0.3")
        gateway.callback_url = bridges[0].callback_url
        crowd.speak(2)
        for sent in (4, 10, 16):
            await gateway.wait_for_sent(sent, seconds=90)
            await asyncio.to_thread(wipe, bridge_redis)
        await crowd.until_answered(60)
    finally:
        for bridge in bridges:
            bridge.kill()

    crowd.check()
    assert min(gateway.recorder.gaps("/sendText")) >= 0.1


def wipe(server: RedisServer) -> None:
    """FLUSHALL."""
    with redis.Redis(port=server.port) as client:
        client.flushall()


@pytest.mark.redis
@pytest.mark.mysql
async def test_without_mariadb_callbacks_are_spilled_and_answered_when_it_is_back(
    private_bridge: Bridge,
    mariadb_server: MariadbServer,
    gateway: EcloudSimulator,
    crowd: Crowd,
) -> None:
    """Killed under load and started again."""
    crowd.speak(1)
    await crowd.until_answered(60)
    crowd.speak(1)
    await gateway.recorder.until(lambda: len(gateway.sent) >= crowd.count - 10)
    mariadb_server.kill()
    crowd.speak(3)
    states = await until_health(private_bridge, 503)
    await gateway.recorder.until(
        lambda: len([r for r in gateway.recorder.of("callback") if r.ended]) >= crowd.count, 20
    )
    ready = (await private_bridge.get("/readyz"))[0]
    await asyncio.to_thread(mariadb_server.start)
    await until_health(private_bridge, 200)
    await crowd.until_answered(60)
    [dead] = await private_bridge.rows("SELECT count(*) AS n FROM messages WHERE state = 'dead'")

    assert (states["database"], states["redis"], ready) == ("down", "up", 200)
    assert refused_callbacks(gateway) == []
    assert dead["n"] == 0
    crowd.check()


@pytest.mark.parametrize(
    ("stores", "streaming"),
    [
        ("embedded", "false"),
        pytest.param("servers", "true", marks=[pytest.mark.redis, pytest.mark.mysql]),
    ],
    indirect=["stores"],
)
async def test_killed_under_load_nothing_is_lost_and_hardly_anything_said_twice(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, crowd: Crowd, streaming: str
) -> None:
    """kill -9 with a hundred messages on their way: at most one segment twice per kill."""
    changes = {
        "DIFY_STREAMING_ENABLED": streaming,
        "ECLOUD_TIMEOUT": "1",
        "MESSAGE_PROCESSING_LEASE": "2",
    }
    await idle_bridge.start(**changes)
    crowd.speak(9, "[[wait=0.05]]")
    await gateway.recorder.until(
        lambda: len([r for r in gateway.recorder.of("callback") if r.ended]) >= crowd.count, 20
    )
    await gateway.recorder.until(lambda: len(gateway.sent) >= 30, 60)
    idle_bridge.kill()
    before = len(gateway.sent)
    await idle_bridge.start()
    await crowd.until_answered(60)
    # What the killed process had sent whole, and had not called done, is found within seconds.
    open_messages = "SELECT 1 FROM messages WHERE state IN ('received', 'processing', 'answered')"
    async with asyncio.timeout(60):
        while await idle_bridge.rows(open_messages):
            await asyncio.sleep(0.2)

    assert 30 <= before < crowd.count == 108
    assert refused_callbacks(gateway) == []
    crowd.check(repeats=1)
    answered = await idle_bridge.rows("SELECT count(*) AS n FROM messages WHERE state = 'done'")
    assert answered == [{"n": crowd.count}]


@pytest.mark.redis
@pytest.mark.mysql
async def test_a_table_that_is_missing_for_seconds_loses_nothing(
    server_bridge: Bridge, gateway: EcloudSimulator, mysql_url: str
) -> None:
    """As while a backup is played in: what was accepted meanwhile is answered afterwards."""
    bridge = server_bridge
    group = next(iter(gateway.world.groups.values()))
    person = next(iter(group.members.keys() - gateway.world.accounts.keys()))
    await asyncio.to_thread(run_sql, mysql_url, "RENAME TABLE messages TO messages_away")
    for number in range(5):
        gateway.say(group.group_id, person, f"第 {number} 问 [[text=答{number}]]")
    await gateway.courier.idle()
    states = await until_health(bridge, 503)
    await asyncio.to_thread(run_sql, mysql_url, "RENAME TABLE messages_away TO messages")

    sent = await gateway.wait_for_sent(5, seconds=90)

    assert states["database"] == "down"
    assert [one.content[-2:] for one in sent] == [f"答{number}" for number in range(5)]
    assert bridge.process is not None
    assert bridge.process.poll() is None


def run_sql(url: str, statement: str) -> None:
    """Run one statement on a connection of the test's own."""
    engine = create_engine(sync_url(url))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
