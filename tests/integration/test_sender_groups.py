"""The send loop where the gateway's words about one group sound like words about the account."""

import time
from collections.abc import Callable

import pytest
from loguru import logger

from simulators.ecloud import EcloudSimulator
from simulators.ecloud_envelope import Refused
from tests.fixtures.inside import StartInside
from tests.fixtures.sending import calls, hurry, texts

MUTED_SENTENCE = "该群聊已被限制使用"
Mute = Callable[..., None]


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``hurry``."""
    hurry(monkeypatch)


@pytest.fixture
def mute(gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch) -> Mute:
    """Makes groups of these names, with 小红 in them, and mutes the first *muted* of them."""

    def make(*names: str, muted: int) -> None:
        closed = set()
        for number, name in enumerate(names):
            group_id = f"5000000000{number}@chatroom"
            gateway.world.add_group(group_id, name, ["wxid_xiaohong0c2d22"])
            closed |= {group_id} if number < muted else set()
        original = gateway._sends._check_receiver

        def check(account: object, receiver: str) -> None:
            if receiver in closed:
                raise Refused(MUTED_SENTENCE)
            original(account, receiver)  # type: ignore[arg-type]

        monkeypatch.setattr(gateway._sends, "_check_receiver", check)

    return make


async def test_a_muted_group_is_refused_in_the_end_and_pauses_the_account_once(
    inside: StartInside, gateway: EcloudSimulator, mute: Mute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its later answers, too; the others go on meanwhile."""
    hurry(monkeypatch, THROTTLED_GROUP_SECONDS=1.0)
    mute("禁言群", "别的群", muted=1)
    pauses: list[str] = []
    handler = logger.add(
        lambda line: pauses.append(str(line)), filter=lambda one: "paused" in one["message"]
    )
    async with inside() as bridge:
        for word in ("一", "二"):
            await bridge.hear(f"{word} [[text={word}]]", person="小红", group="禁言群")
        await bridge.hear("甲 [[text=甲]]", group="体验群")
        await gateway.wait_for_sent(1)
        await bridge.hear("乙 [[text=乙]]")
        await gateway.wait_for_sent(2)
        await bridge.until_settled(4)
        failed = await bridge.rows("SELECT state, error FROM segments WHERE state != 'sent'")
    logger.remove(handler)

    assert texts(gateway) == ["甲", "乙"]
    assert failed == [{"state": "failed", "error": "refused"}] * 2
    assert len(pauses) == 1


@pytest.mark.parametrize("muted", [1, 2, 3])
async def test_muted_groups_in_front_do_not_keep_another_from_being_answered(
    inside: StartInside, gateway: EcloudSimulator, mute: Mute, muted: int
) -> None:
    """The pause of the account is over: the next call is a group's that was not tried yet."""
    mute("一群", "二群", "三群", "四群", muted=muted)
    async with inside(works=False) as bridge:
        for name in ("一群", "二群", "三群", "四群"):
            await bridge.hear(f"{name} [[text={name}]]", person="小红", group=name)
        await bridge.background.index.start(process_died=False)
        bridge.background._start_work()
        await bridge.until_rows("SELECT 1 FROM segments WHERE 4 = (SELECT count(*) FROM segments)")
        bridge.background._start_sending()
        await gateway.wait_for_sent(1)
        called = calls(gateway)

    assert called == muted + 1


async def test_a_question_that_comes_while_a_muted_group_holds_the_account_is_answered_next(
    inside: StartInside, gateway: EcloudSimulator, mute: Mute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The muted group waits a little longer than the account does."""
    hurry(monkeypatch, THROTTLED_PAUSE=3.0)
    mute("禁言群", muted=1)
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]", person="小红", group="禁言群")
        await gateway.recorder.until(lambda: calls(gateway) == 1)
        started = time.monotonic()
        await bridge.hear("甲 [[text=甲]]")
        await gateway.wait_for_sent(1)
        took = time.monotonic() - started

    _, second, *_ = gateway.recorder.of("request", "/sendText")
    assert second.facts["body"]["content"].endswith("甲")
    assert 2.9 <= took < 12


async def test_an_account_that_is_too_fast_slows_down_whatever_group_is_next(
    inside: StartInside, gateway: EcloudSimulator, mute: Mute
) -> None:
    """Each group is told so once: that is the account's, its pauses grow, and nothing is lost."""
    mute("一群", "二群", "三群", muted=0)
    gateway.faults.set("throttle", 0, times=3)
    async with inside() as bridge:
        for name in ("一群", "二群", "三群"):
            await bridge.hear(f"{name} [[text={name}]]", person="小红", group=name)
        await bridge.until_settled(3)

    assert sorted(texts(gateway)) == ["一群", "三群", "二群"]
    gaps = gateway.recorder.gaps("/sendText")
    assert [gap >= pause for gap, pause in zip(gaps, (0.3, 0.6, 1.2), strict=False)] == [True] * 3


async def test_http_429_is_the_accounts_though_others_got_through(
    inside: StartInside, gateway: EcloudSimulator, mute: Mute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy before the gateway knows nothing of groups: the others wait as well."""
    # Long enough for an answer to be planned meanwhile on a busy machine, too.
    hurry(monkeypatch, THROTTLED_PAUSE=4.0)
    mute("一群", muted=0)
    gateway.faults.set("http_429", endpoints=["/sendText"], times=1)
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]", person="小红", group="一群")
        await gateway.recorder.until(lambda: calls(gateway) == 1)
        await bridge.hear("甲 [[text=甲]]")
        await gateway.wait_for_sent(1)
        gateway.faults.set("http_429", endpoints=["/sendText"], times=1)
        await gateway.recorder.until(lambda: calls(gateway) == 3)
        started = time.monotonic()
        await bridge.hear("乙 [[text=乙]]")
        await gateway.wait_for_sent(2)
        took = time.monotonic() - started

    assert texts(gateway)[:2] == ["甲", "乙"]
    assert took >= 3.6
