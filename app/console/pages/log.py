"""The end of this process's log file, by level and text."""

import asyncio
from typing import Final

from starlette.responses import Response

from app.console.downloads import send_file, stamped
from app.console.reading.log import LEVELS, fits, level_of, log_path, matching, read_tail
from app.console.visit import Visit
from app.services.stages import utc_now

HERE: Final = "/console/log/"
MOST_LINES: Final = 300


async def show_log(visit: Visit) -> Response:
    """The newest lines, oldest on top."""
    path = log_path(visit.parts.runtime)
    asked, level = visit.asked("q"), visit.asked("level", 10)
    level = level if level in LEVELS else "INFO"
    lines = await asyncio.to_thread(read_tail, path)
    shown = [line for line in lines or () if fits(line, asked, level)][-MOST_LINES:]
    return visit.page(
        "log_part.html" if visit.is_fragment else "log.html",
        lines=[(level_of(line), line) for line in shown],
        is_there=lines is not None,
        file=str(path),
        asked=asked,
        level=level,
        levels=LEVELS,
    )


async def download_log(visit: Visit) -> Response:
    """The whole file of this process, as far as it fits the filter."""
    path = log_path(visit.parts.runtime)
    asked, level = visit.form.get("q").strip()[:200], visit.form.get("level")
    level = level if level in LEVELS else "INFO"
    if not await asyncio.to_thread(path.is_file):
        return visit.go(HERE, told="no_log")
    await visit.parts.audit.note(visit.deed("log.download", path.name, after=f"level={level}"))
    name = f"{stamped(path.stem, utc_now(), visit.parts.zone)}.log"
    return send_file(name, "text/plain; charset=utf-8", matching(path, asked, level))
