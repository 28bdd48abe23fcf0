"""The settings: what is in force, where each value comes from, and changing one."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from app.console.entry_form import ACCOUNTS, APPS
from app.console.gate import refusal
from app.console.setting_form import (
    Field,
    choices_of,
    field_of,
    read_setting,
    shown_value,
    typed_text,
)
from app.console.setting_state import SettingState, look_at_settings
from app.console.visit import Visit
from app.services import setting_desk
from app.services.shown_settings import effective_rows
from config import SettingsError
from settings.console import Effect, effect_of
from settings.tree import Leaf, leaves

HERE: Final = "/console/settings/"
#: Settings that have a page of their own.
PAGES: Final = {one.setting: one.path for one in (ACCOUNTS, APPS)}
_TONES: Final = {"console": "good", "config.json": "quiet", "default": "quiet"}
#: Each with its tone.
SOURCE_WORDS: Final = {
    source: (word, _TONES.get(source, "busy")) for source, word in setting_desk.SOURCE_WORDS.items()
}
EFFECT_WORDS: Final = {
    Effect.LIVE: "立即生效",
    Effect.RESTART: "重启后生效",
    Effect.OUTSIDE: "只在文件里改",
}


async def list_settings(visit: Visit) -> Response:
    """Every setting; secrets as stars."""
    asked, chosen = visit.asked("q").casefold(), visit.asked("show")
    state = await look_at_settings(visit)
    rows = [row for row in _rows(state) if _is_chosen(row, chosen) and _fits(row, asked)]
    return visit.page(
        "settings.html",
        rows=rows,
        asked=visit.asked("q"),
        chosen=chosen,
        warnings=visit.parts.runtime.loaded.warnings,
        source_words=SOURCE_WORDS,
        effect_words=EFFECT_WORDS,
        state=state,
    )


async def show_setting(visit: Visit) -> Response:
    """One setting and its form."""
    leaf = _leaf(visit)
    if leaf is None:
        return _missing(visit)
    if leaf.name in PAGES:
        return visit.go(PAGES[leaf.name])
    state = await look_at_settings(visit)
    return _page(visit, leaf, state, typed_text(leaf, state.next.settings))


async def change_setting(visit: Visit) -> Response:
    """Save what was typed, or say why not."""
    leaf = _leaf(visit)
    if leaf is None or leaf.name in PAGES:
        return _missing(visit)
    typed = read_setting(leaf, visit.form)
    if typed.is_left:
        return visit.go(_path(leaf), told="setting_left")
    try:
        await visit.parts.settings.change({leaf.name: typed.value}, by=visit.deed("", ""))
    except SettingsError as error:
        state = await look_at_settings(visit)
        text = "" if leaf.is_secret else visit.form.get("value")
        return _page(visit, leaf, state, text, problem=problem_text(error))
    return visit.go(_path(leaf), told=_told(leaf))


async def reset_setting(visit: Visit) -> Response:
    """Give a setting back to what lies beneath the console."""
    leaf = _leaf(visit)
    if leaf is None:
        return _missing(visit)
    try:
        was_changed = await visit.parts.settings.unset(leaf.name, by=visit.deed("", ""))
    except SettingsError as error:
        state = await look_at_settings(visit)
        text = typed_text(leaf, state.next.settings)
        return _page(visit, leaf, state, text, problem=problem_text(error))
    told = _told(leaf) if was_changed else "setting_left"
    return visit.go(PAGES.get(leaf.name, _path(leaf)), told=told)


def problem_text(error: SettingsError) -> str:
    """What is wrong, without the head that is meant for a start."""
    return "\n".join(map(str, error.problems))


def is_fixed(name: str, state: SettingState) -> bool:
    """Whether the environment or ``.env`` says it, so that the console cannot."""
    return name in state.next.outside.fixed()


def _rows(state: SettingState) -> list[dict[str, Any]]:
    rows = []
    waiting, fixed = set(state.waiting), state.next.outside.fixed()
    for row in effective_rows(state.next):
        leaf, effect = leaves()[row["name"]], effect_of(row["name"])
        more = {
            "path": PAGES.get(leaf.name, _path(leaf)),
            "now": shown_value(leaf, state.now),
            "is_waiting": leaf.name in waiting,
            "effect": effect,
            "is_fixed": leaf.name in fixed and effect is not Effect.OUTSIDE,
        }
        rows.append({**row, **more})
    return rows


def _is_chosen(row: Mapping[str, Any], chosen: str) -> bool:
    match chosen:
        case "changed":
            return bool(row["is_changed"])
        case "console":
            return bool(row["source"] == "console")
        case "live":
            return row["effect"] is Effect.LIVE
        case _:
            return True


def _fits(row: Mapping[str, Any], asked: str) -> bool:
    return asked in f"{row['name']} {row['env']} {row['description']}".casefold()


def _leaf(visit: Visit) -> Leaf | None:
    return leaves().get(visit.request.path_params["name"])


def _path(leaf: Leaf) -> str:
    return f"{HERE}edit/{leaf.name}"


def _told(leaf: Leaf) -> str:
    return "setting_live" if effect_of(leaf.name) is Effect.LIVE else "setting_restart"


def _missing(visit: Visit) -> Response:
    return refusal(visit, HTTPStatus.NOT_FOUND, "没有这样的设置。")


def _page(
    visit: Visit, leaf: Leaf, state: SettingState, text: str, *, problem: str = ""
) -> Response:
    kind = field_of(leaf)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return visit.page(
        "setting.html",
        status,
        leaf=leaf,
        kind=kind,
        Field=Field,
        choices=choices_of(leaf) if kind is Field.CHOICE else ("true", "false"),
        text=text,
        problem=problem,
        state=state,
        value=shown_value(leaf, state.next.settings),
        now=shown_value(leaf, state.now),
        is_waiting=leaf.name in state.waiting,
        source=str(state.next.sources[leaf.name]),
        source_words=SOURCE_WORDS,
        effect=effect_of(leaf.name),
        effect_words=EFFECT_WORDS,
        is_fixed=is_fixed(leaf.name, state),
        is_overridden=leaf.name in state.next.console,
    )
