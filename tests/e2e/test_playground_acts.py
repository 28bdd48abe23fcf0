"""What people do on the playground beside typing a line: name, quote, rate, send a picture, take back."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulators.ecloud_media import PNG
from tests.e2e.stage import Stage
from tests.e2e.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.browser


def dify_records(stage: Stage, name: str) -> list[dict[str, Any]]:
    """What the simulated Dify was asked at one of its paths, oldest first."""
    _, log = stage.read("/_sim/log?limit=100000", port=stage.plan.dify)
    return [record for record in log["records"] if name in record["name"]]


def do(visit: Visit, text: str, kind: str, what: str) -> None:
    """Choose *what* in the menu of the last bubble with this text."""
    visit.rows(text, kind).last.locator(".bubble").click(button="right")
    visit.page.locator("#menu button", has_text=what).click()


def test_typing_an_at_offers_the_others_and_the_keyboard_chooses(visit: Visit) -> None:
    """Not the speaker; arrows and Enter put the name in, and Enter sends only then."""
    page = visit.page
    visit.choose("老王")
    page.fill("#text", "")
    page.locator("#text").press_sequentially("问一下@")
    offered = page.locator("#mentions li").all_inner_texts()
    assert [one.split("\n")[-1] for one in offered] == ["小助手", "小明", "小红"]
    assert page.get_attribute("#text", "aria-activedescendant") == "mention-0"

    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.input_value("#text") == "问一下@小红\u2005"
    assert page.locator("#mentions").is_hidden()
    page.locator("#text").press_sequentially("@助")
    assert page.locator("#mentions li").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("#mentions").is_hidden()
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")

    row = visit.rows("问一下@小红", ".member")
    visit.wait_for_answer(row)


def test_touched_name_is_a_mention_as_wechat_makes_it(
    open_playground: Callable[..., Visit], stage: Stage
) -> None:
    """The callback names the account's id, so the question comes without the @."""
    visit = open_playground(width=390, height=844)
    page = visit.page
    page.fill("#text", "")
    page.locator("#text").press_sequentially("@")
    page.locator("#mentions li", has_text="小助手").click()
    page.locator("#text").press_sequentially("触屏问")
    page.click("#send")
    visit.wait_for_answer(visit.rows("触屏问", ".member"))

    asked = dify_records(stage, "/v1/chat-messages")[-1]["query"]
    assert asked == "触屏问"
    assert not visit.overflows()


def test_quoted_bubble_goes_along_with_the_question(visit: Visit, stage: Stage) -> None:
    """The bridge asks with both; the bubble shows what it stands below."""
    visit.wait_for_answer(visit.say("小明", "会议室在三楼"))
    visit.choose("小红")
    do(visit, "会议室在三楼", ".member", "引用")
    assert "小明:会议室在三楼" in visit.page.locator("#quoting").inner_text()
    visit.page.fill("#text", "三楼哪一间?")
    visit.page.press("#text", "Enter")
    row = visit.rows("三楼哪一间?", ".member")
    visit.wait_for_answer(row)

    assert row.locator(".quoted").inner_text() == "小明:会议室在三楼"
    assert visit.page.locator("#quoting").is_hidden()
    asked = dify_records(stage, "/v1/chat-messages")[-1]["query"]
    assert asked == "「引用 小明:会议室在三楼」\n三楼哪一间?"


def test_rating_of_an_answer_reaches_dify_and_is_not_answered(visit: Visit, stage: Stage) -> None:
    """One click on 赞; the bubble says that it was a rating."""
    visit.wait_for_answer(visit.say("小明", "值得一赞的问题"))
    do(visit, "值得一赞的问题", ".bot", "赞")
    row = visit.page.locator(
        ".row.member", has=visit.page.locator(".text", has_text=re.compile("^赞$"))
    )
    row.locator(".status", has_text="不回答 · 评价").wait_for()
    visit.page.locator("#explanation", has_text="评价").wait_for()

    while not (rated := dify_records(stage, "/feedbacks")):
        visit.page.wait_for_timeout(50)
    assert [record["rating"] for record in rated] == ["like"]


def test_drawn_picture_goes_to_dify_with_the_next_question(visit: Visit, stage: Stage) -> None:
    """The bubble shows it; the upload has a PNG of that very person."""
    visit.choose("小红")
    visit.page.click("#picture")
    visit.page.locator("#drawn button", has_text="报表").click()
    picture = visit.page.locator(".row.mine .picture").last
    picture.wait_for()
    row = visit.page.locator(".row.member", has=visit.page.locator(".picture")).last
    row.locator(".status", has_text="不回答 · 图片或文件").wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 240

    visit.wait_for_answer(visit.say("小红", "这张图里是什么?"))

    asked = dify_records(stage, "/v1/chat-messages")[-1]
    assert [file["type"] for file in asked["files"]] == ["image"]
    assert "随问题收到 1 个文件" in visit.rows("这张图里是什么?", ".bot").inner_text()


def test_own_file_is_sent_and_what_is_no_picture_is_not(visit: Visit, tmp_path: Path) -> None:
    """A PNG becomes a bubble; a text file is refused in words."""
    before = visit.page.locator(".picture").count()
    (tmp_path / "点.png").write_bytes(PNG)
    (tmp_path / "周报.txt").write_text("不是图片", "utf-8")
    visit.page.click("#picture")
    visit.page.set_input_files("#file", tmp_path / "周报.txt")
    assert "只能发" in visit.page.locator("#notice").inner_text()
    visit.page.click("#picture")
    visit.page.set_input_files("#file", tmp_path / "点.png")

    visit.page.locator(".picture").nth(before).wait_for()
    assert visit.page.locator(".picture").count() == before + 1


def test_recalled_question_is_not_answered_and_says_so(visit: Visit) -> None:
    """While Dify is slow the speaker takes it back; the group reads nothing, the page says why."""
    visit.page.select_option("#fault", "slow")
    visit.say("小明", "这句说错了")
    visit.page.select_option("#fault", "none")
    visit.page.locator("#verdict", has_text="处理中").wait_for()
    do(visit, "这句说错了", ".member", "撤回")

    row = visit.rows("这句说错了", ".member")
    row.locator(".status", has_text="不回答 · 被撤回").wait_for()
    assert visit.page.locator(".note").last.inner_text() == "小明 撤回了一条消息"
    assert "撤回了这条消息" in visit.page.locator("#explanation").inner_text()
    assert visit.rows("这句说错了", ".bot").count() == 0


def test_only_ones_own_bubble_can_be_taken_back(visit: Visit) -> None:
    """The menu opens with the keyboard, too, and Escape closes it; the focus is where it was."""
    visit.wait_for_answer(visit.say("小明", "这是小明的"))
    visit.choose("小红")
    more = visit.rows("这是小明的", ".member").locator(".more")
    more.focus()
    visit.page.keyboard.press("Enter")
    items = visit.page.locator("#menu button").all_inner_texts()
    visit.page.keyboard.press("ArrowRight")
    assert visit.page.locator("#menu button:focus").inner_text() == items[1]
    visit.page.keyboard.press("Escape")

    assert items == ["引用", "看它的路"]
    assert visit.page.locator("#menu").is_hidden()
    assert more.evaluate("button => button === document.activeElement")


def test_many_lines_at_once_are_counted_and_drawn_while_one_talks_on(visit: Visit) -> None:
    """Every line is answered once; the figures add up, and the page takes a line in between."""
    page = visit.page
    page.locator("#burst-count").fill("30")
    page.click("#burst-go")
    page.locator("#burst-state[data-tone=busy]").wait_for()
    between = visit.say("老王", "夹在中间的一句")
    page.locator("#burst-state[data-tone=good]").wait_for(timeout=40_000)
    visit.wait_for_answer(between)

    figures = {name: page.inner_text(f"#burst-{name}") for name in ("sent", "answered", "waiting")}
    assert figures == {"sent": "30", "answered": "30", "waiting": "0"}
    assert page.inner_text("#burst-bad") == "0"
    assert re.fullmatch(r"[\d.]+ m?s", page.inner_text("#burst-p95"))
    assert page.locator("#burst-chart .answered").get_attribute("d").count("L") > 5  # type: ignore[union-attr]
    assert visit.rows("条,共 30 条", ".member").count() == 30
    assert visit.rows("条,共 30 条", ".bot").count() == 30


def test_burst_can_be_stopped_half_way(visit: Visit) -> None:
    """What was said is answered; the rest is not said."""
    page = visit.page

    def hold_back(route: "Route") -> None:
        page.wait_for_timeout(150)
        route.continue_()

    page.route("**/_sim/say", hold_back)
    page.locator("#burst-count").fill("60")
    page.click("#burst-go")
    page.locator("#burst-go", has_text="停下").click()
    page.locator("#burst-state[data-tone=good]").wait_for(timeout=40_000)

    sent = int(page.inner_text("#burst-sent"))
    assert 0 < sent < 60
    assert page.inner_text("#burst-answered") == str(sent)
    assert page.inner_text("#burst-go") == "发 60 条"


def test_real_dify_is_tried_switched_on_and_off_again(visit: Visit, stage: Stage) -> None:
    """A wrong key is answered in words; while it is on, the page says so and sends no masses."""
    page = visit.page
    page.fill("#upstream-url", stage.start_real_dify("app-the-real-one"))
    page.fill("#upstream-key", "app-wrong")
    page.click("#upstream-on")
    page.locator("#upstream-answer[data-tone=bad]", has_text="密钥不对").wait_for()
    page.fill("#upstream-key", "app-the-real-one")
    page.press("#upstream-key", "Enter")
    page.locator("#real").wait_for()
    assert "正在问「群聊助手」" in page.inner_text("#upstream-app")
    assert page.input_value("#upstream-key") == ""
    assert page.locator("#burst-go").is_disabled()
    visit.wait_for_answer(visit.say("小红", "真正的吗?"))
    passed_on = dify_records(stage, "/v1/chat-messages")[-1]
    assert (passed_on["upstream"], "query" in passed_on) == (True, False)

    visit.open(stage.address)
    page.locator("#upstream-off").click()
    page.locator("#real").wait_for(state="hidden")
    assert page.locator("#burst-go").is_enabled()
    visit.wait_for_answer(visit.say("小红", "又是模拟的吗?"))
    assert dify_records(stage, "/v1/chat-messages")[-1]["query"] == "又是模拟的吗?"
    assert [url for url in visit.requests if "app-the-real-one" in url] == []


def test_slider_makes_dify_slow_and_one_choice_puts_all_right(visit: Visit, stage: Stage) -> None:
    """Set with the keyboard, shown with its value, shared by all tabs; 一切正常 clears both fakes."""
    page = visit.page
    page.locator("#dify-latency").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.locator("#gateway-duplicate").fill("2")
    page.locator("#fault-hint", has_text="滑块").wait_for()
    assert page.locator(".slider.on output").all_inner_texts() == ["2 份", "1.5 秒"]
    visit.open(stage.address)
    page.locator("#fault-hint", has_text="滑块").wait_for()
    assert page.input_value("#dify-latency") == "1.5"

    row = visit.say("小明", "慢一点的 Dify")
    visit.wait_for_answer(row)
    assert int(re.sub(r"\D", "", visit.stations()["首字到达"])) >= 1500
    page.select_option("#fault", "none")
    page.locator(".slider.on").first.wait_for(state="detached")
    for port in (stage.plan.dify, stage.plan.gateway):
        assert stage.read("/_sim/faults", port=port)[1]["faults"] == []


def test_account_goes_offline_and_online_with_a_tick(visit: Visit, stage: Stage) -> None:
    """At the gateway; 一切正常 brings it back."""

    def is_online() -> bool:
        _, world = stage.read("/_sim/world", port=stage.plan.gateway)
        online: bool = world["accounts"][0]["online"]
        return online

    visit.page.check("#offline")
    visit.page.locator("#fault-hint", has_text="滑块").wait_for()
    assert not is_online()
    visit.page.select_option("#fault", "none")
    visit.page.locator("#fault-hint", has_text="按时回答").wait_for()
    visit.page.locator("#offline:not(:checked)").wait_for()

    assert is_online()
