"""What the health routes show of a runtime."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from app.api.breakers import refresh_breakers, shown_breakers
from app.api.health import HealthView
from app.api.limits import refresh_limits, shown_limits
from app.api.means import refresh_means
from app.api.pauses import refresh_pauses, shown_pauses
from app.api.sending import refresh_sending, shown_sending
from app.opening import DATABASE, REDIS
from app.runtime import Role, Runtime
from app.services.dify.apps import AskedApp
from app.services.errors import DifyError, EcloudUnavailable, QueueUnavailable, StoreUnavailable
from app.services.figures import Figures, read_figures
from app.services.findings import Look
from app.services.health import HealthReport, Probe
from app.services.stages import utc_now
from app.version import VERSION

#: Peers are asked at most so often, whoever looks at health.
PEER_SECONDS = 15.0
#: So long a peer may take: Dify under our own load answers a look late.
PEER_PATIENCE = 10.0
#: Longest time readiness waits for SQL; probes are impatient.
READY_SECONDS = 1.0
#: Longest time counts are waited for: what shows an outage must not hang in it.
FIGURES_SECONDS = 1.5


def make_probes(runtime: Runtime) -> dict[str, Probe]:
    """How each dependency of this runtime is checked."""

    async def check_database() -> None:
        await runtime.store.probe()
        if runtime.inbox.is_refusing:
            raise StoreUnavailable(
                "callbacks were refused: neither the database nor the disk took them"
            )

    async def ping_ecloud() -> None:
        if failed := await runtime.gateways.query_all():
            # Its text begins with the login's name.
            raise next(iter(failed.values()))
        standing = runtime.accounts.standing()
        if standing and all(one.is_down for one in standing):
            raise EcloudUnavailable("the gateway answers, but none of our accounts can send")

    return {
        DATABASE: Probe(check=check_database, inspected=partial(runtime.inspection.last, DATABASE)),
        REDIS: Probe(check=runtime.queue.ping, inspected=partial(runtime.inspection.last, REDIS)),
        "dify": Probe(
            check=partial(ping_apps, runtime.apps),
            missing=() if runtime.apps else runtime.settings.dify.missing,
            keep=PEER_SECONDS,
            patience=PEER_PATIENCE,
            inspected=lambda: merged_looks(runtime.app_inspection.looks, "apps"),
        ),
        "ecloud": Probe(
            check=ping_ecloud,
            missing=() if runtime.gateways.clients else runtime.settings.ecloud.missing,
            keep=PEER_SECONDS,
            patience=PEER_PATIENCE,
            inspected=lambda: merged_looks(runtime.gateway_inspection.looks, "logins"),
        ),
    }


async def ping_apps(apps: Mapping[str, AskedApp]) -> None:
    """
    Ask all apps for a sign of life, side by side.

    Raises:
        DifyError: of the first that gives none; where there are several its name stands in front.
    """
    found = await asyncio.gather(
        *(app.client.ping() for app in apps.values()), return_exceptions=True
    )
    for name, outcome in zip(apps, found, strict=True):
        if isinstance(outcome, DifyError) and len(apps) > 1:
            raise type(outcome)(f"{name}: {outcome}") from outcome
        if isinstance(outcome, BaseException):
            raise outcome


def merged_looks(looks: Mapping[str, Look], kind: str) -> Look:
    """The looks at all of a kind as one; where there are several a sentence begins with the name."""
    is_alone = len(looks) == 1
    findings = tuple(
        finding if is_alone else replace(finding, text=f"{name}:{finding.text}")
        for name, look in looks.items()
        for finding in look.findings
    )
    facts = {name: look.facts for name, look in looks.items() if look.facts}
    return Look(findings=findings, facts={kind: facts} if facts else {})


def make_health_view(runtime: Runtime, *, is_draining: Callable[[], bool]) -> HealthView:
    """The health routes' view of this process."""

    async def readiness() -> str:
        if is_draining():
            return "draining"
        if not runtime.role.includes(Role.API):
            return ""
        if runtime.inbox.is_refusing:
            return "neither the database nor the spill file takes callbacks"
        try:
            async with asyncio.timeout(READY_SECONDS):
                await runtime.store.ping()
        except (StoreUnavailable, TimeoutError) as error:
            return "" if runtime.spill.is_usable() else f"{error}; spill: not writable"
        return ""

    def about() -> dict[str, Any]:
        return {
            "version": VERSION,
            "role": runtime.role,
            "mode": "embedded" if runtime.is_embedded else "servers",
            "pid": os.getpid(),
        }

    async def figures() -> dict[str, Any]:
        found = await _figures(runtime)
        if found is None:
            return {"spilled": runtime.inbox.spilled}
        return {
            "waiting": found.waiting,
            "oldest_waiting_seconds": round(found.oldest_age(utc_now()), 1),
            "dead": found.dead,
            "unsent_segments": found.open_segments,
            "spilled": runtime.inbox.spilled,
        }

    async def exposition() -> bytes:
        await _refresh_gauges(runtime)
        return runtime.metrics.exposition()

    return HealthView(
        report=HealthReport(make_probes(runtime), runtime.clock),
        readiness=readiness,
        figures=figures,
        accounts=lambda: _accounts(runtime),
        breakers=partial(shown_breakers, runtime),
        limits=partial(shown_limits, runtime),
        pauses=partial(shown_pauses, runtime),
        sending=partial(shown_sending, runtime),
        about=about,
        exposition=exposition,
    )


def _accounts(runtime: Runtime) -> dict[str, Any]:
    """How many accounts are in which state, and since when the first of them cannot send."""
    found = runtime.accounts.standing()
    counts = Counter(one.state.value for one in found)
    since = min((one.since for one in found if one.is_down), default=None)
    down = {} if since is None else {"down_since": since.isoformat(timespec="seconds")}
    return {**counts, **down}


async def _figures(runtime: Runtime) -> Figures | None:
    """Counts out of SQL; None: it is away or does not answer in time."""
    try:
        async with asyncio.timeout(FIGURES_SECONDS):
            return await read_figures(runtime.store)
    except (StoreUnavailable, TimeoutError):
        return None


async def _depth(runtime: Runtime) -> int | None:
    """Waiting messages out of Redis; None: it is away or does not answer in time."""
    try:
        async with asyncio.timeout(FIGURES_SECONDS):
            return (await runtime.queue.figures()).waiting
    except (QueueUnavailable, TimeoutError):
        return None


async def _refresh_gauges(runtime: Runtime) -> None:
    """Gauges are read when they are looked at; what is away keeps its last value."""
    metrics = runtime.metrics
    metrics.spilled.set(runtime.inbox.spilled)
    refresh_limits(runtime)
    refresh_pauses(runtime)
    found, depth, *_ = await asyncio.gather(
        _figures(runtime),
        _depth(runtime),
        refresh_breakers(runtime),
        refresh_sending(runtime),
        refresh_means(runtime),
    )
    metrics.stores_up.labels(store=DATABASE).set(found is not None)
    metrics.stores_up.labels(store=REDIS).set(depth is not None)
    if found is None or depth is None:
        metrics.scrape_failures.inc()
    if depth is not None:
        metrics.waiting.set(depth)
    if found is not None:
        metrics.oldest.set(found.oldest_age(utc_now()))
        metrics.dead.set(found.dead)
        metrics.unsent.set(found.open_segments)
