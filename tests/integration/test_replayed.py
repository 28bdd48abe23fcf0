"""Replayed messages in a running bridge: their place, their tries, and that nothing comes twice."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.models.flow import Answer, Claim, MessageId, Segment, WcId
from app.models.segment import SegmentState
from app.services.errors import QueueUnavailable
from app.services.letters import Refusal, ReplayOptions, Resumption, Way
from app.services.outbox import Outbox
from app.services.replay import Replay
from app.services.store import Store
from app.utils.db import make_engines
from app.utils.ids import LOW_BITS
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Stores
from tests.fixtures.callbacks import make_turn
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

TWO_DAYS_MS = 2 * 86_400_000
REJECTED = "[[fail=400:app_unavailable;times=1]]"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps and probes are seconds apart."""
    monkeypatch.setattr("app.workers.index_keeper.SWEEP_SECONDS", 0.2)
    monkeypatch.setattr("app.workers.index_keeper.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("app.services.queue.breakers.FIRST_PAUSE", 0.2)
    monkeypatch.setattr("app.services.queue.breakers.LONGEST_PAUSE", 0.2)


def asked(dify: DifySimulator) -> list[str]:
    """The first word of each question to Dify."""
    return [str(record.facts["query"]).split()[0] for record in dify.questions()]


def said(gateway: EcloudSimulator) -> list[str]:
    """What arrived, without the mention."""
    return [one.content.split("\u2005")[-1] for one in gateway.sent]


async def replay(stores: Stores, message_id: int) -> Resumption | Refusal:
    """As the command does, in a process of its own."""
    store = Store(*make_engines(stores.database_url))
    try:
        return await Replay(store, ReplayOptions()).one(MessageId(message_id))
    finally:
        await store.close()


async def until_dead(bridge: Inside) -> int:
    """The id of the dead letter, once its worker let go of it."""
    [row] = await bridge.until_rows("SELECT id, from_user FROM messages WHERE state = 'dead'")
    async with asyncio.timeout(10):
        while await bridge.runtime.redis.exists(f"ecloud_processing:{row['from_user']}"):
            await asyncio.sleep(0.01)
    return int(row["id"])


class Plans:
    """Makes saving an answer wait, or fail as by a fault of ours, so many times."""

    def __init__(self, bridge: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self._plan: Callable[..., Any] = bridge.runtime.outbox.plan
        monkeypatch.setattr(bridge.runtime.outbox, "plan", self.plan)

    async def plan(self, *arguments: object, **options: object) -> None:
        """As ``Outbox.plan``."""
        await self.may_go_on.wait()
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("ours")
        await self._plan(*arguments, **options)


async def test_it_is_asked_before_newer_ones_that_wait_and_never_beside_another(
    inside: StartInside,
    inside_stores: Stores,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is in work just then is finished first; its ``seen`` key swallows nothing."""
    async with inside() as bridge:
        await bridge.hear(f"一 {REJECTED} [[text=甲]]")
        message_id = await until_dead(bridge)
        plans = Plans(bridge, monkeypatch)
        plans.may_go_on.clear()
        await bridge.hear("二 [[text=乙]]")
        await bridge.hear("三 [[text=丙]]")
        await bridge.hear("四 [[text=丁]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 2)
        decision = await replay(inside_stores, message_id)
        await bridge.until_rows(
            f"SELECT 1 FROM messages WHERE id = {message_id} AND queued_epoch <> ''"
        )
        in_work = asked(dify)
        plans.may_go_on.set()
        messages = await bridge.until_settled(4)
        lists = await bridge.runtime.redis.keys("ecloud_queue:*")

    assert decision == Resumption(way=Way.ASK)
    assert in_work == ["一", "二"]
    assert asked(dify) == ["一", "二", "一", "三", "四"]
    assert said(gateway) == ["乙", "甲", "丙", "丁"]
    assert [row["verdict"] for row in messages] == ["answered"] * 4
    assert (messages[0]["id"], messages[0]["replays"]) == (message_id, 1)
    assert dify.concurrency.overlaps == []
    assert lists == []


@INSIDE_EMBEDDED
async def test_alone_it_is_found_without_a_restart(
    inside: StartInside, inside_stores: Stores, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The sweep brings it; nobody else of that user has to speak."""
    async with inside() as bridge:
        await bridge.hear(f"一 {REJECTED} [[text=甲]]")
        await replay(inside_stores, await until_dead(bridge))
        await bridge.until_settled(1)
        turns = await bridge.rows("SELECT content, is_processed, is_sent FROM conversations")

    assert asked(dify) == ["一", "一"]
    assert said(gateway) == ["甲"]
    [turn] = turns
    assert (turn["is_processed"], turn["is_sent"]) == (1, 1)
    assert str(turn["content"]).count("message_id") == 1


async def test_replayed_while_the_bridge_stands_still_it_is_answered_after_the_start(
    inside: StartInside, inside_stores: Stores, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Before what came later."""
    async with inside() as bridge:
        await bridge.hear(f"一 {REJECTED} [[text=甲]]")
        message_id = await until_dead(bridge)
        bridge.background.stop_claiming()
        await bridge.background.stop()
        await bridge.hear("二 [[text=乙]]")
    await replay(inside_stores, message_id)
    async with inside() as bridge:
        await bridge.until_settled(2)

    assert asked(dify) == ["一", "一", "二"]
    assert said(gateway) == ["甲", "乙"]


ONE_RETRY = {"MESSAGE_PROCESSING_MAX_RETRY_COUNT": "1"}


@INSIDE_EMBEDDED
async def test_it_has_all_its_tries_again(
    inside: StartInside,
    inside_stores: Stores,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given up after two; afterwards one more failure does not end it."""
    async with inside(**ONE_RETRY) as bridge:
        Plans(bridge, monkeypatch).failures = 3
        await bridge.hear("一 [[text=甲]]")
        await replay(inside_stores, await until_dead(bridge))
        [row] = await bridge.until_settled(1)

    assert (row["verdict"], row["attempts"], row["replays"]) == ("answered", 1, 1)
    assert len(asked(dify)) == 4
    assert said(gateway) == ["甲"]


async def test_counts_that_redis_kept_of_the_first_life_are_void(
    inside: StartInside,
    inside_stores: Stores,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis was away when it was given up: its entry is still there, with its tries and a crash."""
    async with inside(MESSAGE_PROCESSING_LEASE="1", **ONE_RETRY) as bridge:
        Plans(bridge, monkeypatch).failures = 3
        acked = bridge.runtime.queue.ack

        async def away(claim: Claim) -> bool:
            monkeypatch.setattr(bridge.runtime.queue, "ack", acked)
            raise QueueUnavailable("away")

        monkeypatch.setattr(bridge.runtime.queue, "ack", away)
        await bridge.hear("一 [[text=甲]]")
        [dead] = await bridge.until_rows("SELECT id FROM messages WHERE state = 'dead'")
        await replay(inside_stores, dead["id"])
        [row] = await bridge.until_settled(1)

    assert (row["verdict"], row["replays"]) == ("answered", 1)
    assert len(asked(dify)) == 4
    assert said(gateway) == ["甲"]


async def test_an_old_one_waits_for_dify_as_long_as_a_new_one(
    inside: StartInside, inside_stores: Stores, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Received two days ago, replayed while Dify's breaker is open: it is not given up for its age."""
    async with inside(MESSAGE_PROCESSING_MAX_RETRY_COUNT="0") as bridge:
        await bridge.hear(f"一 {REJECTED} [[text=甲]]")
        message_id = await until_dead(bridge) - (TWO_DAYS_MS << LOW_BITS)
        await bridge.execute("UPDATE messages SET id = :id", id=message_id)
        dify.faults.set("down", times=10_000)
        await bridge.hear("二 [[text=乙]]", person="小红")
        await replay(inside_stores, message_id)
        async with asyncio.timeout(10):
            while (await bridge.runtime.queue.figures()).parked_users < 2:
                await asyncio.sleep(0.01)
        [waiting] = await bridge.rows(f"SELECT state FROM messages WHERE id = {message_id}")
        dify.faults.clear()
        messages = await bridge.until_settled(2)

    assert waiting["state"] in ("received", "processing")
    assert [row["verdict"] for row in messages] == ["answered"] * 2
    assert sorted(said(gateway)) == ["乙", "甲"]


@INSIDE_EMBEDDED
async def test_parts_that_are_in_the_group_end_the_answer_and_dify_is_not_asked(
    inside: StartInside, inside_stores: Stores, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """A stream that was given up after a long outage: what was said is its answer, and the rest is sent."""
    async with inside(works=False) as bridge:
        outbox: Outbox = bridge.runtime.outbox
        await bridge.hear("一 [[text=别的]]")
        [row] = await bridge.rows("SELECT * FROM messages")
        turn = make_turn(
            MessageId(row["id"]),
            fence=1,
            bot_wc_id=WcId(row["bot_wc_id"]),
            group_id=WcId(row["group_id"]),
            user=WcId(row["from_user"]),
        )
        parts = [Segment(seq=0, content="说了的"), Segment(seq=1, content="没说的")]
        await outbox.plan_part(turn, parts, Answer(text=""))
        first, second = await outbox.open_segments(turn.bot_wc_id, limit=9)
        await outbox.give_up(first, SegmentState.SENT, error="")
        await outbox.give_up(second, SegmentState.FAILED, error="refused")
        await outbox.bury(turn, reason="dify_unavailable", error="x", segments=[])
        decision = await replay(inside_stores, turn.message_id)
        await bridge.background.start()
        [message] = await bridge.until_settled(1)

    assert decision == Resumption(way=Way.CLOSE, again=(1,))
    assert (message["verdict"], asked(dify)) == ("cut_short", [])
    assert said(gateway) == ["没说的"]
