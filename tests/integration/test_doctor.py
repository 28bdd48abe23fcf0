"""``doctor``: what a start would find, with the remedy and an exit code."""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as SyncRedis
from typer.testing import CliRunner, Result

from app import cli
from app.utils.revisions import known_revisions
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import peer_variables
from tests.fixtures.logins import login_variables
from tests.fixtures.mariadb import DatabaseServer
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer

Run = Callable[..., Result]


def asked(gateway: EcloudSimulator, dify: DifySimulator, **more: str) -> dict[str, str]:
    """Settings of both peers, which are there to be looked at; callbacks come here."""
    gateway.callback_url = "http://bridge.example/api/v1/callback"
    return {**peer_variables(gateway, dify), **more}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs it in an empty folder with these settings alone."""
    monkeypatch.chdir(tmp_path)
    files = {"BRIDGE_ENV_FILE": "", "BRIDGE_CONFIG_FILE": ""}

    def invoke(*arguments: str, **variables: str) -> Result:
        return CliRunner().invoke(cli.app, ["doctor", *arguments], env={**files, **variables})

    return invoke


def lines(result: Result, sign: str) -> list[str]:
    """What it says under one sign."""
    return [line[2:] for line in result.output.splitlines() if line.startswith(sign)]


async def test_fresh_folder_is_fine_and_stays_as_it_is(
    run: Run, tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Nothing is made, nothing is asked and nothing sent."""
    result = await asyncio.to_thread(run, **asked(gateway, dify))
    made = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))

    assert (result.exit_code, lines(result, "✗"), lines(result, "!")) == (0, [], [])
    assert [line.split(":")[0] for line in lines(result, "✓")] == [
        "设置",
        "数据目录",
        "数据库",
        "Redis",
        "Dify default",
        "E云管家",
    ]
    assert gateway.recorder.of("sent") == []
    assert made == []
    assert dify.questions() == []


async def test_a_gateway_that_sends_callbacks_elsewhere_is_a_warning_with_the_next_step(
    run: Run, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Or nowhere; or has no account that is online."""
    variables = asked(gateway, dify)
    gateway.callback_url = None
    for account in gateway.world.accounts:
        gateway.set_online(account, online=False)

    result = await asyncio.to_thread(run, **variables)

    nobody, nowhere = lines(result, "!")
    assert nobody.startswith("E云管家:没有微信号在线")
    assert "callback register" in nowhere
    assert result.exit_code == 0


async def test_every_gateway_login_is_looked_at_by_its_name(
    run: Run, gateway: EcloudSimulator, second_gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The one that is wrong is named with where its settings stand."""
    variables = asked(gateway, dify, **login_variables(second_gateway))
    second_gateway.faults.set("http_503")

    result = await asyncio.to_thread(run, **variables)

    [line] = lines(result, "✗")
    assert line.startswith("E云管家 second:连不上(")
    assert "ecloud.accounts 里 second" in line
    assert any(line.startswith("E云管家 default") for line in lines(result, "✓"))


async def test_a_gateway_that_is_away_or_refuses_the_login_fails(
    run: Run, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The value of the login is not shown."""
    variables = asked(gateway, dify)

    refused = await asyncio.to_thread(run, **variables | {"ECLOUD_AUTHORIZATION": "wrong-secret"})
    away = await asyncio.to_thread(
        run, **variables | {"ECLOUD_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    )

    assert [refused.exit_code, away.exit_code] == [1, 1]
    for result in (refused, away):
        [line] = lines(result, "✗")
        assert line.startswith("E云管家:连不上(")
        assert "ecloud.authorization" in line
        assert "wrong-secret" not in result.output


async def test_a_dify_that_cannot_be_asked_as_it_is_set_up_fails(
    run: Run, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """A key that it does not take, a kind that it is not, a variable that nobody gives; each app by name."""
    form = [{"name": "city", "type": "text-input", "required": True}]
    dify.add_app("app-lacking", "chat", form=form)
    apps = [
        {"name": "lacking", "api_key": "app-lacking"},
        {"name": "wrong", "api_key": "app-unknown-key"},
    ]
    apps = [{"base_url": dify.base_url, "kind": "auto", **app} for app in apps]
    result = await asyncio.to_thread(
        run, **asked(gateway, dify, DIFY_KIND="workflow", DIFY_APPS=json.dumps(apps))
    )

    assert result.exit_code == 1
    kind, lacking, wrong = lines(result, "✗")
    assert kind.startswith("Dify default:dify.kind 是 workflow")
    assert lacking.startswith("Dify lacking:应用要求变量 city")
    assert wrong.startswith("Dify wrong:Dify 不接受这个应用的密钥")
    assert "app-unknown-key" not in result.output


def test_missing_peers_are_no_error(run: Run) -> None:
    """Messages wait for them."""
    result = run()

    assert result.exit_code == 0
    assert "dify.base_url" in lines(result, "!")[0]


def test_sqlite_file_is_looked_at(run: Run, tmp_path: Path, migrated_sqlite: Path) -> None:
    """Its journal and its migration."""
    (tmp_path / "data").mkdir()
    shutil.copy(migrated_sqlite, tmp_path / "data" / "bridge.db")

    [line] = [line for line in lines(run(), "✓") if line.startswith("数据库")]

    assert "journal_mode=wal" in line
    assert f"revision={known_revisions()[-1]}" in line


def test_wrong_setting_is_the_only_thing_said(run: Run) -> None:
    """Without settings nothing can be looked at."""
    result = run(SERVER_PORT="no number")

    assert result.exit_code == 1
    assert "server.port" in result.output
    assert len(lines(result, "✗")) == 1


@pytest.mark.redis
@pytest.mark.mysql
def test_servers_are_looked_at_and_what_refuses_a_start_fails(
    run: Run, redis_server: RedisServer, migrated_mysql: tuple[DatabaseServer, str]
) -> None:
    """And allowed it is a warning, with another exit code."""
    server, database = migrated_mysql
    variables = {
        "REDIS_URL": redis_server.url,
        "DATABASE_URL": server.url(database),
    }
    sound = run(**variables)
    with SyncRedis(port=redis_server.port) as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
    refused, as_json = run(**variables), run("--json", **variables)
    allowed = run(**variables, MESSAGE_PROCESSING_ALLOW_REDIS_EVICTION="true")

    report: dict[str, Any] = json.loads(as_json.stdout)
    failed = [one for one in report["checks"] if one["outcome"] == "failed"]
    assert (sound.exit_code, refused.exit_code, as_json.exit_code, allowed.exit_code) == (
        0,
        1,
        1,
        0,
    )
    assert [line.split(":")[0] for line in lines(refused, "✗")] == ["Redis"]
    assert "allkeys-lfu" in lines(refused, "✗")[0]
    assert (report["ok"], [one["code"] for one in failed]) == (False, ["redis_evicts"])
    assert len([line for line in lines(allowed, "!") if not line.startswith("设置")]) == 1


def test_servers_that_are_away_fail_with_what_to_check(run: Run) -> None:
    """No password is shown."""
    result = run(
        REDIS_URL=f"redis://:hidden-one@127.0.0.1:{free_port()}/0",
        DATABASE_URL=f"mysql+pymysql://u:hidden-two@127.0.0.1:{free_port()}/x",
    )

    assert result.exit_code == 1
    assert ["DATABASE_URL" in lines(result, "✗")[0], "REDIS_URL" in lines(result, "✗")[1]] == [
        True,
        True,
    ]
    assert "hidden" not in result.output


def test_folder_that_cannot_be_used_fails(run: Run, tmp_path: Path) -> None:
    """Callbacks are written there while the database is away."""
    (tmp_path / "data").write_text("no folder")

    result = run()

    assert result.exit_code == 1
    assert "不可写" in lines(result, "✗")[0]


def test_tracing_is_looked_at_where_it_is_wanted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the packages it is fine; without them a start would be refused, and the command is named."""
    pytest.importorskip("opentelemetry.sdk", reason="needs requirements-otel.txt")
    wanted = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hidden@127.0.0.1:4318"}
    fine = run(**wanted)
    monkeypatch.setitem(sys.modules, "app.telemetry.otlp", None)
    bare = run(**wanted)

    assert [line for line in lines(fine, "✓") if line.startswith("追踪")] == [
        "追踪:由 OTEL_EXPORTER_OTLP_ENDPOINT 送往收集器(没有试着连接)"
    ]
    assert bare.exit_code == 1
    [told] = [line for line in lines(bare, "✗") if line.startswith("追踪")]
    assert "pip install -r requirements-otel.txt" in told
    assert "hidden" not in fine.output + bare.output
