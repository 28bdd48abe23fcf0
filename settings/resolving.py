"""From what the sources say to settings in force: the first source that speaks wins, then all is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from settings.console import read_console
from settings.problems import Problem, SettingsError, show_value
from settings.sources import Found, Layer, Source
from settings.tree import Settings, leaves

#: What the README shows where an operator has to put his own.
PLACEHOLDERS: Final = (
    "http://your-ecloud-domain.com",
    "your-authorization-token",
    "your-dify-api-key",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedSettings:
    """The settings, and what an operator may want to know about where they come from."""

    settings: Settings
    #: Of every setting, by dotted name.
    sources: Mapping[str, Source]
    #: Chinese sentences, to be logged once logging works.
    warnings: tuple[str, ...]
    #: The sources that they were made of, but the console; and what that said.
    outside: "Outside"
    console: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outside:
    """What all sources say that can be read without the database."""

    #: Those that go before the console, and those behind it.
    above: tuple[Layer, ...] = field(repr=False)
    below: tuple[Layer, ...] = field(repr=False)
    problems: tuple[Problem, ...] = ()

    def fixed(self) -> Mapping[str, Source]:
        """Settings that the console cannot change here, each with the source that says more."""
        found: dict[str, Source] = {}
        for layer in self.above:
            for name in layer.values:
                found.setdefault(name, layer.source)
        return found

    def value(self, name: str) -> Any:
        """
        One setting that the console may not change, checked by itself.

        Raises:
            SettingsError: it is none that a process can start with.
        """
        values = {
            key: found for key, (found, _) in _chosen(self._layers({})).items() if key == name
        }
        try:
            found: Any = Settings(**_as_tree(values))
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise SettingsError([_problem(detail, values) for detail in details]) from None
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def settled(
        self, console: Mapping[str, Any], *, warnings: Sequence[str] = ()
    ) -> LoadedSettings:
        """
        All settings as they are in force with what the console changed.

        Args:
            warnings: more sentences for the operator.

        Raises:
            SettingsError: Names every problem at once, in Chinese, without secrets.
        """
        layers = self._layers(console)
        chosen = _chosen(layers)
        values = {name: found for name, (found, _) in chosen.items()}
        problems, settings = list(self.problems), None
        try:
            settings = Settings(**_as_tree(values))
        except ValidationError as error:
            details = error.errors(include_url=False)
            problems += [_problem(detail, values) for detail in details]
        if problems or settings is None:
            # Not chained: pydantic's own error may hold a value.
            raise SettingsError(problems) from None
        sources = {name: chosen[name][1] if name in chosen else Source.DEFAULT for name in leaves()}
        told = [*warnings, *(warning for layer in layers for warning in layer.warnings)]
        return LoadedSettings(
            settings=settings,
            sources=MappingProxyType(sources),
            warnings=(*told, *_placeholder_warnings(values)),
            outside=self,
            console=MappingProxyType(dict(console)),
        )

    def tried(self, console: Mapping[str, Any], typed: Mapping[str, Any]) -> Settings:
        """
        The settings as they would be if *typed* went before everything else.

        Raises:
            SettingsError: as ``settled``.
        """
        layer = read_console(typed)
        whole = Outside(above=(layer, *self.above), below=self.below, problems=self.problems)
        return whole.settled(console).settings

    def _layers(self, console: Mapping[str, Any]) -> tuple[Layer, ...]:
        return (*self.above, read_console(console), *self.below)


def _chosen(layers: Sequence[Layer]) -> dict[str, tuple[Found, Source]]:
    """The first layer wins for each setting."""
    chosen: dict[str, tuple[Found, Source]] = {}
    for layer in layers:
        for name, found in layer.values.items():
            chosen.setdefault(name, (found, layer.source))
    return chosen


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
