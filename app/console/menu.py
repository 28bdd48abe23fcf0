"""The side menu, and the few words that every page shows. Only what there is stands in it."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from app.console.visit import Visit
from app.models.roles import OperatorRole


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One page in the menu."""

    path: str
    label: str
    icon: str
    role: OperatorRole = OperatorRole.VIEWER
    #: Which of the live figures stands beside it.
    badge: str = ""
    is_here: bool = False


ENTRIES: Final = (Entry(path="/console/", label="概览", icon="overview"),)

ROLE_WORDS: Final = {
    OperatorRole.VIEWER: "只读",
    OperatorRole.OPERATOR: "操作员",
    OperatorRole.ADMIN: "管理员",
}

#: What a page says after something was done, by the key in its address.
TOLD_WORDS: Final = {"password_changed": "密码已修改,别处的登录已失效。"}


def menu_of(visit: Visit) -> list[Entry]:
    """What this operator may open; the page that is open is marked."""
    path = visit.request.url.path
    return [
        Entry(
            path=entry.path,
            label=entry.label,
            icon=entry.icon,
            badge=entry.badge,
            is_here=is_here(entry.path, path),
        )
        for entry in ENTRIES
        if visit.may(entry.role)
    ]


def is_here(entry: str, path: str) -> bool:
    """Whether a page belongs to an entry (pure)."""
    return path == entry if entry == "/console/" else path.startswith(entry)


def here_of(visit: Visit) -> str:
    """Address of this page, without what it was told once."""
    pairs = [
        (key, value) for key, value in visit.request.query_params.multi_items() if key != "told"
    ]
    query = urlencode(pairs)
    path = visit.request.url.path
    return f"{path}?{query}" if query else path


def words_of_pages() -> dict[str, Any]:
    """What the templates know beside the values of a page."""
    return {
        "menu_of": menu_of,
        "here_of": here_of,
        "role_words": ROLE_WORDS,
        "told_words": TOLD_WORDS,
    }
