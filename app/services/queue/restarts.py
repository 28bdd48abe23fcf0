"""Which processes wait for a restart to have the settings of the console; each says so for itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from app.services.queue.keys import Keys
from app.services.queue.scripts import from_wire, to_wire, translated

#: What a process said so long ago holds no more: it is gone, or has been started anew.
SHOWN_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingProcess:
    """One that waits."""

    #: Host, number of the process and a random end.
    holder: str
    role: str
    #: Names of the settings.
    names: tuple[str, ...]


class Restarts:
    """
    Speaks for one process, and sees all.

    Every method raises ``QueueUnavailable`` when Redis cannot be reached in time.
    """

    def __init__(self, redis: Redis, *, holder: str, role: str, namespace: str = "") -> None:
        self._redis = redis
        self._key = Keys(namespace=namespace).restarts
        self.holder = holder
        self._role = role

    async def show(self, names: Sequence[str], *, now: float) -> None:
        """
        This process waits for these settings.

        Args:
            now: seconds since 1970.
        """
        said = json.dumps({"at": now, "role": self._role, "names": list(names)})
        async with translated(self._redis):
            await self._redis.hset(self._key, self.holder, said)

    async def hide(self) -> None:
        """It waits for nothing, or ends."""
        async with translated(self._redis):
            await self._redis.hdel(self._key, self.holder)

    async def waiting(self, *, now: float) -> list[WaitingProcess]:
        """All processes that wait; whoever has not said so lately is forgotten."""
        async with translated(self._redis):
            found: dict[Any, Any] = await self._redis.hgetall(self._key)
        read = {from_wire(holder): _read(value) for holder, value in found.items()}
        stale = [
            holder for holder, said in read.items() if said is None or said[0] < now - SHOWN_SECONDS
        ]
        if stale:
            async with translated(self._redis):
                await self._redis.hdel(self._key, *map(to_wire, stale))
        return [
            WaitingProcess(holder=holder, role=said[1], names=said[2])
            for holder, said in sorted(read.items())
            if said is not None and holder not in stale
        ]


def _read(value: Any) -> tuple[float, str, tuple[str, ...]] | None:
    """What a process said: when, its role, the names; None: written by hand."""
    try:
        said = json.loads(from_wire(value))
        return float(said["at"]), str(said["role"]), tuple(map(str, said["names"]))
    except (ValueError, TypeError, KeyError):
        return None
