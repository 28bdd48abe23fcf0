"""The running bridge tells its operator: each thing once, and when it is well again; its groups hear nothing."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import (
    ON_EMBEDDED,
    ROOT,
    Bridge,
    Stores,
    peer_variables,
    server_stores,
)
from tests.fixtures.receivers import (
    DINGTALK_SECRET,
    DINGTALK_TOKEN,
    FEISHU_HOOK,
    FEISHU_SECRET,
    WEBHOOK_SECRET,
    WECOM_KEY,
    Mailman,
    Robots,
)
from tests.fixtures.redis_server import RedisServer

GROUP, MING = "40000000001@chatroom", "wxid_xiaoming0a1b21"
SECRETS = (
    WECOM_KEY,
    DINGTALK_TOKEN,
    DINGTALK_SECRET,
    FEISHU_HOOK,
    FEISHU_SECRET,
    WEBHOOK_SECRET,
    "mail-password",
)
#: The bridge as it is, but that it looks more often than every ten seconds.
PROGRAM = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
from app.workers import alert_keeper
alert_keeper.LOOK_SECONDS = 0.2
runpy.run_path({str(ROOT / "main.py")!r}, run_name="__main__")
"""


@pytest.fixture
async def told_bridge(idle_bridge: Bridge, robots: Robots) -> Bridge:
    """A bridge that is to tell all receivers; not started yet."""
    return with_alerts(idle_bridge, robots)


def with_alerts(bridge: Bridge, robots: Robots) -> Bridge:
    """The bridge, told whom to tell."""
    bridge.program = ("-c", PROGRAM)
    bridge.variables |= {**robots.variables, "ALERTS_HOLD": "1"}
    return bridge


async def cli(bridge: Bridge, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command beside the running bridge, with its settings."""
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
            "DATABASE_URL": bridge.stores.database_url,
            **bridge.variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.timeout(180)
async def test_an_account_that_goes_offline_is_told_once_and_again_when_it_is_back(
    told_bridge: Bridge, gateway: EcloudSimulator, robots: Robots
) -> None:
    """Through every robot; the group hears its answers and nothing else, logs hold no secret."""
    bridge = await told_bridge.start()
    gateway.say(GROUP, MING, "机密一 [[text=甲]]")
    await gateway.wait_for_sent(1)
    account = gateway.world.first_account()
    gateway.say(GROUP, MING, "机密二 [[wait=1]] [[text=乙]]")
    await gateway.courier.idle()
    account.online = False
    key = f"account:{account.wc_id}"
    told = await robots.until_notices(1, seconds=60)
    await asyncio.sleep(2)
    again = robots.notices()
    account.online = True
    await gateway.wait_for_sent(2, seconds=60)
    ended = await robots.until_notices(2, seconds=60)
    metrics = await bridge.metrics()
    await bridge.stop()

    assert told == again == [("firing", key)]
    assert ended == [("firing", key), ("recovered", key)]
    for channel in ("wecom", "dingtalk", "feishu", "webhook"):
        firing, recovered = robots.texts(channel)
        assert account.wc_id in firing
        assert "怎么办:请在 E云管家重新登录" in firing
        assert "已恢复" in recovered
        assert f'bridge_alerts_total{{channel="{channel}",outcome="sent"}} 2.0' in metrics
    everything = bridge.log + "".join(
        path.read_text() for path in (bridge.stores.folder / "logs").glob("*.log")
    )
    assert [secret for secret in SECRETS if secret in everything] == []
    assert "机密" not in "".join(robots.texts())
    assert MING not in "".join(robots.texts())
    assert [one.content for one in gateway.sent] == ["@小明\u2005甲", "@小明\u2005乙"]


@ON_EMBEDDED
async def test_dead_letters_and_an_open_breaker_are_told_and_end(
    told_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, robots: Robots
) -> None:
    """The letter with its cause, until it is replayed; the breaker until Dify is back."""
    bridge = await told_bridge.start()
    gateway.say(GROUP, MING, "一 [[fail=400:app_unavailable;times=1]] [[text=甲]]")
    letter = await robots.until_notices(1)
    replayed = await cli(bridge, "failed", "replay", "--all", "--yes")
    ended = await robots.until_notices(2)
    dify.faults.set("down", times=100_000)
    for person in (MING, "wxid_xiaohong0c2d22"):
        gateway.say(GROUP, person, "二 [[text=乙]]")
    opened = await robots.until_notices(3)
    dify.faults.clear()
    closed = await robots.until_notices(4)

    key = "dead_letters:dify_rejected"
    assert replayed.returncode == 0, replayed.stderr
    assert letter == [("firing", key)]
    assert ended[1:] == [("recovered", key)]
    assert opened[2:] == [("firing", "breaker:dify:default")]
    assert closed[3:] == [("recovered", "breaker:dify:default")]
    assert "现在有 1 条" in robots.texts()[0]


@ON_EMBEDDED
async def test_a_key_that_dify_refuses_and_a_full_disk_are_told_before_anybody_asks(
    told_bridge: Bridge, robots: Robots
) -> None:
    """Each once; the key itself is not."""
    bridge = await told_bridge.start(
        DIFY_API_KEY="app-wrong-key-0001", ALERTS_DISK_FREE="100000000"
    )
    told = await robots.until_notices(2)

    keys = {key.split(":")[0]: (event, key) for event, key in told}
    assert keys["check"] == ("firing", "check:dify:default:dify_refused")
    assert keys["disk"][1].endswith(str(bridge.stores.folder / "data"))
    assert "dify.api_key" in "".join(robots.texts())
    assert "app-wrong-key-0001" not in "".join(robots.texts())
    assert (await bridge.get("/api/v1/health"))[0] == 503


@pytest.mark.redis
@pytest.mark.mysql
@pytest.mark.timeout(240)
async def test_two_replicas_tell_once_and_the_one_that_is_left_tells_the_end(
    tmp_path: Path,
    bridge_redis: RedisServer,
    mysql_url: str,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    robots: Robots,
) -> None:
    """Then both are without Redis: each says so by itself, and that it is back."""
    stores: Stores = server_stores(tmp_path, bridge_redis, mysql_url)
    bridges = [with_alerts(Bridge(stores, peer_variables(gateway, dify)), robots) for _ in range(2)]
    gateway.callback_url = bridges[0].callback_url
    try:
        for one in bridges:
            await one.start()
        gateway.say(GROUP, MING, "一 [[fail=400:app_unavailable;times=1]] [[text=甲]]")
        await robots.until_notices(1, seconds=60)
        await asyncio.sleep(3)
        once = robots.notices()
        [teller] = [one for one in bridges if "alert.firing" in one.log]
        teller.kill()
        [left] = [one for one in bridges if one is not teller]
        replayed = await cli(left, "failed", "replay", "--all", "--yes")
        assert replayed.returncode == 0, replayed.stderr
        gateway.callback_url = left.callback_url
        ended = await robots.until_notices(2, seconds=90)
        bridge_redis.kill()
        away = await robots.until_notices(3, seconds=60)
        bridge_redis.start()
        back = await robots.until_notices(4, seconds=60)
    finally:
        for one in bridges:
            one.kill()

    key = "dead_letters:dify_rejected"
    assert once == [("firing", key)]
    assert ended[1] == ("recovered", key)
    assert away[2] == ("firing", "redis")
    assert back[3] == ("recovered", "redis")


@ON_EMBEDDED
async def test_alerts_test_says_of_every_channel_whether_it_arrived(
    stores: Stores, robots: Robots, mailman: Mailman, tmp_path: Path
) -> None:
    """With the receiver's own words where it did not, without a secret, and an exit code for scripts."""
    nobody = Bridge(stores, {})
    none = await cli(nobody, "alerts", "test")
    mail = {
        "ALERTS_SMTP_HOST": "127.0.0.1",
        "ALERTS_SMTP_PORT": str(mailman.port),
        "ALERTS_SMTP_USER": "bot@example.com",
        "ALERTS_SMTP_PASSWORD": "mail-password",
        "ALERTS_MAIL_FROM": "bot@example.com",
        "ALERTS_MAIL_TO": '["ops@example.com"]',
        # The certificate is the server's own.
        "SSL_CERT_FILE": str(mailman.certificate),
    }
    bridge = Bridge(stores, {**robots.variables, **mail, "ALERTS_NAME": "体验店"})
    async with mailman.running():
        good = await cli(bridge, "alerts", "test")
    bridge.variables["ALERTS_DINGTALK_SECRET"] = "SECwrong-secret-0000"
    bad = await cli(bridge, "alerts", "test")

    assert (none.returncode, "没有配置告警" in none.stderr) == (2, True)
    assert good.returncode == 0, good.stdout + good.stderr
    assert good.stdout.splitlines() == [
        f"✓ {name}:送到了" for name in ("wecom", "dingtalk", "feishu", "webhook", "mail")
    ]
    assert mailman.was_encrypted == [True]
    assert robots.texts()[0].splitlines()[0] == "【告警测试】测试"
    assert bad.returncode == 1
    lines = {line[2:].partition(":")[0]: line for line in bad.stdout.splitlines()}
    assert lines["dingtalk"] == "✗ dingtalk:对方拒绝了(错误码 310000):sign not match"
    assert lines["mail"].startswith("✗ mail:邮件服务器没有应答(")
    assert not any(secret in bad.stdout + bad.stderr for secret in SECRETS)
