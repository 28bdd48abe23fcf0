"""The send loop between real stores and the simulated gateway: order, pace, and what is undecided."""

import asyncio
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from app.models.flow import WcId
from app.services.errors import QueueUnavailable, StoreUnavailable
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_sends import SentMessage
from tests.fixtures.inside import INSIDE_EMBEDDED, StartInside
from tests.fixtures.sending import calls, echo


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of the policy are minutes; their places in the flow are the same when short."""
    for name, seconds in {
        "app.workers.undecided.ECHO_SECONDS": 1.0,
        "app.workers.settling.ECHO_LOOK_SECONDS": 0.1,
        "app.workers.send_policy.OFFLINE_PAUSE": 0.5,
        "app.workers.sender.STORE_PAUSE_SECONDS": 0.1,
        "app.workers.send_policy.THROTTLED_PAUSE": 0.3,
        "app.workers.send_policy.REFUSED_PAUSE": 0.2,
        "app.workers.send_policy.REFUSED_SECONDS": 0.5,
        "app.workers.send_policy.FIRST_PAUSE": 0.1,
    }.items():
        monkeypatch.setattr(name, seconds)


def texts(gateway: EcloudSimulator) -> list[str]:
    """What arrived, without the mention."""
    return [one.content.split("\u2005")[-1] for one in gateway.sent]


def gaps(sent: list[SentMessage]) -> list[float]:
    """Seconds between neighbours."""
    return [later.sent_at - earlier.sent_at for earlier, later in pairwise(sent)]


@INSIDE_EMBEDDED
async def test_replies_are_in_order_and_paced(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Between a third of the gap and the gap at least; a person's answers in order."""
    async with inside(ECLOUD_SEND_GAP="0.3") as bridge:
        for word in "一二三":
            await bridge.hear(f"{word} [[text={word}]]")
        await bridge.hear("四 [[text=四]]", person="小红")
        await bridge.until_settled(4)

    assert [word for word in texts(gateway) if word != "四"] == ["一", "二", "三"]
    assert min(gaps(gateway.sent)) >= 0.1


@INSIDE_EMBEDDED
async def test_an_account_says_no_more_per_minute_than_it_may(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The bound holds over a restart; and stopping does not wait for the minute to end."""
    limits = {"ECLOUD_SENDS_PER_MINUTE": "2"}
    async with inside(**limits) as bridge:
        for word in "一二三":
            await bridge.hear(f"{word} [[text={word}]]")
        await gateway.wait_for_sent(2)
        await bridge.until_rows(
            "SELECT 1 FROM messages WHERE state = 'answered' AND question LIKE '三%'"
        )
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 20
    async with inside(**limits) as bridge:
        await bridge.until_rows("SELECT 1 FROM segments WHERE state = 'planned'")
        await asyncio.sleep(1.0)

        assert texts(gateway) == ["一", "二"]
        assert await bridge.rows("SELECT 1 FROM segments WHERE state = 'planned'")


@INSIDE_EMBEDDED
async def test_a_long_answer_goes_on_under_a_new_login(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The wId changes between two segments; nothing is lost or said twice."""
    async with inside(REPLY_MAX_LENGTH="60", ECLOUD_SEND_GAP="0.15") as bridge:
        await bridge.hear("一 [[long=400]]")
        first, *_ = await gateway.wait_for_sent(2)
        new = gateway.rotate()
        await bridge.until_settled(1)
        segments = await bridge.rows("SELECT content, state FROM segments ORDER BY seq")

    assert [one.content for one in gateway.sent] == [one["content"] for one in segments]
    assert {one["state"] for one in segments} == {"sent"}
    assert first.w_id != new
    assert gateway.sent[-1].w_id == new


@INSIDE_EMBEDDED
async def test_an_offline_account_waits_and_then_sends(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Nothing is given up for it; the gateway is asked for it, nothing is sent to find out."""
    bot = next(iter(gateway.world.accounts))
    gateway.set_online(bot, online=False, notice=False)
    async with inside() as bridge:
        await bridge.hear("一 [[text=好]]")
        await gateway.recorder.until(lambda: calls(gateway, "/queryLoginWx") >= 3)
        assert calls(gateway) == 1
        gateway.set_online(bot, online=True)
        [message] = await bridge.until_settled(1)

    assert texts(gateway) == ["好"]
    assert message["verdict"] == "answered"


@INSIDE_EMBEDDED
async def test_a_throttled_account_waits_and_loses_nothing(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The gateway's sentence about frequency pauses the whole account."""
    gateway.faults.set("throttle", 0, times=2)
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.hear("二 [[text=二]]", person="小红")
        await bridge.until_settled(2)

    assert sorted(texts(gateway)) == ["一", "二"]
    assert max(gateway.recorder.gaps("/sendText")) >= 0.3


@INSIDE_EMBEDDED
async def test_a_segment_the_gateway_keeps_refusing_is_given_up_and_others_go_on(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The group does not exist any more; another group is answered meanwhile."""
    world = gateway.world
    world.add_group("50000000002@chatroom", "别的群", ["wxid_xiaohong0c2d22"])
    async with inside() as bridge:
        gone = bridge.callback("一 [[text=一]]")
        del world.groups["40000000001@chatroom"]
        await bridge.take(gone)
        await bridge.hear("二 [[text=二]]", person="小红", group="别的群")
        messages = await bridge.until_settled(2)
        segments = await bridge.rows("SELECT state, error FROM segments ORDER BY message_id")

    assert texts(gateway) == ["二"]
    assert [(one["state"], one["error"]) for one in segments] == [
        ("failed", "refused"),
        ("sent", ""),
    ]
    assert [message["state"] for message in messages] == ["done", "done"]


@pytest.mark.parametrize(
    ("fault", "on_unknown"),
    [
        ("sent_but_timeout", "resend"),
        ("bad_gateway", "resend"),
        ("sent_but_cut", "skip"),
    ],
)
async def test_an_undecided_send_is_repeated_once_at_most(
    inside: StartInside, gateway: EcloudSimulator, fault: str, on_unknown: str
) -> None:
    """It was sent, the receipt got lost and no echo came: the setting decides."""
    gateway.faults.set(fault, times=1)
    async with inside(ECLOUD_ON_UNKNOWN_SEND=on_unknown, ECLOUD_TIMEOUT="0.5") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)
        segments = await bridge.rows("SELECT state FROM segments ORDER BY message_id")

    states = [one["state"] for one in segments]
    if on_unknown == "resend":
        assert (texts(gateway), states) == (["一", "一", "二"], ["sent", "sent"])
    else:
        assert (texts(gateway), states) == (["一", "二"], ["unknown", "sent"])


async def test_an_echo_settles_an_undecided_send(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Our own message came back by callback: sent, and not repeated."""
    gateway.faults.set("sent_but_timeout", times=1)
    async with inside(ECLOUD_TIMEOUT="0.5") as bridge:
        await bridge.hear("一 [[text=一]]")
        [sent] = await gateway.wait_for_sent(1)
        bot = next(iter(gateway.world.accounts))
        await bridge.take(echo(bridge, sent, bot))
        await bridge.until_settled(1)
        [segment] = await bridge.rows("SELECT state, tries, new_msg_id FROM segments")

    assert texts(gateway) == ["一"]
    assert segment == {"state": "sent", "tries": 1, "new_msg_id": str(sent.new_msg_id)}


async def test_a_receipt_that_sql_refuses_is_not_lost(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL fails just when the next segment is marked: nothing is said twice, order is kept."""
    async with inside(REPLY_MAX_LENGTH="60") as bridge:
        original, failing = (
            bridge.runtime.outbox.mark_sending,
            iter([False, True, True, False, True]),
        )

        async def mark_sending(*arguments: object, **named: object) -> bool:
            if next(failing, False):
                raise StoreUnavailable("away")
            return await original(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(bridge.runtime.outbox, "mark_sending", mark_sending)
        await bridge.hear("一 [[long=400]]")
        await bridge.until_settled(1)
        segments = await bridge.rows("SELECT content, tries FROM segments ORDER BY seq")

    assert [one.content for one in gateway.sent] == [one["content"] for one in segments]
    assert {one["tries"] for one in segments} == {1}


async def test_a_commit_whose_answer_got_lost_repeats_nothing(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark was written, and SQL said it was not: the call did not go out, so it goes out now."""
    async with inside(REPLY_MAX_LENGTH="60") as bridge:
        original, failing = bridge.runtime.outbox.mark_sending, iter([True, False, True])

        async def mark_sending(*arguments: object, **named: object) -> bool:
            is_open = await original(*arguments, **named)  # type: ignore[arg-type]
            if next(failing, False):
                raise StoreUnavailable("connection lost while committing")
            return is_open

        monkeypatch.setattr(bridge.runtime.outbox, "mark_sending", mark_sending)
        started = time.monotonic()
        await bridge.hear("一 [[long=300]]")
        await bridge.until_settled(1)
        segments = await bridge.rows("SELECT content FROM segments ORDER BY seq")

    assert [one.content for one in gateway.sent] == [one["content"] for one in segments]
    assert time.monotonic() - started < 9


async def test_a_segment_cancelled_meanwhile_is_not_sent(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Dify took its words back while the sender already knew the segments."""
    async with inside(REPLY_MAX_LENGTH="60", ECLOUD_SEND_GAP="0.6") as bridge:
        await bridge.hear("一 [[long=200]]")
        await gateway.wait_for_sent(1)
        await bridge.execute("UPDATE segments SET state = 'cancelled' WHERE seq = 2")
        await bridge.until_settled(1)
        segments = await bridge.rows("SELECT content, state FROM segments ORDER BY seq")

    assert segments[2]["state"] == "cancelled"
    del segments[2]
    assert [one.content for one in gateway.sent] == [one["content"] for one in segments]


async def test_a_segment_left_behind_by_a_dead_sender_is_undecided(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Its call may still run: nothing before the time-out and the wait for the echo are over."""
    async with inside(works=False) as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.background.index.start(process_died=False)
        bridge.background._start_work()
        await bridge.until_rows("SELECT 1 FROM segments")
        await bridge.execute(
            "UPDATE segments SET state = 'sending', tries = 1, sending_at = planned_at"
        )
        [row] = await bridge.rows("SELECT sending_at FROM segments")
        bridge.background._start_sending()
        [sent] = await gateway.wait_for_sent(1)

    [request] = gateway.recorder.of("request", "/sendText")
    # ecloud.timeout 2 s, then one second for the echo.
    began = datetime.fromisoformat(str(row["sending_at"])).replace(tzinfo=UTC)
    assert request.at - int(began.timestamp()) >= 2.9
    assert sent.content.endswith("一")


@INSIDE_EMBEDDED
async def test_ringing_does_not_put_off_an_undecided_segment_for_ever(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other groups' answers are planned all the time, also while the echo is looked for."""
    gateway.faults.set("sent_but_timeout", times=1)
    async with inside(ECLOUD_TIMEOUT="0.3") as bridge:
        outbox, bot = bridge.runtime.outbox, WcId(next(iter(gateway.world.accounts)))
        original = outbox.find_echo

        async def find_echo(*arguments: Any, **named: Any) -> Any:
            await bridge.runtime.bell.ring(bot)
            await asyncio.sleep(0.1)
            return await original(*arguments, **named)

        monkeypatch.setattr(outbox, "find_echo", find_echo)
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1, seconds=5)

    assert texts(gateway) == ["一", "一"]


@INSIDE_EMBEDDED
async def test_a_sender_without_redis_stops_when_its_lease_is_over_and_goes_on_later(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot renew must not send: another process may have taken over."""
    async with inside(
        MESSAGE_PROCESSING_LEASE="1", ECLOUD_SEND_GAP="0.15", REPLY_MAX_LENGTH="60"
    ) as bridge:
        await bridge.hear("一 [[long=900]]")
        await gateway.wait_for_sent(2)
        scripts = bridge.runtime.leases._scripts
        original, is_away = scripts.run, True

        async def run(name: str, *arguments: object, **named: object) -> object:
            if is_away and "lease" in name:
                raise QueueUnavailable("away")
            return await original(name, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(scripts, "run", run)
        await asyncio.sleep(1.3)
        before = len(gateway.sent)
        await asyncio.sleep(0.6)
        quiet = len(gateway.sent) - before
        is_away = False
        await bridge.until_settled(1)
        segments = await bridge.rows("SELECT content FROM segments ORDER BY seq")

    assert quiet == 0
    assert [one.content for one in gateway.sent] == [one["content"] for one in segments]


async def test_answers_finished_while_stopping_are_sent_before_the_end(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """All that need not wait: the order and the gap are kept to the end."""
    async with inside(REPLY_MAX_LENGTH="60", ECLOUD_SEND_GAP="0.2") as bridge:
        await bridge.hear("一 [[wait=0.5]] [[long=200]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 1)
        await bridge.background.stop()
        segments = await bridge.rows("SELECT content, state FROM segments ORDER BY seq")

    assert len(segments) >= 4
    assert [one.content for one in gateway.sent] == [one["content"] for one in segments]
    assert {one["state"] for one in segments} == {"sent"}
    assert min(gaps(gateway.sent)) >= 0.06


async def test_stopping_gives_the_senders_lease_back(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The next process sends at once and not only when a lease ran out."""
    async with inside(MESSAGE_PROCESSING_LEASE="30") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        redis = bridge.runtime.redis
        held = await redis.keys("ecloud:sender:*")
        await bridge.background.stop()

        assert len(held) == 1
        assert await redis.keys("ecloud:sender:*") == []
        assert await redis.keys("*lease*") == []
