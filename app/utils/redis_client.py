"""Clients for Redis by URL: one server, TLS, a socket file, Sentinel, or the embedded engine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

EMBEDDED_SCHEME: Final = "embedded"
SERVER_SCHEMES: Final = ("redis", "rediss", "unix")
SENTINEL_SCHEME: Final = "redis+sentinel"
SENTINEL_PORT: Final = 26379


def make_redis(
    url: str,
    *,
    socket_timeout: float = 2.0,
    max_connections: int = 64,
    health_check_interval: int = 30,
) -> Redis:
    """
    A client that returns bytes and repeats nothing by itself.

    Scripts are not idempotent: an ack that is sent twice answers that the lease is lost. So the
    caller decides what to do after a failure. A connection that the server closed while it was
    idle is noticed before it is used.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` or
            ``redis+sentinel://[user:password@]host[:port][,host[:port]…]/master[/db]``.
        socket_timeout: longest wait for a connection, an answer, or a free connection, in seconds.
        max_connections: connections of this client at most.
        health_check_interval: a connection idle for so many seconds is tried before its use.

    Raises:
        ValueError: the URL is none of these, or has a parameter that does not exist.
    """
    options: dict[str, Any] = {
        "socket_timeout": socket_timeout,
        "socket_connect_timeout": socket_timeout,
        "health_check_interval": health_check_interval,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": max_connections,
        "decode_responses": False,
        # With RESP3 the client trusts idle connections instead of looking at them.
        "protocol": 2,
    }
    scheme = urlsplit(url).scheme
    if scheme == SENTINEL_SCHEME:
        return _make_sentinel_client(url, options)
    if scheme not in SERVER_SCHEMES:
        raise ValueError(
            f"REDIS_URL 的协议 {scheme!r} 不支持：请用 redis://、rediss://、unix://、redis+sentinel:// 或 embedded://"
        )
    try:
        pool = BlockingConnectionPool.from_url(url, timeout=socket_timeout, **options)
        # Connections are made late; an option that none of them takes is found out now.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, RedisError) as error:
        raise ValueError(f"REDIS_URL 里的参数不能用:{error}") from error
    return Redis.from_pool(pool)


def _make_sentinel_client(url: str, options: dict[str, Any]) -> Redis:
    """Ask the sentinels for the master now and after each failure."""
    parts = urlsplit(url)
    login, _, addresses = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    if not addresses or not name or not (database or "0").isdigit():
        raise ValueError(
            "REDIS_URL 应为 redis+sentinel://主机:端口,主机:端口/主节点名/库号，"
            f"现在的主机是 {addresses!r}，路径是 {parts.path!r}"
        )
    username, _, password = login.partition(":")
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    sentinel_options = {
        key: value for key, value in options.items() if key != "max_connections"
    } | {
        "username": query.get("sentinel_username"),
        "password": query.get("sentinel_password"),
    }
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_sentinel_address(address) for address in addresses.split(",")],
        sentinel_kwargs=sentinel_options,
        **options,
    )
    client: Redis = sentinel.master_for(
        name,
        redis_class=Redis,
        db=int(database or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
    )
    return client


def _sentinel_address(text: str) -> tuple[str, int]:
    """``host``, ``host:port`` or ``[v6]:port``."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"REDIS_URL 里的 Sentinel 地址 {text!r} 无法识别")
    return parts.hostname, parts.port or SENTINEL_PORT


async def close_redis(redis: Redis) -> None:
    """Close all connections, those to the sentinels included."""
    pool = redis.connection_pool
    await redis.aclose(close_connection_pool=True)
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose(close_connection_pool=True)


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[Redis]:
    """
    The client for any REDIS_URL; ``embedded://`` starts the engine for as long as it is open.

    Raises:
        ValueError: the URL cannot be understood or is not allowed.
        OSError: the port of ``embedded://host:port`` is taken.
    """
    if urlsplit(url).scheme == EMBEDDED_SCHEME:
        from app.utils.embedded_redis import EmbeddedRedis  # noqa: PLC0415 - loads an engine

        async with EmbeddedRedis(url) as embedded:
            redis = embedded.client()
            try:
                yield redis
            finally:
                await close_redis(redis)
        return
    redis = make_redis(url)
    try:
        yield redis
    finally:
        await close_redis(redis)
