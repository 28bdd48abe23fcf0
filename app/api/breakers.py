"""What health and metrics show of the breakers: kinds of peers, never which account."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from app.runtime import Runtime
from app.services.errors import QueueUnavailable
from app.services.queue.breakers import DIFY, PEER_KINDS, OpenBreaker, kind_of

#: Longest time Redis is waited for: what shows an outage must not hang in it.
LOOK_SECONDS = 1.5


async def shown_breakers(runtime: Runtime) -> list[dict[str, Any]]:
    """The open ones for the health report; nothing while Redis is away."""
    found = await _look(runtime)
    return [_shown(one, found[1]) for one in found[0]] if found else []


async def refresh_breakers(runtime: Runtime) -> None:
    """Set the gauges; while Redis is away they keep their last value."""
    found = await _look(runtime)
    if found is None:
        return
    breakers, parked = found
    runtime.metrics.parked.set(sum(parked.values()))
    kinds = [kind_of(one.peer) for one in breakers]
    for kind in PEER_KINDS:
        runtime.metrics.breakers.labels(peer=kind).set(kinds.count(kind))


async def _look(runtime: Runtime) -> tuple[list[OpenBreaker], dict[str, int]] | None:
    """Open breakers, and how many users are parked by peer; None: Redis does not tell in time."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await runtime.breakers.states(), await runtime.queue.parked_peers()
    except (QueueUnavailable, TimeoutError):
        return None


def _shown(one: OpenBreaker, parked: dict[str, int]) -> dict[str, Any]:
    since = datetime.fromtimestamp(one.opened_at, UTC)
    kind, _, name = one.peer.partition(":")
    return {
        "peer": kind,
        # The settings' own name; of accounts nobody is told which one.
        **({"app": name} if kind == DIFY else {}),
        "since": since.isoformat(timespec="seconds"),
        "code": one.code,
        "parked_users": parked.get(one.peer, 0),
    }
