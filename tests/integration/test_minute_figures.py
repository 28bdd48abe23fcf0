"""What waits is written down once a minute, and shown in the tiles."""

from datetime import timedelta

from app.services.figures import Figures
from app.services.minute_figures import KEPT, keep_figures, read_minutes
from app.services.stages import utc_now
from app.services.store import Store
from tests.fixtures.console import StartConsole, say
from tests.fixtures.inside import INSIDE_EMBEDDED, StartInside


def figures(waiting: int) -> Figures:
    """The bridge at one moment."""
    return Figures(waiting=waiting, oldest_since=None, dead=2, open_segments=0)


async def test_the_last_value_of_a_minute_stays_and_a_day_is_kept(store: Store) -> None:
    """Minutes in which nobody wrote are unknown, not zero."""
    now = utc_now()
    for ago, waiting in ((KEPT, 1), (2, 5), (0, 7), (0, 9)):
        await keep_figures(store, figures(waiting), now - timedelta(minutes=ago))
    async with store.read() as connection:
        found = await read_minutes(connection, now=now, minutes=3)
        day = await read_minutes(connection, now=now, minutes=KEPT + 1)

    assert found["waiting"] == [5, None, 9]
    assert found["dead"] == [2, None, 2]
    assert [value for value in day["waiting"] if value is not None] == [5, 9]


@INSIDE_EMBEDDED
async def test_a_process_that_works_writes_them_down(inside: StartInside) -> None:
    """One of them, at its start already."""
    async with inside() as bridge:
        rows = await bridge.until_rows("SELECT name, value FROM stats_minutes ORDER BY name")

    assert [row["name"] for row in rows] == ["dead", "oldest", "waiting"]


@INSIDE_EMBEDDED
async def test_each_tile_has_a_line_of_the_last_hour(console: StartConsole) -> None:
    """As soon as there is anything to draw."""
    async with console() as site:
        browser = await site.operator()
        await say(site)
        await keep_figures(site.inside.runtime.store, figures(3), utc_now())
        page = await browser.get("/console/")

    assert page.text.count('class="spark"') == 5
