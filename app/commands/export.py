"""``conversations export`` and ``messages export``: what was said, as a file."""

import csv
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from app.commands.choice import Group, Since, Until, User, chosen
from app.commands.database import with_database
from app.commands.output import fail, printable

if TYPE_CHECKING:
    from app.services.export import Extent, Record
    from app.services.store import Store

#: Longest look; an export may well take an hour.
SECONDS = 3600.0
#: Records between two signs of progress.
TOLD_EVERY = 1000


class Format(StrEnum):
    """How it is written."""

    CSV = "csv"
    JSONL = "jsonl"


As = Annotated[Format, typer.Option("--format", help="csv(Excel 可直接打开)或 jsonl(一行一个)")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="写到这个文件(不覆盖已有的);不写则输出到屏幕")
]

conversations = typer.Typer(help="对话记录。", no_args_is_help=True)
messages = typer.Typer(help="收到的消息。", no_args_is_help=True)


@conversations.callback()
@messages.callback()
def _group() -> None:
    """One command is a group of its own."""


@conversations.command("export")
def export_conversations(
    since: Since = None,
    until: Until = None,
    user: User = None,
    group: Group = None,
    form: As = Format.CSV,
    output: Output = None,
) -> None:
    """导出对话记录,一行一轮问答(只读)。"""
    from app.services.export import TURN_FIELDS, read_turns  # noqa: PLC0415 - late

    _export(read_turns, TURN_FIELDS, _extent(since, until, user, group), form, output)


@messages.command("export")
def export_messages(
    since: Since = None,
    until: Until = None,
    user: User = None,
    group: Group = None,
    form: As = Format.CSV,
    output: Output = None,
) -> None:
    """导出收到的消息和各自的结论,一行一条(只读;文本只有还保留着的)。"""
    from app.services.export import MESSAGE_FIELDS, read_messages  # noqa: PLC0415 - late

    _export(read_messages, MESSAGE_FIELDS, _extent(since, until, user, group), form, output)


def _extent(since: str | None, until: str | None, user: str | None, group: str | None) -> "Extent":
    from app.services.export import Extent  # noqa: PLC0415 - late

    choice = chosen(since, until, None, user, group)
    return Extent(
        since=choice.since, until=choice.until, user=choice.user, group_id=choice.group_id
    )


def _export(
    read: "Callable[[Store, Extent], AsyncIterator[Record]]",
    fields: Sequence[str],
    extent: "Extent",
    form: Format,
    output: Path | None,
) -> None:
    with _opened(output, form) as target:
        take = _writer(target, fields, form)

        async def work(store: "Store") -> int:
            count = 0
            async for record in read(store, extent):
                take(record)
                count += 1
                if not count % TOLD_EVERY:
                    _tell_progress(count)
            return count

        count = with_database(work, seconds=SECONDS)
    if output is not None:
        typer.echo(f"{count} 行 → {output}", err=True)


@contextmanager
def _opened(output: Path | None, form: Format) -> Iterator[TextIO]:
    """The file under another name until it is whole; nobody else may read it."""
    if output is None:
        yield sys.stdout
        return
    if output.exists():
        fail(f"{output} 已经存在,没有覆盖。")
    part = output.with_name(f"{output.name}.part")
    # Excel takes a file without the mark for one of the local code page.
    encoding = "utf-8-sig" if form is Format.CSV else "utf-8"
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding=encoding, errors="replace", newline="") as target:
            yield target
        part.rename(output)
    except OSError as error:
        fail(f"写不进 {output}:{error.strerror}")
    finally:
        part.unlink(missing_ok=True)


def _writer(target: TextIO, fields: Sequence[str], form: Format) -> "Callable[[Record], None]":
    # What people wrote must not steer a terminal.
    shown = _printable if target.isatty() else dict
    if form is Format.JSONL:
        return lambda record: _write_line(target, shown(record))
    from app.services.export import safe_cell  # noqa: PLC0415 - late

    sheet = csv.DictWriter(target, fieldnames=list(fields))
    sheet.writeheader()
    return lambda record: sheet.writerow(
        {name: safe_cell(one) for name, one in shown(record).items()}
    )


def _printable(record: "Record") -> "Record":
    return {name: printable(one) if isinstance(one, str) else one for name, one in record.items()}


def _write_line(target: TextIO, record: "Record") -> None:
    text = json.dumps(record, ensure_ascii=False)
    # Some readers end a line at these.
    for odd in ("\x85", "\u2028", "\u2029"):
        text = text.replace(odd, f"\\u{ord(odd):04x}")
    target.write(f"{text}\n")


def _tell_progress(count: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{count} 行", nl=False, err=True)
