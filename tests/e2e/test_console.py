"""
The console in a real browser, on a bridge that runs: one flow per page, two widths, light and dark.

Nothing may go wrong in the tab: no error, no failed request, nothing wider than the screen.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.seed import HOSTILE, seed
from tests.e2e.stage import Stage
from tests.e2e.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
PAGES = {
    "": "概览",
    "messages/": "消息",
    "failures/": "失败与重放",
    "queues/": "队列",
    "groups/": "群与规则",
    "groups/1": "产品体验群",
    "talks/": "会话",
    "contacts/": "联系人",
    "log/": "日志",
    "settings/": "设置",
    "settings/edit/reply.max_length": "reply.max_length",
    "settings/accounts": "更多的网关登录",
    "settings/apps/+": "添加",
    "settings/wizard/callback": "连接向导",
    "settings/wizard/done": "连接向导",
    "audit/": "审计",
    "password": "修改密码",
    "pauses/taking": "暂停收取",
}
#: Pages that stand in no menu.
APART = ("password", "pauses/taking")
#: Of all files of a page, compressed.
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bridge with a busy hour behind it; gives the console's address."""
    folder: Path = tmp_path_factory.mktemp("console")
    stage = Stage(folder, CONSOLE_PASSWORD=PASSWORD)
    try:
        stage.start()
        seed(folder / "bridge.db")
        yield stage.console
    finally:
        stage.stop()


@pytest.fixture(scope="module")
def cookies(chromium: "Browser", console: str) -> list[dict[str, str]]:
    """Of somebody who has logged in by the form."""
    context = chromium.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(console)
    assert page.url.endswith("/console/login")
    page.fill("input[name=password]", "wrong password")
    page.press("input[name=password]", "Enter")
    page.get_by_role("alert").wait_for()
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="登录").click()
    page.wait_for_url(console)
    kept = context.cookies()
    context.close()
    return [dict(one) for one in kept]  # type: ignore[arg-type]


class Tabs:
    """Tabs of one browser window."""

    def __init__(self, context: "BrowserContext", console: str) -> None:
        self._context = context
        self._console = console
        self.visits: list[Visit] = []

    def open(self, path: str) -> Visit:
        """A new tab on one of the pages."""
        visit = Visit(self._context.new_page())
        self.visits.append(visit)
        visit.page.goto(self._console + path)
        return visit


@pytest.fixture
def tabs(
    request: pytest.FixtureRequest, chromium: "Browser", console: str, cookies: list[dict[str, str]]
) -> Iterator[Tabs]:
    """A window of 1280 pixels, or as the test asks; there was no trouble in it at the end."""
    width, colours = getattr(request, "param", (1280, "light"))
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        color_scheme="dark" if colours == "dark" else "light",
    )
    context.add_cookies(cookies)  # type: ignore[arg-type]
    tabs = Tabs(context, console)
    yield tabs
    context.close()
    assert [trouble for visit in tabs.visits for trouble in visit.troubles] == []


WINDOWS = pytest.mark.parametrize(
    "tabs", [(1280, "light"), (390, "dark")], indirect=True, ids=["wide-light", "narrow-dark"]
)


@WINDOWS
def test_every_page_is_shown_whole(tabs: Tabs) -> None:
    """With its title, its stream of events and nothing that sticks out."""
    visit = tabs.open("")
    for path, title in PAGES.items():
        visit.page.goto(tabs._console + path)
        assert visit.page.locator("h1").inner_text() == title
        assert not visit.overflows(), path
        assert visit.page.locator("[aria-current=page]").count() == (path not in APART)


@WINDOWS
def test_a_message_opens_beside_the_list_with_its_way(tabs: Tabs) -> None:
    """And a neighbour from there; what somebody wrote is text."""
    visit = tabs.open("messages/?state=dead")
    visit.page.locator("tbody tr").first.click()
    drawer = visit.page.locator("#drawer[open]")
    drawer.wait_for()
    assert drawer.get_by_text("下一步").count() == 1
    assert drawer.locator(".way li").count() >= 5
    first = drawer.get_attribute("data-address")
    drawer.locator("[data-drawer]").first.click()
    visit.page.wait_for_function(
        "first => document.querySelector('#drawer').dataset.address !== first", arg=first
    )
    visit.page.keyboard.press("Escape")
    drawer.wait_for(state="hidden")
    assert not visit.overflows()


def test_filters_stand_in_the_address_and_pages_follow(tabs: Tabs) -> None:
    """Choosing searches at once; empty fields stay out of the address."""
    visit = tabs.open("messages/")
    visit.page.select_option("select[name=state]", "dead")
    visit.page.wait_for_url("**/messages/?state=dead")
    assert set(visit.page.locator("tbody .tag").all_inner_texts()) == {"失败"}
    visit.page.get_by_role("link", name="重置").click()
    visit.page.get_by_role("link", name="更早的").click()
    visit.page.wait_for_url("**before=*")
    assert visit.page.locator("tbody tr").count() == 20
    visit.page.goto(f"{tabs._console}messages/?q=alert")
    assert HOSTILE in visit.page.locator("tbody").inner_text()


def test_failures_are_replayed_with_an_estimate_and_the_page_says_when_it_is_over(
    tabs: Tabs,
) -> None:
    """The simulated Dify answers them; the menu's figure goes down by itself."""
    visit = tabs.open("failures/")
    badge = visit.page.locator("[data-figure=dead]")
    badge.wait_for()
    before = int(badge.inner_text())
    visit.page.get_by_role("button", name="重放这一类").first.click()
    assert visit.page.locator(".tile .value").first.inner_text() == "8"
    visit.page.get_by_role("button", name="开始重放").click()
    visit.page.get_by_text("已重放 8 条").wait_for()
    visit.page.wait_for_function(
        "most => { const b = document.querySelector('[data-figure=dead]');"
        " return b.hidden || Number(b.textContent) <= most; }",
        arg=before - 8,
    )


def test_rules_of_a_group_are_changed_and_tried(tabs: Tabs) -> None:
    """Saved, told, and the line is judged by them."""
    visit = tabs.open("groups/2")
    visit.page.select_option("select[name=trigger]", "prefix")
    visit.page.fill("textarea[name=prefixes]", "问:")
    visit.page.get_by_role("button", name="保存").click()
    visit.page.get_by_role("status").wait_for()
    visit.page.fill("input[name=line]", "几点开门")
    visit.page.get_by_role("button", name="试一试").click()
    assert "前缀" in visit.page.locator(".why").inner_text()
    visit.page.fill("input[name=line]", "问:几点开门")
    visit.page.get_by_role("button", name="试一试").click()
    assert "会回答" in visit.page.locator(".why").inner_text()


def test_one_stream_of_events_per_tab_and_it_comes_back(tabs: Tabs) -> None:
    """However often the page's parts are read anew."""
    visit = tabs.open("")
    visit.page.locator("[data-figure=dead]").wait_for()
    visit.page.wait_for_timeout(300)

    streams = [address for address in visit.requests if address.endswith("/console/events")]
    assert len(streams) == 1
    assert visit.page.locator("#lost").is_hidden()


def test_language_and_theme_are_kept(tabs: Tabs) -> None:
    """By the browser, from page to page."""
    visit = tabs.open("messages/")
    visit.page.locator(".drop summary").click()
    visit.page.get_by_role("link", name="English").click()
    assert visit.page.locator("h1").inner_text() == "Messages"
    visit.page.locator(".drop summary").click()
    visit.page.get_by_role("link", name="Dark").click()
    assert visit.page.locator("html").get_attribute("data-theme") == "dark"
    colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", colour)[:3])) < 40
    assert not visit.overflows()


@pytest.mark.parametrize("tabs", [(390, "light")], indirect=True)
def test_menu_slides_in_on_a_narrow_screen(tabs: Tabs) -> None:
    """And leads on."""
    visit = tabs.open("")
    assert not visit.page.locator("#side").is_visible()
    visit.page.locator("[data-menu]").click()
    visit.page.locator("#side a", has_text="审计").click()
    visit.page.wait_for_url("**/audit/")
    assert visit.page.locator("h1").inner_text() == "审计"


def test_files_of_the_console_are_small() -> None:
    """Together, compressed, and from here alone."""
    import gzip

    from app.console.assets import read_folder
    from app.console.parts import STATIC

    assets = read_folder(STATIC)

    assert sum(len(gzip.compress(asset.body)) for asset in assets.values()) < MOST_BYTES
    for name, asset in assets.items():
        text = asset.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text, name


def pause_sending(visit: Visit) -> None:
    """By the overview, with the question in between."""
    visit.page.goto(re.sub(r"/console/.*", "/console/", visit.page.url))
    visit.page.locator("a[href='/console/pauses/sending']").click()
    visit.page.get_by_role("button", name="暂停发送").click()
    visit.page.locator("#paused .paused").wait_for()


def resume(visit: Visit) -> None:
    """By the bar."""
    visit.page.locator("#paused").get_by_role("button", name="恢复").click()
    visit.page.locator("#paused .paused").wait_for(state="detached")


@WINDOWS
def test_a_pause_is_asked_for_and_shown_in_every_tab_by_itself(tabs: Tabs) -> None:
    """And gone from there when it is over."""
    other, visit = tabs.open("messages/"), tabs.open("")
    pause_sending(visit)
    bar = other.page.locator("#paused .paused")
    bar.wait_for()
    said = bar.inner_text()
    is_wide = other.overflows()
    resume(visit)
    bar.wait_for(state="detached")

    assert "发送已暂停" in said
    assert "admin" in said
    assert not is_wide


def test_the_log_stands_still_as_long_as_somebody_reads(tabs: Tabs) -> None:
    """What was written meanwhile comes when it may go on."""
    log, visit = tabs.open("log/?q=pause."), tabs.open("")
    log.page.get_by_role("button", name="暂停自动更新").click()
    before = log.page.locator("[data-live]").inner_text()
    pause_sending(visit)
    log.page.locator("#paused .paused").wait_for()
    resume(visit)
    log.page.locator("#paused .paused").wait_for(state="detached")
    held = log.page.locator("[data-live]").inner_text()
    log.page.get_by_role("button", name="继续自动更新").click()
    log.page.locator(".log-lines li", has_text="pause.ended").first.wait_for()

    assert held == before


def test_what_is_listed_is_downloaded_as_a_table(tabs: Tabs) -> None:
    """With the filter of the page; the page stays."""
    visit = tabs.open("messages/?state=dead")
    with visit.page.expect_download() as downloading:
        visit.page.get_by_role("button", name="导出 CSV").click()
    download = downloading.value
    rows = Path(download.path()).read_text("utf-8-sig").splitlines()

    assert re.fullmatch(r"messages-\d{8}-\d{6}\.csv", download.suggested_filename)
    assert rows[0].startswith("id,group,")
    assert all(",dead," in row for row in rows[1:] if row[0].isdigit())
    assert visit.page.url.endswith("messages/?state=dead")


def test_a_group_is_muted_for_a_while_and_speaks_again(tabs: Tabs) -> None:
    """On the page of its talk."""
    visit = tabs.open("talks/?group=103@chatroom")
    visit.page.select_option("select[name=minutes]", "30")
    visit.page.get_by_role("button", name="静音", exact=True).click()
    visit.page.get_by_text("静音到").wait_for()
    visit.page.get_by_role("button", name="取消静音").click()
    visit.page.get_by_role("button", name="静音", exact=True).wait_for()
    assert visit.page.get_by_text("静音到").count() == 0
