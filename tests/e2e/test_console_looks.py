"""
Every page of the console and the playground, as each role, at two widths, in light and dark.

axe-core finds nothing serious, nothing sticks out, nothing goes wrong in the tab, and no page is
heavy. Pages are those of the console's own table of routes: a new one is looked at by itself.
"""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.console.site import PAGES
from app.models.roles import OperatorRole
from tests.e2e.looks import MOST_BYTES, WINDOWS, look, weight
from tests.e2e.pictures import PICTURES, is_small
from tests.e2e.seed import HOSTILE, seed
from tests.e2e.stage import ROOT, Stage
from tests.e2e.visit import Visit
from tests.fixtures.console import address_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
#: Somebody of the busy hour.
PERSON = "wxid_ming"
#: No pages: files, parts of pages, a stream, and what only leads on; a replay and a refresh have tests of their own.
NOT_LOOKED_AT = (
    "/login",
    "/static/{name}",
    "/shown",
    "/events",
    "/failures/jobs/{job}",
    "/contacts/refresh",
    "/pauses/",
    "/settings/wizard/heard",
    "/settings/wizard/rooms",
)
#: In a question: the simulated Dify takes its time.
SLOW = "[[wait=15]]"
#: Pages that are empty at first, and what they say then.
EMPTY = {
    "": "最近",
    "messages/": "最近 24 小时没有消息",
    "failures/": "没有失败",
    "queues/": "没有人在等",
    "groups/": "还没有见过群",
    "talks/": "还没有会话",
    "contacts/": "还没有联系人",
    "audit/?operator=nobody": "没有记录",
    "settings/?q=nothing-like-it": "没有找到",
    "log/?q=nothing-like-it": "没有符合条件的行",
}
#: The same pages with a busy hour behind them.
FULL = {
    "": "产品体验群",
    "messages/": "小明",
    "failures/": "按原因",
    "queues/": "没有人在等",
    "groups/": "售后服务群",
    "talks/": "周末 9:00 开门",
    "contacts/": "李雷",
    "audit/": "登录",
    "settings/": "max_retry_count",
    "log/": "alembic",
}


@dataclass(kw_only=True)
class Shown:
    """A bridge with a console, and what was seen of it while it was empty."""

    stage: Stage
    address: str
    database: Path
    message: int = 0
    empty: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


class Person:
    """Somebody who is logged in, with one tab."""

    def __init__(self, chromium: "Browser", shown: Shown, name: str) -> None:
        self._shown = shown
        self._context = chromium.new_context(locale="zh-CN", timezone_id="Asia/Shanghai")
        self.visit = Visit(self._context.new_page())
        self.open("")
        self.login = look(self.visit, f"login before {name}", WINDOWS if name == "admin" else ())
        self.visit.page.fill("input[name=name]", name)
        self.visit.page.fill("input[name=password]", PASSWORD)
        self.visit.page.press("input[name=password]", "Enter")
        self.visit.page.wait_for_url(shown.address)

    def open(self, path: str) -> str:
        """Go to a page; gives what is read there."""
        self.visit.page.goto(self._shown.address + path)
        return self.visit.page.locator("body").inner_text()

    def close(self) -> None:
        """The tab is closed; nothing went wrong in it."""
        self._context.close()
        assert self.visit.troubles == []


def paths_of(role: OperatorRole, message: int) -> list[str]:
    """Every page that a role may see, below ``/console/``; *message* is one that failed (pure)."""
    return [
        address_of(page.path, message=message, person=PERSON).removeprefix("/")
        for page in PAGES
        if page.method == "GET"
        and page.path not in NOT_LOOKED_AT
        and isinstance(page.role, OperatorRole)
        and role.includes(page.role)
    ]


@pytest.fixture(scope="module")
def shown(chromium: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Looked at while empty, then filled; ``viewer`` and ``operator`` have the admin's password."""
    folder: Path = tmp_path_factory.mktemp("looks")
    stage = Stage(folder, CONSOLE_PASSWORD=PASSWORD)
    try:
        stage.start()
        shown = Shown(stage=stage, address=stage.console, database=folder / "bridge.db")
        admin = Person(chromium, shown, "admin")
        shown.findings += admin.login
        for path in EMPTY:
            shown.empty[path] = admin.open(path)
            shown.findings += look(admin.visit, f"empty /{path}")
        admin.close()
        ids = seed(shown.database)
        shown.message = ids[4]
        with sqlite3.connect(shown.database, timeout=30) as connection:
            connection.execute(
                "INSERT INTO operators (name, password_hash, role, created_at)"
                " SELECT column1, password_hash, column1, created_at FROM operators,"
                " (VALUES ('viewer'), ('operator'))"
            )
        yield shown
    finally:
        stage.stop()


def test_an_empty_console_says_what_will_be_there_and_can_be_used(shown: Shown) -> None:
    """Before anybody has spoken."""
    lacking = {path: text for path, text in EMPTY.items() if text not in shown.empty[path]}

    assert lacking == {}
    assert not shown.findings, "\n".join(shown.findings)


@pytest.mark.parametrize("role", OperatorRole)
def test_every_page_of_a_role_can_be_used_and_is_light(
    role: OperatorRole, chromium: "Browser", shown: Shown
) -> None:
    """And shows what is there; what the role may not see is not offered."""
    person = Person(chromium, shown, role.value)
    # What the others see, an admin sees, too.
    windows = WINDOWS if role is OperatorRole.ADMIN else (WINDOWS[0], WINDOWS[-1])
    found, weights, lacking = person.login, {}, {}
    known: dict[str, int] = {}
    for path in paths_of(role, shown.message):
        text = person.open(path)
        if FULL.get(path, "") not in text:
            lacking[path] = text
        weights[path] = weight(person.visit.page, known)
        found += look(person.visit, f"/{path} as {role}", windows)
    heavy = {path: bytes_ for path, bytes_ in weights.items() if bytes_ >= MOST_BYTES}
    person.close()

    assert not found, "\n".join(found)
    assert (heavy, lacking) == ({}, {})
    assert len(weights) >= len(FULL)


def test_what_is_done_with_failures_can_be_seen_by_everybody(
    chromium: "Browser", shown: Shown
) -> None:
    """The message beside the list, the estimate of a replay and the replay itself; a page that refuses."""
    person = Person(chromium, shown, "operator")
    page, found = person.visit.page, []
    person.open("messages/?state=dead")
    page.locator("tbody tr").first.click()
    page.locator("#drawer[open] .way").wait_for()
    found += look(person.visit, "drawer")
    person.open("failures/")
    page.get_by_role("button", name="重放这一类").first.click()
    page.get_by_role("button", name="开始重放").wait_for()
    found += look(person.visit, "estimate")
    page.get_by_role("button", name="开始重放").click()
    page.get_by_text("已重放").wait_for()
    found += look(person.visit, "replay")
    person.open("log/")
    found += look(person.visit, "refusal")
    refused = [one for one in person.visit.troubles if "/console/log/" in one or "403" in one]
    person.visit.troubles.clear()
    person.close()

    assert not found, "\n".join(found)
    assert len(refused) == 2


def test_the_playground_can_be_used_by_everybody_and_is_light(
    chromium: "Browser", shown: Shown
) -> None:
    """Empty, and with a question and its answer."""
    context = chromium.new_context(locale="zh-CN", timezone_id="Asia/Shanghai")
    visit = Visit(context.new_page())
    visit.open(shown.stage.address)
    found = look(visit, "empty playground")
    visit.wait_for_answer(visit.say("小红", "今天的分享几点开始?"))
    visit.page.locator("[data-station=done].reached").wait_for()
    found += look(visit, "playground")
    bytes_ = weight(visit.page, {})
    context.close()

    assert not found, "\n".join(found)
    assert 0 < bytes_ < MOST_BYTES
    assert visit.troubles == []


def test_pictures_of_the_documents_are_taken_and_are_small(
    chromium: "Browser", shown: Shown, tmp_path: Path
) -> None:
    """Kept where SCREENSHOTS says: ``make screenshots`` puts them into ``docs/images``."""
    goal = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    with sqlite3.connect(shown.database, timeout=30) as connection:
        # Not every machine has a font with it.
        connection.execute("UPDATE contacts SET nick_name = '李雷' WHERE wc_id = 'wxid_li'")
        connection.execute("UPDATE group_members SET nick_name = '李雷' WHERE wc_id = 'wxid_li'")
        # What somebody tried is for the tests, not for the documents.
        connection.execute("UPDATE messages SET text = '发票抬头写什么?' WHERE text = ?", [HOSTILE])
    sizes = playground_pictures(chromium, shown.stage.address, goal)
    person = Person(chromium, shown, "admin")
    page = person.visit.page
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    for one in PICTURES:
        page.set_viewport_size({"width": one.width, "height": one.height})
        person.open(one.path.format(message=shown.message))
        one.act(page)
        file = goal / one.file
        file.parent.mkdir(parents=True, exist_ok=True)
        sizes[one.file] = len(page.screenshot(path=file, animations="disabled"))
    person.close()

    assert {name: size for name, size in sizes.items() if not is_small(name, size)} == {}
    assert {f"docs/images/{name}" for name in sizes} == {
        str(path.relative_to(ROOT)) for path in (ROOT / "docs/images").rglob("*.png")
    }


def playground_pictures(chromium: "Browser", address: str, goal: Path) -> dict[str, int]:
    """A question with its answer and its way, wide and narrow; sizes by name. Then somebody waits."""
    context = chromium.new_context(locale="zh-CN", timezone_id="Asia/Shanghai")
    visit = Visit(context.new_page())
    visit.page.set_viewport_size({"width": 901, "height": 580})
    visit.open(address)
    visit.wait_for_answer(visit.say("小红", "小助手,今天的分享几点开始?"))
    visit.page.locator("[data-station=done].reached").wait_for()
    sizes = {}
    for name, width, height in (("playground", 901, 580), ("playground-narrow", 390, 780)):
        visit.page.set_viewport_size({"width": width, "height": height})
        file = goal / f"{name}.png"
        sizes[file.name] = len(visit.page.screenshot(path=file, animations="disabled"))
    visit.choose("老王")
    for line in ("报销单交给谁?", "要几张发票?", "多久能到账?"):
        visit.page.fill("#text", f"{line} {SLOW}")
        visit.page.press("#text", "Enter")
        visit.rows(line, ".member").wait_for()
    context.close()
    assert visit.troubles == []
    return sizes
