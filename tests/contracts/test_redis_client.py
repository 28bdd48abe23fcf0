"""Clients by URL, and the embedded engine with its port."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis as sync_redis
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from typing_extensions import override

from app.utils.embedded_redis import EmbeddedRedis, encode_reply, parse_embedded_url
from app.utils.redis_client import close_redis, make_redis, open_redis
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer, missing_reason

# URLs


async def test_client_has_time_limits_and_repeats_nothing() -> None:
    """Scripts are not idempotent."""
    redis = make_redis("redis://:p%40ss@db.example:6399/3")
    options = redis.connection_pool.connection_kwargs

    assert (options["host"], options["port"], options["db"]) == ("db.example", 6399, 3)
    assert options["password"] == "p@ss"
    assert options["socket_timeout"] == options["socket_connect_timeout"] == 2.0
    assert options["retry"].get_retries() == 0
    assert not options["decode_responses"]
    await close_redis(redis)


@pytest.mark.parametrize(
    ("url", "connection"),
    [
        ("rediss://db.example/1", SSLConnection),
        ("unix:///run/redis.sock?db=2", UnixDomainSocketConnection),
    ],
)
async def test_other_ways_to_a_server_are_understood(url: str, connection: type) -> None:
    """TLS and socket files."""
    redis = make_redis(url)

    assert redis.connection_pool.connection_class is connection
    await close_redis(redis)


async def test_sentinel_url_names_sentinels_master_and_database() -> None:
    """Several addresses, a login for the data servers and one for the sentinels."""
    redis = make_redis(
        "redis+sentinel://joe:p%40ss@s1:26380,s2,[::1]:26381/main/4?sentinel_password=x"
    )
    pool = redis.connection_pool

    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "main"
    options = pool.connection_kwargs
    assert (options["db"], options["username"], options["password"]) == (4, "joe", "p@ss")
    assert options["socket_timeout"] == 2.0
    found = [
        sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels
    ]
    assert [(each["host"], each["port"], each["password"]) for each in found] == [
        ("s1", 26380, "x"),
        ("s2", 26379, "x"),
        ("::1", 26381, "x"),
    ]
    await close_redis(redis)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "localhost:6379",
        "",
        "redis+sentinel://s1:26379",
        "redis+sentinel:///main/0",
        "redis+sentinel://s1/main/x",
        "redis+sentinel://s1,/main",
        "embedded://127.0.0.1:1",
        "redis://h?foo=1",
        "redis://h?ssl_cert_reqs=none",
        "redis://h?socket_timeout=soon",
        "rediss://h?ssl_cert_reqs=perhaps",
    ],
)
def test_url_that_is_none_is_refused_with_its_name(url: str) -> None:
    """The operator is told which setting is wrong."""
    with pytest.raises(ValueError, match="REDIS_URL"):
        make_redis(url)


@pytest.mark.redis
async def test_sentinel_leads_to_the_master(tmp_path: Path) -> None:
    """A real sentinel is asked for the address."""
    if reason := missing_reason():
        pytest.skip(reason)
    (tmp_path / "data").mkdir()
    server = RedisServer(tmp_path / "data")
    server.start()
    sentinel = RedisSentinel(tmp_path)
    sentinel.watch(server)
    try:
        sentinel.start()
        async with open_redis(f"redis+sentinel://127.0.0.1:{sentinel.port}/main/1") as redis:
            await redis.set("x", "1")
            assert await redis.get("x") == b"1"
        async with open_redis(server.url.removesuffix("0") + "1") as direct:
            assert await direct.get("x") == b"1"
    finally:
        sentinel.kill()
        server.kill()


class RedisSentinel(RedisServer):
    """A sentinel process that watches one server."""

    @override
    def command(self) -> list[str]:
        config = self.directory / "sentinel.conf"
        return ["redis-server", str(config), "--sentinel"]

    def watch(self, server: RedisServer) -> None:
        """Write the configuration, which a sentinel must have as a file."""
        (self.directory / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"logfile {self.directory}/redis.log\n"
            f"sentinel monitor main 127.0.0.1 {server.port} 1\n"
        )


# Embedded


@pytest.mark.parametrize("host", ["192.168.1.5", "example.com", "[::]", "10.0.0.1", "0"])
def test_embedded_engine_listens_on_this_machine_only(host: str) -> None:
    """It knows no password."""
    with pytest.raises(ValueError, match="只能监听本机地址"):
        EmbeddedRedis(f"embedded://{host}:6380")


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:6380", "embedded://127.0.0.1", "embedded://127.0.0.1:1/2", "embedded:///x"],
)
def test_embedded_url_that_says_more_or_less_is_refused(url: str) -> None:
    """A port is needed, a database is not."""
    with pytest.raises(ValueError, match="REDIS_URL"):
        parse_embedded_url(url)


@given(st.integers(0, 65535), st.sampled_from(["127.0.0.1", "127.1.2.3", "localhost", "[::1]"]))
def test_embedded_url_gives_back_its_port(port: int, host: str) -> None:
    """Every loopback address is fine."""
    parsed = parse_embedded_url(f"embedded://{host}:{port}")

    assert parsed is not None
    assert parsed[1] == port
    assert parse_embedded_url("embedded://") is None


async def test_two_embedded_engines_know_nothing_of_each_other() -> None:
    """Tests and playgrounds run side by side."""
    async with open_redis("embedded://") as one, open_redis("embedded://") as two:
        await one.set("x", "1")

        assert await two.get("x") is None


async def test_clients_of_one_engine_share_its_state() -> None:
    """Worker and callback look at the same keys."""
    embedded = EmbeddedRedis()
    one, two = embedded.client(), embedded.client()
    await one.set("x", b"\xff")

    assert await two.get("x") == b"\xff"
    await close_redis(one)
    await close_redis(two)


async def test_keys_of_the_embedded_engine_expire() -> None:
    """Leases end there, too."""
    async with open_redis("embedded://") as redis:
        await redis.set("x", "1", px=20)
        await asyncio.sleep(0.03)

        assert await redis.get("x") is None
        assert await redis.keys("*") == []


def talk(port: int) -> dict[str, object]:
    """What a synchronous client of another program sees."""
    client = sync_redis.Redis(port=port, protocol=2, socket_timeout=5)
    said: dict[str, object] = {}
    said["pong"] = client.ping()
    client.set("big", b"x" * 3_000_000)
    said["big"] = len(client.get("big") or b"")
    sha = client.script_load("return {KEYS[1], 1, false, redis.call('LLEN', KEYS[1])}")
    said["script"] = client.evalsha(sha, 1, "list")
    pipeline = client.pipeline()
    for number in range(500):
        pipeline.rpush("list", number)
    said["pipeline"] = len(pipeline.execute())
    said["scan"] = len(list(client.scan_iter("*")))
    said["block"] = client.blpop(["nothing"], timeout=0.05)
    calls: dict[str, Callable[[], object]] = {
        "no_script": lambda: client.evalsha("0" * 40, 0),
        "wrong": lambda: client.get("list"),
    }
    for name, call in calls.items():
        try:
            call()
        except ResponseError as error:
            said[name] = type(error), str(error)
    client.close()
    return said


async def test_port_serves_other_programs() -> None:
    """Big replies, scripts, transactions, blocking commands, errors."""
    async with EmbeddedRedis("embedded://127.0.0.1:0") as embedded:
        assert embedded.port
        said = await asyncio.to_thread(talk, embedded.port)
        own = embedded.client()
        assert await own.llen("list") == 500
        await close_redis(own)

    assert said["pong"] is True
    assert said["big"] == 3_000_000
    assert said["script"] == [b"list", 1, None, 0]
    assert said["pipeline"] == 500
    assert said["scan"] == 2
    assert said["block"] is None
    assert said["no_script"] == (NoScriptError, "No matching script. Please use EVAL.")
    assert said["wrong"] == (
        ResponseError,
        "WRONGTYPE Operation against a key holding the wrong kind of value",
    )


async def test_port_speaks_protocol_3_with_who_asks_for_it() -> None:
    """redis-py asks for it by default."""
    async with EmbeddedRedis("embedded://127.0.0.1:0") as embedded:

        def ask() -> tuple[object, object]:
            with sync_redis.Redis(port=embedded.port or 0) as client:
                client.hset("h", "a", "1")
                client.zadd("z", {"m": 1.5})
                return client.hgetall("h"), client.zrange("z", 0, -1, withscores=True)

        everything, scores = await asyncio.to_thread(ask)
        assert everything == {b"a": b"1"}
        assert [tuple(pair) for pair in scores] == [(b"m", 1.5)]  # type: ignore[attr-defined]


async def test_visitor_who_speaks_something_else_is_sent_away() -> None:
    """A browser on the port disturbs nobody."""
    async with EmbeddedRedis("embedded://127.0.0.1:0") as embedded:
        reader, writer = await asyncio.open_connection("127.0.0.1", embedded.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(30):
            await reader.read()
        writer.close()
        own = embedded.client()
        assert await own.ping()
        await close_redis(own)


async def test_closing_sends_visitors_away_and_leaves_nothing_behind() -> None:
    """Also one who blocks for ever; no thread, no task, no port is left."""
    threads = threading.active_count()
    embedded = EmbeddedRedis("embedded://127.0.0.1:0")
    await embedded.open()
    port = embedded.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nx\r\n$1\r\n0\r\n")
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(0.05)
    await embedded.close()

    async with asyncio.timeout(30):
        assert await reader.read() == b""
        assert await idle_reader.read() == b""
    writer.close()
    idle_writer.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert threading.active_count() == threads
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert embedded.port is None
    with contextlib.closing(socket.socket()) as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port or 0))


async def test_port_that_is_taken_stops_the_start() -> None:
    """It does not fall back to another one."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            async with EmbeddedRedis(f"embedded://127.0.0.1:{taken.getsockname()[1]}"):
                pass


async def test_absent_server_fails_at_once() -> None:
    """No hidden repetition with growing pauses."""
    redis = make_redis(f"redis://127.0.0.1:{free_port()}")
    async with asyncio.timeout(1):
        with pytest.raises(RedisConnectionError):
            await redis.ping()
    await close_redis(redis)


@given(
    st.recursive(
        st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=20),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    )
)
def test_encoded_reply_is_read_back_the_same(reply: object) -> None:
    """hiredis, which redis-cli uses, understands what the port writes."""
    import hiredis

    reader = hiredis.Reader()
    reader.feed(encode_reply(reply))

    assert reader.gets() == reply
