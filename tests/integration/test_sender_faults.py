"""The send loop where something goes wrong between two steps: nothing said twice, nothing lost."""

import asyncio
import json
import time
from typing import Any

import pytest

from app.models.flow import WcId
from app.services.errors import StoreUnavailable
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_sends import SentMessage
from tests.fixtures.inside import Inside, StartInside


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of the policy are minutes; their places in the flow are the same when short."""
    for name, seconds in {
        "app.workers.undecided.ECHO_SECONDS": 1.0,
        "app.workers.settling.ECHO_LOOK_SECONDS": 0.1,
        "app.workers.sender.STORE_PAUSE_SECONDS": 0.1,
        "app.workers.send_policy.THROTTLED_PAUSE": 0.5,
    }.items():
        monkeypatch.setattr(name, seconds)


def texts(gateway: EcloudSimulator) -> list[str]:
    """What arrived, without the mention."""
    return [one.content.split("\u2005")[-1] for one in gateway.sent]


def echo(bridge: Inside, sent: SentMessage, bot: str) -> bytes:
    """What the gateway posts of our own message."""
    body = json.loads(bridge.callback("?"))
    body["data"].update(content=sent.content, fromUser=bot, toUser=sent.to, self=True)
    body["data"].update(msgId=sent.msg_id, newMsgId=sent.new_msg_id)
    return json.dumps(body).encode()


async def test_an_echo_that_came_while_the_call_ran_is_found(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Seconds before the call timed out."""
    gateway.faults.set("sent_but_timeout", times=1)
    async with inside(ECLOUD_TIMEOUT="3") as bridge:
        await bridge.hear("一 [[text=一]]")
        [sent] = await gateway.wait_for_sent(1)
        bot = next(iter(gateway.world.accounts))
        await bridge.take(echo(bridge, sent, bot))
        await bridge.until_settled(1)
        [segment] = await bridge.rows("SELECT state, tries FROM segments")

    assert texts(gateway) == ["一"]
    assert segment == {"state": "sent", "tries": 1}


async def test_a_segment_that_sql_did_not_take_back_is_not_undecided_and_the_account_rests(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A throttled call certainly did not go out, whoever could be told of it."""
    gateway.faults.set("throttle", 0, times=1)
    async with inside(ECLOUD_ON_UNKNOWN_SEND="skip", ECLOUD_TIMEOUT="1") as bridge:

        async def put_back(*arguments: Any, **named: Any) -> None:
            raise StoreUnavailable("away")

        monkeypatch.setattr(bridge.runtime.outbox, "put_back", put_back)
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)

    assert texts(gateway) == ["一"]
    assert 0.5 <= min(gateway.recorder.gaps("/sendText")) < 1.5


@pytest.mark.parametrize("ends_by", [KeyError("unforeseen"), asyncio.CancelledError()])
async def test_the_last_receipt_is_written_however_a_sender_ends(
    inside: StartInside,
    gateway: EcloudSimulator,
    monkeypatch: pytest.MonkeyPatch,
    ends_by: BaseException,
) -> None:
    """The text would be said again otherwise."""
    monkeypatch.setattr("app.workers.sender_pool.LOOK_SECONDS", 600.0)
    async with inside(REPLY_MAX_LENGTH="60", ECLOUD_SEND_GAP="0.1") as bridge:
        original, calls = bridge.runtime.outbox.mark_sending, iter(range(100))

        async def mark_sending(*arguments: Any, **named: Any) -> bool:
            if next(calls) == 1:
                raise ends_by
            return await original(*arguments, **named)

        monkeypatch.setattr(bridge.runtime.outbox, "mark_sending", mark_sending)
        monkeypatch.setattr("app.workers.sender.Pacer.look", lambda *_, **__: None)
        await bridge.hear("一 [[long=200]]")
        await bridge.until_rows("SELECT 1 FROM segments WHERE seq = 0 AND state = 'sent'", 5)

    assert len(set(texts(gateway))) == len(texts(gateway))


async def test_a_backlog_of_an_account_that_was_never_down_is_sent_however_old(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Zero seconds of waiting for an offline account are no bound on the queue."""
    async with inside(ECLOUD_OFFLINE_MAX_WAIT="0") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)

    assert texts(gateway) == ["一"]


async def test_an_answer_that_may_not_wait_is_dropped_after_any_outage(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """``offline_max_wait`` 0; answers planned later go out."""
    gateway.faults.set("throttle", 0, times=1)
    async with inside(ECLOUD_OFFLINE_MAX_WAIT="0") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)
        segments = await bridge.rows("SELECT state, error FROM segments ORDER BY id")

    assert texts(gateway) == ["二"]
    assert segments == [{"state": "failed", "error": "too_old"}, {"state": "sent", "error": ""}]


async def test_a_refused_group_with_a_long_backlog_hides_nobody_and_slows_nobody_down(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than is loaded at once, the bell unheard; and its refusals are not the account's."""
    monkeypatch.setattr("app.workers.debts.LOAD_AT_MOST", 3)
    monkeypatch.setattr("app.workers.sender.IDLE_SECONDS", 0.2)
    gateway.world.add_group("50000000002@chatroom", "别的群", ["wxid_xiaohong0c2d22"])

    async def ring(bot: WcId) -> None:
        """Nobody hears it."""

    async with inside(REPLY_MAX_LENGTH="60") as bridge:
        monkeypatch.setattr(bridge.runtime.bell, "ring", ring)
        gone = bridge.callback("一 [[long=400]]")
        del gateway.world.groups["40000000001@chatroom"]
        await bridge.take(gone)
        await gateway.recorder.until(lambda: len(gateway.recorder.of("request", "/sendText")) >= 1)
        await bridge.hear("二 [[text=二]]", person="小红", group="别的群")
        await gateway.wait_for_sent(1)
        waiting = await bridge.rows("SELECT 1 FROM segments WHERE state = 'planned'")

    assert texts(gateway) == ["二"]
    assert len(waiting) > 3


async def test_refusals_of_a_group_do_not_lengthen_the_pause_of_a_throttled_account(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five refusals, then the first throttle: the shortest pause."""
    monkeypatch.setattr("app.workers.send_policy.REFUSED_PAUSE", 0.1)
    gateway.world.add_group("50000000002@chatroom", "别的群", ["wxid_xiaohong0c2d22"])
    async with inside() as bridge:
        gone = bridge.callback("一 [[text=一]]")
        del gateway.world.groups["40000000001@chatroom"]
        await bridge.take(gone)
        await gateway.recorder.until(lambda: len(gateway.recorder.of("request", "/sendText")) >= 5)
        gateway.faults.set("throttle", 0, times=1)
        started = time.monotonic()
        await bridge.hear("二 [[text=二]]", person="小红", group="别的群")
        await gateway.wait_for_sent(1)

    assert time.monotonic() - started < 5


async def test_a_stop_does_not_wait_for_a_slow_gateway(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call under way is cut off; its segment is the next process's to decide."""
    monkeypatch.setattr("app.workers.ending.LAST_SECONDS", 1.0)
    monkeypatch.setattr("app.workers.ending.LAST_CALL_SECONDS", 0.5)
    gateway.faults.set("hang", endpoints=["/sendText"], times=1)
    async with inside(ECLOUD_TIMEOUT="20") as bridge:
        await bridge.hear("一 [[text=一]]")
        await gateway.recorder.until(lambda: len(gateway.recorder.of("request", "/sendText")) == 1)
        started = time.monotonic()
        await bridge.background.stop()
        took = time.monotonic() - started
        segments = await bridge.rows("SELECT state FROM segments")
        leases = await bridge.runtime.redis.keys("*sender*")

    assert took < 12
    assert segments == [{"state": "sending"}]
    assert leases == []


async def test_no_call_begins_that_may_not_end_before_the_process(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is planned stays planned, not undecided."""
    monkeypatch.setattr("app.workers.ending.LAST_SECONDS", 2.0)
    async with inside(REPLY_MAX_LENGTH="60", ECLOUD_SEND_GAP="0.6", ECLOUD_TIMEOUT="3") as bridge:
        await bridge.hear("一 [[long=200]]")
        await gateway.wait_for_sent(1)
        await bridge.background.stop()
        states = {one["state"] for one in await bridge.rows("SELECT state FROM segments")}

    assert states == {"sent", "planned"}


async def test_accounts_that_owe_nothing_have_no_sender(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Whoever knows the callback's address can name any number of accounts."""
    async with inside() as bridge:
        for number in range(100):
            body = json.loads(bridge.callback("x"))
            body["wcId"] = f"wxid_forged{number}"
            body["data"]["fromUser"] = ""
            await bridge.take(json.dumps(body).encode())
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        names = [task.get_name() for task in asyncio.all_tasks()]

    bot = next(iter(gateway.world.accounts))
    assert [name for name in names if name.startswith("sender-")] == [f"sender-{bot}"]


async def test_a_sender_without_debts_gives_its_lease_back_and_the_bell_starts_it_anew(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not at the next look."""
    monkeypatch.setattr("app.workers.sender.KEEP_SECONDS", 0.3)
    monkeypatch.setattr("app.workers.sender.IDLE_SECONDS", 0.1)
    monkeypatch.setattr("app.workers.sender_pool.LOOK_SECONDS", 600.0)
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        async with asyncio.timeout(30):
            while await bridge.runtime.redis.keys("ecloud:sender:*"):
                await asyncio.sleep(0.02)
        started = time.monotonic()
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)

    assert texts(gateway) == ["一", "二"]
    assert time.monotonic() - started < 20


async def test_a_bell_for_another_processs_sender_is_passed_on(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hears it first: the holder of the lease sends without waiting for its next look."""
    monkeypatch.setattr("app.workers.sender.IDLE_SECONDS", 600.0)
    monkeypatch.setattr("app.workers.sender_pool.LOOK_SECONDS", 600.0)
    async with inside() as bridge:
        bot = WcId(next(iter(gateway.world.accounts)))
        elsewhere = bridge.runtime.leases.sender(bot, seconds=30)
        assert await elsewhere.hold()
        await bridge.hear("一 [[text=一]]")
        await bridge.until_rows("SELECT 1 FROM segments")
        # Our pool, which sends for nobody, hears it first; then it does not listen any more.
        await asyncio.sleep(0.5)
        heard = await bridge.runtime.bell.listen([bot], seconds=1)
        await elsewhere.free()

    assert heard == bot
    assert gateway.sent == []
