"""
The three ledgers of alerts that a process looks after.

``shared`` is what is the same for all processes, and one of them tells it; a host's own is what is
the same for all processes on it; and what only one process sees, it tells by itself and remembers
by itself: that Redis is away cannot be settled through Redis.
"""

import asyncio
from typing import Final

from app.channels import make_sender
from app.opening import DATABASE, REDIS
from app.runtime import Runtime, data_folder
from app.services.alerts.ledger import Timing
from app.services.queue.notebook import Notebook
from app.workers.alert_keeper import AlertDesk
from app.workers.alert_post import AlertPost
from app.workers.alert_shelf import OwnShelf, SharedShelf, Shelf
from app.workers.alert_watch import HostWatch, OwnWatch, SharedWatch, Watch

#: Longer than a look with all its patience and the pause before the next one.
LEASE_SECONDS: Final = 30.0
SHARED: Final = "shared"


async def keep_alerts(runtime: Runtime, stop: asyncio.Event) -> None:
    """Run them side by side until stopped: what cannot be told by one does not hold up the others."""
    await asyncio.gather(*(desk.run(stop) for desk in make_desks(runtime)))


def make_desks(runtime: Runtime) -> list[AlertDesk]:
    """All that this process looks after."""
    settings = runtime.settings.alerts
    shared = SharedWatch(
        accounts=runtime.accounts,
        breakers=runtime.breakers,
        store=runtime.store,
        inspection=runtime.inspection,
        app_inspection=runtime.app_inspection,
        gateway_inspection=runtime.gateway_inspection,
        database=DATABASE,
        redis=REDIS,
        longest_wait=settings.oldest_waiting,
        paused=runtime.pauses.now,
    )
    host = HostWatch(
        host=runtime.host,
        folder=data_folder(runtime.settings),
        least_free=settings.disk_free,
    )
    own = OwnWatch(
        queue=runtime.queue,
        redis_look=lambda: runtime.inspection.last(REDIS),
        inbox=runtime.inbox,
    )
    return [
        _make_desk(runtime, shared, _shared_shelf(runtime, SHARED)),
        _make_desk(runtime, host, _shared_shelf(runtime, f"host:{runtime.host}")),
        _make_desk(runtime, own, OwnShelf()),
    ]


def _shared_shelf(runtime: Runtime, name: str) -> SharedShelf:
    lease = runtime.leases.task(f"alerts:{name}", seconds=LEASE_SECONDS)
    return SharedShelf(lease, Notebook(runtime.redis, name))


def _make_desk(runtime: Runtime, watch: Watch, shelf: Shelf) -> AlertDesk:
    settings = runtime.settings.alerts
    post = AlertPost(
        runtime.channels,
        sender=make_sender(runtime.settings, runtime.host),
        metrics=runtime.metrics,
        clock=runtime.clock,
    )
    timing = Timing(hold=settings.hold, reminder=settings.reminder)
    return AlertDesk(watch=watch, shelf=shelf, post=post, timing=timing, clock=runtime.clock)
