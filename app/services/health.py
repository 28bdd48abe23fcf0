"""How the bridge and what it depends on are, for people and for probes."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from loguru import logger

from app.services.errors import ServiceError
from app.services.findings import Effect, Look
from app.utils.clock import Clock

#: A look at the report takes no longer.
LOOK_SECONDS = 3.0
#: Whoever does not answer by then is down; shorter than a look, so that the look says so.
PATIENCE = 2.0

Check = Callable[[], Awaitable[None]]


class DependencyState(StrEnum):
    """One dependency at one moment."""

    UP = "up"
    #: It answers and works, and is not set up or not as well as it should be.
    DEGRADED = "degraded"
    #: It answers, or may still answer, but later than within three seconds.
    SLOW = "slow"
    DOWN = "down"
    #: Settings are missing; nothing is wrong.
    NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """One line of the report."""

    state: DependencyState
    #: Milliseconds of the check; None: there was none.
    latency_ms: float | None = None
    #: Why it is not up; empty if it is.
    reason: str = ""
    #: What should be otherwise, one sentence each.
    warnings: tuple[str, ...] = ()
    #: Facts about it.
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How one dependency is checked."""

    check: Check
    #: Names of settings without which it cannot be used.
    missing: tuple[str, ...] = ()
    #: Seconds one result is good for.
    keep: float = 1.0
    #: Seconds after which a check has failed; a busy peer is not down because it is asked in between.
    patience: float = PATIENCE
    #: What the last look at how it is set up found; asked at every look at the report.
    inspected: Callable[[], Look] = Look


class HealthReport:
    """
    Asks all dependencies, side by side; a look takes three seconds at most.

    A check that needs longer goes on, and a later look shows how it ended.
    """

    def __init__(self, probes: Mapping[str, Probe], clock: Clock) -> None:
        self._probes = probes
        self._clock = clock
        self._kept: dict[str, tuple[float, Dependency]] = {}
        #: Whoever looks while a check runs shares its result: looking must not become a load.
        self._asking: dict[str, asyncio.Task[Dependency]] = {}

    async def look(self) -> dict[str, Dependency]:
        """The state of every dependency; never raises."""
        names = list(self._probes)
        found = await asyncio.gather(*(self._one(name) for name in names))
        return {
            name: with_look(dependency, self._probes[name].inspected())
            for name, dependency in zip(names, found, strict=True)
        }

    async def _one(self, name: str) -> Dependency:
        probe = self._probes[name]
        if probe.missing:
            return Dependency(
                state=DependencyState.NOT_CONFIGURED, reason=f"未配置:{'、'.join(probe.missing)}"
            )
        kept = self._kept.get(name)
        if kept is not None and self._clock.monotonic() - kept[0] < probe.keep:
            return kept[1]
        if name not in self._asking:
            self._asking[name] = asyncio.create_task(self._ask(name, probe), name=f"check-{name}")
        asking = self._asking[name]
        done, _ = await asyncio.wait({asking}, timeout=LOOK_SECONDS)
        return asking.result() if done else _STILL_ASKED

    async def _ask(self, name: str, probe: Probe) -> Dependency:
        try:
            result = await self._check(probe)
            self._kept[name] = (self._clock.monotonic(), result)
        finally:
            del self._asking[name]
        return result

    async def _check(self, probe: Probe) -> Dependency:
        started = self._clock.monotonic()
        reason = ""
        try:
            async with asyncio.timeout(probe.patience):
                await probe.check()
        except TimeoutError:
            reason = f"{probe.patience:g} 秒内没有回应"
        except ServiceError as error:
            reason = f"{error.code}: {_without_names(str(error))}"
        except Exception as error:  # noqa: BLE001 - the page that shows what is wrong must not be what is wrong
            logger.opt(exception=error).error("health.check_failed")
            reason = f"{type(error).__name__}: {error}"
        milliseconds = round((self._clock.monotonic() - started) * 1000, 1)
        if reason:
            return Dependency(state=DependencyState.DOWN, latency_ms=milliseconds, reason=reason)
        if milliseconds >= LOOK_SECONDS * 1000:
            return Dependency(
                state=DependencyState.SLOW, latency_ms=milliseconds, reason="回应很慢"
            )
        return Dependency(state=DependencyState.UP, latency_ms=milliseconds)


_STILL_ASKED = Dependency(
    state=DependencyState.SLOW, reason=f"{LOOK_SECONDS:g} 秒内没有回应,检查仍在进行"
)


def with_look(dependency: Dependency, look: Look) -> Dependency:
    """A dependency with what an inspection found: who answers may still not work (pure)."""
    state, reason = dependency.state, dependency.reason
    broken = [one.text for one in look.findings if one.effect is Effect.BROKEN]
    if broken and state is not DependencyState.DOWN:
        state, reason = DependencyState.DOWN, " ".join(broken)
    elif look.findings and state is DependencyState.UP:
        state = DependencyState.DEGRADED
    return replace(
        dependency,
        state=state,
        reason=reason,
        warnings=tuple(one.text for one in look.findings),
        details=look.facts,
    )


def _without_names(text: str) -> str:
    """What a server said, without the users and hosts it quotes: anybody may read the report."""
    return re.sub(r"'[^']*'", "'…'", text)
