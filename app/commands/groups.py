"""``groups``: what holds in each group, and which Dify app it asks."""

from collections.abc import Awaitable, Callable, Collection
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.database import with_database
from app.commands.output import (
    WRONG_USE,
    AsJson,
    fail,
    load,
    local_time,
    print_json,
    print_table,
    printable,
)
from app.models.flow import DEFAULT_APP

if TYPE_CHECKING:
    from datetime import datetime

    from app.services.group_table import GroupRow, GroupTable
    from app.services.store import Store
    from config import Settings

#: Minutes: a week. Whoever wants longer switches the group off.
LONGEST_MUTE = 10_080

groups = typer.Typer(
    help="查看各群的规则,选择各群所用的 Dify 应用和回答的样子。", no_args_is_help=True
)


@groups.command("list")
def groups_list(
    limit: Annotated[int, typer.Option("--limit", min=1, help="最多列出的群数")] = 200,
    *,
    as_json: AsJson = False,
) -> None:
    """列出见过的群和其中有效的规则;带 * 的是这个群自己的,其余是设置里的默认。"""
    settings = load().settings

    async def read(store: "Store") -> "list[GroupRow]":
        from app.services.group_table import GroupTable  # noqa: PLC0415 - late

        return await GroupTable(store).rows()

    rows = with_database(read)
    configured = {app.name for app in settings.dify.every_app()}
    shown = [shown_group(row, settings, configured) for row in rows[:limit]]
    if as_json:
        print_json({"total": len(rows), "groups": shown})
        return
    print_table(
        ("群", "名称", "微信号", "应用", "启用", "触发", "@ 提问者", "纯文本", "引用", "建议"),
        [
            (
                one["group"],
                one["name"],
                one["account"],
                _marked(one, "app") + ("" if one["is_app_configured"] else "(没有配置)"),
                _marked(one, "is_enabled"),
                _marked(one, "trigger"),
                _marked(one, "mention_sender"),
                _marked(one, "plain_text"),
                _marked(one, "citations"),
                _marked(one, "suggestions"),
            )
            for one in shown
        ],
    )
    hidden = len(rows) - limit
    typer.echo(f"共 {len(rows)} 个群" + (f",未显示 {hidden} 个(--limit)" if hidden > 0 else ""))


@groups.command("app")
def groups_app(
    app: Annotated[str, typer.Argument(metavar="应用", help="dify.apps 里的名字,或 default")],
    chosen: Annotated[list[str], typer.Argument(metavar="群...", help="群编号,可写多个")],
) -> None:
    """让这些群向指定的 Dify 应用提问,从下一句开始;不用重启。"""
    known = app_names(load().settings)
    if app not in known:
        fail(f"没有名为 {printable(app)} 的应用;设置里有:{'、'.join(known)}", WRONG_USE)

    async def change(table: "GroupTable") -> int:
        return await table.choose_app(chosen, None if app == DEFAULT_APP else app)

    typer.echo(f"{_changed(chosen, change)} 个群向 {app} 提问")


class Switch(StrEnum):
    """What a group may be given."""

    ON = "on"
    OFF = "off"
    DEFAULT = "default"


_VALUES = {Switch.ON: True, Switch.OFF: False, Switch.DEFAULT: None}
SwitchChoice = Annotated[Switch, typer.Argument(metavar="on|off|default")]
ChosenGroups = Annotated[list[str], typer.Argument(metavar="群...", help="群编号,可写多个")]


@groups.command("plain")
def groups_plain(choice: SwitchChoice, chosen: ChosenGroups) -> None:
    """这些群的回答是否从 Markdown 改成纯文本;几秒内生效,不用重启。"""
    typer.echo(f"{_switched(chosen, 'plain', choice)} 个群的纯文本:{choice}")


@groups.command("citations")
def groups_citations(choice: SwitchChoice, chosen: ChosenGroups) -> None:
    """这些群的回答之后是否列出它所引用的文档;几秒内生效,不用重启。"""
    typer.echo(f"{_switched(chosen, 'citations', choice)} 个群的引用:{choice}")


@groups.command("suggestions")
def groups_suggestions(choice: SwitchChoice, chosen: ChosenGroups) -> None:
    """这些群的回答之后是否列出可以接着问的问题;几秒内生效,不用重启。"""
    typer.echo(f"{_switched(chosen, 'suggestions', choice)} 个群的建议问题:{choice}")


@groups.command("mute")
def groups_mute(
    minutes: Annotated[int, typer.Argument(metavar="分钟", min=1, max=LONGEST_MUTE)],
    chosen: ChosenGroups,
    *,
    as_json: AsJson = False,
) -> None:
    """机器人在这些群里静音这么多分钟:这时问的不回答,结论是 muted;几秒内生效,到时自动结束。"""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415 - late

    _mute(chosen, datetime.now(UTC) + timedelta(minutes=minutes), as_json=as_json)


@groups.command("unmute")
def groups_unmute(chosen: ChosenGroups, *, as_json: AsJson = False) -> None:
    """机器人在这些群里重新回答;几秒内生效。"""
    _mute(chosen, None, as_json=as_json)


def _mute(chosen: list[str], until: "datetime | None", *, as_json: bool) -> None:
    from app.services.audit import ON_THE_MACHINE, Deed  # noqa: PLC0415 - late

    told = until.isoformat(timespec="seconds") if until else "off"
    by = Deed(operator=ON_THE_MACHINE, action="group.mute", subject=" ".join(chosen), after=told)

    async def change(table: "GroupTable") -> int:
        return await table.mute(chosen, until, by=by)

    count = _changed(chosen, change)
    if as_json:
        print_json({"groups": count, "muted_until": None if until is None else told})
    else:
        words = f"静音到 {local_time(until)}" if until else "不再静音"
        typer.echo(f"{count} 个群{words}")


def _switched(chosen: list[str], name: str, choice: Switch) -> int:
    """How many rows of groups have this switch now."""

    async def change(table: "GroupTable") -> int:
        return await table.switch(chosen, name, is_on=_VALUES[choice])

    return _changed(chosen, change)


def _changed(chosen: list[str], change: "Callable[[GroupTable], Awaitable[int]]") -> int:
    """How many rows of groups were changed; one that nobody ever saw ends the command."""

    async def work(store: "Store") -> tuple[int, list[str]]:
        from app.services.group_table import GroupTable  # noqa: PLC0415 - late

        table = GroupTable(store)
        unseen = await table.unseen(chosen)
        return (0 if unseen else await change(table)), unseen

    count, unseen = with_database(work)
    if unseen:
        names = "、".join(map(printable, unseen))
        fail(f"没有见过的群:{names}。群里有人说过话之后才会出现;什么也没有改。")
    return count


def app_names(settings: "Settings") -> list[str]:
    """Names that a group may be given; the default one can always be named."""
    return [DEFAULT_APP, *(app.name for app in settings.dify.apps)]


def shown_group(
    row: "GroupRow", settings: "Settings", configured: Collection[str]
) -> dict[str, Any]:
    """
    One group as it is printed: what holds in it, and what of that is its own.

    Args:
        configured: names of the apps that can be asked.
    """
    own = {
        "app": row.dify_app,
        "is_enabled": row.is_enabled,
        "trigger": row.trigger,
        "mention_sender": row.mention_sender,
        "plain_text": row.plain_text,
        "citations": row.citations,
        "suggestions": row.suggestions,
    }
    defaults = {
        "app": DEFAULT_APP,
        "is_enabled": True,
        "trigger": settings.groups.trigger,
        "mention_sender": settings.reply.mention_sender,
        "plain_text": settings.reply.plain_text,
        "citations": settings.reply.citations,
        "suggestions": settings.reply.suggestions,
    }
    in_force = {name: defaults[name] if value is None else value for name, value in own.items()}
    return {
        "group": printable(row.group_id),
        "name": printable(row.name),
        "account": printable(row.bot_wc_id),
        **in_force,
        "own": [name for name, value in own.items() if value is not None],
        "is_app_configured": in_force["app"] in configured,
    }


def _marked(shown: dict[str, Any], name: str) -> str:
    value = shown[name]
    word = {True: "是", False: "否"}[value] if isinstance(value, bool) else printable(str(value))
    return f"{word}*" if name in shown["own"] else word
