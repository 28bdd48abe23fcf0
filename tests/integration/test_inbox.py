"""Callbacks become durable, exactly once each, whatever SQL and Redis do."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from typing_extensions import override

from app.models.flow import (
    Accepted,
    Decision,
    Duplicate,
    IgnoreReason,
    MessageId,
    Noted,
    Receipt,
    Refused,
    RefuseReason,
    WcId,
)
from app.models.message import Message
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.figures import read_ledger
from app.services.inbox import Inbox
from app.services.inbox_rows import InboxRow, make_row
from app.services.inbox_table import InboxTable, insert_rows, standing_of
from app.services.queue.protocol import Enqueued, Entry, MessageQueue
from app.services.queue.redis_queue import RedisQueue
from app.services.room import Bounds
from app.services.spill import Spill
from app.services.stages import Stages, utc_now
from app.services.store import Store
from app.services.twins import SharedIds
from app.utils.clock import SystemClock
from app.utils.ids import IdMaker
from tests.fixtures.callbacks import (
    BOT,
    GROUP,
    RAW,
    USER,
    make_ignored,
    make_question,
)
from tests.fixtures.stores import MYSQL, StoreFactory, SwitchedStore

MEBIBYTE = 1 << 20


class SwitchedQueue(RedisQueue):
    """A real queue that is away, or hangs, on command."""

    is_away = False
    hangs = False
    calls = 0

    @override
    async def enqueue(
        self,
        entries: Sequence[Entry],
        *,
        user_bound: int,
        all_bound: int,
        trusts_seen: bool = True,
    ) -> list[Enqueued]:
        self.calls += 1
        if self.is_away:
            raise QueueUnavailable("switched off by the test")
        if self.hangs:
            await asyncio.Event().wait()
        return await super().enqueue(
            entries, user_bound=user_bound, all_bound=all_bound, trusts_seen=trusts_seen
        )

    @override
    async def forget(self, user: WcId, message_id: MessageId, bot: WcId, dedupe_key: str) -> None:
        if self.is_away:
            raise QueueUnavailable("switched off by the test")
        await super().forget(user, message_id, bot, dedupe_key)


#: Those of the test in hand: on a slow machine any message may have been spilled.
SPILLS: list[Spill] = []


class Parts:
    """One process: inbox, spill and stages on stores of its own."""

    def __init__(self, store: Store, queue: MessageQueue, folder: Path, **options: Any) -> None:
        self.store = store
        self.spill = Spill(folder, max_bytes=options.pop("max_bytes", MEBIBYTE))
        SPILLS.append(self.spill)
        self.stages = Stages(store)
        bounds = Bounds(per_user=options.pop("per_user", 100), in_all=options.pop("in_all", 1000))
        self.inbox = Inbox(
            store=store,
            queue=queue,
            spill=self.spill,
            stages=self.stages,
            ids=options.pop("ids", None) or IdMaker(),
            clock=SystemClock(),
            bounds=lambda: bounds,
            keep_ignored_text=False,
            **options,
        )

    async def accept(self, decision: Decision) -> Receipt:
        return await self.inbox.accept(decision, RAW)

    async def accept_all(self, decisions: Sequence[Decision]) -> list[Receipt]:
        return list(await asyncio.gather(*map(self.accept, decisions)))

    async def rows(self) -> list[Any]:
        async with self.store.read() as connection:
            found = await connection.execute(select(Message.__table__).order_by(Message.id))
            return list(found.all())

    async def row(self) -> Any:
        [row] = await self.rows()
        return row


@pytest.fixture
def away_queue(redis_queue: RedisQueue) -> SwitchedQueue:
    """The same queue with a switch."""
    return SwitchedQueue(redis_queue._redis, worker="worker-1", namespace="test:")


@pytest.fixture(autouse=True)
def closed_spills() -> Iterator[None]:
    """No file stays open behind a test."""
    yield
    while SPILLS:
        SPILLS.pop().close()


@pytest.fixture
def parts(switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path) -> Parts:
    """One process."""
    return Parts(switch, redis_queue, tmp_path / "spill")


async def waiting_ids(queue: RedisQueue, user: str = USER) -> list[int]:
    """The user's list in Redis."""
    found: Any = await queue._redis.lrange(queue._keys.queue(WcId(user)), 0, -1)
    return [int(item) for item in found]


async def test_a_question_is_durable_and_in_the_queue(
    parts: Parts, redis_queue: RedisQueue
) -> None:
    """A new question: one row, one entry, and its way is noted."""
    question = make_question("几点下班 🐼\u2028\x00", sender_name="阿蓝")

    receipt = await parts.accept(question)
    parts.inbox.use_epoch("epoch-1")
    await parts.stages.flush()

    row = await parts.row()
    assert receipt == Accepted(message_id=row.id)
    assert await waiting_ids(redis_queue) == [row.id]
    assert (row.state, row.verdict, row.deliveries) == ("received", "", 1)
    assert (row.text, row.question) == ("几点下班 🐼\u2028\x00",) * 2
    assert (row.bot_wc_id, row.from_user, row.group_id) == (BOT, USER, GROUP)
    assert row.queued_at is not None
    assert row.raw == RAW.decode()


async def test_a_second_delivery_is_a_duplicate_and_counts(parts: Parts) -> None:
    """The same newMsgId of one account is one message, also under another wId."""
    origin = {"new_msg_id": "5081726354409182739"}

    first = await parts.accept(make_question(**origin))
    again = await parts.accept(make_question(**origin, w_id="another-login"))

    row = await parts.row()
    assert (first, again) == (Accepted(message_id=row.id), Duplicate(message_id=row.id))
    assert row.deliveries == 2


async def test_deliveries_at_the_same_moment_are_told_apart(
    parts: Parts, redis_queue: RedisQueue
) -> None:
    """In one batch the first is new and the others are its duplicates; nobody else is touched."""
    same = {"new_msg_id": "77"}
    decisions = [make_question(**same), make_question(), make_question(**same), make_question()]

    receipts = await parts.accept_all([make_question(), *decisions])

    kinds = [type(receipt) for receipt in receipts[1:]]
    assert kinds == [Accepted, Accepted, Duplicate, Accepted]
    assert receipts[3].message_id == receipts[1].message_id
    assert len(await waiting_ids(redis_queue)) == 4


async def test_concurrent_callbacks_share_commits_and_keep_their_order(
    parts: Parts, switch: SwitchedStore, redis_queue: RedisQueue
) -> None:
    """A hundred at once cost a handful of commits; each gets the receipt of its own row."""
    questions = [make_question(f"第 {number} 问") for number in range(100)]

    receipts = await parts.accept_all(questions)

    assert switch.writes <= 3
    ids = [receipt.message_id for receipt in receipts]
    assert ids == sorted(set(ids))
    texts = {row.id: row.text for row in await parts.rows()}
    assert [texts[id_] for id_ in ids] == [question.text for question in questions]
    assert await waiting_ids(redis_queue) == ids


async def test_a_lone_callback_does_not_wait_for_company(
    parts: Parts, switch: SwitchedStore
) -> None:
    """One callback is one commit, at once."""
    await parts.accept(make_question())

    assert switch.writes == 1


@pytest.mark.parametrize(
    "reason", [IgnoreReason.CONTROL_EVENT, IgnoreReason.BAD_JSON, IgnoreReason.TEST_PUSH]
)
async def test_control_events_and_garbage_are_never_duplicates(
    parts: Parts, reason: IgnoreReason
) -> None:
    """An account that goes offline twice went offline twice."""
    event = make_ignored(reason, new_msg_id="77")

    receipts = await parts.accept_all([event, event])

    assert [type(receipt) for receipt in receipts] == [Noted, Noted]
    assert [row.verdict for row in await parts.rows()] == [reason, reason]


async def test_ignored_callbacks_keep_ids_and_reason_but_no_text(parts: Parts) -> None:
    """What is not answered is counted, not kept; its second delivery is a duplicate."""
    ignored = make_ignored(IgnoreReason.NOT_MENTIONED, text="私事", new_msg_id="78")

    first, again = await parts.accept_all([ignored, ignored])

    row = await parts.row()
    assert (type(first), type(again)) == (Noted, Duplicate)
    assert (row.state, row.verdict, row.text, row.raw) == ("ignored", "not_mentioned", None, None)
    assert row.new_msg_id == "78"


async def test_the_same_id_for_accounts_in_different_groups_is_as_many_messages(
    parts: Parts,
) -> None:
    """Also where their ids differ by a letter's case only."""
    receipts = await parts.accept_all(
        [
            make_question(new_msg_id="77", bot_wc_id=bot, group_id=f"{number}@chatroom")
            for number, bot in enumerate(("wxid_A", "wxid_a", "wxid_b"))
        ]
    )

    assert [type(receipt) for receipt in receipts] == [Accepted] * 3
    assert len(await parts.rows()) == 3


async def test_ids_are_exact_to_64_bits(parts: Parts) -> None:
    """Two ids that are the same as floats are two messages, and come back digit by digit."""
    ids = ["18446744073709551615", "18446744073709551614", "9007199254740993"]

    await parts.accept_all([make_question(new_msg_id=new_msg_id) for new_msg_id in ids])

    assert [row.new_msg_id for row in await parts.rows()] == ids


async def test_messages_without_a_new_id_are_told_by_their_other_ids(parts: Parts) -> None:
    """msgId is only 32 bits wide: it counts together with time and person."""
    base: dict[str, Any] = {"new_msg_id": "", "msg_id": "5", "timestamp": 9}

    receipts = await parts.accept_all(
        [
            make_question(**base),
            make_question(**base),
            make_question(**{**base, "timestamp": 10}),
            make_question(**{**base, "from_user": "wxid_x"}),
        ]
    )

    assert [type(receipt) for receipt in receipts] == [Accepted, Duplicate, Accepted, Accepted]


@pytest.mark.mysql
@pytest.mark.parametrize("store_url", [MYSQL], indirect=True)
async def test_a_row_the_database_refuses_does_not_take_others_with_it(parts: Parts) -> None:
    """An id that is too long is kept in another shape; its neighbours are as ever."""
    odd = make_question("长长的 id", from_user="w" * 500)

    receipts = await parts.accept_all([make_question("前"), odd, make_question("后")])

    rows = {row.id: row for row in await parts.rows()}
    texts = [rows[receipt.message_id].text for receipt in receipts]
    assert texts == ["前", "\\u957f\\u957f\\u7684 id", "后"]
    assert rows[receipts[1].message_id].from_user == "w" * 128


async def test_an_id_that_another_message_has_is_replaced(
    parts: Parts, store: Store, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """Two processes that make the same id: the second message takes a new one, nothing is lost."""

    class SameIds(IdMaker):
        def __init__(self, first: int) -> None:
            super().__init__()
            self.first: int | None = first

        @override
        def next(self) -> int:
            given, self.first = self.first, None
            return given or super().next()

    taken = await parts.accept(make_question("先到"))
    other = Parts(store, redis_queue, tmp_path / "other", ids=SameIds(taken.message_id))

    receipt = await other.accept(make_question("后到"))

    assert isinstance(receipt, Accepted)
    assert receipt.message_id != taken.message_id
    rows = await parts.rows()
    assert [(row.text, row.deliveries) for row in rows] == [("先到", 1), ("后到", 1)]


async def test_rows_one_by_one_are_reported_at_once_and_what_takes_too_long_is_spilled(
    parts: Parts, redis_queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An odd row makes a slow database take each alone: what it has is accepted by it, in order."""
    parts.inbox._table._seconds = 1.5
    original, commits = parts.store.change, 0

    async def change(statement: Any, values: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == 1:
            raise ValueError("an odd row among them")
        # Each alone would be in time.
        await asyncio.sleep(0 if commits < 4 else 1)
        return await original(statement, values)

    with monkeypatch.context() as patch:
        patch.setattr(parts.store, "change", change)
        receipts = await parts.accept_all([make_question(f"{n}") for n in range(8)])

    assert [type(receipt) for receipt in receipts] == [Accepted] * 8
    ids = [receipt.message_id for receipt in receipts]
    rows = await parts.rows()
    assert 2 <= len(rows) < 4
    assert [row.id for row in rows] == ids[: len(rows)]
    assert parts.inbox.spilled == 8 - len(rows)
    assert await waiting_ids(redis_queue) == ids
    await parts.inbox.replay()
    assert [(row.id, row.deliveries) for row in await parts.rows()] == [(id_, 1) for id_ in ids]


async def test_a_row_that_sql_takes_in_no_shape_sends_only_itself_to_the_spill(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbours before and behind it are in SQL at once; the replay sets its file aside."""
    original = InboxTable._insert_all

    async def insert_all(self: InboxTable, rows: Sequence[InboxRow]) -> Any:
        if any(row.from_user == "wxid_odd" for row in rows):
            raise ValueError("odd")
        return await original(self, rows)

    monkeypatch.setattr(InboxTable, "_insert_all", insert_all)
    odd = make_question("中", from_user="wxid_odd")
    receipts = await parts.accept_all([make_question("前"), odd, make_question("后")])

    assert [type(receipt) for receipt in receipts] == [Accepted] * 3
    assert [row.text for row in await parts.rows()] == ["前", "后"]
    assert parts.inbox.spilled == 1
    assert await parts.inbox.replay() == 0
    assert [path.suffix for path in parts.spill._folder.iterdir()] == [".odd"]


async def test_a_row_that_no_store_takes_does_not_fail_those_that_are_in(
    parts: Parts, switch: SwitchedStore
) -> None:
    """SQL goes away in the middle and the disk refuses: only what neither has is an error."""
    parts.spill._max_bytes = 10
    original, commits = switch.change, 0

    async def change(statement: Any, values: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == 1:
            raise ValueError("an odd row among them")
        switch.is_away = commits > 3
        return await original(statement, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(switch, "change", change)
        answers = await asyncio.gather(
            *(parts.accept(make_question(f"{n}")) for n in range(4)), return_exceptions=True
        )

    assert [type(one) for one in answers] == [
        Accepted,
        Accepted,
        StoreUnavailable,
        StoreUnavailable,
    ]


async def test_a_fault_of_ours_in_the_way_into_sql_is_logged_and_the_batch_is_spilled(
    parts: Parts, redis_queue: RedisQueue, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is, also halfway through: nothing is lost, nobody waits, the cause is in the log."""

    insert = parts.inbox._table.insert_in_time

    async def broken(rows: Any, report: Any) -> None:
        await insert(rows[:1], report)
        raise ZeroDivisionError("ours")

    with monkeypatch.context() as patch:
        patch.setattr(parts.inbox._table, "insert_in_time", broken)
        receipts = await parts.accept_all(
            [make_question("一"), make_question("二"), make_ignored()]
        )

    assert [type(receipt) for receipt in receipts] == [Accepted, Accepted, Noted]
    [line] = [line for line in log_lines if "inbox.sql_failed" in line]
    assert "ZeroDivisionError: ours" in line
    assert "in broken" in line
    ids = [receipt.message_id for receipt in receipts]
    assert await waiting_ids(redis_queue) == ids[:2]
    assert await parts.inbox.replay() == 2
    assert [(row.id, row.deliveries) for row in await parts.rows()] == [(id_, 1) for id_ in ids]


async def test_a_fault_of_ours_in_both_ways_is_a_refusal(
    parts: Parts, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway hears 503, the operator what it was."""

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(parts.inbox._table, "insert_in_time", broken)
    monkeypatch.setattr(parts.spill, "append", broken)
    with pytest.raises(StoreUnavailable):
        await parts.accept(make_question())

    assert parts.inbox.is_refusing
    assert any("inbox.spill_failed" in line and "ZeroDivisionError" in line for line in log_lines)


async def test_while_sql_is_away_callbacks_are_spilled_and_replayed_in_order(
    parts: Parts, switch: SwitchedStore, redis_queue: RedisQueue
) -> None:
    """Accepted into the spill file and the queue at once; SQL gets the rows when it is back."""
    switch.is_away = True
    receipts = [await parts.accept(make_question(f"第 {number} 问")) for number in range(5)]
    receipts.append(await parts.accept(make_ignored()))
    assert [type(receipt) for receipt in receipts] == [Accepted] * 5 + [Noted]
    assert parts.inbox.spilled == 6
    assert await waiting_ids(redis_queue) == [receipt.message_id for receipt in receipts[:5]]
    with pytest.raises(StoreUnavailable):
        await parts.inbox.replay()

    switch.is_away = False
    replayed = await parts.inbox.replay()

    rows = await parts.rows()
    assert replayed == 6
    assert [row.id for row in rows] == [receipt.message_id for receipt in receipts]
    assert {row.deliveries for row in rows} == {1}
    assert parts.inbox.spilled == 0
    assert list(parts.spill._folder.iterdir()) == []


async def test_what_comes_while_lines_wait_queues_up_behind_them(
    parts: Parts, switch: SwitchedStore
) -> None:
    """SQL is back, but the spilled lines are not in it yet: the newer one goes behind them."""
    switch.is_away = True
    await parts.accept(make_question("先"))
    switch.is_away = False

    await parts.accept(make_question("后"))

    assert parts.inbox.spilled == 2
    await parts.inbox.replay()
    assert [row.text for row in await parts.rows()] == ["先", "后"]


async def test_duplicates_across_spill_and_sql_become_one_message(
    parts: Parts, switch: SwitchedStore, redis_queue: RedisQueue
) -> None:
    """Delivered before, during and after SQL was away: one row, counted three times, asked once."""
    again = {"new_msg_id": "81"}
    first = await parts.accept(make_question(**again))
    switch.is_away = True
    await parts.accept_all([make_question(**again), make_question("另一条")])
    switch.is_away = False
    await parts.inbox.replay()
    last = await parts.accept(make_question(**again))

    assert last == Duplicate(message_id=first.message_id)
    rows = await parts.rows()
    assert [row.deliveries for row in rows] == [3, 1]
    assert await waiting_ids(redis_queue) == [row.id for row in rows]


async def test_a_duplicate_found_by_the_replay_leaves_the_queue_once_redis_is_back(
    switch: SwitchedStore, away_queue: SwitchedQueue, tmp_path: Path
) -> None:
    """Its entry would hold up the person's later messages; it is taken out as soon as that is possible."""
    here = Parts(switch, away_queue, tmp_path / "here")
    there = Parts(switch, away_queue, tmp_path / "there")
    same = {"new_msg_id": "82"}
    switch.is_away = True
    stray = await here.accept(make_question(**same))
    switch.is_away = False
    away_queue.is_away = True
    await there.accept(make_question(**same))
    await here.inbox.replay()
    assert await waiting_ids(away_queue) == [stray.message_id]

    away_queue.is_away = False
    await here.inbox.replay()

    assert await waiting_ids(away_queue) == []


async def test_a_replay_that_breaks_off_goes_on_without_counting_twice(
    parts: Parts, switch: SwitchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQL goes away in the middle of a file: the file stays, and what was in is no second delivery."""
    monkeypatch.setattr("app.services.spill_replay.BATCH", 2)
    switch.is_away = True
    await parts.accept_all([make_question(f"{number}") for number in range(5)])
    switch.is_away = False
    insert, calls = InboxTable.insert, []

    async def breaking(table: InboxTable, rows: Any) -> Any:
        calls.append(rows)
        switch.is_away = len(calls) == 2
        return await insert(table, rows)

    with monkeypatch.context() as patch:
        patch.setattr(InboxTable, "insert", breaking)
        with pytest.raises(StoreUnavailable):
            await parts.inbox.replay()
    switch.is_away = False
    assert parts.inbox.spilled == 5

    assert await parts.inbox.replay() == 5

    rows = await parts.rows()
    assert [(row.text, row.deliveries) for row in rows] == [(f"{n}", 1) for n in range(5)]


async def test_a_commit_that_was_carried_out_although_it_seemed_to_fail_is_one_row(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """The answer of the commit is lost, the row goes to the spill, too: the replay finds it there."""

    class LostAnswers(SwitchedStore):
        is_losing = True

        @override
        async def transact(self, work: Any) -> Any:
            result = await super().transact(work)
            if self.is_losing:
                raise StoreUnavailable("database: connection lost during commit")
            return result

    lossy = LostAnswers(switch)
    parts = Parts(lossy, redis_queue, tmp_path / "spill")
    receipt = await parts.accept(make_question())
    lossy.is_losing = False
    await parts.inbox.replay()

    row = await parts.row()
    assert (row.id, row.deliveries) == (receipt.message_id, 1)


async def test_a_slow_database_is_left_for_the_spill_and_gets_the_same_row_later(
    parts: Parts, store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another transaction holds the way for longer than a callback may take."""
    parts.inbox._table._seconds = 0.2
    blocker = store_factory()
    question = make_question(new_msg_id="83")
    async with blocker.write() as connection:
        await connection.execute(
            insert(Message).values(
                id=1, bot_wc_id=BOT, dedupe_key="83", state="ignored", received_at=utc_now()
            )
        )
        receipt = await parts.accept(question)
        assert isinstance(receipt, Accepted)
        assert parts.inbox.spilled == 1
        await connection.rollback()

    await parts.inbox.replay()

    row = await parts.row()
    assert (row.id, row.deliveries) == (receipt.message_id, 1)
    assert isinstance(await parts.accept(make_question()), Accepted)


async def test_nothing_durable_is_an_error(parts: Parts, switch: SwitchedStore) -> None:
    """SQL is away and the disk refuses: the gateway must hear it."""
    switch.is_away = True
    parts.spill._max_bytes = 10

    with pytest.raises(StoreUnavailable):
        await parts.accept(make_question())

    switch.is_away = False
    assert isinstance(await parts.accept(make_question()), Accepted)


async def test_while_redis_is_away_callbacks_are_accepted_and_redis_left_alone(
    switch: SwitchedStore, away_queue: SwitchedQueue, tmp_path: Path
) -> None:
    """The rows bear no epoch, which is what the sweep looks for; Redis is not asked each time."""
    parts = Parts(switch, away_queue, tmp_path / "spill")
    parts.inbox.use_epoch("epoch-1")
    away_queue.is_away = True
    receipts = [await parts.accept(make_question()) for _ in range(3)]
    await parts.stages.flush()

    assert [type(receipt) for receipt in receipts] == [Accepted] * 3
    assert {row.queued_epoch for row in await parts.rows()} == {None}
    assert away_queue.calls == 1


async def test_a_redis_that_hangs_costs_a_callback_a_second_at_most(
    switch: SwitchedStore,
    away_queue: SwitchedQueue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The row is durable; its place in the queue can wait."""
    monkeypatch.setattr("app.services.inbox_queue.REDIS_SECONDS", 0.05)
    parts = Parts(switch, away_queue, tmp_path / "spill")
    away_queue.hangs = True

    async with asyncio.timeout(1.5):
        receipt = await parts.accept(make_question())

    assert isinstance(receipt, Accepted)


async def test_a_message_that_redis_saw_under_another_id_is_accepted(
    parts: Parts, redis_queue: RedisQueue
) -> None:
    """SQL decides: Redis remembers an id of a database that was restored to an older state."""
    question = make_question(new_msg_id="84")
    stale = Entry(user=USER, message_id=MessageId(5), bot_wc_id=BOT, dedupe_key="84")
    await redis_queue.enqueue([stale], user_bound=0, all_bound=0)

    receipt = await parts.accept(question)

    assert isinstance(receipt, Accepted)
    assert receipt.message_id in await waiting_ids(redis_queue)


async def test_a_person_at_the_bound_is_refused_and_the_row_says_so(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """Two wait, the third is refused with a verdict; somebody else is still accepted."""
    parts = Parts(switch, redis_queue, tmp_path / "spill", per_user=2)

    receipts = await parts.accept_all([make_question() for _ in range(4)])
    other = await parts.accept(make_question(from_user="wxid_other"))

    reasons = [receipt.reason for receipt in receipts if isinstance(receipt, Refused)]
    assert reasons == [RefuseReason.USER_QUEUE_FULL] * 2
    assert isinstance(other, Accepted)
    rows = await parts.rows()
    assert [row.state for row in rows] == ["received"] * 2 + ["refused"] * 2 + ["received"]
    assert rows[2].verdict == "user_queue_full"
    assert rows[2].done_at is not None


async def test_a_refusal_that_cannot_be_written_is_an_acceptance(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """SQL goes away in between: the row still waits, so it is answered later, and says so."""

    class Leaving(SwitchedQueue):
        @override
        async def enqueue(self, *args: Any, **options: Any) -> list[Enqueued]:
            switch.is_away = True
            return await super().enqueue(*args, **options)

    queue = Leaving(redis_queue._redis, worker="worker-1", namespace="test:")
    parts = Parts(switch, queue, tmp_path / "spill", per_user=1)
    receipts = await parts.accept_all([make_question(), make_question()])
    switch.is_away = False

    assert [type(receipt) for receipt in receipts] == [Accepted, Accepted]
    assert [row.state for row in await parts.rows()] == ["received", "received"]


async def test_the_bound_over_all_refuses_everybody(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """The bridge as a whole holds no more than it was set up for."""
    parts = Parts(switch, redis_queue, tmp_path / "spill", in_all=1)

    receipts = await parts.accept_all([make_question(from_user=f"wxid_{n}") for n in range(2)])

    assert receipts[1] == Refused(
        message_id=receipts[1].message_id, reason=RefuseReason.TOO_MANY_WAITING
    )


async def test_two_processes_on_one_database_agree_on_the_first(
    store_factory: StoreFactory, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """The same callbacks through two replicas, in opposite order: each is accepted exactly once."""
    here = Parts(store_factory(), redis_queue, tmp_path / "a")
    there = Parts(store_factory(), redis_queue, tmp_path / "b")
    questions = [make_question() for _ in range(40)]

    results = await asyncio.gather(
        here.accept_all(questions), there.accept_all(list(reversed(questions)))
    )

    for one, other in zip(results[0], reversed(results[1]), strict=True):
        assert {type(one), type(other)} == {Accepted, Duplicate}
        assert one.message_id == other.message_id
    rows = await here.rows()
    assert [row.deliveries for row in rows] == [2] * 40
    assert len(await waiting_ids(redis_queue)) == 40


async def test_a_row_that_sql_will_never_take_is_set_aside_and_holds_up_nobody(
    parts: Parts, switch: SwitchedStore, tmp_path: Path
) -> None:
    """A line of another version, and one that is no line: the others get into SQL, the file is kept."""
    switch.is_away = True
    await parts.accept(make_question("先"))
    file = parts.spill._current
    assert file is not None
    file.handle.write(b'{"id": "7", "column_of_the_future": 1}\nnot a line\n')
    await parts.accept(make_question("后"))
    switch.is_away = False

    assert await parts.inbox.replay() == 2

    assert [row.text for row in await parts.rows()] == ["先", "后"]
    [kept] = (tmp_path / "spill").iterdir()
    assert kept.suffix == ".odd"
    assert b"column_of_the_future" in kept.read_bytes()
    assert parts.inbox.spilled == 0


async def test_the_ledger_adds_up_after_everything(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """Received = verdicts + duplicates + waiting, over SQL, spill, bounds and repeats."""
    parts = Parts(switch, redis_queue, tmp_path / "spill", per_user=3)
    questions = [make_question() for _ in range(5)]
    await parts.accept_all([*questions, *questions[:2], make_ignored(), make_ignored()])
    switch.is_away = True
    await parts.accept_all([questions[0], make_ignored(IgnoreReason.CONTROL_EVENT)])
    switch.is_away = False
    await parts.inbox.replay()

    ledger = await read_ledger(switch)

    assert ledger.received == 11
    assert ledger.duplicates == 3
    assert ledger.waiting == 3
    assert ledger.verdicts == {"user_queue_full": 2, "no_text": 2, "control_event": 1}
    assert ledger.received == (ledger.waiting + ledger.duplicates + sum(ledger.verdicts.values()))


async def test_rows_are_looked_for_by_index_however_many_they_are(store: Store) -> None:
    """Of one account and of several: a callback must not cost more as the table grows."""
    rows = [
        make_row(
            make_question(bot_wc_id=WcId(f"{BOT}{number % accounts}"), new_msg_id=str(number)),
            RAW,
            message_id=MessageId(number),
            received_at=utc_now(),
            keep_ignored_text=False,
        )
        for accounts, numbers in ((1, range(1, 40)), (3, range(40, 80)))
        for number in numbers
    ]
    async with store.write() as connection:
        await insert_rows(connection, rows, SharedIds())
    plans = []
    async with store.read() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        for some in (rows[:1], rows[:20], rows[39:59]):
            statement = standing_of(some).compile(
                dialect=connection.dialect, compile_kwargs={"literal_binds": True}
            )
            explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN"
            found = await connection.execute(text(f"{explain} {statement}".replace(":", "\\:")))
            plans.append([dict(row) for row in found.mappings()])

    for plan in plans:
        if is_sqlite:
            assert not any("SCAN messages" in row["detail"] for row in plan), plan
        else:
            assert all(row["possible_keys"] for row in plan), plan
