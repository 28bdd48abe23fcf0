"""Several Dify apps, chosen per group: each is asked on its own, and none holds up another."""

import asyncio
import json
from typing import Any

import pytest

from app.api.breakers import shown_breakers
from app.api.views import ping_apps
from app.services.errors import DifyError
from app.services.queue.breakers import limit_peer
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

SUPPORT = "app-support"
OTHER = "第二个群"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at now and then is looked at often."""
    monkeypatch.setattr("app.workers.parking.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("app.workers.peer_watch.ABSENT_APP_SECONDS", 0.2)


def apps(dify: DifySimulator, **more: Any) -> dict[str, str]:
    """Settings with the second app ``support`` at the same simulated Dify."""
    dify.add_app(SUPPORT, "chat")
    one = {"name": "support", "base_url": dify.base_url, "api_key": SUPPORT, **more}
    return {"DIFY_APPS": json.dumps([one])}


async def choose(bridge: Inside, app: str | None, *, person: str = "小明") -> None:
    """The group asks this app from now on; its row is there once something was said in it."""
    await bridge.hear("起 [[text=好]]", person=person)
    await bridge.until_rows("SELECT 1 FROM `groups`")
    await bridge.until_settled(1)
    await bridge.execute("UPDATE `groups` SET dify_app = :app", app=app)


async def test_a_group_asks_the_app_that_was_chosen_for_it_in_a_conversation_of_its_own(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Not in the one that its people have with the default app; back again, that one goes on."""
    async with inside(**apps(dify)) as bridge:
        await choose(bridge, "support")
        await bridge.hear("二 [[text=好]]")
        await bridge.until_settled(2)
        await bridge.execute("UPDATE `groups` SET dify_app = NULL")
        await bridge.hear("三 [[text=好]]")
        messages = await bridge.until_settled(3)
        sessions = await bridge.rows("SELECT app, conversation_id FROM sessions")

    assert [one["dify_app"] for one in messages] == ["default", "support", "default"]
    ids = [one["dify_conversation_id"] for one in messages]
    assert ids[0] == ids[2] != ids[1]
    assert {(one["app"], one["conversation_id"]) for one in sessions} == {
        ("default", ids[0]),
        ("support", ids[1]),
    }
    user = messages[1]["from_user"]
    assert dify.store.find(dify.apps[SUPPORT], user, ids[1]) is not None
    assert dify.store.find(dify.default_app, user, ids[0]) is not None


@pytest.mark.parametrize("streams", [True, False])
@INSIDE_EMBEDDED
async def test_every_app_has_a_mode_of_its_own(
    inside: StartInside, dify: DifySimulator, *, streams: bool
) -> None:
    """Whatever the default app's is."""
    default = str(not streams).lower()
    settings = apps(dify, streaming_enabled=streams)
    async with inside(DIFY_STREAMING_ENABLED=default, **settings) as bridge:
        await choose(bridge, "support")
        await bridge.hear("二 [[text=好]]")
        await bridge.until_settled(2)

    modes = [record.facts["mode"] for record in dify.questions()]
    assert modes == (["blocking", "streaming"] if streams else ["streaming", "blocking"])


async def test_a_group_whose_app_nobody_serves_waits_until_somebody_does(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """No other app answers for it; health says so; nothing is lost, and others are answered."""
    async with inside() as bridge:
        await choose(bridge, "gone")
        await bridge.hear("二 [[text=乙]]")
        await bridge.hear("三 [[text=丙]]", person="小红")
        async with asyncio.timeout(30):
            while not (shown := await shown_breakers(bridge.runtime)):
                await asyncio.sleep(0.01)
        [one] = shown
        assert (one["peer"], one["app"], one["code"]) == ("dify", "gone", "app_not_configured")
        assert len(dify.questions()) == 1
        await bridge.execute("UPDATE `groups` SET dify_app = NULL")
        messages = await bridge.until_settled(3)

    assert [one["verdict"] for one in messages] == ["answered"] * 3
    assert [one["attempts"] for one in messages] == [0, 0, 0]
    assert sorted(one.content[-1] for one in gateway.sent[1:]) == ["丙", "乙"]


async def test_people_of_a_slow_app_stand_by_and_are_all_answered(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """One place and one spare: the third and the fourth stand by, in Redis, not in the process."""
    people = ["小明", "小红", "老王", "小刚"]
    world = gateway.world
    world.add_person("wxid_xiaogang0e3f21", "小刚")
    speech_group = next(iter(world.groups.values()))
    speech_group.members["wxid_xiaogang0e3f21"] = ""
    async with inside(**apps(dify, max_concurrency=1)) as bridge:
        await choose(bridge, "support")
        for name in people:
            await bridge.hear(f"{name} [[wait=0.4]] [[text={name}]]", person=name)
        async with asyncio.timeout(30):
            while not (await bridge.runtime.queue.parked_peers()).get(limit_peer("support")):
                await asyncio.sleep(0.01)
        messages = await bridge.until_settled(5)

    assert [one["attempts"] for one in messages] == [0] * 5
    said = [one.content.split("\u2005")[-1] for one in gateway.sent[1:]]
    assert sorted(said) == sorted(people)
    assert dify.concurrency.max_active == 1


async def test_one_app_that_is_down_opens_its_own_breaker_only(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Its people wait; the other app's are answered meanwhile."""
    settings = {"MESSAGE_PROCESSING_MAX_RETRY_COUNT": "0", "MESSAGE_PROCESSING_RETRY_DELAY": "0"}
    gateway.world.add_group("40000000002@chatroom", OTHER, {"wxid_xiaohong0c2d22": ""})
    async with inside(**apps(dify, base_url="http://127.0.0.1:9/v1"), **settings) as bridge:
        await choose(bridge, "support")
        await bridge.hear("二 [[text=乙]]")
        async with asyncio.timeout(30):
            while not await shown_breakers(bridge.runtime):
                await asyncio.sleep(0.01)
        await bridge.hear("三 [[text=丙]]", group=OTHER, person="小红")
        await bridge.until_settled(2)
        with pytest.raises(DifyError, match="support"):
            await ping_apps(bridge.runtime.apps)

    assert gateway.sent[-1].content.endswith("丙")
    assert len(dify.questions()) == 2


async def test_an_answer_that_an_app_began_which_is_gone_is_closed_with_what_was_sent(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can finish it, and the person's next question must not wait for that for long."""
    monkeypatch.setattr("app.workers.claim_settling.UNSERVED_SECONDS", 0.5)
    async with inside(works=False) as bridge:
        await bridge.hear("一")
        await bridge.hear("二 [[text=好]]")
        await bridge.execute(
            "UPDATE messages SET dify_app = 'gone', dify_message_id = 'm-1' WHERE question = '一'"
        )
        await bridge.execute(
            "INSERT INTO segments (message_id, seq, bot_wc_id, group_id, kind, content, mention,"
            " text_digest, state, sender, tries, error, msg_id, new_msg_id, created_time, planned_at)"
            " SELECT id, 0, bot_wc_id, group_id, 'text', '前半', '', '', 'sent', '', 1, '', '', '', 0,"
            " received_at FROM messages WHERE question = '一'"
        )
        await bridge.background.index.start(process_died=False)
        bridge.background._start_work()
        bridge.background._start_sending()
        first, second = await bridge.until_settled(2)

    assert (first["verdict"], second["verdict"]) == ("cut_short", "answered")
    assert len(dify.questions()) == 1
