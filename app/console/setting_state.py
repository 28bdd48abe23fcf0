"""Where the settings stand: what is in force in this process, and what the next start would read."""

import asyncio
from dataclasses import dataclass
from typing import Final

from app.console.visit import Visit
from app.runtime import Runtime
from app.services.errors import QueueUnavailable
from app.services.live_settings import waits_for_restart
from app.services.queue.restarts import WaitingProcess
from config import LoadedSettings, Problem, Settings, SettingsError

#: Longest wait for Redis, which only tells of other processes.
REDIS_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingState:
    """Both, at one moment."""

    now: Settings
    #: Of the next start; what this process was started with where that would not start.
    next: LoadedSettings
    #: Why the next start would refuse; empty: it would not.
    problems: tuple[Problem, ...] = ()
    #: Other processes that wait for a restart, as far as Redis tells.
    others: tuple[WaitingProcess, ...] = ()

    @property
    def waiting(self) -> list[str]:
        """Names of what takes effect with the next start."""
        return waits_for_restart(self.now, self.next.settings)

    @property
    def is_unconfigured(self) -> bool:
        """Whether nothing can be answered with what the next start would read."""
        settings = self.next.settings
        return not settings.ecloud.every_login() or not settings.dify.every_app()


async def look_at_settings(visit: Visit) -> SettingState:
    """
    Where they stand now.

    Raises:
        StoreUnavailable: the database is away.
    """
    runtime = visit.parts.runtime
    others = await _others(runtime)
    try:
        wanted = await visit.parts.settings.next()
    except SettingsError as error:
        return SettingState(
            now=runtime.live.now, next=runtime.loaded, problems=error.problems, others=others
        )
    return SettingState(now=runtime.live.now, next=wanted, others=others)


async def _others(runtime: Runtime) -> tuple[WaitingProcess, ...]:
    restarts = runtime.restarts
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            found = await restarts.waiting(now=runtime.clock.time())
    except (QueueUnavailable, TimeoutError):
        return ()
    return tuple(one for one in found if one.holder != restarts.holder)
