"""Runs the Lua files of ``scripts/`` and turns what the client raises into ``QueueUnavailable``."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from app.services.errors import QueueUnavailable
from app.services.queue.keys import Keys

#: uvloop's word for writing to a connection that the other side has reset while it was idle.
_BROKEN_OFF = "the handler is closed"
#: What goes over the wire as it is; text and numbers are encoded here.
Wire = str | int | bytes


def to_wire(value: Wire) -> bytes:
    """Bytes of *value*; names that came out of Redis as odd bytes go back as the same bytes."""
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogateescape")


def from_wire(raw: Any) -> str:
    """Text of bytes (the client's types allow more); never fails, whatever was written by hand."""
    return bytes(raw).decode("utf-8", "surrogateescape")


@asynccontextmanager
async def translated(redis: Redis) -> AsyncIterator[None]:
    """
    Raise ``QueueUnavailable`` for everything the client raises.

    A server that became a replica answers but takes no writes; its connections are dropped, so
    that the next call looks up the address again.
    """
    try:
        yield
    except ReadOnlyError as error:
        await redis.connection_pool.disconnect(inuse_connections=False)
        raise QueueUnavailable(f"Redis takes no writes: {error}") from error
    except RedisError as error:
        raise QueueUnavailable(f"Redis: {type(error).__name__}: {error}") from error
    except RuntimeError as error:
        if _BROKEN_OFF not in str(error):
            raise
        raise QueueUnavailable("Redis: the connection was reset") from error


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua file with the common head in front."""

    source: str
    sha: str


@cache
def load_script(name: str) -> Script:
    """Read ``scripts/<name>.lua``; comments stay out of what is sent and compiled."""
    folder = files(__package__).joinpath("scripts")
    lines = (
        line
        for part in ("common", name)
        for line in folder.joinpath(f"{part}.lua").read_text("utf-8").splitlines()
    )
    source = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class ScriptRunner:
    """Calls scripts by their digest; sends the source where the server does not know it."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._shared = [to_wire(key) for key in keys.shared()]
        self._prefixes = [to_wire(keys.queue_prefix), to_wire(keys.processing_prefix)]

    async def run(self, name: str, *argv: Wire, own_keys: Sequence[str] = ()) -> Any:
        """
        Run one script.

        Raises:
            QueueUnavailable: Redis could not be reached in time, or refused.
        """
        script = load_script(name)
        arguments = self._arguments(argv, own_keys)
        async with translated(self._redis):
            try:
                return await self._redis.evalsha(script.sha, *arguments)
            except NoScriptError:
                # A restarted server knows no scripts.
                return await self._redis.eval(script.source, *arguments)

    async def run_many(
        self, name: str, calls: Sequence[tuple[Sequence[Wire], Sequence[str]]]
    ) -> list[Any]:
        """
        Run one script once per (argv, own keys), in this order and in one round trip.

        The first call brings the source along, so the others find it: were they repeated after a
        refusal, messages of one user could change places.

        Returns:
            The replies; a ``ResponseError`` where one call failed by itself and others did not.

        Raises:
            QueueUnavailable: as ``run``; some of the calls may have been carried out.
        """
        script = load_script(name)
        async with translated(self._redis):
            pipeline: Pipeline = self._redis.pipeline(transaction=False)
            for position, (argv, own_keys) in enumerate(calls):
                arguments = self._arguments(argv, own_keys)
                if position:
                    pipeline.evalsha(script.sha, *arguments)
                else:
                    pipeline.eval(script.source, *arguments)
            replies = await pipeline.execute(raise_on_error=False) if calls else []
            errors = [reply for reply in replies if isinstance(reply, RedisError)]
            for error in errors:
                # A subclass is about the server (full, read-only, loading), not about this call.
                if type(error) is not ResponseError or len(errors) == len(replies):
                    raise error
            return replies

    def _arguments(self, argv: Sequence[Wire], own_keys: Sequence[str]) -> tuple[Any, ...]:
        """Number of keys, keys, arguments."""
        keys = [*self._shared, *map(to_wire, own_keys)]
        return (len(keys), *keys, *self._prefixes, *map(to_wire, argv))
