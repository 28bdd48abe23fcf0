"""Changing settings beside a bridge that runs: what would stop the next start is refused."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from app.services.audit import Deed
from app.services.overrides import Overrides, Plan
from app.services.shown_settings import plain_value
from config import LoadedSettings, Outside, Problem, SettingsError
from settings.console import Effect, effect_of
from settings.problems import did_you_mean
from settings.tree import Leaf, leaves

#: Of the audit: a setting was changed, or given back to the sources below the console.
SET: Final = "setting.change"
UNSET: Final = "setting.reset"
SOURCE_WORDS: Final = {
    "argument": "启动参数",
    "environment": "环境变量",
    ".env": ".env",
    "console": "管理后台",
    "config.json": "config.json",
    "default": "默认值",
}

#: Makes the new values out of the settings that the next start would read; None: give it back.
Edit = Callable[[LoadedSettings], Mapping[str, Any]]


class SettingDesk:
    """
    Changes settings, and tells what the next start would read.

    Every method raises ``StoreUnavailable`` while the database is away.
    """

    def __init__(self, overrides: Overrides, read_outside: Callable[[], Outside]) -> None:
        """
        Args:
            read_outside: the sources as they are now: files may have changed since the start.
        """
        self._overrides = overrides
        self._read_outside = read_outside

    async def next(self) -> LoadedSettings:
        """
        What a start at this moment would read.

        Raises:
            SettingsError: it would not start.
        """
        stored = await self._overrides.read()
        return self._read_outside().settled(stored)

    async def change(self, values: Mapping[str, Any], *, by: Deed) -> None:
        """
        Change settings, all or none.

        Args:
            values: by dotted name; None: what lies beneath the console holds again.
            by: who and from where.

        Raises:
            SettingsError: a name is none that can be changed here, or the next start would refuse.
        """
        await self.edit(lambda _: values, by=by)

    async def edit(self, make_values: Edit, *, by: Deed) -> None:
        """
        Change settings by what is made of those in force; see ``change``.

        Args:
            make_values: may raise, and nothing is changed then.
        """
        outside = self._read_outside()

        def make_plan(stored: Mapping[str, Any]) -> Plan:
            before = outside.settled(stored)
            values = make_values(before)
            refuse_names([name for name, value in values.items() if value is not None], outside)
            wanted = {**stored, **values}
            after = outside.settled({k: v for k, v in wanted.items() if v is not None})
            changes = {
                name: value
                for name, value in values.items()
                if stored.get(name) != value or after.sources[name] != before.sources[name]
            }
            return Plan(changes=changes, deeds=_deeds(changes, before, after, by))

        await self._overrides.change(make_plan)

    async def unset(self, name: str, *, by: Deed) -> bool:
        """
        Give one setting back to what lies beneath the console.

        Returns:
            Whether it was changed in the console.

        Raises:
            SettingsError: the next start would refuse.
        """
        if name not in await self._overrides.read():
            return False
        await self.change({name: None}, by=by)
        return True

    async def rescue(self, name: str, *, by: Deed) -> bool:
        """
        Take one change of the console away, whatever is wrong with the settings.

        Returns:
            Whether there was one.
        """
        found = False

        def make_plan(stored: Mapping[str, Any]) -> Plan:
            nonlocal found
            found = name in stored
            deed = replace(by, action=UNSET, subject=name, before=SOURCE_WORDS["console"])
            return Plan(changes={name: None} if found else {}, deeds=[deed] if found else [])

        await self._overrides.change(make_plan)
        return found


def refuse_names(names: Collection[str], outside: Outside) -> None:
    """
    Refuse what the console cannot change here.

    Raises:
        SettingsError: with every such name.
    """
    known, fixed = leaves(), outside.fixed()
    problems = []
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            problems.append(Problem(setting=name, reason="没有这个名字的设置", hint=hint))
        elif effect_of(name) is Effect.OUTSIDE:
            reason = "这一项不能在后台改,写在 .env 或环境变量里"
            problems.append(Problem(setting=name, env=known[name].env, reason=reason))
        elif name in fixed:
            source = SOURCE_WORDS[fixed[name]]
            reason = f"{source}里写着,优先于后台:要改就改那里,或从那里删去"
            problems.append(
                Problem(setting=name, env=known[name].env, source=source, reason=reason)
            )
    if problems:
        raise SettingsError(problems)


def _deeds(
    changes: Mapping[str, Any], before: LoadedSettings, after: LoadedSettings, by: Deed
) -> list[Deed]:
    return [
        replace(
            by,
            action=UNSET if value is None else SET,
            subject=name,
            before=told(leaves()[name], before),
            after=told(leaves()[name], after, before),
        )
        for name, value in changes.items()
    ]


def told(leaf: Leaf, loaded: LoadedSettings, before: LoadedSettings | None = None) -> str:
    """
    A setting for the audit, with its source; of a secret only whether there is one (pure).

    Args:
        before: the settings that it is compared with.
    """
    value = leaf.value_in(loaded.settings)
    source = SOURCE_WORDS[loaded.sources[leaf.name]]
    if not leaf.is_secret:
        return f"{plain_value(value)}({source})"
    if isinstance(value, tuple):
        old = () if before is None else leaf.value_in(before.settings)
        return f"{_entries(value, old)}({source})"
    if not value.get_secret_value():
        return f"未设置({source})"
    is_changed = before is not None and value != leaf.value_in(before.settings)
    return f"{'已更改' if is_changed else '已设置'}({source})"


def _entries(entries: tuple[Any, ...], old: tuple[Any, ...]) -> str:
    """Names of further logins, apps or channels; those that changed are marked."""
    known = {one.name: one for one in old}
    shown = []
    for one in entries:
        mark = "" if one.name not in known or known[one.name] == one else "(已更改)"
        address = getattr(one, "base_url", "")
        shown.append(f"{one.name}{' ' if address else ''}{address}{mark}")
    return "、".join(shown) or "没有"
