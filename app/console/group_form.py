"""The form of one group: what is typed into it as columns of the row, and the row as words. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from app.console.visit import Form
from app.models.flow import DEFAULT_APP, Trigger
from app.services.decide import compile_pattern
from app.services.group_table import GroupRow
from app.services.groups import GroupSettings

CHOICES: Final[Mapping[str, bool | None]] = {"": None, "on": True, "off": False}
MOST_WORDS: Final = 50
LONGEST_WORD: Final = 100
LONGEST_PATTERN: Final = 1000
SWITCHES: Final = ("is_enabled", "mention_sender", "plain_text", "citations", "suggestions")
COLUMNS: Final = (*SWITCHES, "trigger", "prefixes", "keywords", "pattern", "dify_app")


@dataclass(kw_only=True, slots=True)
class Typed:
    """What was sent: columns, or what is wrong with it."""

    columns: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read_group_form(form: Form, defaults: GroupSettings, *, apps: Collection[str]) -> Typed:
    """
    The columns that a form asks for; empty fields leave the default of the settings.

    Args:
        apps: names of the apps that a group may ask.
    """
    trigger, app = form.get("trigger"), form.get("dify_app")
    columns: dict[str, Any] = {name: CHOICES.get(form.get(name)) for name in SWITCHES}
    columns |= {
        "trigger": trigger if trigger in set(Trigger) else None,
        "prefixes": _words(form.get("prefixes")),
        "keywords": _words(form.get("keywords")),
        "pattern": form.get("pattern").strip() or None,
        "dify_app": None if app in ("", DEFAULT_APP) else app,
    }
    if columns["dify_app"] is not None and app not in apps:
        return Typed(problem="没有这个应用。")
    return Typed(columns=columns, problem=_problem(columns, defaults))


def values_of(row: GroupRow) -> dict[str, Any]:
    """The columns of a row."""
    return {name: value for name, value in asdict(row).items() if name in COLUMNS}


def told(values: Mapping[str, Any]) -> str:
    """Columns that are set, for the audit."""
    shown = {name: value for name, value in values.items() if value is not None}
    return " ".join(f"{name}={_plain(value)}" for name, value in shown.items()) or "(默认)"


def _plain(value: Any) -> str:
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


def _words(text: str) -> list[str] | None:
    """One word a line; None: none."""
    words = [line.strip() for line in text.splitlines() if line.strip()]
    return words or None


def _problem(columns: Mapping[str, Any], defaults: GroupSettings) -> str:
    """Why these columns are no rules that hold; empty: they are."""
    words = [*(columns["prefixes"] or ()), *(columns["keywords"] or ())]
    if len(words) > MOST_WORDS or any(len(word) > LONGEST_WORD for word in words):
        return "前缀和关键词最多 50 个,每个最多 100 个字符。"
    pattern = columns["pattern"]
    if pattern is not None:
        if len(pattern) > LONGEST_PATTERN:
            return "正则表达式最多 1000 个字符。"
        try:
            compile_pattern(pattern)
        except ValueError as error:
            return str(error)
    rules = defaults.rules
    needed = {
        Trigger.PREFIX: (columns["prefixes"] or rules.prefixes, "触发为「前缀」时要写前缀。"),
        Trigger.KEYWORD: (columns["keywords"] or rules.keywords, "触发为「关键词」时要写关键词。"),
        Trigger.REGEX: (pattern or rules.pattern, "触发为「正则」时要写正则表达式。"),
    }
    has, problem = needed.get(columns["trigger"] or rules.trigger, (True, ""))
    return "" if has else problem
