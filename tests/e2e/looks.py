"""What a page looks like to everybody: axe-core's findings, what sticks out, and how much is loaded."""

import gzip
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.e2e.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Width and height in pixels, and the colours that the system prefers.
WINDOWS = (
    (1280, 900, "light"),
    (1280, 900, "dark"),
    (390, 844, "light"),
    (390, 844, "dark"),
)
#: Of axe-core's findings, those that keep somebody from using the page.
GRAVE = ("serious", "critical")
#: Of all files of a page, compressed, in bytes.
MOST_BYTES = 150_000
#: How much of an element is told.
SHOWN = 120
_RUN = "axe.run(document, {resultTypes: ['violations']})"
_RESOURCES = "performance.getEntriesByType('resource').map(one => one.name)"


def look(visit: Visit, name: str, windows: tuple[tuple[int, int, str], ...] = WINDOWS) -> list[str]:
    """Look at the open page in each window; gives one sentence for each thing that is wrong."""
    page, found = visit.page, []
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(axe_script())
    for width, height, colours in windows:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
        where = f"{name} at {width}, {colours}"
        if visit.overflows():
            found.append(f"{where}: sticks out sideways")
        found += [f"{where}: {one}" for one in _findings(page)]
    return found


def axe_script() -> str:
    """What axe-core is; not every environment that collects the tests has it."""
    from axe_playwright_python.base import AXE_SCRIPT

    script: str = AXE_SCRIPT
    return script


def _findings(page: "Page") -> list[str]:
    results: dict[str, Any] = page.evaluate(_RUN)
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:SHOWN]} {node['failureSummary'][:SHOWN]}"
        for one in results["violations"]
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


def weight(page: "Page", known: dict[str, int]) -> int:
    """
    Bytes of the open page and of all that it has loaded from its own host, compressed.

    Args:
        known: weights of files that were fetched before, by address; filled in.
    """
    here = urlsplit(page.url)
    own = [one for one in page.evaluate(_RESOURCES) if urlsplit(one).netloc == here.netloc]
    files = {one for one in own if not one.endswith("/events")}
    for address in files - known.keys():
        known[address] = len(gzip.compress(page.request.get(address).body()))
    return len(gzip.compress(page.content().encode())) + sum(known[one] for one in files)
