"""
All settings: their names, kinds and defaults, and where their values come from.

Order, the first wins: arguments, process environment, ``.env``, console, ``config.json``, defaults.
What the console changed lies in the database, so it is handed in by whoever can read that. What the
parts are made of lies in ``settings/``; the rest of the program is given a section and imports its
type from here. Imports nothing else of ours.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from settings.alerts import AlertChannel, AlertsSettings
from settings.problems import Problem, SettingsError
from settings.resolving import LoadedSettings, Outside
from settings.sections import (
    ConsoleSettings,
    ContactsSettings,
    ConversationsSettings,
    DifyApp,
    DifySettings,
    EcloudAccount,
    EcloudSettings,
    GroupsSettings,
    LogSettings,
    MessageProcessingSettings,
    PlaygroundSettings,
    ReplySettings,
    RetentionSettings,
    Section,
    ServerSettings,
    WholeDifyApp,
    WorkerSettings,
)
from settings.sources import (
    Source,
    find_conflicts,
    read_arguments,
    read_config_file,
    read_env_file,
    read_environment,
)
from settings.tree import Leaf, Settings, leaves

__all__ = [
    "AlertChannel",
    "AlertsSettings",
    "ConsoleSettings",
    "ContactsSettings",
    "ConversationsSettings",
    "DifyApp",
    "DifySettings",
    "EcloudAccount",
    "EcloudSettings",
    "GroupsSettings",
    "LoadedSettings",
    "LogSettings",
    "MessageProcessingSettings",
    "Outside",
    "PlaygroundSettings",
    "Problem",
    "ReplySettings",
    "RetentionSettings",
    "Section",
    "ServerSettings",
    "SettingRow",
    "Settings",
    "SettingsError",
    "Source",
    "WholeDifyApp",
    "WorkerSettings",
    "describe_settings",
    "load_process_settings",
    "load_settings",
    "read_outside",
    "read_process_outside",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingRow:
    """One line of the settings table."""

    name: str
    env: str
    default: str
    allowed: str
    description: str


def read_outside(
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = Path(".env"),
    config_file: Path | None = Path("config.json"),
    environ_file: str = "",
    **overrides: Any,
) -> Outside:
    """
    Read all sources but the console. Changes nothing, and judges nothing yet.

    Args:
        environ: The process environment; ``os.environ`` if None.
        env_file: ``.env``; need not exist; None reads none.
        config_file: ``config.json``; need not exist; None reads none.
        environ_file: the file that the process environment was filled from, if it was.
        overrides: Sections (mapping or model) and flat settings that go before everything else.
    """
    names = [read_environment(os.environ if environ is None else environ, file=environ_file)]
    if env_file is not None:
        names.append(read_env_file(env_file))
    above = (read_arguments(overrides), *names)
    below = () if config_file is None else (read_config_file(config_file),)
    problems = [problem for layer in (*above, *below) for problem in layer.problems]
    return Outside(above=above, below=below, problems=(*problems, *find_conflicts(*names)))


def load_settings(
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = Path(".env"),
    config_file: Path | None = Path("config.json"),
    environ_file: str = "",
    console: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> LoadedSettings:
    """
    Read all sources and check every value. Changes nothing.

    Args:
        environ: as ``read_outside``, and so are the others.
        console: what the console changed, by dotted name; None: nothing.

    Raises:
        SettingsError: Names every problem at once, in Chinese, without secrets.
    """
    outside = read_outside(
        environ=environ,
        env_file=env_file,
        config_file=config_file,
        environ_file=environ_file,
        **overrides,
    )
    return outside.settled(console or {})


def read_process_outside(environ: Mapping[str, str] | None = None) -> Outside:
    """
    The sources of a process that is started from the project's folder, but the console.

    ``BRIDGE_ENV_FILE`` and ``BRIDGE_CONFIG_FILE`` name other files than ``.env`` and
    ``config.json``; empty: none is read. ``BRIDGE_ENVIRONMENT_FROM`` names the file that whoever
    starts the process has filled its environment from, as Compose does.
    """
    variables = os.environ if environ is None else environ
    env_file = variables.get("BRIDGE_ENV_FILE", ".env")
    config_file = variables.get("BRIDGE_CONFIG_FILE", "config.json")
    return read_outside(
        environ=variables,
        env_file=Path(env_file) if env_file else None,
        config_file=Path(config_file) if config_file else None,
        environ_file=variables.get("BRIDGE_ENVIRONMENT_FROM", ""),
    )


def load_process_settings(environ: Mapping[str, str] | None = None) -> LoadedSettings:
    """
    The settings of such a process without what the console changed.

    Raises:
        SettingsError: as ``load_settings``.
    """
    return read_process_outside(environ).settled({})


def describe_settings() -> tuple[SettingRow, ...]:
    """Every setting, in the order of the tree."""
    return tuple(
        SettingRow(
            name=leaf.name,
            env=leaf.env,
            default=_show_default(leaf),
            allowed=leaf.allowed,
            description=leaf.field.description or "",
        )
        for leaf in leaves().values()
    )


def _show_default(leaf: Leaf) -> str:
    default = leaf.field.get_default(call_default_factory=True)
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default in ((), {}) else str(default)
