"""The answer loop while its stores fail, and over restarts: nothing is cut, lost or blamed."""

import asyncio
import time
from functools import partial
from typing import Any

import pytest

from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.queue.spill_signs import SpillSigns
from app.utils.ids import LOW_BITS, IdMaker
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

STREAM = {"DIFY_STREAMING_ENABLED": "true", "REPLY_MAX_LENGTH": "60"}


def _asked_more_than(dify: DifySimulator, count: int) -> bool:
    return len(dify.questions()) > count


def fail_once(
    monkeypatch: pytest.MonkeyPatch, bridge: Inside, name: str, *, number: int, after: bool
) -> None:
    """Call *number* of a method of the outbox fails, before or after it was carried out."""
    original, calls = getattr(bridge.runtime.outbox, name), 0

    async def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            raise StoreUnavailable("away")
        result = await original(*arguments, **options)
        if calls == number:
            raise StoreUnavailable("lost the connection at the commit")
        return result

    monkeypatch.setattr(bridge.runtime.outbox, name, call)


async def test_restarts_while_a_message_waits_are_no_crashes(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Dify is overloaded for long; the operator restarts the embedded bridge now and then."""
    dify.faults.set("http_429", times=10_000)
    for number in range(4):
        async with inside() as bridge:
            if not number:
                await bridge.hear("一 [[text=一]]")
            await dify.recorder.until(partial(_asked_more_than, dify, len(dify.questions())))
            await asyncio.sleep(0.1)
            await bridge.background.stop()
            [message] = await bridge.rows("SELECT state, crashes, runs_alone FROM messages")
            assert (message["state"], message["crashes"], message["runs_alone"]) == (
                "received",
                0,
                0,
            )


@INSIDE_EMBEDDED
async def test_failed_tries_are_remembered_over_a_restart(
    inside: StartInside, dify: DifySimulator
) -> None:
    """
    The embedded Redis forgets them; SQL does not. But whether Dify has answered anybody since is
    forgotten as well: only after somebody's success it is the message that is to blame.
    """
    async with inside(MESSAGE_PROCESSING_RETRY_DELAY="30") as bridge:
        await bridge.hear("一 [[fail=500]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE attempts = 1")
    async with inside(MESSAGE_PROCESSING_MAX_RETRY_COUNT="1") as bridge:
        [message] = await bridge.until_rows("SELECT state FROM messages WHERE attempts = 2")
        await bridge.hear("二 [[text=好]]", person="小红")
        rows = await bridge.until_settled(2)

    assert message["state"] == "received"
    assert [row["verdict"] for row in rows] == ["failed:dify_unavailable", "answered"]


@pytest.mark.parametrize("apology", ["", "抱歉"])
async def test_a_budget_spent_behind_parts_closes_the_answer_with_them(
    inside: StartInside, gateway: EcloudSimulator, apology: str
) -> None:
    """The group saw a part: it is neither dead nor apologised for."""
    async with inside(
        MESSAGE_PROCESSING_MAX_RETRY_COUNT="0",
        MESSAGE_PROCESSING_QUEUE_TIMEOUT="1",
        MESSAGE_PROCESSING_FAILURE_REPLY=apology,
        **STREAM,
    ) as bridge:
        await bridge.hear("一 [[long=4000]] [[delay=0.05]]")
        [message] = await bridge.until_settled(1, seconds=25)

    assert (message["state"], message["verdict"]) == ("done", "cut_short")
    assert message["crashes"] == 0
    assert "抱歉" not in [one.content for one in gateway.sent]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("name", "number", "streaming"),
    [("plan_part", 2, "true"), ("plan", 1, "true"), ("plan", 1, "false")],
)
async def test_a_hiccup_of_the_database_costs_no_part_of_an_answer(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
    number: int,
    streaming: str,
    after: bool,
) -> None:
    """Whether the failed commit was carried out or not: once asked, all sent, each part once."""
    monkeypatch.setattr("app.services.planning.PLAN_PAUSE_SECONDS", 0.1)
    async with inside(**{**STREAM, "DIFY_STREAMING_ENABLED": streaming}) as bridge:
        fail_once(monkeypatch, bridge, name, number=number, after=after)
        await bridge.hear("一 [[long=600]] [[delay=0.02]]")
        [message] = await bridge.until_settled(1)
        segments = await bridge.rows("SELECT seq FROM segments ORDER BY seq")

    assert message["verdict"] == "answered"
    assert len(dify.questions()) == 1
    assert [one["seq"] for one in segments] == list(range(len(gateway.sent)))


async def test_an_outage_of_redis_longer_than_a_lease_cuts_no_answer(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody else could claim meanwhile: the same worker goes on, and it is no crash."""
    async with inside(MESSAGE_PROCESSING_LEASE="1", **STREAM) as bridge:
        scripts, is_away = bridge.runtime.queue._scripts, False
        original = scripts.run

        async def run(name: str, *arguments: Any, **options: Any) -> Any:
            if is_away:
                raise QueueUnavailable("away")
            return await original(name, *arguments, **options)

        monkeypatch.setattr(scripts, "run", run)
        await bridge.hear("一 [[long=1200]] [[delay=0.05]]")
        await gateway.wait_for_sent(1)
        is_away = True
        await asyncio.sleep(1.6)
        is_away = False
        [message] = await bridge.until_settled(1)

    assert (message["verdict"], message["crashes"]) == ("answered", 0)
    assert len(dify.questions()) == 1


async def test_the_fence_is_in_the_row_while_the_message_is_in_work(
    inside: StartInside, dify: DifySimulator
) -> None:
    """An older worker that comes back late is refused even before anything is planned."""
    async with inside() as bridge:
        await bridge.hear("一 [[wait=1]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE fence > 0 AND state = 'processing'")


@INSIDE_EMBEDDED
async def test_a_heartbeat_that_ends_stops_the_process(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it every lease runs out: better to be started anew."""
    async with inside(MESSAGE_PROCESSING_LEASE="1") as bridge:

        async def heartbeat(_: object) -> list[object]:
            raise ZeroDivisionError("ours")

        monkeypatch.setattr(bridge.runtime.queue, "heartbeat", heartbeat)
        async with asyncio.timeout(30):
            await bridge.background.failed.wait()


async def test_a_fault_in_settling_gives_the_lease_back(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Burying fails by a fault of ours: the message comes again long before the lease would end."""
    async with inside(
        MESSAGE_PROCESSING_LEASE="30", MESSAGE_PROCESSING_MAX_RETRY_COUNT="0"
    ) as bridge:
        original, calls = bridge.runtime.outbox.bury, 0

        async def bury(*arguments: Any, **options: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise ZeroDivisionError("ours")
            await original(*arguments, **options)

        monkeypatch.setattr(bridge.runtime.outbox, "bury", bury)
        await bridge.hear("一 [[fail=400]]")
        [message] = await bridge.until_settled(1, seconds=25)

    assert (message["state"], calls) == ("dead", 2)


async def test_an_entry_from_a_clock_a_little_ahead_is_not_dropped(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host's callback may still be in its spill file: the entry waits for it."""
    async with inside() as bridge:
        ahead = int((bridge.runtime.clock.time() + 20) * 1000)
        monkeypatch.setattr("app.workers.claim_mending.id_milliseconds", lambda _: ahead)
        redis = bridge.runtime.redis
        await redis.rpush("ecloud_queue:wxid_far", "77")
        await redis.zadd("ecloud:ready", {"wxid_far": 1})
        await asyncio.sleep(0.6)

        assert await redis.lrange("ecloud_queue:wxid_far", 0, -1) == [b"77"]


async def put_first(bridge: Inside, user: str, message_id: int) -> None:
    """An entry in front of the user's list, due now, as the callback's process would put it."""
    redis = bridge.runtime.redis
    await redis.lpush(f"ecloud_queue:{user}", str(message_id))
    await redis.zadd("ecloud:ready", {user: 1})


async def test_an_entry_without_a_row_holds_up_its_user_for_seconds_only(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Its spill file is late: what SQL knows goes first; once the row is there the order is right."""
    async with inside(works=False) as bridge:
        late = IdMaker(lambda: time.time_ns() - 10 * 10**9).next()
        await bridge.hear("二 [[wait=1]]")
        await bridge.hear("三")
        await bridge.background.index.start(process_died=False)
        [first, _] = await bridge.rows("SELECT * FROM messages ORDER BY id")
        await put_first(bridge, first["from_user"], late)
        await bridge.background.start()
        await dify.recorder.until(lambda: len(dify.questions()) == 1)
        row = {**first, "id": late, "dedupe_key": "late", "question": "一", "state": "received"}
        row |= dict.fromkeys(("twin_id", "twin_text", "twin_no"))
        names = ", ".join(f"`{name}`" for name in row)
        values = ", ".join(f":{name}" for name in row)
        await bridge.execute(f"INSERT INTO messages ({names}) VALUES ({values})", **row)
        await bridge.until_settled(3)

    assert [str(record.facts["query"]).split()[0] for record in dify.questions()] == [
        "二",
        "一",
        "三",
    ]


@pytest.mark.parametrize("age", [0, 60], ids=["new", "from-an-outage"])
async def test_an_entry_without_a_row_keeps_its_place_while_its_row_may_come(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch, age: int
) -> None:
    """
    The row of another process is on its way into SQL: nobody overtakes it in the first seconds.

    However long SQL was away: another process's spilled rows come once it is back.
    """
    monkeypatch.setattr("app.workers.claim_mending.LOOK_AGAIN_SECONDS", 0.1)
    async with inside(works=False) as bridge:
        await bridge.hear("二")
        await bridge.background.index.start(process_died=False)
        [row] = await bridge.rows("SELECT from_user FROM messages")
        old = IdMaker(lambda: time.time_ns() - age * 10**9).next()
        await put_first(bridge, row["from_user"], old)
        await bridge.background.start()
        await asyncio.sleep(1)

    assert dify.questions() == []


async def test_an_entry_without_a_row_keeps_its_place_while_a_process_shows_that_it_spilled(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow its disk or SQL is; once nobody has anything more, it holds up nobody."""
    monkeypatch.setattr("app.workers.claim_mending.LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("app.workers.claim_mending.PLACE_SECONDS", 0.2)
    async with inside(works=False) as bridge:
        await bridge.hear("二")
        await bridge.background.index.start(process_died=False)
        [row] = await bridge.rows("SELECT from_user FROM messages")
        await put_first(bridge, row["from_user"], IdMaker().next() - (10_000 << LOW_BITS))
        other = SpillSigns(bridge.runtime.redis, holder="another process")
        await other.give()
        await bridge.background.start()
        await asyncio.sleep(1)
        assert dify.questions() == []

        await other.take_back()
        await bridge.until_settled(1)


async def test_a_process_shows_that_it_spilled_until_sql_has_all_of_it(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others see it while SQL is away for this one."""
    monkeypatch.setattr("app.workers.spill_signal.LOOK_SECONDS", 0.05)
    async with inside() as bridge:
        others = SpillSigns(bridge.runtime.redis, holder="another process")
        assert not await others.anybody()
        table = bridge.runtime.inbox._table
        original = table._insert

        async def away(*_: object, **__: object) -> None:
            raise StoreUnavailable("away")

        monkeypatch.setattr(table, "_insert", away)
        await bridge.hear("一 [[text=好]]")
        async with asyncio.timeout(20):
            while not await others.anybody():
                await asyncio.sleep(0.02)
            monkeypatch.setattr(table, "_insert", original)
            while await others.anybody():
                await asyncio.sleep(0.02)
        await bridge.until_settled(1)


@INSIDE_EMBEDDED
async def test_on_the_embedded_queue_a_claim_is_in_sql_before_dify_is_asked(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process may die in the very next moment, and its Redis with it."""
    monkeypatch.setattr("app.services.stages.FLUSH_SECONDS", 30)
    async with inside() as bridge:
        await bridge.hear("一 [[wait=2]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 1)
        [message] = await bridge.rows("SELECT state, fence FROM messages")

    assert message["state"] == "processing"
    assert message["fence"] > 0


@INSIDE_EMBEDDED
async def test_while_a_claim_cannot_be_written_dify_is_not_asked(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for SQL and costs no try."""
    monkeypatch.setattr("app.workers.retry.STORE_PAUSE", 0.1)
    async with inside() as bridge:
        stages, calls = bridge.runtime.stages, 0
        original = stages.flush_together

        async def flush_together() -> None:
            nonlocal calls
            calls += 1
            assert dify.questions() == []
            if calls < 3:
                raise StoreUnavailable("away")
            await original()

        monkeypatch.setattr(stages, "flush_together", flush_together)
        await bridge.hear("一")
        [message] = await bridge.until_settled(1)

    assert (message["verdict"], message["attempts"], calls) == ("answered", 0, 3)


async def test_a_turn_that_cannot_even_be_opened_counts_its_tries(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be written of it, but the operator sees the count grow."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("app.services.turns.Turns.open", broken)
    async with inside(
        MESSAGE_PROCESSING_MAX_RETRY_COUNT="0", MESSAGE_PROCESSING_RETRY_DELAY="0.1"
    ) as bridge:
        await bridge.hear("一")
        await bridge.until_rows("SELECT 1 FROM messages WHERE attempts >= 2")
