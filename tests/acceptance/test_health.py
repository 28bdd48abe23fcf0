"""What the operator can see: health, metrics, pages and logs."""

import asyncio
from pathlib import Path

import aiohttp

from simulators.dify import API_KEY, DifySimulator
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from tests.fixtures.bridge import ON_EMBEDDED, ON_SERVERS, Bridge
from tests.fixtures.mariadb import MariadbServer

GROUP, MING = "40000000001@chatroom", "wxid_xiaoming0a1b21"
METRICS = (
    "bridge_callbacks_total",
    "bridge_callback_seconds",
    "bridge_queue_depth",
    "bridge_queue_oldest_seconds",
    "bridge_inflight",
    "bridge_dify_seconds",
    "bridge_send_seconds",
    "bridge_dead_letters",
)


async def page(bridge: Bridge, path: str) -> tuple[int, str]:
    """A page as text."""
    async with aiohttp.ClientSession() as http, http.get(bridge.url + path) as response:
        return response.status, await response.text()


async def test_a_bridge_that_knows_no_peers_yet_takes_callbacks_and_answers_them_later(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Health names the missing settings and is no error; after a restart with them it all goes."""
    peers, idle_bridge.variables = idle_bridge.variables, {}
    await idle_bridge.start()
    gateway.say(GROUP, MING, "一 [[text=一]]")
    await idle_bridge.until_rows("SELECT 1 FROM messages")
    status, body = await idle_bridge.get("/api/v1/health")
    code = await idle_bridge.stop()
    await idle_bridge.start(**peers)
    await gateway.wait_for_sent(1)

    found = {name: one["state"] for name, one in body["dependencies"].items()}
    assert (status, body["status"], code) == (200, "incomplete", 0)
    assert (found["dify"], found["ecloud"]) == ("not_configured", "not_configured")
    assert (found["database"], found["redis"]) == ("up", "up")
    for name in ("DIFY_BASE_URL", "DIFY_API_KEY", "ECLOUD_BASE_URL", "ECLOUD_AUTHORIZATION"):
        assert name.lower().replace("_", ".", 1) in str(body) or name in str(body)
    assert body["figures"]["waiting"] == 1


async def test_a_healthy_bridge_shows_figures_pages_and_logs_without_text_or_secrets(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Every line of a message bears its id; no text of either side, no key, in any log."""
    gateway.say(GROUP, MING, "机密的问题 [[text=机密的回答]]")
    gateway.say(GROUP, MING, "另一个问题 [[fail=400:completion_request_error]]")
    await gateway.wait_for_sent(1)
    await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'dead'")
    [message] = await bridge.until_rows("SELECT * FROM messages WHERE state = 'done'")
    status, body = await bridge.get("/api/v1/health")
    metrics = await page(bridge, "/metrics")
    docs, schema = await page(bridge, "/docs"), await page(bridge, "/openapi.json")
    missing = await page(bridge, "/nothing/here")
    await bridge.stop()
    logs = {path.name: path.read_text() for path in (bridge.stores.folder / "logs").glob("*.log")}

    assert (status, body["status"], body["role"]) == (200, "up", "all")
    assert {one["state"] for one in body["dependencies"].values()} == {"up"}
    assert all(one["latency_ms"] >= 0 for one in body["dependencies"].values())
    assert (body["figures"]["waiting"], body["figures"]["dead"]) == (0, 1)
    assert [name for name in METRICS if f"\n{name}" not in metrics[1]] == []
    assert 'verdict="accepted"} 2.0' in metrics[1]
    assert (docs[0], schema[0], missing[0]) == (200, 200, 404)
    assert "/api/v1/callback" in schema[1]
    everything = "".join(logs.values()) + bridge.log
    lines = [line for line in logs["app.log"].splitlines() if "message.claimed" in line]
    assert any(str(message["id"]) in line for line in lines)
    assert "message.buried" in logs["app_error.log"]
    assert "message.claimed" not in logs["app_error.log"]
    for secret in ("机密", "另一个问题", API_KEY, AUTHORIZATION, "bridge:bridge@"):
        assert secret not in everything, secret


@ON_EMBEDDED
async def test_a_peer_that_refuses_us_makes_health_503_and_is_named(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, tmp_path: Path
) -> None:
    """A wrong key and a wrong Authorization; callbacks are still taken."""
    wrong = {"DIFY_API_KEY": "app-wrong-key-0001", "ECLOUD_AUTHORIZATION": "wrong-authorization"}
    bridge = await idle_bridge.start(**wrong)
    status, body = await bridge.get("/api/v1/health")
    ready = (await bridge.get("/readyz"))[0]
    gateway.say(GROUP, MING, "一")
    await bridge.until_rows("SELECT 1 FROM messages")

    found = {
        name: (one["state"], bool(one.get("reason"))) for name, one in body["dependencies"].items()
    }
    assert (status, body["status"], ready) == (503, "down", 200)
    assert found["dify"] == found["ecloud"] == ("down", True)
    assert found["database"] == found["redis"] == ("up", False)
    for secret in wrong.values():
        assert secret not in str(body) + bridge.log


@ON_EMBEDDED
async def test_an_account_that_is_offline_is_told(
    idle_bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """The gateway answers and the account cannot send: health says so, and for how long."""
    bridge = await idle_bridge.start()
    gateway.say(GROUP, MING, "一 [[text=一]]")
    await gateway.wait_for_sent(1)
    account = gateway.world.first_account()
    gateway.say(GROUP, MING, "二 [[text=二]]")
    await gateway.courier.idle()
    account.online = False
    async with asyncio.timeout(40):
        while (found := await bridge.get("/api/v1/health"))[1]["accounts"].get("offline") != 1:
            await asyncio.sleep(0.2)
        while (found := await bridge.get("/api/v1/health"))[0] != 503:
            await asyncio.sleep(0.2)
    account.online = True
    await gateway.wait_for_sent(2, seconds=60)

    body = found[1]
    assert body["dependencies"]["ecloud"]["state"] == "down"
    assert body["accounts"]["down_since"]
    assert account.wc_id not in str(body)


@ON_SERVERS
async def test_a_database_that_takes_no_rows_is_down_although_it_answers(
    bridge: Bridge, gateway: EcloudSimulator, mariadb_server: MariadbServer, mysql_url: str
) -> None:
    """Its table is locked by somebody: callbacks go to the disk, and health says why."""
    database = mysql_url.rsplit("/", 1)[1]
    locking = await asyncio.to_thread(mariadb_server.connect, database)
    with locking, locking.cursor() as cursor:
        await asyncio.to_thread(cursor.execute, "LOCK TABLES messages WRITE")
        gateway.say(GROUP, MING, "一 [[text=一]]")
        await gateway.courier.idle()
        status, body = await bridge.get("/api/v1/health")
    async with asyncio.timeout(60):
        while (await bridge.get("/api/v1/health"))[0] != 200:
            await asyncio.sleep(0.1)
    await gateway.wait_for_sent(1)

    assert (status, body["dependencies"]["database"]["state"]) == (503, "down")


@ON_SERVERS
async def test_a_database_that_hangs_hangs_neither_health_nor_metrics(
    bridge: Bridge, gateway: EcloudSimulator, mariadb_server: MariadbServer
) -> None:
    """Both answer within a scrape's patience, name it, and show what Redis still tells; then it heals."""
    gateway.say(GROUP, MING, "一 [[text=一]]")
    await gateway.wait_for_sent(1)
    mariadb_server.suspend()
    try:
        async with asyncio.timeout(6):
            status, body = await bridge.get("/api/v1/health")
            metrics = await page(bridge, "/metrics")
    finally:
        mariadb_server.resume()
    async with asyncio.timeout(60):
        while (await bridge.get("/api/v1/health"))[0] != 200:
            await asyncio.sleep(0.1)

    assert (status, body["dependencies"]["database"]["state"]) == (503, "down")
    assert body["dependencies"]["redis"]["state"] == "up"
    assert body["figures"] == {"spilled": 0}
    assert "bridge_figures_unavailable_total 1.0" in metrics[1]
    assert "bridge_queue_depth 0.0" in metrics[1]
