"""The send loop where a call has no answer: nothing said without end, and nothing lost to a gateway that is away."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from loguru import logger

from app.models.flow import WcId
from app.services.errors import StoreUnavailable
from app.services.outbox_table import Sent
from app.services.queue.keys import Keys
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import StartInside
from tests.fixtures.sending import calls, echo, hurry, texts

if TYPE_CHECKING:
    from loguru import Message

SEGMENTS = "SELECT state, tries, error FROM segments ORDER BY id"
UNKNOWN = {"state": "unknown", "tries": 2, "error": "undecided"}


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``hurry``."""
    hurry(monkeypatch)


@pytest.fixture
def lines() -> Iterator[list[tuple[str, str]]]:
    """Log lines about segments: the event and the id in brackets."""
    found: list[tuple[str, str]] = []

    def sink(message: "Message") -> None:
        event = message.record["message"].split()[0]
        if event.startswith("segment.") or event == "sender.receipt_lost":
            found.append((event, str(message.record["extra"].get("message_id"))))

    handler = logger.add(sink, level="INFO")
    yield found
    logger.remove(handler)


@pytest.mark.parametrize("fault", ["sent_but_timeout", "bad_gateway"])
async def test_a_text_that_is_never_confirmed_is_said_twice_at_most(
    inside: StartInside, gateway: EcloudSimulator, fault: str
) -> None:
    """The fault stays: the segment is given up as unknown, and the message says so."""
    gateway.faults.set(fault)
    async with inside(ECLOUD_TIMEOUT="0.4") as bridge:
        await bridge.hear("一 [[text=一]]")
        [message] = await bridge.until_settled(1)
        assert await bridge.rows(SEGMENTS) == [UNKNOWN]
        gateway.faults.clear()
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)

    assert texts(gateway) == ["一", "一", "二"]
    assert (message["verdict"], message["error"]) == ("answered", "segment 0 not sent: undecided")


async def test_a_text_that_is_never_confirmed_is_said_twice_at_most_over_restarts(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Each process dies after its call; what the former ones did is known."""
    gateway.faults.set("sent_but_timeout")
    for number in (1, 2):
        async with inside(ECLOUD_TIMEOUT="0.4") as bridge:
            if number == 1:
                await bridge.hear("一 [[text=一]]")
            await gateway.wait_for_sent(number)
            await bridge.until_rows(
                f"SELECT 1 FROM segments WHERE tries = {number} AND state = 'sending'"
            )
    async with inside(ECLOUD_TIMEOUT="0.4") as bridge:
        await bridge.until_settled(1)
        assert await bridge.rows(SEGMENTS) == [UNKNOWN]

    assert texts(gateway) == ["一", "一"]


async def test_calls_that_certainly_did_not_go_out_use_up_no_repetition(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Three refusals about frequency, then a time-out: it is said once more."""
    gateway.faults.set("throttle", 0, times=3)
    gateway.faults.set("sent_but_timeout", times=1)
    async with inside(ECLOUD_TIMEOUT="0.4") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        segments = await bridge.rows(SEGMENTS)

    assert texts(gateway) == ["一", "一"]
    assert segments == [{"state": "sent", "tries": 2, "error": ""}]
    assert calls(gateway) == 5


async def test_a_call_of_hours_ago_is_not_repeated(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Its process died, and nobody sent since: the group has moved on."""
    async with inside(works=False) as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.background.index.start(process_died=False)
        bridge.background._start_work()
        await bridge.until_rows("SELECT 1 FROM segments")
        await bridge.execute(
            "UPDATE segments SET state = 'sending', tries = 1, sending_at = '2020-01-01 00:00:00.0'"
        )
        bridge.background._start_sending()
        await bridge.until_settled(1)
        segments = await bridge.rows(SEGMENTS)

    assert segments == [{"state": "unknown", "tries": 1, "error": "undecided"}]
    assert calls(gateway) == 0


async def test_an_answer_too_old_for_its_account_is_unknown_if_a_call_of_it_may_have_gone_out(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The repetition was refused as too frequent: it is not failed, since the group may have it."""
    gateway.faults.set("sent_but_timeout", times=1)
    async with inside(ECLOUD_TIMEOUT="0.4", ECLOUD_OFFLINE_MAX_WAIT="0") as bridge:
        await bridge.hear("一 [[text=一]]")
        await gateway.wait_for_sent(1)
        gateway.faults.set("throttle", 0)
        await bridge.until_settled(1)
        segments = await bridge.rows(SEGMENTS)

    assert segments == [{"state": "unknown", "tries": 1, "error": "too_old"}]


@pytest.mark.parametrize("fault", ["http_503", "hang"])
async def test_a_gateway_that_is_away_for_a_while_costs_no_segment_its_repetition(
    inside: StartInside, gateway: EcloudSimulator, fault: str
) -> None:
    """It is asked first: the segment is repeated when it answers, and not into the void."""
    gateway.faults.set(fault)
    async with inside(ECLOUD_TIMEOUT="0.4") as bridge:
        await bridge.hear("一 [[text=一]]")
        await gateway.recorder.until(lambda: calls(gateway, "/queryLoginWx") >= 4)
        assert calls(gateway) == 1
        gateway.faults.clear()
        await bridge.until_settled(1)
        segments = await bridge.rows(SEGMENTS)

    assert texts(gateway) == ["一"]
    assert segments == [{"state": "sent", "tries": 2, "error": ""}]


@pytest.mark.parametrize("has_list", [True, False])
async def test_a_gateway_without_a_list_of_logins_still_gets_the_repetition(
    inside: StartInside, gateway: EcloudSimulator, *, has_list: bool
) -> None:
    """Any answer shows that it is there: an empty list, and a 404. It is asked once, beside two looks at the start."""
    gateway.faults.set("sent_but_timeout", times=1)
    gateway.faults.set("data_null", endpoints=["/queryLoginWx"])
    if not has_list:
        del gateway._endpoints["/queryLoginWx"]
    async with inside(ECLOUD_TIMEOUT="0.4") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)

    assert texts(gateway) == ["一", "一"]
    assert calls(gateway, "/queryLoginWx") == 3


async def test_every_line_about_a_segment_carries_the_id_of_its_message(
    inside: StartInside, gateway: EcloudSimulator, lines: list[tuple[str, str]]
) -> None:
    """Undecided after a restart, sent again, given up; and another one whose echo came."""
    gateway.faults.set("sent_but_timeout")
    async with inside(ECLOUD_TIMEOUT="0.4") as bridge:
        await bridge.hear("一 [[text=一]]")
        await gateway.wait_for_sent(1)
    async with inside(ECLOUD_TIMEOUT="0.4") as bridge:
        [one] = await bridge.until_settled(1)
        gateway.faults.set("sent_but_timeout", times=1)
        await bridge.hear("二 [[text=二]]")
        *_, sent = await gateway.wait_for_sent(3)
        bot = next(iter(gateway.world.accounts))
        await bridge.take(echo(bridge, sent, bot))
        _, two = await bridge.until_settled(2)

    first, second = str(one["id"]), str(two["id"])
    assert lines == [
        ("segment.failed", first),
        ("segment.undecided", first),
        ("segment.resend", first),
        ("segment.failed", first),
        ("segment.given_up", first),
        ("segment.failed", second),
        ("segment.echoed", second),
    ]


async def test_a_receipt_that_is_lost_at_the_end_names_its_message(
    inside: StartInside,
    gateway: EcloudSimulator,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[tuple[str, str]],
) -> None:
    """The next process finds its segment undecided."""

    async def mark_sent(*_: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr("app.workers.ending.LAST_SECONDS", 0.5)
    async with inside() as bridge:
        monkeypatch.setattr(bridge.runtime.outbox, "mark_sent", mark_sent)
        await bridge.hear("一 [[text=一]]")
        await gateway.wait_for_sent(1)
        [message] = await bridge.rows("SELECT id FROM messages")

    assert ("sender.receipt_lost", str(message["id"])) in lines


async def test_a_lease_lost_while_sql_is_away_costs_no_receipt_and_nothing_is_said_again(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender that made the call writes it down as soon as SQL takes it, lease or none."""
    async with inside(ECLOUD_TIMEOUT="3") as bridge:
        runtime = bridge.runtime
        key = Keys().sender(WcId(next(iter(gateway.world.accounts))))
        really_mark, refused = runtime.outbox.mark_sent, asyncio.Event()

        async def mark_sent(sent: Sent) -> None:
            if not refused.is_set():
                # Another process has the lease meanwhile.
                await runtime.redis.set(key, "somebody", px=2500)
                refused.set()
                raise StoreUnavailable("away")
            if await runtime.redis.get(key) == b"somebody":
                raise StoreUnavailable("away")
            await really_mark(sent)

        monkeypatch.setattr(runtime.outbox, "mark_sent", mark_sent)
        await bridge.hear("一 [[text=一]]")
        await refused.wait()
        [message] = await bridge.until_settled(1)
        monkeypatch.undo()
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)

    assert texts(gateway) == ["一", "二"]
    assert message["error"] == ""
