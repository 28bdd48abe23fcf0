"""The pictures of the README and of the guides: which page each shows, and what is done there first."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Of one picture, in bytes: they are read over the network, and kept for ever.
MOST_BYTES = 120_000
MOST_BYTES_OF_GUIDE = 100_000
LEAST_BYTES = 8_000


def _nothing(_page: "Page") -> None:
    """The page as it is."""


def _open_first(page: "Page") -> None:
    page.locator("tbody tr").first.click()
    page.locator("#drawer[open] .way").wait_for()


def _mark_cause(page: "Page") -> None:
    page.get_by_role("button", name="重放这一类").first.click()
    page.get_by_role("button", name="开始重放").wait_for()


def is_small(file: str, size: int) -> bool:
    """Whether a picture of so many bytes shows something and is quickly loaded (pure)."""
    most = MOST_BYTES_OF_GUIDE if file.startswith("guide/") else MOST_BYTES
    return LEAST_BYTES < size < most


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture of the console."""

    #: Below ``docs/images``.
    file: str
    #: Below ``/console/``; ``{message}`` is one that failed.
    path: str
    width: int = 1100
    height: int = 720
    act: Callable[["Page"], None] = _nothing


PICTURES = (
    Picture(file="guide/queues.png", path="queues/", width=1000, height=520),
    Picture(file="console.png", path="", width=1280, height=740),
    Picture(file="console-narrow.png", path="messages/{message}", width=390, height=780),
    Picture(file="guide/messages.png", path="messages/?group=101@chatroom", width=1000, height=620),
    Picture(
        file="guide/why.png", path="messages/?state=dead", width=1000, height=660, act=_open_first
    ),
    Picture(file="guide/failures.png", path="failures/", width=1000, height=640),
    Picture(file="guide/estimate.png", path="failures/", width=1000, height=520, act=_mark_cause),
    Picture(file="guide/wizard.png", path="settings/wizard/gateway", width=1000, height=520),
    Picture(file="guide/group.png", path="groups/1?line=几点开门", width=1100, height=620),
)
