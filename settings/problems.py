"""What can be wrong with a setting, and how an operator is told."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from typing_extensions import override

MAX_SHOWN = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that stops the start. Texts are Chinese; a secret's value is never in them."""

    #: Dotted name as in config.json; empty if it is not about one setting.
    setting: str = ""
    #: Name of the environment variable; empty likewise.
    env: str = ""
    #: Where the value was found, e.g. ``.env(/srv/bridge/.env)``.
    source: str = ""
    #: The offending value as it may be shown; empty for secrets.
    value: str = ""
    #: What is wrong, one clause.
    reason: str = ""
    #: What may stand there.
    allowed: str = ""
    #: A suggestion, e.g. the name that was probably meant.
    hint: str = ""

    @override
    def __str__(self) -> str:
        names = f"{self.setting}(环境变量 {self.env})" if self.env else self.setting
        parts = [self.reason] if self.reason else []
        if self.value:
            parts.insert(0, f"当前值「{self.value}」")
        if self.allowed:
            parts.append(f"允许:{self.allowed}")
        if self.hint:
            parts.append(self.hint)
        if self.source:
            parts.append(f"来源:{self.source}")
        text = ";".join(parts)
        return f"{names}:{text}" if names else text


class SettingsError(Exception):
    """The settings are not usable; the text names every problem at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [f"  {number}. {problem}" for number, problem in enumerate(self.problems, 1)]
        super().__init__("\n".join([f"设置有 {len(self.problems)} 处问题,无法启动:", *lines]))


def show_value(value: Any) -> str:
    """A value as it may stand in a message: short, printable, without passwords and keys."""
    text = value if isinstance(value, str) else repr(value)
    text = re.sub(r"(://)\S*@", r"\1***@", text)
    text = re.sub(r"\b(app-|bearer\s+)[\w.~+/=-]{6,}", r"\1***", text, flags=re.IGNORECASE)
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """A clause that suggests the known name nearest to this one; empty if none is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"是不是想写 {near[0]}" if near else ""
