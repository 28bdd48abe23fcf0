"""What a Redis server says of itself: version, role, eviction, persistence, clock; and whether it takes writes."""

from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import (
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from app.services.queue.keys import Keys
from app.services.queue.scripts import from_wire, translated
from app.utils.clock import Clock

#: Looks at the clock; the one that took least is the most exact.
CLOCK_LOOKS: Final = 3
TRIAL_MS: Final = 1000
#: The client drops the first word of these.
_WORDS: Final[dict[type[RedisError], str]] = {
    ReadOnlyError: "READONLY",
    OutOfMemoryError: "OOM",
    NoPermissionError: "NOPERM",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockOffset:
    """How far the server's clock is ahead of ours, in seconds (negative: behind)."""

    seconds: float
    #: Half of the round trip: it may be so much more or less.
    uncertainty: float

    @property
    def at_least(self) -> float:
        """The difference that is certain, without sign."""
        return max(0.0, abs(self.seconds) - self.uncertainty)


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisFacts:
    """One server at one moment; None or empty: it does not tell."""

    #: ``redis``, ``valkey``, or what else it calls itself.
    server: str
    version: str
    #: ``master`` or ``slave``, Redis' own words.
    role: str
    is_cluster: bool
    policy: str
    used_memory: int | None
    #: 0: no limit.
    maxmemory: int | None
    aof: bool | None
    appendfsync: str
    #: ``ok`` or ``err``.
    aof_last_write: str
    aof_last_rewrite: str
    rdb_last_save: str
    #: First word of the error with which it refuses a write, e.g. ``READONLY``; empty: it takes writes.
    write_refusal: str
    clock: ClockOffset


async def read_server(redis: Redis, clock: Clock, *, namespace: str = "") -> RedisFacts:
    """
    Ask; writes one key that is gone after a second.

    Raises:
        QueueUnavailable: Redis could not be reached in time.
    """
    async with translated(redis):
        info = await _info(redis)
        policy = _text(info, "maxmemory_policy") or await _config(redis, "maxmemory-policy")
        appendfsync = await _config(redis, "appendfsync")
        offset = await _clock_offset(redis, clock)
        write_refusal = await _write_refusal(redis, Keys(namespace=namespace))
    aof = info.get("aof_enabled")
    return RedisFacts(
        server=_text(info, "server_name") or "redis",
        version=_text(info, "valkey_version") or _text(info, "redis_version"),
        role=_text(info, "role"),
        is_cluster=bool(info.get("cluster_enabled")),
        policy=policy,
        used_memory=info.get("used_memory"),
        maxmemory=info.get("maxmemory"),
        aof=None if aof is None else bool(aof),
        appendfsync=appendfsync,
        aof_last_write=_text(info, "aof_last_write_status"),
        aof_last_rewrite=_text(info, "aof_last_bgrewrite_status"),
        rdb_last_save=_text(info, "rdb_last_bgsave_status"),
        write_refusal=write_refusal,
        clock=offset,
    )


def _text(info: dict[str, Any], name: str) -> str:
    value = info.get(name)
    return "" if value is None else str(value)


async def _info(redis: Redis) -> dict[str, Any]:
    """All sections; nothing where the server does not tell (no right, or no such command)."""
    try:
        return dict(await redis.info())
    except ResponseError:
        return {}


async def _config(redis: Redis, name: str) -> str:
    """One value of its configuration; managed servers often forbid the question."""
    try:
        found = await redis.config_get(name)
    except ResponseError:
        return ""
    return next((from_wire(_bytes(value)) for value in found.values()), "")


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


async def _clock_offset(redis: Redis, clock: Clock) -> ClockOffset:
    looks = []
    for _ in range(CLOCK_LOOKS):
        wall, started = clock.time(), clock.monotonic()
        seconds, micros = await redis.time()
        half = (clock.monotonic() - started) / 2
        ahead = seconds + micros / 1_000_000 - (wall + half)
        looks.append(ClockOffset(seconds=ahead, uncertainty=half))
    return min(looks, key=lambda look: look.uncertainty)


async def _write_refusal(redis: Redis, keys: Keys) -> str:
    try:
        await redis.set(keys.trial, b"1", px=TRIAL_MS)
    except ResponseError as error:
        for kind, word in _WORDS.items():
            if isinstance(error, kind):
                return word
        return str(error).partition(" ")[0] or "ERR"
    return ""
