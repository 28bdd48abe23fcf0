"""
Where values come from: arguments, process environment, ``.env``, console, ``config.json``.

Each source becomes a layer: the values it gives, by dotted name, with the place where each one
stands. Nothing here judges a value; unknown names and unreadable files are problems.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import BaseModel
from pydantic_settings import EnvSettingsSource
from typing_extensions import override

from settings.problems import Problem, did_you_mean
from settings.tree import Leaf, Settings, leaves, sections

MAX_SECRET_FILE = 65_536
FILE_SUFFIX = "_FILE"
NO_FILE = "文件不存在"


class Source(StrEnum):
    """Where the effective value of a setting comes from; the first in this order wins."""

    ARGUMENT = "argument"
    ENVIRONMENT = "environment"
    ENV_FILE = ".env"
    CONSOLE = "console"
    CONFIG_FILE = "config.json"
    DEFAULT = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One value, not yet checked, and its place in words."""

    value: Any = field(repr=False)  # may be a secret
    place: str


@dataclass(kw_only=True, slots=True)
class Layer:
    """What one source says."""

    source: Source
    #: The source in words, with the file's path.
    place: str
    values: dict[str, Found] = field(default_factory=dict)
    #: The variables of ours that are set here and not empty.
    names: frozenset[str] = frozenset()
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def complain(
        self, reason: str, *, hint: str = "", allowed: str = "", setting: str = ""
    ) -> None:
        """Add a problem about the source itself or about a name in it."""
        self.problems.append(
            Problem(setting=setting, source=self.place, reason=reason, hint=hint, allowed=allowed)
        )

    def put(self, leaf: Leaf, value: Any, place: str = "") -> None:
        """Keep a value unless it is empty; empty means: not set."""
        if isinstance(value, str):
            value = value.strip()
        if value is None or (value == "" and not leaf.empty_counts):
            return
        self.values[leaf.name] = Found(value=value, place=place or self.place)


class _NamesSource(EnvSettingsSource):
    """pydantic-settings' own mapping of SECTION_NAME to the tree, fed with given variables."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = {name.lower(): value for name, value in variables.items()}
        super().__init__(Settings)

    @override
    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._variables


def read_arguments(overrides: Mapping[str, Any]) -> Layer:
    """The layer of ``load_settings(**overrides)``."""
    layer = Layer(source=Source.ARGUMENT, place="启动参数")
    plain = {
        name: value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
        for name, value in overrides.items()
    }
    _take_tree(layer, plain)
    return layer


def read_environment(environ: Mapping[str, str], *, file: str = "") -> Layer:
    """
    The layer of the process environment; names we do not know are only warned of.

    Args:
        file: The file that the environment was filled from, where somebody says so; then names are
            those of that file, and judged like them.
    """
    layer = Layer(source=Source.ENVIRONMENT, place=f"环境变量(来自 {file})" if file else "环境变量")
    variables = _fold(environ)
    _take_variables(layer, variables)
    if file:
        _judge_names(layer, variables)
        return layer
    unknown = [f"{name}({hint})" if hint else name for name, hint in _unknown_names(variables)]
    if unknown:
        layer.warnings.append("环境变量里有不认识的名字,已忽略:" + "、".join(unknown))
    return layer


def read_env_file(path: Path) -> Layer:
    """The layer of ``.env``; a name we do not know in one of our sections stops the start."""
    layer = Layer(source=Source.ENV_FILE, place=f".env({path.absolute()})")
    text = _read_optional(path, layer)
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            layer.complain(f"第 {binding.original.line} 行无法识别", allowed="每行写成 名字=值")
    if layer.problems:
        return layer
    values = dotenv_values(stream=StringIO(text))
    for name in (name for name, value in values.items() if value is None and _is_ours(name)):
        layer.complain(f"{name} 后面缺少 =", allowed="每行写成 名字=值")
    variables = _fold({name: value for name, value in values.items() if value is not None})
    _take_variables(layer, variables)
    _judge_names(layer, variables)
    return layer


def read_config_file(path: Path) -> Layer:
    """The layer of ``config.json``; keys that begin with ``//`` are comments."""
    layer = Layer(source=Source.CONFIG_FILE, place=f"config.json({path.absolute()})")
    text = _read_optional(path, layer)
    if not text.strip():
        return layer
    try:
        tree = json.loads(text, object_pairs_hook=lambda pairs: _without_comments(pairs, layer))
    except json.JSONDecodeError as error:
        place = f"第 {error.lineno} 行第 {error.colno} 列"
        layer.complain(f"{place}不是合法的 JSON({error.msg})")
    except RecursionError:
        layer.complain("JSON 嵌套过深")
    else:
        if isinstance(tree, dict):
            _take_tree(layer, tree)
        else:
            layer.complain("最外层应为 {…}")
    return layer


def find_conflicts(*layers: Layer) -> Iterator[Problem]:
    """Secrets that are given both as a value and as a file, be it in different places."""
    names = {name for layer in layers for name in layer.names}
    for leaf in leaves().values():
        file_name = leaf.env + FILE_SUFFIX
        if leaf.has_file_variant and {leaf.env, file_name} <= names:
            reason = f"{leaf.env} 和 {file_name} 同时设置了"
            places = ";".join(
                layer.place for layer in layers if layer.names & {leaf.env, file_name}
            )
            yield Problem(setting=leaf.name, source=places, reason=reason, hint="只保留其中一个")


def _fold(variables: Mapping[str, str]) -> dict[str, str]:
    """Names do not depend on upper and lower case; a name in capitals goes first."""
    folded = {name.upper(): value for name, value in variables.items()}
    return folded | {name: value for name, value in variables.items() if name.isupper()}


def _take_variables(layer: Layer, variables: Mapping[str, str]) -> None:
    layer.names = frozenset(name for name, value in variables.items() if value.strip())
    by_env = {leaf.env: leaf for leaf in leaves().values()}
    tree = _NamesSource({name: value for name, value in variables.items() if name in by_env})()
    for leaf in by_env.values():
        branch = tree.get(leaf.section, {}) if leaf.section else tree
        if leaf.key in branch:
            layer.put(leaf, branch[leaf.key])
        if leaf.has_file_variant and leaf.env + FILE_SUFFIX in layer.names:
            _take_secret_file(layer, leaf, Path(variables[leaf.env + FILE_SUFFIX].strip()))


def _take_secret_file(layer: Layer, leaf: Leaf, path: Path) -> None:
    name = leaf.env + FILE_SUFFIX
    place = f"{layer.place} {name}({path})"
    text, reason = _read_text(path)
    if not reason and not text.strip():
        reason = "文件是空的"
    if not reason and len(text) > MAX_SECRET_FILE:
        reason = f"文件超过 {MAX_SECRET_FILE} 个字符"
    if reason:
        layer.problems.append(Problem(setting=leaf.name, env=name, source=place, reason=reason))
    else:
        layer.put(leaf, text, place)


def _take_tree(layer: Layer, tree: Mapping[str, Any]) -> None:
    known = leaves()
    for name, value in tree.items():
        if name in known and not known[name].section:
            layer.put(known[name], value)
        elif name not in sections():
            hint = did_you_mean(name, [*sections(), *known])
            layer.complain(f"没有名为 {name} 的设置", hint=hint)
        elif not isinstance(value, Mapping):
            layer.complain("这里应为一组设置", setting=name, allowed="{…}")
        else:
            _take_section(layer, name, value)


def _take_section(layer: Layer, section: str, values: Mapping[str, Any]) -> None:
    known = leaves()
    keys = [leaf.key for leaf in known.values() if leaf.section == section]
    for key, value in values.items():
        if key in keys:
            layer.put(known[f"{section}.{key}"], value)
        else:
            layer.complain(f"没有名为 {section}.{key} 的设置", hint=did_you_mean(key, keys))


def _judge_names(layer: Layer, variables: Mapping[str, str]) -> None:
    """Names in a file of ours: an unknown one is a mistake, one that is nearly ours may be."""
    for name, hint in _unknown_names(variables):
        layer.complain(f"没有名为 {name} 的设置", hint=hint)
    for name, hint in _near_misses(variables):
        layer.warnings.append(f"{layer.place} 里的 {name} 不是本程序的设置,{hint}")


def _unknown_names(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names that begin like a section of ours but are no setting, with a suggestion."""
    known = _known_names()
    for name in variables:
        if name not in known and _is_ours(name):
            yield name, did_you_mean(name, known)


def _near_misses(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names outside our sections that look like a slip of the pen."""
    known = _known_names()
    for name in variables:
        if not _is_ours(name) and (hint := did_you_mean(name, known, cutoff=0.85)):
            yield name, hint


def _is_ours(name: str) -> bool:
    """The name is a setting, or it begins like one of our sections."""
    prefixes = tuple(f"{section}_".upper() for section in sections())
    return name.upper() in _known_names() or name.upper().startswith(prefixes)


def _known_names() -> tuple[str, ...]:
    every = leaves().values()
    return (
        *(leaf.env for leaf in every),
        *(leaf.env + FILE_SUFFIX for leaf in every if leaf.has_file_variant),
    )


def _without_comments(pairs: list[tuple[str, Any]], layer: Layer) -> dict[str, Any]:
    """An object without its comments; a key that stands twice is a mistake."""
    kept: dict[str, Any] = {}
    for key, value in pairs:
        if key.startswith("//"):
            continue
        if key in kept:
            layer.complain(f"{key} 写了两次")
        kept[key] = value
    return kept


def _read_optional(path: Path, layer: Layer) -> str:
    """The text of a file that need not be there."""
    text, reason = _read_text(path)
    if reason and reason != NO_FILE:
        layer.complain(reason)
    return text


def _read_text(path: Path) -> tuple[str, str]:
    """The text of a file, or why there is none."""
    try:
        return path.read_text(encoding="utf-8-sig"), ""
    except FileNotFoundError:
        return "", NO_FILE
    except UnicodeDecodeError:
        return "", "文件不是 UTF-8 编码"
    except IsADirectoryError:
        return "", "这是一个目录,不是文件"
    except OSError as error:
        return "", f"文件无法读取({error.strerror})"
