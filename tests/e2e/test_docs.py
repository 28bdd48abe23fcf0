"""The page of the interfaces in a real browser that can reach nothing but the bridge."""

from typing import TYPE_CHECKING

import pytest

from tests.e2e.stage import Stage
from tests.e2e.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


def test_docs_are_shown_and_tried_out_without_the_internet(
    chromium: "Browser", stage: Stage
) -> None:
    """Every route is there; a GET can be tried; nothing is blocked and nobody else is asked."""
    origin = f"http://127.0.0.1:{stage.plan.bridge}"
    visit = Visit(chromium.new_page())
    page = visit.page
    try:
        page.goto(f"{origin}/docs")
        page.locator(".opblock").first.wait_for()
        routes = page.locator(".opblock-summary-path").all_inner_texts()
        posts = page.locator(".opblock-post")
        posts.locator(".opblock-summary").click()
        posts.locator(".opblock-body").wait_for()
        tries_of_posts = posts.locator(".try-out__btn").count()
        alive = page.locator(".opblock-get", has_text="/healthz")
        alive.locator(".opblock-summary").click()
        alive.locator(".try-out__btn").click()
        alive.locator(".execute").click()
        alive.locator(".live-responses-table", has_text="alive").wait_for()
    finally:
        page.close()

    shown = {route.replace("\u200b", "") for route in routes}
    assert shown == {"/api/v1/callback", "/api/v1/health", "/healthz", "/readyz", "/metrics"}
    assert tries_of_posts == 0
    asked = [url for url in visit.requests if not url.startswith(("data:", "blob:"))]
    assert asked
    assert all(url.startswith(origin) for url in asked)
    assert visit.troubles == []
