"""What the pages are made with; built once, with the first visit."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.console.assets import Asset, read_folder
from app.console.entry import AddressOf
from app.console.live import Live
from app.console.refreshes import RefreshDesk
from app.console.replays import ReplayDesk
from app.console.shown import add_filters
from app.console.words import read_words
from app.runtime import Runtime
from app.services.audit import Audit
from app.services.console_sessions import ConsoleSessions
from app.services.health import HealthReport
from app.services.login_throttle import LoginThrottle
from app.services.operators import Operators
from app.services.setting_desk import SettingDesk
from app.utils.passwords import Passwords
from config import Outside

FOLDER = Path(__file__).parent
TEMPLATES = FOLDER / "templates"
STATIC = FOLDER / "static"


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Everything a page may use."""

    runtime: Runtime
    report: HealthReport
    stopping: asyncio.Event
    #: Where a request came from, see ``ConsoleEntry``.
    address_of: AddressOf
    #: Times are shown in it.
    zone: ZoneInfo
    templates: Environment
    assets: dict[str, Asset]
    #: English by Chinese.
    words: dict[str, str]
    operators: Operators
    sessions: ConsoleSessions
    throttle: LoginThrottle
    passwords: Passwords
    audit: Audit
    settings: SettingDesk
    live: Live
    replays: ReplayDesk
    refreshes: RefreshDesk
    #: Whether somebody is known to be able to log in.
    has_operators: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def make(
        cls,
        runtime: Runtime,
        *,
        read_outside: Callable[[], Outside],
        report: HealthReport,
        stopping: asyncio.Event,
        address_of: AddressOf,
        words: Mapping[str, Any],
    ) -> "Parts":
        """Build them on a runtime."""
        zone = ZoneInfo(runtime.settings.conversations.timezone)
        store = runtime.store
        audit = Audit(store)
        return cls(
            runtime=runtime,
            report=report,
            stopping=stopping,
            address_of=address_of,
            zone=zone,
            templates=make_templates(zone, words),
            assets=read_folder(STATIC),
            words=read_words(),
            operators=Operators(store),
            sessions=ConsoleSessions(store),
            throttle=LoginThrottle(runtime.redis),
            passwords=Passwords(),
            audit=audit,
            settings=SettingDesk(runtime.overrides, read_outside),
            live=Live(store),
            replays=ReplayDesk(store, runtime.redis, audit, stopping),
            refreshes=RefreshDesk(store, runtime.redis, audit),
        )


def make_templates(zone: ZoneInfo, words: Mapping[str, Any]) -> Environment:
    """
    The pages' templates; whatever anybody wrote goes in as text.

    Args:
        words: what every page may use.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    add_filters(environment, zone)
    environment.globals.update(words)
    return environment
