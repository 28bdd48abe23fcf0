"""What Redis remembers of an account's pace, and what an account's next sender makes of it."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.models.flow import WcId
from app.services import paces as paces_module
from app.services.ecloud.pacing import WINDOW, Send
from app.services.ecloud.slowdown import Slowdown
from app.services.paces import NotedSend, Paces, SenderView, merged_sends
from app.utils.embedded_redis import EmbeddedRedis
from app.utils.redis_client import close_redis
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, StartInside
from tests.fixtures.sending import calls, hurry, texts

BOT = WcId("wxid_bot")
OTHER_GROUP = "50000000002@chatroom"


def noted(segment_id: int, at: float, *, began: float | None = None) -> NotedSend:
    """A text into a group."""
    send = Send(at, "a|b@chatroom", "text")
    return NotedSend(segment_id=segment_id, began=at if began is None else began, send=send)


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """The Redis inside the process."""
    client = EmbeddedRedis().client()
    yield client
    await close_redis(client)


async def test_sends_are_remembered_for_the_minute_and_the_gap_behind_it(redis: Redis) -> None:
    """A call is there once, with its latest time; of other accounts nothing is known."""
    paces = Paces(redis)
    now = 1_767_000_000.0
    await paces.note(BOT, [noted(1, now - 500.0)])
    await paces.note(BOT, [noted(2, now)])
    await paces.note(BOT, [noted(2, now + 3, began=now), noted(3, now + 4)])

    assert await paces.recent(BOT) == [noted(2, now + 3, began=now), noted(3, now + 4)]
    assert await paces.recent(WcId("wxid_other")) == []
    assert 0 < await redis.ttl("ecloud:pace:wxid_bot") <= 2 * WINDOW


async def test_what_is_remembered_is_bounded(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an account says in a minute."""
    monkeypatch.setattr(paces_module, "REMEMBERED", 5)
    paces = Paces(redis)
    for number in range(9):
        await paces.note(BOT, [noted(number, 1_767_000_000.0 + number)])

    assert [one.segment_id for one in await paces.recent(BOT)] == [4, 5, 6, 7, 8]


async def test_what_was_written_by_hand_is_passed_over(redis: Redis) -> None:
    """No sender stumbles over it."""
    await redis.zadd("ecloud:pace:wxid_bot", {"x": 1, "1|y|text|g": 2, "7|1|text|g": 3})
    await redis.set("ecloud:slowdown:wxid_bot", "slow")
    await redis.set("ecloud:sending:wxid_bot", "{}")
    paces = Paces(redis)

    assert [one.segment_id for one in await paces.recent(BOT)] == [7]
    assert await paces.slowdown(BOT) == Slowdown()
    assert await paces.shown([BOT]) == {}


async def test_a_slowdown_and_a_view_come_back_as_they_were(redis: Redis) -> None:
    """The view goes with its sender."""
    paces = Paces(redis)
    slow = Slowdown().throttled(time.time())
    view = SenderView(state="minute", until=1.5, owed=7, slowed=2.0, holder="here-1")
    await paces.keep_slowdown(BOT, slow)
    await paces.show(BOT, view)

    assert await paces.slowdown(BOT) == slow
    assert await paces.shown([BOT, WcId("wxid_other")]) == {BOT: view}
    await paces.hide(BOT)
    assert await paces.shown([BOT]) == {}


def test_of_redis_and_sql_each_call_counts_once() -> None:
    """SQL knows the last call of a segment only; Redis may have been wiped before it."""
    first_try, second_try, lost = noted(1, 10.0), noted(1, 20.0), noted(2, 15.0)
    saved = [noted(1, 19.9), noted(2, 14.9), noted(3, 30.0)]

    assert sorted(one.at for one in merged_sends([first_try, second_try], saved)) == [
        10.0,
        14.9,
        20.0,
        30.0,
    ]
    assert [one.at for one in merged_sends([], [lost])] == [15.0]


@pytest.mark.parametrize("wiped", [False, True])
async def test_the_bound_of_a_minute_holds_over_a_change_of_sender(
    inside: StartInside, gateway: EcloudSimulator, wiped: bool
) -> None:
    """Redis tells the next sender, or SQL where Redis was wiped."""
    limits = {"ECLOUD_SENDS_PER_MINUTE": "2"}
    async with inside(**limits) as bridge:
        for word in "一二三":
            await bridge.hear(f"{word} [[text={word}]]")
        await gateway.wait_for_sent(2)
        bot = next(iter(gateway.world.accounts))
        assert len(await bridge.runtime.paces.recent(WcId(bot))) == 2
        if wiped:
            await bridge.runtime.redis.delete(f"ecloud:pace:{bot}")
    async with inside(**limits) as bridge:
        await bridge.until_rows("SELECT 1 FROM segments WHERE state = 'planned'")
        await asyncio.sleep(1.0)
        shown = await bridge.runtime.paces.shown([WcId(bot)])

    assert texts(gateway) == ["一", "二"]
    assert [(view.state, view.owed) for view in shown.values()] == [("minute", 1)]


@INSIDE_EMBEDDED
async def test_the_gap_is_longer_into_another_group(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """As the gateway sees it."""
    gateway.world.add_group(OTHER_GROUP, "别的群", ["wxid_xiaohong0c2d22"])
    gaps = {"ECLOUD_SEND_GAP": "0.15", "ECLOUD_TARGET_GAP": "1.5"}
    async with inside(**gaps) as bridge:
        for word in "一二":
            await bridge.hear(f"{word} [[text={word}]]")
            await bridge.hear(f"{word} [[text={word}]]", person="小红", group="别的群")
        await bridge.until_settled(4)

    targets = [one.to for one in gateway.sent]
    sent_gaps = gateway.recorder.gaps("/sendText")
    changes = [gap for gap, a, b in zip(sent_gaps, targets, targets[1:], strict=False) if a != b]
    assert changes
    assert min(changes) >= 0.5
    assert min(sent_gaps) >= 0.05


@INSIDE_EMBEDDED
async def test_a_throttled_account_goes_slower_also_under_its_next_sender(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the pace; health says so."""
    hurry(monkeypatch)
    gateway.faults.set("throttle", 0, times=1)
    async with inside(ECLOUD_SEND_GAP="0.3") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        bot = WcId(next(iter(gateway.world.accounts)))
        slowdown = await bridge.runtime.paces.slowdown(bot)

    assert slowdown.factor(time.time()) == 2
    assert calls(gateway) == 2


@INSIDE_EMBEDDED
async def test_a_notice_alone_silences_nobody(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway lists the account: whoever posted that was wrong, or late."""
    hurry(monkeypatch)
    bot = next(iter(gateway.world.accounts))
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        bridge.runtime.notices.give(WcId(bot))
        await gateway.recorder.until(lambda: calls(gateway, "/queryLoginWx") >= 1)
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)
        events = bridge.runtime.accounts.doubted()

    assert texts(gateway) == ["一", "二"]
    assert events == []


@INSIDE_EMBEDDED
async def test_an_account_that_says_nothing_is_found_offline_and_back_by_polls(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dify is not asked meanwhile; the answer comes when the account is back."""
    hurry(monkeypatch)
    monkeypatch.setattr("app.services.accounts.REFRESH_SECONDS", 0.2)
    bot = next(iter(gateway.world.accounts))
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        gateway.set_online(bot, online=False, notice=False)
        bridge.runtime.notices.give(WcId(bot))
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'offline'")
        sends = calls(gateway)
        await bridge.hear("二 [[text=二]]")
        await asyncio.sleep(1.0)
        [waiting] = await bridge.rows(
            "SELECT state, attempts FROM messages WHERE question LIKE '二%'"
        )
        assert (waiting["state"], waiting["attempts"]) == ("received", 0)
        assert calls(gateway) == sends
        gateway.set_online(bot, online=True)
        await bridge.until_settled(2)

    assert texts(gateway) == ["一", "二"]


@INSIDE_EMBEDDED
@pytest.mark.parametrize("has_reasons", [True, False])
async def test_an_account_comes_back_where_the_gateway_has_no_list_of_logins(
    inside: StartInside,
    gateway: EcloudSimulator,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_reasons: bool,
) -> None:
    """Nothing is owed, so no send finds it out: it is asked in the ways that there are."""
    hurry(monkeypatch)
    monkeypatch.setattr("app.services.accounts.REFRESH_SECONDS", 0.2)
    bot = next(iter(gateway.world.accounts))
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        for path in ("/queryLoginWx", *(() if has_reasons else ("/offlineReason",))):
            del gateway._endpoints[path]
        gateway.set_online(bot, online=False, notice=False)
        bridge.runtime.notices.give(WcId(bot))
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'offline'")
        gateway.set_online(bot, online=True)
        await bridge.until_rows("SELECT 1 FROM accounts WHERE state = 'online'", seconds=10)
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)

    assert texts(gateway) == ["一", "二"]
