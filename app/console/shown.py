"""How values are shown on the pages: times, durations, names. Pure; the templates' filters."""

from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2 import Environment

from app.models.flow import IgnoreReason
from app.services.inbox_rows import file_of_text

#: Colours of avatars, as in the stylesheet.
COLOURS: Final = 6
MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
SECOND_MS: Final = 1000


def add_filters(environment: Environment, zone: ZoneInfo) -> None:
    """Give the templates their filters."""
    filters: dict[str, Any] = {
        "at": lambda moment: shown_time(moment, zone, now=datetime.now(UTC)),
        "at_full": lambda moment: whole_time(moment, zone),
        "clock": lambda moment: moment.astimezone(zone).strftime("%H:%M"),
        "ms": shown_milliseconds,
        "duration": shown_duration,
        "number": lambda value: f"{value:,}",
        "colour": colour_of,
        "initial": initial_of,
        "cut": cut,
        "said": said_in,
    }
    environment.filters.update(filters)


def said_in(row: Any) -> str:
    """What somebody wrote in a message; a picture or a file goes by its name."""
    if row.verdict != IgnoreReason.ATTACHMENT:
        return row.text or ""
    file = file_of_text(row.text)
    if file is None:
        return ""
    mark = "图片" if file.is_image else "文件"
    return f"[{mark}:{file.name}]" if file.name else f"[{mark}]"


def shown_time(moment: datetime | None, zone: ZoneInfo, *, now: datetime) -> str:
    """A time to the second; of another day with the date."""
    if moment is None:
        return "–"
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    if local.date() == today:
        return local.strftime("%H:%M:%S")
    year = "" if local.year == today.year else "%Y-"
    return local.strftime(f"{year}%m-%d %H:%M:%S")


def whole_time(moment: datetime | None, zone: ZoneInfo) -> str:
    """A time to the millisecond with its date and zone."""
    if moment is None:
        return ""
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} {local.tzname()}"


def shown_milliseconds(value: float | None) -> str:
    """Milliseconds as they are read: ``85 ms``, ``1.24 s``, ``2:05``."""
    if value is None:
        return "–"
    if value < SECOND_MS:
        return f"{round(value)} ms"
    seconds = value / SECOND_MS
    return f"{seconds:.2f} s" if seconds < MINUTE else shown_duration(seconds)


def shown_duration(seconds: float | None) -> str:
    """A duration as on a clock: ``42 s``, ``3:07``, ``2:00:15``, ``3 d 4 h``."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE}:{whole % MINUTE:02}"
    if whole < DAY:
        return f"{whole // HOUR}:{whole % HOUR // MINUTE:02}:{whole % MINUTE:02}"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def colour_of(name: str) -> int:
    """Which of the avatars' colours somebody has; always the same one."""
    return sum(name.encode()) % COLOURS


def initial_of(name: str) -> str:
    """The letter in an avatar."""
    return next((char.upper() for char in name if char.isalnum()), "·")


def cut(text: str | None, most: int) -> str:
    """The beginning of a text, on one line."""
    line = " ".join((text or "").split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
