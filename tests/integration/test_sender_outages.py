"""The send loop while an account cannot send: how often it is tried, and what its answers wait."""

import asyncio
import time

import pytest

from app.services.checks.inspection import Inspection
from app.workers.outages import JUST_NOW
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import Inside, StartInside
from tests.fixtures.sending import calls, hurry, texts

FAILED = "SELECT 1 FROM segments WHERE state = 'failed' AND error = 'too_old'"


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``hurry``; an outage that is found counts to the last second, and SQL hears of all soon."""
    hurry(monkeypatch)
    monkeypatch.setattr("app.services.accounts.REFRESH_SECONDS", 0.2)
    monkeypatch.setattr("app.workers.outages.JUST_NOW", 0 * JUST_NOW)


async def plan_of_long_ago(bridge: Inside, *questions: str) -> None:
    """Answers that were planned years ago, before anything is sent."""
    for question in questions:
        await bridge.hear(question)
    await bridge.background.index.start(process_died=False)
    bridge.background._start_work()
    count = len(questions)
    await bridge.until_rows(
        f"SELECT 1 FROM segments WHERE {count} = (SELECT count(*) FROM segments)"
    )
    await bridge.execute("UPDATE segments SET planned_at = '2020-01-01 00:00:00.000000'")


async def test_a_first_failure_does_not_make_a_backlog_too_old(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """A process that was down for long meets one blip: the account was never offline."""
    gateway.faults.set("throttle", 0, times=1)
    async with inside(works=False, ECLOUD_OFFLINE_MAX_WAIT="60") as bridge:
        await plan_of_long_ago(bridge, "一 [[text=一]]", "二 [[text=二]]")
        bridge.background._start_sending()
        await bridge.until_settled(2)

    assert texts(gateway) == ["一", "二"]
    assert calls(gateway) == 3


@pytest.mark.parametrize("state", ["offline", "failing"])
async def test_an_answer_that_waited_too_long_is_dropped_with_a_reason(
    inside: StartInside, gateway: EcloudSimulator, state: str
) -> None:
    """``offline_max_wait``: nobody wants an answer of yesterday, also if the process is new."""
    bot = next(iter(gateway.world.accounts))
    gateway.set_online(bot, online=False, notice=False)
    async with inside(works=False, ECLOUD_OFFLINE_MAX_WAIT="60") as bridge:
        await plan_of_long_ago(bridge, "一 [[text=一]]")
        await bridge.runtime.accounts.save()
        await bridge.execute(
            "UPDATE accounts SET state = :state, since = '2020-01-02 00:00:00.000000'", state=state
        )
        await bridge.runtime.accounts.load()
        bridge.background._start_sending()
        await bridge.until_rows(FAILED)
        gateway.set_online(bot, online=True)
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)

    assert texts(gateway) == ["二"]


async def test_a_restart_in_the_middle_of_an_outage_does_not_make_answers_young(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """What the former process saw counts: the next one drops the answer without a call."""
    bot = next(iter(gateway.world.accounts))
    gateway.set_online(bot, online=False, notice=False)
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'offline'")
        await asyncio.sleep(1.2)
    before = calls(gateway)
    gateway.set_online(bot, online=True)
    async with inside(ECLOUD_OFFLINE_MAX_WAIT="1") as bridge:
        await bridge.until_rows(FAILED)

    assert texts(gateway) == []
    assert calls(gateway) == before


async def test_an_outage_that_others_saw_end_before_the_sender_began_counts(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The list is read first, and says that the account is online: its answers waited all the same."""
    bot = next(iter(gateway.world.accounts))
    async with inside(works=False, ECLOUD_OFFLINE_MAX_WAIT="60") as bridge:
        await plan_of_long_ago(bridge, "一 [[text=一]]")
        await bridge.runtime.accounts.save()
        await bridge.execute(
            "UPDATE accounts SET state = 'offline', since = '2020-01-02 00:00:00.000000'"
        )
        await bridge.runtime.accounts.load()
        w_id = gateway.world.accounts[bot].w_id
        bridge.runtime.accounts.learn([(bot, w_id)], time=int(time.time()))
        await bridge.runtime.accounts.save()
    async with inside(ECLOUD_OFFLINE_MAX_WAIT="60") as bridge:
        await bridge.until_rows(FAILED)

    assert texts(gateway) == []


async def test_the_standing_follows_what_the_sender_sees(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Failing while it is throttled, offline when the gateway says so, online with a success."""
    bot = next(iter(gateway.world.accounts))
    state = "SELECT 1 FROM accounts WHERE state = '{}'"
    gateway.faults.set("throttle", 0)
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_rows(state.format("failing"))
        gateway.set_online(bot, online=False, notice=False)
        await bridge.until_rows(state.format("offline"))
        gateway.faults.clear()
        gateway.set_online(bot, online=True)
        await bridge.until_settled(1)
        await bridge.until_rows(state.format("online"))


async def test_an_account_that_failed_and_owes_nothing_any_more_is_not_called_failing(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tries it: what it can do is unknown."""
    monkeypatch.setattr("app.workers.sender.KEEP_SECONDS", 0.3)
    monkeypatch.setattr("app.workers.sender.IDLE_SECONDS", 0.1)
    gateway.faults.set("throttle", 0)
    async with inside(ECLOUD_OFFLINE_MAX_WAIT="3") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'failing'")
        await bridge.until_rows(FAILED)
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'unknown'")


async def test_an_account_without_a_login_is_asked_for_ever_less_often_until_it_has_one(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback that names its wId ends the pause, however long it still is."""
    hurry(monkeypatch, LONGEST_OFFLINE_PAUSE=600.0)
    # What looks at the gateway beside it asks, too.
    monkeypatch.setattr("app.runtime.inspect_gateway", lambda *_: Inspection({}))
    bot = next(iter(gateway.world.accounts))
    gateway.set_online(bot, online=False, notice=False)
    async with inside() as bridge:
        # Who is ours is asked at the start.
        known = calls(gateway, "/queryLoginWx")
        await bridge.hear("一 [[text=一]]", wId="")
        await gateway.recorder.until(lambda: calls(gateway, "/queryLoginWx") >= known + 3)
        await asyncio.sleep(0.2)
        monkeypatch.setattr("app.workers.send_policy.OFFLINE_PAUSE", 600.0)
        await gateway.recorder.until(lambda: calls(gateway, "/queryLoginWx") >= known + 4)
        gaps = gateway.recorder.gaps("/queryLoginWx")[known:]
        await asyncio.sleep(0.2)
        gateway.set_online(bot, online=True)
        started = time.monotonic()
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)

    assert texts(gateway) == ["一", "二"]
    assert time.monotonic() - started < 30
    assert [0.2 * 2**n <= gap < 0.2 * 2**n + 2 for n, gap in enumerate(gaps[:3])] == [True] * 3


async def test_an_offline_account_is_tried_at_once_when_it_is_listed_again(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody looked at health: the list names it, under the same wId."""
    hurry(monkeypatch, OFFLINE_PAUSE=600.0, LONGEST_OFFLINE_PAUSE=600.0)
    bot = next(iter(gateway.world.accounts))
    gateway.set_online(bot, online=False, notice=False)
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'offline'")
        gateway.set_online(bot, online=True)
        w_id = gateway.world.accounts[bot].w_id
        bridge.runtime.accounts.learn([(bot, w_id)], time=int(time.time()))
        await bridge.until_settled(1, seconds=5)

    assert texts(gateway) == ["一"]


async def test_a_gateway_that_answers_no_send_is_called_ever_less_often_and_answers_grow_old(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second such call on it is the account's outage, whatever group is next."""

    async def untold(*_: object) -> None:
        """All five were asked before anybody knew."""

    hurry(monkeypatch, FIRST_PAUSE=0.4)
    monkeypatch.setattr("app.workers.account_breaker.AccountBreaker.follow", untold)
    monkeypatch.setattr("app.workers.undecided.ECHO_SECONDS", 60.0)
    gateway.faults.set("http_500", endpoints=["/sendText"])
    groups = [f"群{number}" for number in range(5)]
    for number, name in enumerate(groups):
        gateway.world.add_group(f"5000000000{number}@chatroom", name, ["wxid_xiaohong0c2d22"])
    async with inside(ECLOUD_OFFLINE_MAX_WAIT="2") as bridge:
        for name in groups:
            await bridge.hear(f"{name} [[text={name}]]", person="小红", group=name)
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'failing'")
        failed = "(SELECT count(*) FROM segments WHERE error = 'too_old')"
        await bridge.until_rows(f"SELECT 1 FROM segments WHERE 2 = {failed}")
        states = [one["state"] for one in await bridge.rows("SELECT state FROM segments")]

    gaps = gateway.recorder.gaps("/sendText")
    assert [gap >= pause for gap, pause in zip(gaps, (0, 0.8, 1.6), strict=False)] == [True, True]
    assert sorted(states) == ["failed", "failed", "sending", "sending", "sending"]
