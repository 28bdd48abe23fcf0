"""Redis is kept in step with SQL: rebuilt, swept, repaired, whatever happened to it."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from app.models.flow import Accepted
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.queue.protocol import Enqueued, Entry
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import Inside, StartInside


def asked(dify: DifySimulator) -> list[str]:
    """The first word of each question to Dify."""
    return [str(record.facts["query"]).split()[0] for record in dify.questions()]


@pytest.fixture(autouse=True)
def quick_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps are seconds apart."""
    from datetime import timedelta

    monkeypatch.setattr("app.workers.index_keeper.SWEEP_SECONDS", 0.2)
    monkeypatch.setattr("app.workers.index_keeper.SWEEP_AGE", timedelta(seconds=0.3))
    monkeypatch.setattr("app.workers.index_keeper.LOOK_SECONDS", 0.1)


async def wipe(bridge: Inside) -> None:
    """As an operator's FLUSHALL, or a Redis that comes back without its data."""
    redis: Redis = bridge.runtime.redis
    await redis.flushall()


async def test_a_wiped_redis_is_rebuilt_and_everything_is_answered_once_in_order(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Also what was in work at that moment."""
    async with inside(MESSAGE_PROCESSING_LEASE="1") as bridge:
        for number in range(4):
            await bridge.hear(f"明{number} [[wait=0.3]] [[text=明{number}]]")
            await bridge.hear(f"红{number} [[wait=0.2]] [[text=红{number}]]", person="小红")
        await dify.recorder.until(lambda: len(dify.questions()) >= 3)
        await wipe(bridge)
        messages = await bridge.until_settled(8)
        waiting = int(await bridge.runtime.redis.get("ecloud:waiting") or 0)
        lists = await bridge.runtime.redis.keys("ecloud_queue:*")

    said = [one.content.split("\u2005")[-1] for one in gateway.sent]
    assert [one for one in said if one[0] == "明"] == ["明0", "明1", "明2", "明3"]
    assert [one for one in said if one[0] == "红"] == ["红0", "红1", "红2", "红3"]
    assert {message["verdict"] for message in messages} == {"answered"}
    assert dify.concurrency.overlaps == []
    assert (waiting, lists) == (0, [])


async def test_what_was_accepted_without_redis_is_swept_in_later(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL had it: that is enough for the 200."""
    async with inside() as bridge:
        original = bridge.runtime.queue.enqueue

        async def enqueue(*_: object, **__: object) -> list[object]:
            raise QueueUnavailable("away")

        monkeypatch.setattr(bridge.runtime.queue, "enqueue", enqueue)
        receipts = [await bridge.hear(f"{word} [[text={word}]]") for word in "一二三"]
        monkeypatch.setattr(bridge.runtime.queue, "enqueue", original)
        await bridge.until_settled(3)
        [epoch] = await bridge.rows("SELECT DISTINCT queued_epoch FROM messages")

    assert all(isinstance(receipt, Accepted) for receipt in receipts)
    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["一", "二", "三"]
    assert epoch["queued_epoch"]


async def test_a_message_that_redis_lost_silently_is_found_by_the_full_pass(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failover lost the last second; the row says that it was queued."""
    monkeypatch.setattr("app.workers.index_keeper.FULL_PASS_SECONDS", 0.3)
    async with inside(works=False) as bridge:
        await bridge.background.index.start(process_died=False)
        await bridge.hear("一 [[text=一]]")
        await bridge.runtime.stages.flush()
        redis = bridge.runtime.redis
        await redis.delete(*await redis.keys("ecloud_queue:*"), "ecloud:ready")
        await bridge.background.start()
        await bridge.until_settled(1)

    assert len(gateway.sent) == 1


async def test_a_key_of_another_type_stops_no_rebuild(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """``SET ecloud_queue:<user> x`` while the bridge was down: he and everybody else is answered."""
    async with inside(works=False) as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.hear("二 [[text=二]]", person="小红")
        [row] = await bridge.rows("SELECT from_user FROM messages WHERE question LIKE '一%'")
        redis = bridge.runtime.redis
        await redis.flushall()
        await redis.set(f"ecloud_queue:{row['from_user']}", "x")
        await bridge.background.start()
        await bridge.until_settled(2)

    assert sorted(one.content.split("\u2005")[-1] for one in gateway.sent) == ["一", "二"]


@pytest.mark.parametrize("name", ["ecloud:ready", "ecloud:leases", "ecloud:crashes", "ecloud:wake"])
async def test_a_key_of_all_that_is_of_another_type_is_healed_by_the_next_sweep(
    inside: StartInside, gateway: EcloudSimulator, name: str
) -> None:
    """Nobody can be claimed until then; then everybody is, long before the next full pass."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        redis = bridge.runtime.redis
        await redis.delete(name)
        await redis.sadd(name, "x")
        await bridge.hear("二 [[text=二]]")
        await bridge.until_settled(2)

    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["一", "二"]


async def test_a_row_that_the_queue_did_not_take_is_not_marked_as_queued(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next sweep tries again; the others of its page are in."""
    async with inside(works=False) as bridge:
        await bridge.hear("一")
        await bridge.hear("二", person="小红")
        queue = bridge.runtime.queue
        original = queue.restore

        async def restore(entries: Sequence[Entry]) -> list[Enqueued]:
            return [Enqueued.FAILED, *await original(entries[1:])]

        monkeypatch.setattr(queue, "restore", restore)
        await bridge.background.index.start(process_died=False)
        rows = await bridge.rows("SELECT question, queued_epoch FROM messages ORDER BY id")

    assert rows[0]["queued_epoch"] is None
    assert rows[1]["queued_epoch"]


async def test_a_rebuild_lock_of_a_dead_process_is_waited_out(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Callbacks are accepted meanwhile; then the next process rebuilds."""
    async with inside(works=False) as bridge:
        assert await bridge.runtime.queue.begin_rebuild("dead-process", seconds=1.0)
        await bridge.background.start()
        assert await bridge.runtime.queue.epoch() is None
        receipt = await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)

    assert isinstance(receipt, Accepted)
    assert len(gateway.sent) == 1


async def test_a_rebuild_that_failed_halfway_is_gone_on_with(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own lock does not keep it out, and what died with the process still counts."""
    async with inside(works=False) as bridge:
        await bridge.hear("一")
        await bridge.execute("UPDATE messages SET state = 'processing'")
        queue, index = bridge.runtime.queue, bridge.background.index
        original = queue.restore

        async def restore(*_: object) -> None:
            raise QueueUnavailable("away")

        monkeypatch.setattr(queue, "restore", restore)
        with pytest.raises(QueueUnavailable):
            await index.start(process_died=True)
        monkeypatch.setattr(queue, "restore", original)
        await index._look()

        assert await queue.epoch() is not None
        assert list((await bridge.runtime.redis.hgetall("ecloud:crashes")).values()) == [b"1"]


async def test_two_keepers_rebuild_once(inside: StartInside) -> None:
    """Two processes find an empty Redis at the same time."""
    async with inside(works=False) as bridge:
        for word in "一二三":
            await bridge.hear(word)
        index = bridge.background.index
        await asyncio.gather(index.start(process_died=False), index.start(process_died=False))
        [key] = await bridge.runtime.redis.keys("ecloud_queue:*")
        ids = [int(id_) for id_ in await bridge.runtime.redis.lrange(key, 0, -1)]
        rows = await bridge.rows("SELECT id FROM messages ORDER BY id")

    assert ids == [row["id"] for row in rows]


async def test_what_was_in_work_when_the_only_process_died_counts_a_crash(
    inside: StartInside,
) -> None:
    """Embedded: Redis died with it, so only SQL can tell."""
    async with inside(works=False) as bridge:
        await bridge.hear("一")
        await bridge.hear("二", person="小红")
        await bridge.execute(
            "UPDATE messages SET state = 'processing', crashes = 2, sole_crashes = 0, runs_alone = 1 "
            "WHERE question = '一'"
        )
        await bridge.background.index.start(process_died=True)
        redis = bridge.runtime.redis
        crashes = await redis.hgetall("ecloud:crashes")
        sole = await redis.hgetall("ecloud:sole_crashes")

    assert [list(found.values()) for found in (crashes, sole)] == [[b"3"], [b"1"]]


async def test_callbacks_without_sql_wait_in_the_spill_file_and_are_answered(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of receipt, each once, though the same one came again meanwhile."""
    async with inside() as bridge:
        store = bridge.runtime.store

        async def refuse(*_: object) -> object:
            raise StoreUnavailable("away")

        with monkeypatch.context() as patch:
            patch.setattr(store, "transact", refuse)
            patch.setattr(store, "change", refuse)
            first = bridge.callback("一 [[text=一]]")
            receipts = [
                await bridge.take(first),
                await bridge.take(first),
                await bridge.hear("二 [[text=二]]"),
            ]
            assert bridge.runtime.inbox.spilled == 3
        await bridge.until_settled(2)
        async with asyncio.timeout(30):
            while bridge.runtime.inbox.spilled:
                await asyncio.sleep(0.02)
        await bridge.hear("三 [[text=三]]")
        await bridge.until_settled(3)

    assert all(isinstance(receipt, Accepted) for receipt in receipts)
    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["一", "二", "三"]


async def test_the_sweep_passes_to_the_next_process_at_once_when_the_former_stops(
    inside: StartInside,
) -> None:
    """Its lease is given back, like that of every periodic task."""
    async with inside() as bridge:
        redis = bridge.runtime.redis
        async with asyncio.timeout(30):
            while not await redis.keys("*sweep*"):
                await asyncio.sleep(0.02)
        await bridge.background.stop()

        assert await redis.keys("*sweep*") == []
        assert await redis.keys("*retention*") == []
        assert await redis.keys("*contacts*") == []


async def test_callbacks_are_let_in_while_a_long_rebuild_goes_on(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is claimed before its end; then everything is answered, in order."""
    monkeypatch.setattr("app.workers.background.START_SECONDS", 0.05)
    go_on = asyncio.Event()
    async with inside(works=False) as bridge:
        await bridge.hear("一 [[text=一]]")
        queue = bridge.runtime.queue
        original = queue.restore

        async def restore(entries: Sequence[Entry]) -> list[Enqueued]:
            await go_on.wait()
            return await original(entries)

        monkeypatch.setattr(queue, "restore", restore)
        await bridge.background.start()
        receipt = await bridge.hear("二 [[text=二]]")
        assert await queue.epoch() is None
        go_on.set()
        await bridge.until_settled(2)

    assert isinstance(receipt, Accepted)
    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["一", "二"]


async def test_a_process_that_stops_leaves_its_rebuild_to_others(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next page, with the lock given back; it begins none again, somebody else does at once."""
    monkeypatch.setattr("app.workers.index_keeper.PAGE", 1)
    async with inside(works=False) as bridge:
        for word in "一二三":
            await bridge.hear(word)
        queue, index = bridge.runtime.queue, bridge.background.index
        original = queue.restore

        async def restore(entries: Sequence[Entry]) -> list[Enqueued]:
            bridge.background.stop_claiming()
            return await original(entries)

        monkeypatch.setattr(queue, "restore", restore)
        await index.start(process_died=False)
        await index._look()

        waiting = (await queue.figures()).waiting
        assert (waiting, await queue.epoch()) == (1, None)
        assert await queue.begin_rebuild("somebody else", seconds=10)


async def test_a_lost_message_behind_others_of_its_user_is_found_by_the_full_pass(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is shorter than SQL says, over several pages; other users' lists are left alone."""
    monkeypatch.setattr("app.workers.index_keeper.PAGE", 2)
    monkeypatch.setattr("app.workers.index_keeper.USERS_AT_ONCE", 1)
    async with inside(works=False) as bridge:
        await bridge.background.index.start(process_died=False)
        for word in "一二三":
            await bridge.hear(word)
            await bridge.hear(word, person="小红")
        await bridge.runtime.stages.flush()
        redis = bridge.runtime.redis
        lists = sorted(await redis.keys("ecloud_queue:*"))
        before = [await redis.lrange(name, 0, -1) for name in lists]
        await redis.rpop(lists[0])
        await asyncio.sleep(0.4)
        await bridge.background.index._upkeep()

        assert [await redis.lrange(name, 0, -1) for name in lists] == before
        assert (await bridge.runtime.queue.figures()).waiting == 6
