"""
All settings: their names, kinds and defaults, and where their values come from.

Order, the first wins: arguments, process environment, ``.env``, ``config.json``, defaults. What
the parts are made of lies in ``settings/``; the rest of the program is given a section and imports
its type from here. Imports nothing else of ours.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from settings.alerts import AlertChannel, AlertsSettings
from settings.problems import Problem, SettingsError, show_value
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
    Found,
    Layer,
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
]

#: What the README shows where an operator has to put his own.
PLACEHOLDERS = ("http://your-ecloud-domain.com", "your-authorization-token", "your-dify-api-key")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedSettings:
    """The settings, and what an operator may want to know about where they come from."""

    settings: Settings
    #: Of every setting, by dotted name.
    sources: Mapping[str, Source]
    #: Chinese sentences, to be logged once logging works.
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingRow:
    """One line of the settings table."""

    name: str
    env: str
    default: str
    allowed: str
    description: str


def load_settings(
    *,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = Path(".env"),
    config_file: Path | None = Path("config.json"),
    environ_file: str = "",
    **overrides: Any,
) -> LoadedSettings:
    """
    Read all sources and check every value. Changes nothing.

    Args:
        environ: The process environment; ``os.environ`` if None.
        env_file: ``.env``; need not exist; None reads none.
        config_file: ``config.json``; need not exist; None reads none.
        environ_file: the file that the process environment was filled from, if it was.
        overrides: Sections (mapping or model) and flat settings that go before everything else.

    Raises:
        SettingsError: Names every problem at once, in Chinese, without secrets.
    """
    names = [read_environment(os.environ if environ is None else environ, file=environ_file)]
    if env_file is not None:
        names.append(read_env_file(env_file))
    layers = [read_arguments(overrides), *names]
    if config_file is not None:
        layers.append(read_config_file(config_file))
    problems = [problem for layer in layers for problem in layer.problems]
    problems += find_conflicts(*names)
    return _resolve(layers, problems)


def load_process_settings(environ: Mapping[str, str] | None = None) -> LoadedSettings:
    """
    The settings of a process that is started from the project's folder.

    ``BRIDGE_ENV_FILE`` and ``BRIDGE_CONFIG_FILE`` name other files than ``.env`` and
    ``config.json``; empty: none is read. ``BRIDGE_ENVIRONMENT_FROM`` names the file that whoever
    starts the process has filled its environment from, as Compose does.

    Raises:
        SettingsError: as ``load_settings``.
    """
    variables = os.environ if environ is None else environ
    env_file = variables.get("BRIDGE_ENV_FILE", ".env")
    config_file = variables.get("BRIDGE_CONFIG_FILE", "config.json")
    return load_settings(
        environ=variables,
        env_file=Path(env_file) if env_file else None,
        config_file=Path(config_file) if config_file else None,
        environ_file=variables.get("BRIDGE_ENVIRONMENT_FROM", ""),
    )


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


def _resolve(layers: Sequence[Layer], problems: list[Problem]) -> LoadedSettings:
    """Let the first layer win for each setting, then check what was chosen."""
    chosen: dict[str, tuple[Found, Source]] = {}
    for layer in layers:
        for name, found in layer.values.items():
            chosen.setdefault(name, (found, layer.source))
    values = {name: found for name, (found, _) in chosen.items()}
    settings = None
    try:
        settings = Settings(**_as_tree(values))
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems += [_problem(detail, values) for detail in details]
    if problems or settings is None:
        raise SettingsError(problems)
    sources = {name: chosen[name][1] if name in chosen else Source.DEFAULT for name in leaves()}
    warnings = [warning for layer in layers for warning in layer.warnings]
    warnings += _placeholder_warnings(values)
    return LoadedSettings(
        settings=settings, sources=MappingProxyType(sources), warnings=tuple(warnings)
    )


def _as_tree(values: Mapping[str, Found]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, found in values.items():
        leaf = leaves()[name]
        branch = tree.setdefault(leaf.section, {}) if leaf.section else tree
        branch[leaf.key] = found.value
    return tree


def _problem(detail: ErrorDetails, values: Mapping[str, Found]) -> Problem:
    """What pydantic found wrong, as an operator can act on it."""
    path = [str(part) for part in detail["loc"]]
    context = detail.get("ctx", {})
    if detail["type"] == "needed":  # a rule between two settings of one section
        path.append(context["key"])
    name = path[0] if path[0] in leaves() else ".".join(path[:2])
    leaf, inner = leaves()[name], path[2:] if "." in name else path[1:]
    found = values.get(name)
    shown = "" if found is None or leaf.is_secret else show_value(found.value)
    return Problem(
        setting=".".join([name, *inner]),
        env=leaf.env,
        source=found.place if found else "未设置",
        value=shown,
        reason=_reason(detail),
        allowed=leaf.allowed,
    )


def _reason(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"])
        case "needed":
            return detail["msg"]
        case "missing":
            return "缺少这一项"
        case "extra_forbidden":
            return "没有这个名字"
        case _:
            return "值不对"


def _placeholder_warnings(values: Mapping[str, Found]) -> list[str]:
    return [
        f"{name} 还是示例里的占位值,请改成自己的(来源:{found.place})"
        for name, found in values.items()
        if found.value in PLACEHOLDERS
    ]


def _show_default(leaf: Leaf) -> str:
    default = leaf.field.get_default(call_default_factory=True)
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default in ((), {}) else str(default)
