"""The end of this process's log file, by level and text."""

import asyncio
import os
import re
from pathlib import Path
from typing import Final

from starlette.responses import Response

from app.console.visit import Visit
from app.runtime import Role, Runtime

#: So much of the file's end is looked at.
TAIL_BYTES: Final = 512 * 1024
MOST_LINES: Final = 300
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


async def show_log(visit: Visit) -> Response:
    """The newest lines, oldest on top."""
    path = log_path(visit.parts.runtime)
    asked, level = visit.asked("q"), visit.asked("level", 10)
    level = level if level in LEVELS else "INFO"
    lines = await asyncio.to_thread(read_tail, path)
    shown = [line for line in lines or () if _fits(line, asked, level)][-MOST_LINES:]
    return visit.page(
        "log_part.html" if visit.is_fragment else "log.html",
        lines=[(level_of(line), line) for line in shown],
        is_there=lines is not None,
        file=str(path),
        asked=asked,
        level=level,
        levels=LEVELS,
    )


def log_path(runtime: Runtime) -> Path:
    """Where this process writes its log; see ``main._run`` (pure)."""
    name = "app" if runtime.role is Role.ALL else f"app-{runtime.role}"
    return Path(runtime.settings.log.dir) / f"{name}.log"


def read_tail(path: Path) -> list[str] | None:
    """Whole lines of the file's end; None: there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    lines = text.splitlines()
    return lines[1:] if size > TAIL_BYTES else lines


def level_of(line: str) -> str:
    """The level that stands in a line; empty: it belongs to the one before (pure)."""
    found = _LEVEL.search(line[:80])
    return found[1] if found else ""


def _fits(line: str, asked: str, level: str) -> bool:
    rank = RANKS.get(level_of(line), RANKS["ERROR"])
    return rank >= RANKS[level] and asked.casefold() in line.casefold()
