"""A store that is set up wrongly: refused at the start, told at run time, and nothing is lost meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis as SyncRedis

from app.api.views import make_health_view
from app.services.checks import inspection as inspection_module
from app.services.health import Dependency, DependencyState
from app.utils.database_init import migrate
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge, Stores, peer_variables
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.mariadb import MariadbServer
from tests.fixtures.redis_server import RedisServer, missing_reason

GROUP, MING = "40000000001@chatroom", "wxid_xiaoming0a1b21"


@pytest.fixture
def evicting_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Not started yet; when it is, it evicts."""
    if reason := missing_reason():
        pytest.skip(reason)
    folder = tmp_path / "evicting"
    folder.mkdir()
    server = RedisServer(folder, options=["--maxmemory-policy", "allkeys-lru"])
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection_module, "SOON_SECONDS", 0.1)
    monkeypatch.setattr(inspection_module, "EVERY_SECONDS", 0.1)


async def until(bridge: Inside, name: str, state: DependencyState) -> Dependency:
    """What health says of a dependency once it is in that state."""
    report = make_health_view(bridge.runtime, is_draining=lambda: False).report
    async with asyncio.timeout(60):
        while (found := (await report.look())[name]).state is not state:
            await asyncio.sleep(0.05)
    return found


@pytest.mark.redis
async def test_evicting_redis_refuses_the_start_unless_it_is_allowed(
    evicting_redis: RedisServer, gateway: EcloudSimulator, dify: Any, tmp_path: Path
) -> None:
    """One sentence with the way out; with the override it works, and health says so."""
    evicting_redis.start()
    stores = Stores(
        name="mixed",
        database_url=f"sqlite:///{tmp_path}/data/bridge.db",
        redis_url=evicting_redis.url,
        folder=tmp_path,
    )
    bridge = Bridge(stores, peer_variables(gateway, dify))
    gateway.callback_url = bridge.callback_url
    try:
        code = await asyncio.to_thread(bridge.launch().wait, 60)
        refusal = bridge.log
        await bridge.start(MESSAGE_PROCESSING_ALLOW_REDIS_EVICTION="true")
        gateway.say(GROUP, MING, "一 [[text=一]]")
        await gateway.wait_for_sent(1)
        status, body = await bridge.get("/api/v1/health")
    finally:
        bridge.kill()

    assert code == 1
    assert "CONFIG SET maxmemory-policy noeviction" in refusal
    assert "bridge.started" not in refusal
    assert (status, body["status"]) == (200, "degraded")
    assert "allkeys-lru" in body["dependencies"]["redis"]["warnings"][0]
    assert body["dependencies"]["redis"]["details"]["maxmemory_policy"] == "allkeys-lru"
    assert "warnings" not in body["dependencies"]["database"]


@pytest.mark.redis
@INSIDE_EMBEDDED
async def test_redis_that_comes_late_and_evicts_is_told_and_worked_with(
    inside: StartInside, evicting_redis: RedisServer, log_lines: list[str]
) -> None:
    """What was taken meanwhile is answered; the warning goes as soon as the policy is mended."""
    async with inside(REDIS_URL=evicting_redis.url) as bridge:
        await bridge.hear("一")
        away = await until(bridge, "redis", DependencyState.DOWN)
        evicting_redis.start()
        await bridge.until_settled(1, seconds=60)
        told = await until(bridge, "redis", DependencyState.DEGRADED)
        with SyncRedis(port=evicting_redis.port) as client:
            client.config_set("maxmemory-policy", "noeviction")
        mended = await until(bridge, "redis", DependencyState.UP)

    assert away.warnings == mended.warnings == ()
    assert "allkeys-lru" in told.warnings[0]
    found = [line for line in log_lines if "check.found" in line and "redis" in line]
    assert len(found) == 1
    assert any("check.cleared" in line and "redis_evicts" in line for line in log_lines)


@pytest.mark.redis
@INSIDE_EMBEDDED
async def test_redis_that_became_a_replica_is_down_and_what_was_taken_is_answered_later(
    inside: StartInside, redis_server: RedisServer
) -> None:
    """It answers a PING; that is not enough."""
    async with inside(REDIS_URL=redis_server.url) as bridge:
        with SyncRedis(port=redis_server.port) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            down = await until(bridge, "redis", DependencyState.DOWN)
            await bridge.hear("一")
            client.execute_command("REPLICAOF", "NO", "ONE")
        await bridge.until_settled(1, seconds=60)
        await until(bridge, "redis", DependencyState.UP)

    assert "READONLY" in down.reason


@asynccontextmanager
async def read_only(server: MariadbServer) -> AsyncIterator[None]:
    """As a replica is, or a primary that is being replaced."""
    await asyncio.to_thread(server.execute, "SET GLOBAL read_only = 1")
    try:
        yield
    finally:
        await asyncio.to_thread(server.execute, "SET GLOBAL read_only = 0")


@pytest.mark.mysql
@INSIDE_EMBEDDED
async def test_read_only_database_is_down_with_its_cause_and_callbacks_go_to_the_disk(
    inside: StartInside, mariadb_server: MariadbServer, private_mysql_url: str
) -> None:
    """For a user without the right to write all the same, as the bridge's should be."""
    parts = urlsplit(private_mysql_url)
    migrate(private_mysql_url)
    database = parts.path.strip("/")
    mariadb_server.execute(f"CREATE USER '{database}'@'%' IDENTIFIED BY 'pw'")
    rights = "SELECT, INSERT, UPDATE, DELETE"
    mariadb_server.execute(f"GRANT {rights} ON `{database}`.* TO '{database}'@'%'")
    limited = f"mysql+pymysql://{database}:pw@127.0.0.1:{mariadb_server.port}/{database}"
    try:
        async with inside(DATABASE_URL=limited) as bridge:
            async with read_only(mariadb_server):
                down = await until(bridge, "database", DependencyState.DOWN)
                while not down.warnings:
                    down = await until(bridge, "database", DependencyState.DOWN)
                await bridge.hear("一")
                spilled = bridge.runtime.inbox.spilled
            await until(bridge, "database", DependencyState.UP)
            await bridge.until_settled(1, seconds=60)
    finally:
        mariadb_server.execute(f"DROP USER '{database}'@'%'")

    assert "1290" in down.reason
    assert "read_only" in down.warnings[0]
    assert spilled == 1
