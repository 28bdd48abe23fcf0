"""What all commands share: settings, output, exit codes. Heavy imports stand inside."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Never

import typer

if TYPE_CHECKING:
    from config import LoadedSettings

FAILED = 1
WRONG_USE = 2

AsJson = Annotated[bool, typer.Option("--json", help="输出 JSON,便于脚本使用")]


def load(code: int = WRONG_USE) -> "LoadedSettings":
    """The settings in force, with what the console changed; what is wrong with them ends the command."""
    from app.kept_settings import settle_process  # noqa: PLC0415 - late
    from config import SettingsError  # noqa: PLC0415 - late

    try:
        return settle_process()
    except SettingsError as error:
        fail(str(error), code)


def outer_setting(name: str, code: int = WRONG_USE) -> Any:
    """One setting that the console cannot change; the others may be wrong."""
    from config import SettingsError, read_process_outside  # noqa: PLC0415 - late

    try:
        return read_process_outside().value(name)
    except SettingsError as error:
        fail(str(error), code)


def print_json(value: Any) -> None:
    """JSON in which nothing steers the terminal: what does not print is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    shown = (
        char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
    )
    typer.echo("".join(shown))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal; whole lines where nobody but a program reads."""
    from rich.console import Console  # noqa: PLC0415 - late
    from rich.table import Table  # noqa: PLC0415 - late
    from rich.text import Text  # noqa: PLC0415 - late

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 400, highlight=False).print(table)


def printable(text: str) -> str:
    """Text that somebody else wrote may be anything; it must not steer the terminal (pure)."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def local_time(moment: datetime) -> str:
    """A time as it is shown: of this machine's zone, to the second (pure)."""
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")


def fail(text: str, code: int = FAILED) -> Never:
    typer.echo(text, err=True)
    raise typer.Exit(code)
