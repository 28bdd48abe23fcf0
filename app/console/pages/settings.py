"""The settings as they are in force, and where each value comes from. Nothing is changed here."""

from typing import Any, Final

from starlette.responses import Response

from app.console.visit import Visit
from app.services.shown_settings import effective_rows

SOURCE_WORDS: Final = {
    "argument": ("启动参数", "busy"),
    "environment": ("环境变量", "busy"),
    ".env": (".env", "busy"),
    "console": ("管理后台", "good"),
    "config.json": ("config.json", "busy"),
    "default": ("默认值", "quiet"),
}


async def list_settings(visit: Visit) -> Response:
    """Every setting; secrets as stars."""
    asked, is_changed = visit.asked("q").casefold(), visit.asked("changed") == "1"
    rows = [
        row
        for row in effective_rows(visit.parts.runtime.loaded)
        if (not is_changed or row["is_changed"]) and _fits(row, asked)
    ]
    return visit.page(
        "settings.html",
        rows=rows,
        asked=visit.asked("q"),
        is_changed=is_changed,
        warnings=visit.parts.runtime.loaded.warnings,
        source_words=SOURCE_WORDS,
    )


def _fits(row: dict[str, Any], asked: str) -> bool:
    return asked in f"{row['name']} {row['env']} {row['description']}".casefold()
