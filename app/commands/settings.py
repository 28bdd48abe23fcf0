"""``settings``: what is in force and where it comes from; the table of the README."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import WRONG_USE, AsJson, fail, load, print_json, print_table

if TYPE_CHECKING:
    from config import LoadedSettings

TABLE_BEGIN = "<!-- settings:begin -->"
TABLE_END = "<!-- settings:end -->"
MASK = "***"

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


def effective_rows(loaded: "LoadedSettings") -> list[dict[str, Any]]:
    """Every setting: its names, the value as it may be shown, and where that comes from."""
    from settings.tree import leaves  # noqa: PLC0415 - late

    rows = []
    for leaf in leaves().values():
        branch = getattr(loaded.settings, leaf.section) if leaf.section else loaded.settings
        value = getattr(branch, leaf.key)
        rows.append(
            {
                "name": leaf.name,
                "env": leaf.env,
                "value": mask_value(value) if leaf.is_secret else _plain(value),
                "source": str(loaded.sources[leaf.name]),
                "is_changed": value != leaf.field.get_default(call_default_factory=True),
            }
        )
    return rows


def mask_value(value: Any) -> str:
    """A secret as it may be shown: addresses without their login, everything else as stars (pure)."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - late

    text = value.get_secret_value() if hasattr(value, "get_secret_value") else ""
    if not text:
        return f"{MASK}({len(value)})" if isinstance(value, tuple) and value else ""
    parts = urlsplit(text)
    if "://" not in text:
        return MASK
    login, at, host = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = f"?{MASK}" if parts.query else ""
    return f"{parts.scheme}://{f'{user}:{MASK}' if at else ''}{at}{host}{parts.path}{query}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, tuple | dict) else str(value)


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
