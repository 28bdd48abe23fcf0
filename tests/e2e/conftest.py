"""
Fixtures of the browser tests.

``stage``    the whole thing as processes, once per module
``chromium`` Debian's Chromium, once per module
``visit``    a tab on the playground that collects whatever goes wrong in it

The browser is ended with its module: playwright's synchronous interface keeps a loop running in
this thread, and the asynchronous tests of other modules need theirs.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.stage import Stage
from tests.e2e.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A started stage."""
    stage = Stage(tmp_path_factory.mktemp("stage"))
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """A headless browser."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="没有安装 playwright:pip install -r requirements-e2e.txt"
    )
    if CHROMIUM is None:
        pytest.skip("没有找到 Chromium:apt install chromium fonts-noto-cjk,或设置 CHROMIUM=<路径>")
    # Chromium's sandbox refuses to run as root.
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_playground(chromium: "Browser", stage: Stage) -> Iterator[Callable[..., Visit]]:
    """Opens tabs; they are closed, and must have had no trouble, at the end of the test."""
    visits: list[Visit] = []

    def open_one(*, width: int = 1280, height: int = 900, colours: str = "light") -> Visit:
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            locale="zh-CN",
            timezone_id="Asia/Shanghai",
            color_scheme="dark" if colours == "dark" else "light",
        )
        visits.append(Visit(context.new_page()))
        visits[-1].open(stage.address)
        return visits[-1]

    try:
        yield open_one
    finally:
        for visit in visits:
            visit.page.context.close()
    assert [trouble for visit in visits for trouble in visit.troubles] == []


@pytest.fixture
def visit(open_playground: Callable[..., Visit]) -> Visit:
    """One tab at 1280 pixels."""
    return open_playground()
