"""Further gateway logins and Dify apps: adding, changing, testing and taking away."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from app.console.draft import Draft, is_well, refused_lines
from app.console.entry_form import (
    ACCOUNTS,
    APPS,
    EntryList,
    bare_entries,
    read_entry,
    shown_entry,
)
from app.console.gate import POST, Handler, Page, refusal
from app.console.pages.settings import SOURCE_WORDS, is_fixed, problem_text
from app.console.setting_state import SettingState, look_at_settings
from app.console.visit import PREFIX, Visit
from app.models.roles import OperatorRole
from app.services.checks.report import Checked
from app.services.group_table import GroupTable
from config import LoadedSettings, Problem, SettingsError
from settings.tree import leaves

#: Stands in the address where a new entry is made.
NEW: Final = "+"


def pages(kind: EntryList) -> tuple[Page, ...]:
    """The routes of one list; only who may do everything changes it."""
    path = kind.path.removeprefix(PREFIX)
    role = OperatorRole.ADMIN
    return (
        Page(path=path, handler=listing(kind), role=role),
        Page(path=f"{path}/{{entry}}", handler=form_page(kind), role=role),
        Page(path=f"{path}/{{entry}}", handler=saving(kind), role=role, method=POST),
        Page(path=f"{path}/{{entry}}/test", handler=testing(kind), role=role, method=POST),
        Page(path=f"{path}/{{entry}}/remove", handler=removing(kind), role=role, method=POST),
    )


def listing(kind: EntryList) -> Handler:
    """The page with all entries."""

    async def show(visit: Visit) -> Response:
        state = await look_at_settings(visit)
        return visit.page(
            "entries.html", **_shared(kind, state), entries=_entries(kind, state.next)
        )

    return show


def form_page(kind: EntryList) -> Handler:
    """The page of one entry, or of a new one."""

    async def show(visit: Visit) -> Response:
        state = await look_at_settings(visit)
        old = _named(visit, kind, state.next)
        return _missing(visit) if old is None else await _form(visit, kind, state, old)

    return show


def saving(kind: EntryList) -> Handler:
    """Saves an entry."""

    async def save(visit: Visit) -> Response:
        def edit(loaded: LoadedSettings) -> Mapping[str, Any]:
            return {kind.setting: _laid(kind, visit, _stored(kind, loaded))}

        return await _edited(visit, kind, edit)

    return save


def removing(kind: EntryList) -> Handler:
    """Takes an entry away whose name was typed."""

    async def remove(visit: Visit) -> Response:
        name = visit.request.path_params["entry"]
        if visit.form.get("typed").strip() != name:
            return visit.go(f"{kind.path}/{name}", told="name_not_typed")

        def edit(loaded: LoadedSettings) -> Mapping[str, Any]:
            kept = [one for one in _stored(kind, loaded) if one["name"] != name]
            return {kind.setting: kept}

        return await _edited(visit, kind, edit, is_typed=False)

    return remove


def testing(kind: EntryList) -> Handler:
    """Tests a connection with what is typed; nothing is saved."""

    async def test(visit: Visit) -> Response:
        state = await look_at_settings(visit)
        lines = await _test(visit, kind, state.next)
        if not visit.is_fragment:
            old = _named(visit, kind, state.next)
            typed = shown_entry(kind, read_entry(kind, visit.form, old or {}))
            return await _form(visit, kind, state, typed, lines=lines)
        return visit.page("checked_part.html", lines=lines, is_well=is_well(lines))

    return test


async def _test(visit: Visit, kind: EntryList, loaded: LoadedSettings) -> list[Checked]:
    name = visit.request.path_params["entry"]
    name = visit.form.get("name").strip() if name == NEW else name
    try:
        wanted = _laid(kind, visit, _stored(kind, loaded))
        draft = Draft(loaded, {kind.setting: wanted})
    except SettingsError as error:
        return refused_lines(error)
    is_account = kind is ACCOUNTS
    return await (draft.check_account(name) if is_account else draft.check_other_app(name))


async def _edited(
    visit: Visit,
    kind: EntryList,
    edit: Callable[[LoadedSettings], Mapping[str, Any]],
    *,
    is_typed: bool = True,
) -> Response:
    """Change the list, or show the entry again: with what was typed, if it was."""
    try:
        await visit.parts.settings.edit(edit, by=visit.deed("", ""))
    except SettingsError as error:
        state = await look_at_settings(visit)
        old = _named(visit, kind, state.next)
        if old is None:
            return _missing(visit)
        values = shown_entry(kind, read_entry(kind, visit.form, old)) if is_typed else old
        return await _form(visit, kind, state, values, problem=problem_text(error))
    return visit.go(kind.path, told="setting_restart")


def _laid(kind: EntryList, visit: Visit, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    All entries with what was typed in the place of the one that is meant, or at the end.

    Raises:
        SettingsError: somebody has taken it away.
    """
    name = visit.request.path_params["entry"]
    if name == NEW:
        return [*entries, read_entry(kind, visit.form, {})]
    if all(one["name"] != name for one in entries):
        raise SettingsError([Problem(setting=kind.setting, reason="没有这一项")])
    return [read_entry(kind, visit.form, one) if one["name"] == name else one for one in entries]


def _entries(kind: EntryList, loaded: LoadedSettings) -> list[dict[str, Any]]:
    return [shown_entry(kind, one) for one in _stored(kind, loaded)]


def _stored(kind: EntryList, loaded: LoadedSettings) -> list[dict[str, Any]]:
    """The entries with their keys."""
    return bare_entries(leaves()[kind.setting].value_in(loaded.settings))


def _named(visit: Visit, kind: EntryList, loaded: LoadedSettings) -> dict[str, Any] | None:
    """The entry that the address names, without its key; None: there is none."""
    name = visit.request.path_params["entry"]
    if name == NEW:
        return {}
    return next((one for one in _entries(kind, loaded) if one["name"] == name), None)


async def _form(
    visit: Visit,
    kind: EntryList,
    state: SettingState,
    values: Mapping[str, Any],
    *,
    problem: str = "",
    lines: Sequence[Checked] = (),
) -> Response:
    name = visit.request.path_params["entry"]
    used = 0
    if kind is APPS and name != NEW:
        rows = await GroupTable(visit.parts.runtime.store).rows()
        used = sum(row.dify_app == name for row in rows)
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return visit.page(
        "entry.html",
        status,
        **_shared(kind, state),
        name=name,
        is_new=name == NEW,
        values=values,
        problem=problem,
        lines=lines,
        is_well=is_well(lines),
        used=used,
    )


def _shared(kind: EntryList, state: SettingState) -> dict[str, Any]:
    return {
        "kind": kind,
        "state": state,
        "is_fixed": is_fixed(kind.setting, state),
        "is_overridden": kind.setting in state.next.console,
        "source": str(state.next.sources[kind.setting]),
        "source_words": SOURCE_WORDS,
    }


def _missing(visit: Visit) -> Response:
    return refusal(visit, HTTPStatus.NOT_FOUND, "没有这一项。")
