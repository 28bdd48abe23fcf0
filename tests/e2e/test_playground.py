"""
The playground in a real browser, over the real way of a message.

Browser → simulated gateway → callback → queue → worker → simulated Dify → send → browser.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.stage import Stage
from tests.e2e.visit import Visit

pytestmark = pytest.mark.browser

STATIONS = [
    "收到回调",
    "进入队列",
    "开始处理",
    "提问 Dify",
    "首字到达",
    "回答完成",
    "发送第 1 段",
    "全部完成",
]
MILLISECONDS = re.compile(r"[\d,]+ ms")
#: Of a picture with something in it, at least.
PICTURE_BYTES = 20_000


def test_line_of_a_member_is_answered_by_the_bot(visit: Visit) -> None:
    """小红 types, the bot's bubble mentions her, and hers says how long it took."""
    chips = visit.page.locator(".chip").all_inner_texts()
    assert [chip.split()[-1] for chip in chips] == ["小明", "小红", "老王"]
    assert visit.page.input_value("#text") != ""

    row = visit.say("小红", "第一问:几点开始?")
    visit.wait_for_answer(row)

    answer = visit.rows("你问的是“第一问:几点开始?”", ".bot")
    assert answer.count() == 1
    assert answer.locator(".text").inner_text().startswith("@小红\u2005")
    assert answer.locator(".name").inner_text() == "小助手"
    assert re.fullmatch(r"已回答 · [\d.]+ m?s", row.locator(".status").inner_text())
    assert visit.page.input_value("#text") == ""


def test_answer_is_in_the_browser_within_moments(visit: Visit) -> None:
    """From Enter to the bot's bubble in the browser it takes a moment only."""
    began = time.monotonic()
    visit.say("小明", "第十五问:快吗?")
    visit.rows("第十五问:快吗?", ".bot").wait_for()

    assert time.monotonic() - began < 15


def test_way_shows_every_station_with_milliseconds(visit: Visit) -> None:
    """From receipt to the last sending; why it was answered stands below."""
    visit.wait_for_answer(visit.say("小明", "第二问:这条路有几站?"))
    visit.page.locator("[data-station=done].reached").wait_for()

    stations = visit.stations()
    assert list(stations) == STATIONS
    assert all(MILLISECONDS.fullmatch(shown) for shown in stations.values())
    assert stations["收到回调"] == "0 ms"
    assert visit.page.locator("#verdict").inner_text() == "已回答"
    assert "触发了回答规则" in visit.page.locator("#explanation").inner_text()
    assert "第二问:这条路有几站?" in visit.page.locator("#quote").inner_text()
    assert re.fullmatch(r"\d{18,19}", visit.facts()["消息编号"])


def test_bubbles_of_the_chosen_speaker_stand_on_the_right(visit: Visit) -> None:
    """Switching the speaker hands the phone over."""
    row = visit.say("小红", "第三问:我在右边吗?")
    assert "mine" in (row.get_attribute("class") or "")

    visit.choose("老王")

    assert "mine" not in (row.get_attribute("class") or "")
    visit.wait_for_answer(row)


def test_slow_answer_for_one_does_not_hold_up_another(visit: Visit) -> None:
    """小明 waits three seconds for Dify; 老王, who spoke later, has his answer before."""
    visit.page.select_option("#fault", "slow")
    slow = visit.say("小明", "第四问:慢的")
    visit.page.select_option("#fault", "none")
    quick = visit.say("老王", "第四问:快的")

    visit.wait_for_answer(quick)

    assert "已回答" not in slow.locator(".status").inner_text()
    assert slow.locator(".order").inner_text() == "wait=3"
    visit.wait_for_answer(slow)
    visit.select(slow)
    assert int(re.sub(r"\D", "", visit.stations()["首字到达"])) >= 3000


def test_all_speak_at_once_and_each_is_answered(visit: Visit) -> None:
    """One click, three questions, three answers, each to the one who asked."""
    visit.page.fill("#text", "第五问:大家好")
    visit.page.click("#together")

    for name in ("小明", "小红", "老王"):
        visit.rows("第五问:大家好", ".bot").filter(has_text=f"@{name}").wait_for()
    assert visit.rows("第五问:大家好", ".bot").count() == 3


def test_click_on_the_answer_shows_the_way_of_its_question(visit: Visit) -> None:
    """Also after another message was chosen."""
    visit.wait_for_answer(visit.say("小红", "第六问:甲"))
    visit.wait_for_answer(visit.say("小明", "第六问:乙"))
    assert "第六问:乙" in visit.page.locator("#quote").inner_text()

    visit.select(visit.rows("第六问:甲", ".bot"))

    assert "第六问:甲" in visit.page.locator("#quote").inner_text()
    assert visit.page.locator(".chosen").count() == 2


def test_failed_try_is_counted_and_answered_in_the_end(visit: Visit) -> None:
    """Dify says 500 once; the group sees the answer only."""
    visit.page.select_option("#fault", "error")
    row = visit.say("小明", "第七问:会重试吗?")
    visit.wait_for_answer(row)

    assert visit.facts()["失败的尝试"] == "1 次"
    assert visit.rows("第七问:会重试吗?", ".bot").count() == 1


def test_callback_delivered_three_times_is_answered_once(visit: Visit) -> None:
    """The fault is switched at the gateway, and off again."""
    visit.make_trouble("twice")
    row = visit.say("小红", "第八问:重复吗?")
    visit.wait_for_answer(row)
    visit.make_trouble("none")
    visit.page.locator("#facts", has_text="只处理一次").wait_for()

    assert visit.facts()["网关投递"] == "3 次,只处理一次"
    assert visit.rows("第八问:重复吗?", ".bot").count() == 1


def test_lost_callback_is_told_as_such(visit: Visit) -> None:
    """The bridge cannot know the message; the page says who lost it."""
    visit.make_trouble("lost")
    row = visit.say("老王", "第九问:有人听到吗?")
    visit.make_trouble("none")
    row.locator(".status", has_text="没有收到").wait_for()

    assert "没有投递" in visit.page.locator("#explanation").inner_text()


def test_long_answer_arrives_piece_by_piece(visit: Visit) -> None:
    """The first segment is out before the answer is whole."""
    visit.page.select_option("#fault", "long")
    row = visit.say("小红", "第十问:说长一点")
    visit.page.locator("[data-station=segment].reached").first.wait_for()

    assert visit.stations()["回答完成"] == "…"
    visit.wait_for_answer(row)
    assert "发送第 3 段" in visit.stations()


def test_markup_in_a_line_is_text(visit: Visit) -> None:
    """Nothing a member types becomes part of the page."""
    evil = "<img src=x onerror=alert(1)><b>粗</b>&amp;"
    row = visit.say("小明", evil)
    visit.wait_for_answer(row)

    assert row.locator(".text").inner_text() == evil
    assert visit.page.locator(".text img, .text b, #quote img").count() == 0


def test_enter_belongs_to_the_input_method_while_it_composes(visit: Visit) -> None:
    """Choosing a candidate with Enter sends nothing; Shift+Enter makes a new line."""
    before = visit.page.locator(".row").count()
    visit.page.fill("#text", "ni hao")
    visit.page.dispatch_event("#text", "keydown", {"key": "Enter", "isComposing": True})
    visit.page.press("#text", "Shift+Enter")

    assert visit.page.input_value("#text") == "ni hao\n"
    assert visit.page.locator(".row").count() == before


def test_chat_survives_a_reload(visit: Visit, stage: Stage) -> None:
    """What was said is shown again, once, with its outcome; the tab holds one event stream."""
    visit.wait_for_answer(visit.say("小红", "第十一问:还在吗?"))

    visit.requests.clear()
    visit.open(stage.address)
    row = visit.rows("第十一问:还在吗?", ".member")
    visit.wait_for_answer(row)

    assert row.count() == 1
    assert visit.rows("第十一问:还在吗?", ".bot").count() == 1
    assert len([url for url in visit.requests if "/_sim/events" in url]) == 1


def test_everything_comes_from_the_bridge_and_its_gateway(visit: Visit, stage: Stage) -> None:
    """No other host is asked for anything."""
    visit.wait_for_answer(visit.say("小明", "第十二问:谁在听?"))

    ours = {f"127.0.0.1:{stage.plan.bridge}", f"127.0.0.1:{stage.plan.gateway}"}
    assert {urlsplit(url).netloc for url in visit.requests} == ours


def test_page_opened_under_another_name_finds_its_gateway(
    open_playground: Callable[..., Visit], stage: Stage
) -> None:
    """``localhost`` instead of the address: the policy and the script follow."""
    visit = open_playground()
    visit.open(stage.address.replace("127.0.0.1", "localhost"))

    visit.wait_for_answer(visit.say("小红", "第十三问:换个名字"))


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_and_can_be_photographed(
    open_playground: Callable[..., Visit], tmp_path: Path, width: int, colours: str
) -> None:
    """Nothing sticks out sideways; pictures are kept where SCREENSHOTS says."""
    visit = open_playground(width=width, height=900 if width > 1000 else 844, colours=colours)
    visit.wait_for_answer(visit.say("老王", "报销单交给谁?"))
    visit.wait_for_answer(visit.say("小红", "小助手,今天的分享几点开始?在哪个会议室?"))
    visit.page.locator("[data-station=done].reached").wait_for()
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    picture = visit.page.screenshot(
        path=folder / f"playground-{width}-{colours}.png", full_page=True, animations="disabled"
    )
    visit.wait_for_answer(visit.say("小明", "https://example.com/" + "x" * 120))

    assert not visit.overflows()
    assert len(picture) > PICTURE_BYTES


def test_cut_gateway_is_told_and_a_new_one_is_taken(visit: Visit, stage: Stage) -> None:
    """A red bar while it is away; afterwards the page goes on, with the empty group of the new one."""
    visit.wait_for_answer(visit.say("小明", "第十四问:断开之前"))
    visit.make_trouble("lost")
    visit.say("老王", "第十四问:桥没有听到的")
    assert visit.troubles == []

    visit.streams = 0
    stage.cut_gateway()
    alarm = visit.page.locator("#alarm")
    alarm.wait_for()
    assert alarm.inner_text() == "连接断开,重连中…"
    assert visit.page.locator("#link").inner_text() == "已断开"
    visit.page.fill("#text", "第十四问:没人接")
    visit.page.press("#text", "Enter")
    visit.page.wait_for_function("document.getElementById('text').value !== ''")

    stage.start_gateway()
    alarm.wait_for(state="hidden")
    assert visit.page.locator("#silence").is_visible()
    assert visit.page.locator("#way-empty").is_visible()
    visit.wait_for_answer(visit.say("小红", "第十四问:恢复之后"))
    assert visit.page.locator(".row").count() == 2
    assert visit.page.input_value("#fault") == "none"
    assert visit.page.locator("#alarm").is_hidden()
    assert visit.streams == 1
    # What failed while the gateway was away is this test's doing.
    visit.troubles.clear()
