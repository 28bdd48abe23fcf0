"""The settings page and the wizard in a real browser, on a bridge that nobody has set up yet."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.stage import Stage
from tests.e2e.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
PEERS = (
    "ECLOUD_BASE_URL",
    "ECLOUD_AUTHORIZATION",
    "DIFY_BASE_URL",
    "DIFY_API_KEY",
    "DIFY_STREAMING_ENABLED",
    "ECLOUD_TARGET_GAP",
    "PLAYGROUND_ENABLED",
    "PLAYGROUND_GATEWAY_URL",
)
WINDOWS = pytest.mark.parametrize(
    "visit", [(1280, "light"), (390, "dark")], indirect=True, ids=["wide-light", "narrow-dark"]
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A bridge between its peers that knows neither of them."""
    stage = Stage(tmp_path_factory.mktemp("bare"), lacks=PEERS, CONSOLE_PASSWORD=PASSWORD)
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()


@pytest.fixture
def visit(request: pytest.FixtureRequest, chromium: "Browser", bare: Stage) -> Iterator[Visit]:
    """A tab in which the administrator has just logged in; there was no trouble in it at the end."""
    width, colours = getattr(request, "param", (1280, "light"))
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        color_scheme="dark" if colours == "dark" else "light",
    )
    visit = Visit(context.new_page())
    visit.page.goto(bare.console)
    visit.page.fill("input[name=password]", PASSWORD)
    visit.page.get_by_role("button", name="登录").click()
    visit.page.locator("#main").wait_for()
    yield visit
    context.close()
    assert visit.troubles == []


def try_out(visit: Visit, *, button: str = "测试连接") -> str:
    """Press a button that tests what is typed; what came of it."""
    before = visit.page.locator("#tested .checked:not(.is-busy)")
    if before.count():
        visit.page.evaluate("document.getElementById('tested').replaceChildren()")
    visit.page.get_by_role("button", name=button).click()
    before.wait_for()
    assert not visit.overflows()
    return before.inner_text()


def test_a_first_login_leads_to_the_wizard(visit: Visit, bare: Stage) -> None:
    """Nothing can be answered yet."""
    visit.page.wait_for_url("**/settings/wizard/gateway")
    assert visit.page.locator("[aria-current=step]").inner_text().split() == ["1", "网关"]


@WINDOWS
def test_the_wizard_goes_from_the_gateway_to_the_groups(visit: Visit, bare: Stage) -> None:
    """Each step says what is wrong before anything is saved; the waiting line turns green by itself."""
    page, plan = visit.page, bare.plan
    page.goto(f"{bare.console}settings/wizard")
    page.fill("[name='ecloud.base_url']", "http://127.0.0.1:1")
    page.fill("[name='ecloud.authorization']", plan.authorization)
    assert "请检查 ecloud.base_url" in try_out(visit)
    page.fill("[name='ecloud.base_url']", f"http://127.0.0.1:{plan.gateway}")
    assert "✓" in try_out(visit)
    page.get_by_role("button", name="下一步").click()

    page.wait_for_url("**/wizard/dify*")
    page.fill("[name='dify.base_url']", f"http://127.0.0.1:{plan.dify}/v1")
    page.fill("[name='dify.api_key']", "app-not-the-right-one")
    assert "不接受这个应用的密钥" in try_out(visit)
    page.fill("[name='dify.api_key']", plan.api_key)
    assert "✓" in try_out(visit)
    page.get_by_role("button", name="下一步").click()

    page.wait_for_url("**/wizard/callback*")
    page.get_by_text("等待第一条回调").wait_for()
    page.fill("[name='ecloud.callback_url']", f"http://127.0.0.1:{plan.bridge}")
    assert "已登记" in try_out(visit, button="在网关登记")
    page.locator(".waiting.is-good").wait_for()
    page.get_by_role("button", name="下一步").click()

    page.wait_for_url("**/wizard/groups*")
    page.get_by_role("button", name="下一步").click()
    page.wait_for_url("**/wizard/done*")
    assert not visit.overflows()
    assert plan.authorization not in page.content()


def connect(visit: Visit, bare: Stage) -> None:
    """Save both peers, whatever was saved before."""
    page, plan = visit.page, bare.plan
    page.goto(f"{bare.console}settings/wizard/gateway")
    page.fill("[name='ecloud.base_url']", f"http://127.0.0.1:{plan.gateway}")
    page.fill("[name='ecloud.authorization']", plan.authorization)
    page.get_by_role("button", name="下一步").click()
    page.wait_for_url("**/wizard/dify*")
    page.fill("[name='dify.base_url']", f"http://127.0.0.1:{plan.dify}/v1")
    page.fill("[name='dify.api_key']", plan.api_key)
    page.get_by_role("button", name="下一步").click()
    page.wait_for_url("**/wizard/callback*")


def test_after_a_restart_the_bridge_answers_with_what_the_wizard_saved(
    visit: Visit, bare: Stage
) -> None:
    """And nothing waits for a restart any more."""
    page = visit.page
    connect(visit, bare)
    page.goto(f"{bare.console}settings/")
    page.locator(".restart-bar").wait_for()
    page.goto("about:blank")
    bare.stop_bridge()
    bare.start_bridge()
    status, health = bare.read("/api/v1/health")
    page.goto(f"{bare.console}settings/")

    assert page.locator(".restart-bar").count() == 0
    assert status == 200
    assert health["dependencies"]["dify"]["state"] == "up"


@WINDOWS
def test_a_setting_is_found_changed_and_given_back(visit: Visit, bare: Stage) -> None:
    """A fixed one can only be read; a secret's field is empty."""
    page = visit.page
    page.goto(f"{bare.console}settings/?q=target_gap")
    page.get_by_role("link", name="ecloud.target_gap").click()
    page.fill("[name=value]", "1.5")
    page.get_by_role("button", name="保存").click()
    page.get_by_text("几秒内在所有进程里生效").wait_for()
    assert page.locator(".facts dd").first.inner_text() == "1.5"
    assert not visit.overflows()
    page.get_by_role("button", name="还原").click()
    page.get_by_role("button", name="还原").wait_for(state="detached")
    assert page.locator(".facts dd").first.inner_text() == "2"
    page.goto(f"{bare.console}settings/edit/ecloud.send_gap")
    assert page.locator("[name=value]").count() == 0
    page.goto(f"{bare.console}settings/edit/dify.api_key")
    assert page.locator("[name=value]").input_value() == ""
    assert not visit.overflows()


@WINDOWS
def test_an_app_is_tested_added_and_taken_away(visit: Visit, bare: Stage) -> None:
    """The key that was typed is still there after the test."""
    page = visit.page
    page.goto(f"{bare.console}settings/apps")
    page.get_by_role("link", name="添加").click()
    page.fill("[name=name]", "second")
    page.fill("[name=base_url]", f"http://127.0.0.1:{bare.plan.dify}/v1")
    page.fill("[name=api_key]", bare.plan.api_key)
    assert "✓" in try_out(visit)
    assert page.locator("[name=api_key]").input_value() == bare.plan.api_key
    page.get_by_role("button", name="保存").click()
    page.get_by_role("link", name="second").click()
    page.wait_for_url("**/apps/second")
    assert not visit.overflows()
    remove = page.get_by_role("button", name="删去")
    assert remove.is_disabled()
    page.fill("[data-confirm]", "second")
    remove.click()
    page.get_by_text("一个也没有").wait_for()
    page.get_by_role("button", name="还原").click()
    page.get_by_role("button", name="还原").wait_for(state="detached")
