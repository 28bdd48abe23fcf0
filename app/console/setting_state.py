"""Where the settings stand: what is in force in this process, and what the next start would read."""

from dataclasses import dataclass

from app.console.visit import Visit
from app.services.live_settings import differing
from config import LoadedSettings, Problem, Settings, SettingsError
from settings.console import LIVE


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingState:
    """Both, at one moment."""

    now: Settings
    #: Of the next start; what this process was started with where that would not start.
    next: LoadedSettings
    #: Why the next start would refuse; empty: it would not.
    problems: tuple[Problem, ...] = ()

    @property
    def waiting(self) -> list[str]:
        """Names of what takes effect with the next start."""
        return [name for name in differing(self.now, self.next.settings) if name not in LIVE]

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
    try:
        wanted = await visit.parts.settings.next()
    except SettingsError as error:
        return SettingState(now=runtime.live.now, next=runtime.loaded, problems=error.problems)
    return SettingState(now=runtime.live.now, next=wanted)
