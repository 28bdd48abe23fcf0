"""The operator's commands: what they print, what they do at the gateway, and how they end."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Redis
from typer.testing import CliRunner, Result
from typing_extensions import override

from app import cli
from app.commands.settings import TABLE_BEGIN, TABLE_END, settings_table
from app.models.flow import MessageId, WcId
from app.services.ecloud.callback_url import complete_callback_url
from app.services.queue.protocol import Entry
from app.services.queue.redis_queue import RedisQueue
from app.services.shown_settings import mask_value
from app.utils.embedded_redis import EmbeddedRedis
from app.utils.ids import IdMaker
from app.utils.redis_client import close_redis
from app.version import VERSION
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from tests.fixtures.ports import free_port
from tests.fixtures.redis import open_queue

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "first-token-0123456789"
OTHER_TOKEN = "second-token-0123456789"
USER = WcId("wxid_ynu1tgjz156j22")

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command with these settings alone: ``run("version", DIFY_API_KEY="…")``."""
    monkeypatch.setenv("BRIDGE_ENV_FILE", "")
    monkeypatch.setenv("BRIDGE_CONFIG_FILE", "")

    def invoke(*arguments: str, input: str | None = None, **variables: str) -> Result:  # noqa: A002 - click's word
        return CliRunner().invoke(cli.app, list(arguments), env=variables, input=input)

    return invoke


# Help and version ----------------------------------------------------------------------------


def test_help_comes_without_loading_the_bridge() -> None:
    """Whoever asks for help does not wait for the database's or the web's libraries."""
    code = (
        "import sys, app.cli\n"
        "try: app.cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'fastapi', 'sqlalchemy', 'aiohttp', 'redis', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )

    assert done.returncode == 0, done.stderr
    for command in (
        "healthcheck",
        "doctor",
        "settings",
        "ledger",
        "callback",
        "queue",
        "failed",
        "version",
    ):
        assert command in done.stdout


def test_version_is_the_projects(run: Run) -> None:
    """In words and as JSON."""
    assert run("version").output == f"{VERSION}\n"
    assert json.loads(run("version", "--json").output) == {"version": VERSION}
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("arguments", [["nonsense"], ["queue", "show"], ["callback", "register"]])
def test_wrong_use_ends_with_2(run: Run, arguments: list[str]) -> None:
    """Unknown commands and missing arguments."""
    assert run(*arguments).exit_code == 2


def test_wrong_settings_end_with_2_and_name_the_setting(run: Run) -> None:
    """The same sentence as at the bridge's start, and no traceback."""
    done = run("settings", SERVER_PORT="many")

    assert done.exit_code == 2
    assert "SERVER_PORT" in done.output
    assert "Traceback" not in done.output


# Health --------------------------------------------------------------------------------------


class _Answering(BaseHTTPRequestHandler):
    """Answers everything with the status of its server."""

    def do_GET(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    @override
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def http_server() -> Iterator[HTTPServer]:
    """A server whose ``status`` a test sets; ``paths`` is what it was asked."""
    server = HTTPServer(("127.0.0.1", 0), _Answering)
    server.status, server.paths = 200, []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_healthcheck_asks_healthz_on_this_machine(run: Run, http_server: HTTPServer) -> None:
    """A living process: 0; proxies of the environment are not asked."""
    done = run(
        "healthcheck",
        SERVER_PORT=str(http_server.server_port),
        http_proxy="http://127.0.0.1:1",
        HTTP_PROXY="http://127.0.0.1:1",
    )

    assert done.exit_code == 0, done.output
    assert http_server.paths == ["/healthz"]  # type: ignore[attr-defined]


def test_healthcheck_fails_on_any_other_status(run: Run, http_server: HTTPServer) -> None:
    """A page of somebody else's server is not health."""
    http_server.status = 404  # type: ignore[attr-defined]

    done = run("healthcheck", SERVER_PORT=str(http_server.server_port))

    assert done.exit_code == 1
    assert "404" in done.output


@pytest.mark.parametrize("variables", [{"SERVER_PORT": "0"}, {"SERVER_PORT": "x"}, {}])
def test_healthcheck_ends_with_1_whatever_is_wrong(run: Run, variables: dict[str, str]) -> None:
    """Docker reserves every other code."""
    done = run("healthcheck", **{"SERVER_PORT": str(free_port()), **variables})

    assert done.exit_code == 1
    assert done.output


# Settings ------------------------------------------------------------------------------------


def test_settings_say_value_and_source(run: Run) -> None:
    """One row per setting; what the environment says goes before the default."""
    rows = {
        row["name"]: row for row in json.loads(run("settings", "--json", SERVER_PORT="81").output)
    }

    assert rows["server.port"]["value"] == "81"
    assert rows["server.port"]["source"] == "environment"
    assert rows["server.host"]["source"] == "default"
    assert rows["contacts.max_age"]["value"] == "86400"


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--changed",)])
def test_settings_never_show_a_secret(run: Run, arguments: tuple[str, ...]) -> None:
    """Neither keys and tokens nor the passwords inside addresses."""
    secrets = {
        "DATABASE_URL": "mysql+pymysql://someone:s3cret-one@db:3306/bridge?password=s3cret-two",
        "REDIS_URL": "redis://:s3cret-three@cache:6379/0",
        "ECLOUD_AUTHORIZATION": "s3cret-four",
        "ECLOUD_CALLBACK_TOKEN": f"{TOKEN},{OTHER_TOKEN}",
        "DIFY_API_KEY": "app-s3cret-five",
        "CONSOLE_PASSWORD": "s3cret-six-long-enough",
    }
    done = run("settings", *arguments, **secrets)

    assert done.exit_code == 0, done.output
    assert "s3cret" not in done.output
    assert TOKEN not in done.output
    assert "mysql+pymysql://someone:***@db:3306/bridge" in done.output


def test_changed_settings_alone_can_be_asked_for(run: Run) -> None:
    """A value written down that equals the default is no change."""
    rows = json.loads(
        run("settings", "--json", "--changed", SERVER_PORT="81", LOG_LEVEL="INFO").output
    )

    assert [row["name"] for row in rows] == ["server.port"]


def test_table_is_written_between_the_markers(run: Run, tmp_path: Path) -> None:
    """What stands around them is kept; a second time changes nothing."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{TABLE_BEGIN}\nof last year\n{TABLE_END}\nafter\n", "utf-8")

    assert run("settings", "--into", str(page)).exit_code == 0
    once = page.read_text("utf-8")
    assert run("settings", "--into", str(page)).exit_code == 0

    assert page.read_text("utf-8") == once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert settings_table() in once
    assert "of last year" not in once


def test_table_is_not_written_into_a_file_without_markers(run: Run, tmp_path: Path) -> None:
    """Nor into one that is not there."""
    page = tmp_path / "page.md"
    page.write_text("nothing here\n", "utf-8")

    assert run("settings", "--into", str(page)).exit_code == 2
    assert run("settings", "--into", str(tmp_path / "none.md")).exit_code == 2
    assert page.read_text("utf-8") == "nothing here\n"


@given(st.text(alphabet="abc:/@?#%", max_size=30))
def test_a_secret_in_any_address_is_masked(text: str) -> None:
    """Whatever stands where the password stands."""
    password = f"P{text.replace('/', '').replace('?', '').replace('#', '').replace('@', '')}P"

    shown = mask_value(SecretStr(f"redis://user:{password}@host:1/0"))

    assert shown == "redis://user:***@host:1/0"


# Callback ------------------------------------------------------------------------------------


def test_callback_show_prints_the_address_with_a_masked_token(run: Run) -> None:
    """The first of two tokens; in full only when asked for."""
    variables = {"ECLOUD_CALLBACK_TOKEN": f"{TOKEN},{OTHER_TOKEN}"}
    base = "https://bot.example.com"

    masked = run("callback", "show", base, **variables).output.strip()
    full = run("callback", "show", base, "--reveal", **variables).output.strip()
    plain = run("callback", "show", base, "--json").output

    assert masked == f"{base}/api/v1/callback/firs***"
    assert full == f"{base}/api/v1/callback/{TOKEN}"
    assert json.loads(plain) == {"url": f"{base}/api/v1/callback", "has_token": False}


@pytest.mark.parametrize(
    ("url", "tokens", "complete"),
    [
        ("http://h:8000", (), "http://h:8000/api/v1/callback"),
        ("http://h:8000/", (TOKEN,), f"http://h:8000/api/v1/callback/{TOKEN}"),
        ("https://h/api/v1/callback", (), "https://h/api/v1/callback"),
        (
            f"https://h/wx/api/v1/callback/{OTHER_TOKEN}",
            (TOKEN, OTHER_TOKEN),
            f"https://h/wx/api/v1/callback/{OTHER_TOKEN}",
        ),
    ],
)
def test_a_bare_host_is_completed(url: str, tokens: tuple[str, ...], complete: str) -> None:
    """And a whole address, also behind a proxy's prefix, is taken as it is."""
    assert complete_callback_url(url, tokens) == complete


@pytest.mark.parametrize(
    ("url", "tokens"),
    [
        ("bot.example.com", ()),
        ("ftp://h/api/v1/callback", ()),
        ("https://h/callback", ()),
        ("https://h/api/v1/callback?x=1", ()),
        ("https://h/api/v1/callback", (TOKEN,)),
        ("https://h/api/v1/callback/wrong-token-0123456789", (TOKEN,)),
    ],
)
def test_an_address_that_would_get_nothing_is_refused(url: str, tokens: tuple[str, ...]) -> None:
    """The sentence does not give the token away."""
    with pytest.raises(ValueError, match="回调地址") as refused:
        complete_callback_url(url, tokens)

    assert TOKEN not in str(refused.value)


async def test_callback_is_registered_and_cancelled_at_the_gateway(run: Run) -> None:
    """What the gateway holds afterwards is the whole address; the terminal shows no token."""
    async with EcloudSimulator.start(seed=1) as gateway:
        variables = {
            "ECLOUD_BASE_URL": gateway.base_url,
            "ECLOUD_AUTHORIZATION": AUTHORIZATION,
            "ECLOUD_CALLBACK_TOKEN": TOKEN,
        }
        done = await asyncio.to_thread(
            run, "callback", "register", f"http://127.0.0.1:{free_port()}", **variables
        )
        registered = gateway.callback_url
        refused = await asyncio.to_thread(run, "callback", "cancel", input="n\n", **variables)
        kept = gateway.callback_url
        cancelled = await asyncio.to_thread(run, "callback", "cancel", "--yes", **variables)

        assert done.exit_code == 0, done.output
        assert registered is not None
        assert registered.endswith(f"/api/v1/callback/{TOKEN}")
        assert TOKEN not in done.output
        assert (refused.exit_code, kept) == (1, registered)
        assert (cancelled.exit_code, gateway.callback_url) == (0, None)


async def test_callback_is_registered_at_every_login_or_at_the_named_one(run: Run) -> None:
    """One that refuses keeps no other from it, and is named; a name that there is not is wrong use."""
    async with EcloudSimulator.start(seed=1) as first, EcloudSimulator.start(seed=2) as second:
        more = {"base_url": second.base_url, "authorization": AUTHORIZATION}
        variables = {
            "ECLOUD_BASE_URL": first.base_url,
            "ECLOUD_AUTHORIZATION": "not-the-right-value",
            "ECLOUD_ACCOUNTS": json.dumps([{"name": "second", **more}]),
        }
        register = ("callback", "register", "http://127.0.0.1:9")
        both = await asyncio.to_thread(run, *register, **variables)
        registered, second.callback_url = second.callback_url, None
        one = await asyncio.to_thread(run, *register, "--login", "second", **variables)
        wrong = await asyncio.to_thread(run, *register, "--login", "third", **variables)

        assert (both.exit_code, one.exit_code, wrong.exit_code) == (1, 0, 2), both.output
        assert "default /setHttpCallbackUrl" in both.output
        assert "default、second" in wrong.output
        assert registered == second.callback_url == "http://127.0.0.1:9/api/v1/callback"


async def test_a_gateway_that_refuses_ends_with_1(run: Run) -> None:
    """With its sentence, and without the Authorization value."""
    async with EcloudSimulator.start(seed=1) as gateway:
        done = await asyncio.to_thread(
            run,
            "callback",
            "register",
            "http://127.0.0.1:9",
            ECLOUD_BASE_URL=gateway.base_url,
            ECLOUD_AUTHORIZATION="not-the-right-value",
        )

    assert done.exit_code == 1
    assert "网关没有接受" in done.output
    assert "not-the-right-value" not in done.output


def test_callback_without_a_gateway_names_what_is_missing(run: Run) -> None:
    """Nothing is asked."""
    done = run("callback", "register", "http://127.0.0.1:9")

    assert done.exit_code == 2
    assert "ecloud.base_url" in done.output


# Queue ---------------------------------------------------------------------------------------


@asynccontextmanager
async def running_engine() -> AsyncIterator[tuple[Redis, str]]:
    """The Redis of a running embedded bridge: a client of its own, and the REDIS_URL it was given."""
    async with EmbeddedRedis("embedded://127.0.0.1:0") as engine:
        redis = engine.client()
        try:
            yield redis, f"embedded://127.0.0.1:{engine.port}"
        finally:
            await close_redis(redis)
            # A visitor that has hung up is still on its way out; the loop must not end before.
            if engine._visitors:
                await asyncio.wait(engine._visitors)


async def fill(redis: Redis) -> list[MessageId]:
    """Two messages of one user, of which the first is in work, and one of another user."""
    made = IdMaker(lambda: time.time_ns() - 60 * 10**9)
    ids = [MessageId(made.next()) for _ in range(3)]
    queue = RedisQueue(redis, worker="host-1", lease=600.0)
    await open_queue(queue)
    for id_, user in zip(ids, (USER, USER, WcId("wxid_other")), strict=True):
        entry = Entry(user=user, message_id=id_, bot_wc_id=WcId("bot"), dedupe_key=str(id_))
        await queue.enqueue([entry], user_bound=0, all_bound=0)
        if id_ == ids[0]:
            await queue.claim(limit=1, may_take_suspect=True)
    return ids


async def check_listing(run: Run, url: str, ids: list[MessageId]) -> None:
    """What ``queue list`` and ``queue show`` say about the queue of ``fill``."""
    listed = await asyncio.to_thread(run, "queue", "list", "--json", REDIS_URL=url)
    table = await asyncio.to_thread(run, "queue", "list", REDIS_URL=url)
    shown = await asyncio.to_thread(run, "queue", "show", USER, "--json", REDIS_URL=url)
    words = await asyncio.to_thread(run, "queue", "show", USER, REDIS_URL=url)
    nobody = await asyncio.to_thread(run, "queue", "show", "wxid_nobody", REDIS_URL=url)

    assert listed.exit_code == 0, listed.output
    page = json.loads(listed.output)
    first, second = page["queues"]
    assert page["users"] == 2
    assert (first["user"], first["depth"], second["depth"]) == (USER, 2, 1)
    assert first["lease"].split(":")[1:] == ["host-1", str(ids[0])]
    assert 0 < first["lease_seconds_left"] <= 600
    assert first["oldest_seconds"] >= 60
    assert (second["lease"], second["due_in_seconds"]) == (None, 0)
    assert USER in table.output
    assert "处理中(host-1" in table.output
    assert [one["id"] for one in json.loads(shown.output)["messages"]] == list(map(str, ids[:2]))
    assert str(ids[1]) in words.output
    assert (nobody.exit_code, nobody.output) == (0, "wxid_nobody 没有等待的消息。\n")


async def test_queue_of_a_running_embedded_bridge_is_listed_through_its_port(run: Run) -> None:
    """REDIS_URL stays the same for the bridge and for the command."""
    async with running_engine() as (redis, url):
        ids = await fill(redis)

        await check_listing(run, url, ids)


@pytest.mark.redis
async def test_queue_on_a_real_redis_is_listed(run: Run, redis_server: Any) -> None:
    """The same on a server."""
    async with Redis.from_url(redis_server.url) as redis:
        ids = await fill(redis)

        await check_listing(run, redis_server.url, ids)


async def test_a_list_made_by_hand_is_shown_as_it_is(run: Run) -> None:
    """Elements that are no ids, and a user in no line, break nothing."""
    async with running_engine() as (redis, url):
        await redis.rpush("ecloud_queue:手工", "not an id", b"\xff")

        listed = await asyncio.to_thread(run, "queue", "list", REDIS_URL=url)
        shown = await asyncio.to_thread(run, "queue", "show", "手工", REDIS_URL=url)

    assert listed.exit_code == shown.exit_code == 0, listed.output + shown.output
    assert "未排上" in listed.output
    assert "不是消息编号" in shown.output


async def test_a_parked_user_is_listed_with_the_peer_it_waits_for(run: Run) -> None:
    """The operator sees that it is not the queue that is stuck."""
    async with running_engine() as (redis, url):
        await fill(redis)
        queue = RedisQueue(redis, worker="host-1")
        [claim] = (await queue.claim(limit=1, may_take_suspect=True)).claims
        await queue.park(claim, "dify:default")
        listed = await asyncio.to_thread(run, "queue", "list", REDIS_URL=url)
        shown = await asyncio.to_thread(run, "queue", "show", claim.user, "--json", REDIS_URL=url)

    assert "暂停,等 dify:default" in listed.output
    assert json.loads(shown.output)["parked_for"] == "dify:default"


async def test_only_so_many_users_are_listed(run: Run) -> None:
    """And how many are left out is said."""
    async with running_engine() as (redis, url):
        await fill(redis)
        done = await asyncio.to_thread(run, "queue", "list", "--limit", "1", REDIS_URL=url)

    assert "共 2 个用户,未显示 1 个" in done.output
    assert "wxid_other" not in done.output


def test_queue_inside_another_process_says_how_to_reach_it(run: Run) -> None:
    """Plain ``embedded://`` has no port; an empty answer would be a lie."""
    done = run("queue", "list", REDIS_URL="embedded://")

    assert done.exit_code == 2
    assert "REDIS_URL=embedded://127.0.0.1:6380" in done.output


@pytest.mark.parametrize("scheme", ["embedded", "redis"])
def test_a_redis_that_is_away_ends_with_1(run: Run, scheme: str) -> None:
    """No traceback; for the embedded one the question whether the bridge runs."""
    done = run("queue", "list", REDIS_URL=f"{scheme}://127.0.0.1:{free_port()}")

    assert done.exit_code == 1
    assert "Redis 连不上" in done.output
    assert ("服务在运行吗" in done.output) is (scheme == "embedded")


def test_the_program_runs_as_a_module(tmp_path: Path) -> None:
    """As the image calls it, with the project's folder as the working one."""
    environment = {"PATH": os.environ["PATH"], "BRIDGE_CONFIG_FILE": "", "BRIDGE_ENV_FILE": ""}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "healthcheck"],
        cwd=ROOT,
        env={**environment, "SERVER_PORT": str(free_port())},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert done.returncode == 1
    assert "没有回应" in done.stderr
