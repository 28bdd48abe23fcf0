"""``settings``: what is in force and where it comes from; the table of the README."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.output import WRONG_USE, AsJson, fail, load, print_json, print_table

if TYPE_CHECKING:
    pass

TABLE_BEGIN = "<!-- settings:begin -->"
TABLE_END = "<!-- settings:end -->"

_SOURCE_WORDS = {
    "argument": "启动参数",
    "environment": "环境变量",
    ".env": ".env",
    "config.json": "config.json",
    "default": "默认值",
}


def settings(
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
    """列出生效的设置和各自的来源;密钥不显示。"""
    if into is not None:
        _write_between_markers(into, settings_table())
        return
    if markdown:
        typer.echo(settings_table())
        return
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
        [(row["name"], row["value"], _SOURCE_WORDS[row["source"]], row["env"]) for row in rows],
    )


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
