"""``settings``: what is in force and where it comes from, changing it; the table of the README."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.commands.database import with_database
from app.commands.output import (
    FAILED,
    WRONG_USE,
    AsJson,
    fail,
    load,
    print_json,
    print_table,
    printable,
)

if TYPE_CHECKING:
    from app.services.audit import Deed
    from app.services.setting_desk import SettingDesk
    from app.services.store import Store

T = TypeVar("T")

TABLE_BEGIN = "<!-- settings:begin -->"
TABLE_END = "<!-- settings:end -->"

#: Most that is read from the standard input, in characters.
LONGEST_INPUT = 65_536

settings = typer.Typer(
    help="列出生效的设置和各自的来源(密钥不显示);set、unset 与后台的设置页相同。",
    invoke_without_command=True,
)

Name = Annotated[str, typer.Argument(metavar="设置", help="例如 ecloud.send_gap")]


@settings.callback()
def settings_list(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    changed: Annotated[bool, typer.Option("--changed", help="只列出与默认值不同的")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="输出全部设置的说明表(Markdown),不读取当前的值")
    ] = False,
    into: Annotated[
        Path | None, typer.Option("--into", help="把说明表写进这个文件的两个标记之间")
    ] = None,
) -> None:
    """列出生效的设置和各自的来源(密钥不显示);set、unset 与后台的设置页相同。"""
    if context.invoked_subcommand is not None:
        return
    if into is not None:
        _write_between_markers(into, settings_table())
        return
    if markdown:
        typer.echo(settings_table())
        return
    from app.services.setting_desk import SOURCE_WORDS  # noqa: PLC0415 - late
    from app.services.shown_settings import effective_rows  # noqa: PLC0415 - late

    loaded = load()
    rows = [row for row in effective_rows(loaded) if not changed or row["is_changed"]]
    for warning in loaded.warnings:
        typer.echo(f"注意:{warning}", err=True)
    if as_json:
        print_json(rows)
        return
    print_table(
        ("设置", "值", "来源", "环境变量"),
        [(row["name"], row["value"], SOURCE_WORDS[row["source"]], row["env"]) for row in rows],
    )


@settings.command("set")
def settings_set(
    name: Name,
    value: Annotated[str | None, typer.Argument(metavar="值", help="列表写成 JSON 数组")] = None,
    *,
    from_input: Annotated[
        bool, typer.Option("--stdin", help="从标准输入读值;密钥只能这样给")
    ] = False,
) -> None:
    """改一个设置,存在数据库里;不合格的值、会使服务不能启动的组合不收。"""
    from settings.tree import leaves  # noqa: PLC0415 - late

    if from_input == (value is not None):
        fail("请写出值,或用 --stdin 从标准输入给出。", WRONG_USE)
    leaf = leaves().get(name)
    if leaf is not None and leaf.is_secret and not from_input:
        fail(f"{name} 是密钥,命令行会被记下来:请用 --stdin 从标准输入给出。", WRONG_USE)
    if value is None:
        value = typer.get_text_stream("stdin").read(LONGEST_INPUT).strip()
    given = value
    _change(lambda desk, deed: desk.change({name: given}, by=deed))
    typer.echo(f"已改 {name}:{_effect(name)}。")


@settings.command("unset")
def settings_unset(name: Name) -> None:
    """撤销后台对一个设置的改动:恢复 config.json 里的值或默认值。"""

    async def work(desk: "SettingDesk", deed: "Deed") -> bool:
        from config import SettingsError  # noqa: PLC0415 - late

        try:
            return await desk.unset(name, by=deed)
        except SettingsError:
            # It may be the one that keeps the bridge from starting, or one of several.
            return await desk.rescue(name, by=deed)

    if not _change(work):
        fail(f"后台没有改过 {printable(name)}。")
    typer.echo(f"已撤销 {printable(name)}:{_effect(name)}。")


def _change(work: "Callable[[SettingDesk, Deed], Awaitable[T]]") -> "T":
    """Change something at the desk; what it refuses ends the command."""
    from app.services.audit import ON_THE_MACHINE, Deed  # noqa: PLC0415 - late
    from app.services.overrides import Overrides  # noqa: PLC0415 - late
    from app.services.setting_desk import SettingDesk  # noqa: PLC0415 - late
    from config import SettingsError, read_process_outside  # noqa: PLC0415 - late

    # The desk says what of each setting.
    deed = Deed(operator=ON_THE_MACHINE, action="", subject="")

    async def run(store: "Store") -> "T":
        return await work(SettingDesk(Overrides(store), read_process_outside), deed)

    try:
        return with_database(run)
    except SettingsError as error:
        fail("\n".join(map(str, error.problems)), FAILED)


def _effect(name: str) -> str:
    from settings.console import LIVE  # noqa: PLC0415 - late

    return "几秒内生效" if name in LIVE else "重启后生效"


def settings_table() -> str:
    """Every setting as a Markdown table: what the README shows."""
    from config import describe_settings  # noqa: PLC0415 - late

    lines = ["| 设置 | 环境变量 | 默认值 | 说明 |", "|---|---|---|---|"]
    for row in describe_settings():
        default = f"`{row.default}`" if row.default else "(空)"
        name = f"`{row.name}`" if "." in row.name else "–"
        lines.append(f"| {name} | `{row.env}` | {default} | {_cell(row.description)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that neither ends a table's cell nor begins an HTML tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _write_between_markers(path: Path, table: str) -> None:
    """Replace what stands between the two markers of a file."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        fail(f"{path} 无法读取:{error.strerror}", WRONG_USE)
    before, begin, rest = text.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        fail(f"{path} 里没有标记 {TABLE_BEGIN} 和 {TABLE_END}", WRONG_USE)
    path.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", "utf-8")
