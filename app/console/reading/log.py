"""Log files as they are read: the end, what fits a filter, and what belongs to one message."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from app.runtime import Role, Runtime

#: So much of the file's end is looked at.
TAIL_BYTES: Final = 512 * 1024
#: And of each file for the lines of one message; of those the newest.
SEARCHED_BYTES: Final = 8 * 1024 * 1024
MOST_OF_A_MESSAGE: Final = 100
#: Read at a time for a download.
BLOCK: Final = 1024 * 1024
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
#: What a level's choice shows: it and what is worse.
RANKS: Final = {
    "TRACE": 0,
    "DEBUG": 0,
    "INFO": 1,
    "SUCCESS": 1,
    "WARNING": 2,
    "ERROR": 3,
    "CRITICAL": 3,
}
_LEVEL = re.compile(r"\b(TRACE|DEBUG|INFO|SUCCESS|WARNING|ERROR|CRITICAL)\b")


def log_path(runtime: Runtime) -> Path:
    """Where this process writes its log; see ``main._run`` (pure)."""
    name = "app" if runtime.role is Role.ALL else f"app-{runtime.role}"
    return Path(runtime.settings.log.dir) / f"{name}.log"


def read_tail(path: Path, most: int = TAIL_BYTES) -> list[str] | None:
    """Whole lines of the file's end; None: there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            text = file.read(most).decode("utf-8", "replace")
    except OSError:
        return None
    lines = text.splitlines()
    return lines[1:] if size > most else lines


def level_of(line: str) -> str:
    """The level that stands in a line; empty: it belongs to the one before (pure)."""
    found = _LEVEL.search(line[:80])
    return found[1] if found else ""


def fits(line: str, asked: str, level: str) -> bool:
    """Whether a line holds the text and is of the level or worse; what has none belongs to an error (pure)."""
    rank = RANKS.get(level_of(line), RANKS["ERROR"])
    return rank >= RANKS[level] and asked.casefold() in line.casefold()


def lines_of(runtime: Runtime, message_id: int) -> list[str]:
    """What the newest part of this machine's log files says of one message, the oldest first."""
    found: list[str] = []
    mark = f"[{message_id}]"
    for path in sorted(Path(runtime.settings.log.dir).glob("app*.log")):
        if not path.stem.endswith("_error"):
            tail = read_tail(path, SEARCHED_BYTES) or ()
            found += [line for line in tail if mark in line]
    # Each begins with its time.
    return sorted(found)[-MOST_OF_A_MESSAGE:]


async def matching(path: Path, asked: str, level: str) -> AsyncIterator[bytes]:
    """
    Every line of a file that fits, as far as the file was written when the reading began.

    Raises:
        OSError: the file cannot be read.
    """
    blocks = _blocks(path)
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        lines = block.decode("utf-8", "replace").splitlines()
        kept = [line for line in lines if fits(line, asked, level)]
        yield "".join(f"{line}\n" for line in kept).encode()


def _blocks(path: Path) -> Iterator[bytes]:
    """Whole lines, about ``BLOCK`` bytes at a time."""
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (block := file.read(min(BLOCK, left)) + file.readline()):
            left -= len(block)
            yield block
