"""The bounds while the queue cannot say whether there is room: Redis away, being rebuilt, or SQL away."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typing_extensions import override

from app.models.flow import Accepted, Receipt, Refused, RefuseReason
from app.models.message import MessageState
from app.services import inbox_queue
from app.services.figures import read_ledger
from app.services.queue.protocol import Enqueued
from app.services.queue.redis_queue import RedisQueue
from app.services.room import Bounds, Room
from app.utils.clock import SystemClock
from tests.fixtures.callbacks import USER, make_question
from tests.fixtures.stores import StoreFactory, SwitchedStore
from tests.integration.test_inbox import Parts, SwitchedQueue, waiting_ids

FULL, TOO_MANY = RefuseReason.USER_QUEUE_FULL, RefuseReason.TOO_MANY_WAITING


@pytest.fixture
def away_queue(redis_queue: RedisQueue) -> SwitchedQueue:
    """A queue that is away."""
    queue = SwitchedQueue(redis_queue._redis, worker="worker-1", namespace="test:")
    queue.is_away = True
    return queue


def reasons(receipts: list[Receipt]) -> list[RefuseReason | None]:
    """Why each was refused; None: it was accepted."""
    assert all(isinstance(one, Accepted | Refused) for one in receipts)
    return [one.reason if isinstance(one, Refused) else None for one in receipts]


async def test_without_redis_a_person_at_the_bound_is_refused_by_what_sql_says(
    switch: SwitchedStore, away_queue: SwitchedQueue, tmp_path: Path
) -> None:
    """In one batch and over several; the row says so, and somebody else has room."""
    parts = Parts(switch, away_queue, tmp_path / "spill", per_user=3)

    receipts = [await parts.accept(make_question()) for _ in range(2)]
    receipts += await parts.accept_all(
        [make_question(), make_question(), make_question(from_user="wxid_other")]
    )

    assert reasons(receipts) == [None, None, None, FULL, None]
    row = (await parts.rows())[3]
    assert (row.state, row.verdict) == ("refused", "user_queue_full")
    assert row.done_at is not None


async def test_while_the_index_is_rebuilt_the_bounds_hold_as_well(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """Redis was wiped: it answers, and knows nothing of what waits."""
    parts = Parts(switch, redis_queue, tmp_path / "spill", per_user=2)
    await parts.accept_all([make_question() for _ in range(2)])
    await redis_queue._redis.flushall()

    receipts = [await parts.accept(make_question()) for _ in range(2)]

    assert reasons(receipts) == [FULL, FULL]
    assert len(await parts.rows()) == 4


async def test_without_redis_the_bound_over_all_refuses_everybody(
    switch: SwitchedStore, away_queue: SwitchedQueue, tmp_path: Path
) -> None:
    """Counted once in a while; what comes in meanwhile is added, what is refused is not."""
    parts = Parts(switch, away_queue, tmp_path / "spill", in_all=3)

    receipts = [await parts.accept(make_question(from_user=f"wxid_{n}")) for n in range(6)]

    assert reasons(receipts) == [None] * 3 + [TOO_MANY] * 3


async def test_messages_with_an_outcome_take_no_room(
    switch: SwitchedStore, away_queue: SwitchedQueue, tmp_path: Path
) -> None:
    """Only what waits counts, not what was answered or refused before."""
    parts = Parts(switch, away_queue, tmp_path / "spill", per_user=1, in_all=1)
    await parts.accept(make_question())
    await parts.accept(make_question())
    async with switch.write() as connection:
        await connection.execute(
            text("UPDATE messages SET state = 'done' WHERE state = 'received'")
        )
    parts = Parts(switch, away_queue, tmp_path / "again", per_user=1, in_all=1)

    assert reasons([await parts.accept(make_question())]) == [None]


async def test_when_nobody_can_count_more_is_kept_than_was_to_be(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path, log_lines: list[str]
) -> None:
    """SQL goes away between the commit and the count: what is durable is accepted."""

    class Leaving(SwitchedQueue):
        @override
        async def enqueue(self, *args: Any, **options: Any) -> list[Enqueued]:
            switch.is_away = True
            return await super().enqueue(*args, **options)

    queue = Leaving(redis_queue._redis, worker="worker-1", namespace="test:")
    queue.is_away = True
    parts = Parts(switch, queue, tmp_path / "spill", per_user=1)

    receipts = await parts.accept_all([make_question(), make_question()])

    assert reasons(receipts) == [None, None]
    assert [line for line in log_lines if "inbox.room_unknown" in line]


async def test_a_count_that_hangs_does_not_hold_up_callbacks(
    switch: SwitchedStore,
    away_queue: SwitchedQueue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is durable: after a while it is accepted without."""

    async def hang(*_: object) -> dict[str, int]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(Room, "_count", hang)
    monkeypatch.setattr(inbox_queue, "SQL_SECONDS", 0.05)
    parts = Parts(switch, away_queue, tmp_path / "spill")

    assert reasons([await parts.accept(make_question())]) == [None]


@pytest.mark.parametrize("redis_is_away", [False, True])
async def test_without_sql_the_disk_takes_no_more_of_a_person_than_the_bound(
    switch: SwitchedStore,
    away_queue: SwitchedQueue,
    tmp_path: Path,
    *,
    redis_is_away: bool,
) -> None:
    """What is refused is on the disk with its verdict, comes to SQL so, and is never queued."""
    away_queue.is_away = redis_is_away
    parts = Parts(switch, away_queue, tmp_path / "spill", per_user=2)
    switch.is_away = True
    receipts = [await parts.accept(make_question()) for _ in range(2)]
    receipts += await parts.accept_all([make_question(), make_question(from_user="wxid_other")])
    switch.is_away = False

    assert await parts.inbox.replay() == 4

    assert reasons(receipts) == [None, None, FULL, None]
    rows = await parts.rows()
    assert [row.state for row in rows] == ["received", "received", "refused", "received"]
    assert (rows[2].verdict, rows[2].done_at) == ("user_queue_full", rows[2].received_at)
    queued = await waiting_ids(away_queue, USER)
    assert queued == ([] if redis_is_away else [rows[0].id, rows[1].id])
    ledger = await read_ledger(switch)
    assert (ledger.waiting, ledger.verdicts) == (3, {"user_queue_full": 1})


async def test_without_sql_the_disk_takes_no_more_than_the_bound_over_all(
    switch: SwitchedStore, away_queue: SwitchedQueue, tmp_path: Path
) -> None:
    """By what SQL said last, and what is on this disk."""
    parts = Parts(switch, away_queue, tmp_path / "spill", in_all=3)
    await parts.accept(make_question(from_user="wxid_before"))
    switch.is_away = True

    receipts = [await parts.accept(make_question(from_user=f"wxid_{n}")) for n in range(4)]

    assert reasons(receipts) == [None, None, TOO_MANY, TOO_MANY]
    parts.spill.close()


async def test_after_the_disk_was_emptied_the_count_begins_anew(
    switch: SwitchedStore, away_queue: SwitchedQueue, tmp_path: Path
) -> None:
    """What SQL has is SQL's to count."""
    parts = Parts(switch, away_queue, tmp_path / "spill", per_user=1)
    for _ in range(2):
        switch.is_away = True
        assert reasons([await parts.accept(make_question())]) == [None]
        switch.is_away = False
        await parts.inbox.replay()


async def test_two_processes_that_count_by_themselves_stay_near_the_bound(
    store_factory: StoreFactory, away_queue: SwitchedQueue, tmp_path: Path
) -> None:
    """Each sees what the other one has committed: together they keep no more than a batch too many."""
    here = Parts(store_factory(), away_queue, tmp_path / "a", per_user=10)
    there = Parts(store_factory(), away_queue, tmp_path / "b", per_user=10)

    for _ in range(20):
        await asyncio.gather(here.accept(make_question()), there.accept(make_question()))

    states = [row.state for row in await here.rows()]
    assert 9 <= states.count(MessageState.RECEIVED) <= 11
    assert len(states) == 40


async def test_rows_that_others_have_settled_meanwhile_are_not_refused(
    store_factory: StoreFactory,
) -> None:
    """Nothing waits: nobody is beyond a bound."""
    bounds = Bounds(per_user=1, in_all=1)
    room = Room(store=store_factory(), clock=SystemClock(), bounds=lambda: bounds)

    assert await room.refusals([]) == {}
