"""What health and metrics show of the limits of the apps: common to all processes, and this one's part."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from app.models.limit import LimitLook
from app.runtime import Role, Runtime
from app.services.errors import QueueUnavailable
from app.services.queue.breakers import limit_peer

#: Longest time Redis is waited for: what shows an outage must not hang in it.
LOOK_SECONDS = 1.5


async def shown_limits(runtime: Runtime) -> list[dict[str, Any]]:
    """One line per app for the health report; nothing while Redis is away."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            looks = {app: await runtime.limits.look(app) for app in runtime.apps}
            parked = await runtime.queue.parked_peers()
    except (QueueUnavailable, TimeoutError):
        return []
    return [
        _shown(app, look, parked.get(limit_peer(app), 0))
        for app, look in looks.items()
        if look.limit is not None
    ]


def refresh_limits(runtime: Runtime) -> None:
    """Set the gauges; of the common limit as this process heard it last."""
    if not runtime.role.includes(Role.WORKER):
        return
    metrics = runtime.metrics
    for app, asked in runtime.apps.items():
        metrics.limit.labels(app=app).set(int(asked.gate.limit))
        metrics.limit_share.labels(app=app).set(asked.gate.slots)
        metrics.limit_in_use.labels(app=app).set(asked.gate.in_use)


def _shown(app: str, look: LimitLook, parked: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "app": app,
        "limit": int(look.limit or 0),
        "processes": look.processes,
        "in_use": look.in_use,
        "waiting": look.waiting + parked,
    }
    if look.cause:
        at = datetime.fromtimestamp(look.lowered_at, UTC)
        shown["lowered_by"] = look.cause
        shown["lowered_at"] = at.isoformat(timespec="seconds")
    return shown
