"""The playground's pure parts: may it open, where is the gateway, what does a row say."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.console.playground.admission import Admission, gateway_origin, is_this_machine
from app.console.playground.way import SETTLE, show_way
from app.console.verdicts import Tone, explain
from app.models.flow import IgnoreReason, RefuseReason
from app.models.message import MessageState
from app.models.segment import SegmentState
from app.services.errors import DifyError
from app.services.outbox import ANSWERED, ANSWERED_NOTHING, CUT_SHORT
from app.workers.retry import BUDGET_SPENT, CRASHED, INTERNAL_ERROR
from config import EcloudAccount, EcloudSettings, PlaygroundSettings

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
CHINESE = re.compile(r"[\u4e00-\u9fff]")
GATEWAY = "http://127.0.0.1:9899"


def at(milliseconds: float) -> datetime:
    """A moment so long after the receipt."""
    return START + timedelta(milliseconds=milliseconds)


def message_row(**columns: Any) -> dict[str, Any]:
    """A row of ``messages`` as the playground reads it."""
    return {
        "id": 912461144820306057,
        "dedupe_key": "1497474118261484795",
        "deliveries": 1,
        "state": MessageState.DONE,
        "verdict": ANSWERED,
        "detail": "",
        "error": "",
        "attempts": 0,
        "crashes": 0,
        "dify_conversation_id": "",
        "total_tokens": None,
        "received_at": START,
        "queued_at": at(10),
        "claimed_at": at(20),
        "asked_at": at(30),
        "first_text_at": at(40),
        "answered_at": at(50),
        "done_at": at(90.26),
        **columns,
    }


def segment_row(**columns: Any) -> dict[str, Any]:
    """A row of ``segments`` as the playground reads it."""
    return {
        "message_id": 912461144820306057,
        "seq": 0,
        "state": SegmentState.SENT,
        "tries": 1,
        "error": "",
        "new_msg_id": "1718939475138052103",
        "planned_at": at(50),
        "sending_at": at(60),
        "sent_at": at(90),
        **columns,
    }


class Gateways:
    """Counts the questions and gives one answer to them."""

    def __init__(self, *, is_simulated: bool) -> None:
        self.is_simulated = is_simulated
        self.asked: list[str] = []

    async def __call__(self, base_url: str) -> bool:
        """The answer."""
        self.asked.append(base_url)
        return self.is_simulated


def admission(
    gateways: Gateways, *, gateway_url: str = GATEWAY, **ecloud: Any
) -> tuple[Admission, Gateways]:
    """One in front of these gateways."""
    settings = EcloudSettings(**{"base_url": GATEWAY, **ecloud})
    playground = PlaygroundSettings(enabled=True, gateway_url=gateway_url)
    return Admission(playground, settings, is_simulated=gateways), gateways


async def test_playground_opens_before_the_simulated_gateway_on_this_machine() -> None:
    """The settings' gateway is asked, and that is all."""
    door, gateways = admission(Gateways(is_simulated=True))

    assert await door.check() == ""
    assert gateways.asked == [GATEWAY]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"gateway_url": ""}, "PLAYGROUND_GATEWAY_URL"),
        ({"base_url": ""}, "ECLOUD_BASE_URL"),
        ({"gateway_url": "http://127.0.0.1:9898"}, "不是同一个网关"),
        ({"base_url": "http://192.0.2.1:9899"}, "不在这台机器上"),
        (
            {"accounts": (EcloudAccount(name="b", base_url=GATEWAY, authorization="x"),)},
            "ecloud.accounts",
        ),
    ],
)
async def test_playground_stays_closed_when_settings_allow_a_real_gateway(
    changes: dict[str, Any], word: str
) -> None:
    """Whatever is odd in the settings closes it, without a question to anybody."""
    door, gateways = admission(Gateways(is_simulated=True), **changes)

    assert word in await door.check()
    assert gateways.asked == []


async def test_playground_stays_closed_before_a_gateway_that_is_no_simulator() -> None:
    """A server on this machine that does not call itself the simulator is taken for a real one."""
    door, _ = admission(Gateways(is_simulated=False))

    assert "模拟网关" in await door.check()


async def test_open_playground_stays_open_while_its_gateway_is_away() -> None:
    """The way of a message can be read on; opening the page asks again."""
    door, gateways = admission(Gateways(is_simulated=True))
    await door.check()
    gateways.is_simulated = False

    assert await door.check_once() == ""
    assert await door.check() != ""
    assert await door.check_once() != ""


async def test_only_addresses_of_this_machine_are_this_machine() -> None:
    """Loopback is; a documentation address and a name nobody has are not."""
    assert await is_this_machine("127.0.0.1")
    assert await is_this_machine("localhost")
    assert not await is_this_machine("192.0.2.1")
    assert not await is_this_machine("no-such-host.invalid")
    assert not await is_this_machine("a" * 300)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8765", "http://127.0.0.1:9899"),
        ("lab.example:8765", "http://lab.example:9899"),
        ("lab.example", "http://lab.example:9899"),
        ("[::1]:8765", "http://[::1]:9899"),
        ("", "http://127.0.0.1:9899"),
        ("evil.example; script-src *", "http://127.0.0.1:9899"),
        ("a b", "http://127.0.0.1:9899"),
        ("x'y:1", "http://127.0.0.1:9899"),
        ("good:1\nx", "http://127.0.0.1:9899"),
    ],
)
def test_browser_finds_the_gateway_under_the_name_it_came_by(host: str, origin: str) -> None:
    """Port from the settings, name from the request; no odd header gets into the policy."""
    assert gateway_origin(GATEWAY, host) == origin


@given(st.text())
def test_no_host_header_adds_a_word_to_the_policy(host: str) -> None:
    """Blanks, semicolons, quotes and stars never pass."""
    assert re.fullmatch(r"http://[\w.\-\[\]:]+:9899", gateway_origin(GATEWAY, host), re.ASCII)


def test_way_shows_ids_as_strings_and_times_as_milliseconds() -> None:
    """No id passes through a double; times count from the receipt."""
    way = show_way(message_row(), [segment_row()], now=at(5000))

    assert way["message_id"] == "912461144820306057"
    assert way["new_msg_id"] == "1497474118261484795"
    assert [station["ms"] for station in way["stations"]] == [0, 10, 20, 30, 40, 50]
    assert way["done"]["ms"] == 90.3
    assert [(one["planned_ms"], one["sending_ms"], one["sent_ms"]) for one in way["segments"]] == [
        (50, 60, 90)
    ]
    assert way["tone"] is Tone.GOOD


def test_station_that_is_not_reached_has_no_time() -> None:
    """A waiting message was received and queued, nothing else."""
    columns = dict.fromkeys(
        ("claimed_at", "asked_at", "first_text_at", "answered_at", "done_at"), None
    )
    way = show_way(message_row(state="received", verdict="", **columns), [], now=at(5000))

    assert [station["ms"] for station in way["stations"]] == [0, 10, None, None, None, None]
    assert way["label"] == "排队中"
    assert not way["is_settled"]


@pytest.mark.parametrize(
    ("columns", "segments", "after", "settled"),
    [
        ({}, [{}], SETTLE, True),
        ({}, [{}], SETTLE / 2, False),
        ({"state": "answered", "done_at": None}, [{}], SETTLE * 9, False),
        ({"state": "dead", "verdict": "failed:crashed"}, [{"state": "planned"}], SETTLE * 9, False),
        ({"state": "dead", "verdict": "failed:crashed"}, [{"state": "sent"}], SETTLE * 9, True),
        ({"state": "ignored", "verdict": "no_text"}, [], SETTLE, True),
        ({"state": "refused", "verdict": "user_queue_full"}, [], SETTLE, True),
    ],
)
def test_way_is_settled_when_nothing_more_can_be_written(
    columns: dict[str, Any], segments: list[dict[str, Any]], after: timedelta, settled: bool
) -> None:
    """A final state, no open segment, and the batch of stage times has had its time."""
    rows = [segment_row(**segment) for segment in segments]
    way = show_way(message_row(**columns), rows, now=at(90.26) + after)

    assert way["is_settled"] is settled


@pytest.mark.parametrize("reason", IgnoreReason)
def test_every_reason_to_ignore_is_explained(reason: IgnoreReason) -> None:
    """In Chinese, in a sentence of its own."""
    found = explain(state=MessageState.IGNORED, verdict=reason)

    assert found.label == "不回答"
    assert CHINESE.search(found.text)
    assert [
        other for other in IgnoreReason if explain(state="ignored", verdict=other) == found
    ] == [reason]


@pytest.mark.parametrize("reason", RefuseReason)
def test_every_reason_to_refuse_is_explained(reason: RefuseReason) -> None:
    """In Chinese."""
    assert CHINESE.search(explain(state=MessageState.REFUSED, verdict=reason).text)


@pytest.mark.parametrize(
    "code",
    [
        *(error.code for error in DifyError.__subclasses__()),
        *(BUDGET_SPENT, INTERNAL_ERROR, CRASHED),
    ],
)
def test_every_way_to_fail_is_explained(code: str) -> None:
    """In Chinese, without the bare code."""
    found = explain(state=MessageState.DEAD, verdict=f"failed:{code}")

    assert found.tone is Tone.BAD
    assert CHINESE.search(found.text)
    assert code not in found.text


@pytest.mark.parametrize("verdict", [ANSWERED, ANSWERED_NOTHING, CUT_SHORT])
def test_every_answer_is_explained_when_it_is_sent(verdict: str) -> None:
    """Before that it is being sent."""
    assert explain(state=MessageState.ANSWERED, verdict=verdict).label == "发送中"
    assert explain(state=MessageState.DONE, verdict=verdict).label != "发送中"


def test_reason_of_a_newer_version_is_named_not_hidden() -> None:
    """A word this version does not know is shown as it is."""
    assert "brand_new" in explain(state="dead", verdict="failed:brand_new").text
    assert "brand_new" in explain(state="ignored", verdict="brand_new").text
    assert "brand_new" in explain(state="refused", verdict="brand_new").text
