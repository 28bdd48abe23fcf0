"""Facts that nobody waits for: batched, in order, kept while SQL is away."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DataError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId
from app.models.message import Message, MessageState
from app.services import stages as stages_module
from app.services.errors import StoreUnavailable
from app.services.message_rows import _joined
from app.services.stages import Stages
from app.services.store import Store
from tests.fixtures.callbacks import make_question
from tests.fixtures.stores import SwitchedStore, keep, row_of

NOON = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def stages(switch: SwitchedStore) -> Stages:
    """On a store that can be switched off."""
    return Stages(switch)


@pytest.fixture
async def message_id(store: Store) -> MessageId:
    """A message that waits."""
    return await keep(store, make_question(), fence=5)


async def row(store: Store, message_id: MessageId) -> Any:
    return await row_of(store, Message, message_id)


async def test_notes_of_many_messages_are_one_commit(
    store: Store, switch: SwitchedStore, stages: Stages
) -> None:
    """Aware times come back to the microsecond."""
    ids = [await keep(store, make_question()) for _ in range(10)]
    for id_ in ids:
        stages.note(id_, claimed_at=NOON, attempts=1)
        stages.note(id_, attempts=2)

    await stages.flush()

    assert switch.writes == 1
    for id_ in ids:
        found = await row(store, id_)
        assert (found.claimed_at, found.attempts) == (NOON, 2)


async def test_alike_notes_under_a_claim_are_one_commit_and_make_it_the_owner(
    store: Store, switch: SwitchedStore, stages: Stages
) -> None:
    """What a claim writes at its beginning; an older claim finds itself superseded."""
    ids = [await keep(store, make_question(), fence=5) for _ in range(10)]
    for id_ in ids:
        stages.note(id_, fence=7, while_unfinished=True, state=MessageState.PROCESSING)
        stages.note_owner(id_, fence=7)
        stages.note(id_, fence=7, claimed_at=NOON)

    await stages.flush()

    assert switch.writes == 1
    for id_ in ids:
        found = await row(store, id_)
        assert (found.fence, found.state, found.claimed_at) == (7, "processing", NOON)


async def test_an_owner_is_not_noted_over_a_newer_one_nor_behind_the_outcome(
    store: Store, stages: Stages, message_id: MessageId
) -> None:
    """The fence only ever grows, and what is over stays as it was."""
    over = await keep(store, make_question(), fence=5, state=MessageState.DONE)
    stages.note_owner(message_id, fence=4)
    stages.note_owner(over, fence=6)

    await stages.flush()

    assert [(await row(store, id_)).fence for id_ in (message_id, over)] == [5, 5]


async def test_notes_of_a_message_under_two_claims_are_written_in_their_order(
    store: Store, switch: SwitchedStore, stages: Stages, message_id: MessageId
) -> None:
    """Whatever columns they have, and beside notes of others that have the same."""
    other = await keep(store, make_question(), fence=5)
    stages.note(other, fence=6, claimed_at=NOON, attempts=9)
    stages.note(message_id, fence=7, claimed_at=NOON, attempts=2)
    stages.note(message_id, fence=6, attempts=1)

    await stages.flush()

    assert switch.writes == 1
    assert [(await row(store, id_)).attempts for id_ in (message_id, other)] == [2, 9]


async def test_nothing_noted_costs_nothing(switch: SwitchedStore, stages: Stages) -> None:
    """The flush runs five times a second."""
    await stages.flush()

    assert switch.writes == 0


async def test_a_note_of_an_older_claim_is_not_written(
    store: Store, stages: Stages, message_id: MessageId
) -> None:
    """A newer worker has the row."""
    stages.note(message_id, fence=4, attempts=9)
    stages.note(message_id, fence=5, crashes=1)
    stages.note(message_id, error="without a fence")

    await stages.flush()

    found = await row(store, message_id)
    assert (found.attempts, found.crashes, found.error) == (0, 1, "without a fence")


async def test_a_note_for_unfinished_messages_does_not_reopen_a_finished_one(
    store: Store, stages: Stages
) -> None:
    """The plan was faster than the note "in work"."""
    done = await keep(store, make_question(), state=MessageState.ANSWERED)
    stages.note(done, while_unfinished=True, state=MessageState.PROCESSING)
    stages.note(done, claimed_at=NOON)

    await stages.flush()

    found = await row(store, done)
    assert (found.state, found.claimed_at) == ("answered", NOON)


async def test_what_could_not_be_written_is_kept_and_newer_values_win(
    store: Store, switch: SwitchedStore, stages: Stages, message_id: MessageId
) -> None:
    """SQL is away for two flushes; nothing is lost, and nothing old overwrites something new."""
    switch.is_away = True
    stages.note(message_id, attempts=1, error="first")
    with pytest.raises(StoreUnavailable):
        await stages.flush()
    stages.note(message_id, attempts=2)
    with pytest.raises(StoreUnavailable):
        await stages.flush()
    switch.is_away = False

    await stages.flush()

    found = await row(store, message_id)
    assert (found.attempts, found.error) == (2, "first")


async def test_works_keep_their_order_over_a_failure(
    store: Store, switch: SwitchedStore, stages: Stages, message_id: MessageId
) -> None:
    """And run behind the notes of their batch."""
    seen: list[str] = []

    def append(mark: str) -> None:
        async def work(connection: AsyncConnection, _: Any) -> None:
            seen.append(mark)
            await connection.execute(
                update(Message)
                .where(Message.id == message_id)
                .values(detail=Message.detail.concat(mark))
            )

        stages.gather(work, MessageId(1))

    stages.note(message_id, detail="notes,")
    append("a")
    append("b")
    switch.is_away = True
    with pytest.raises(StoreUnavailable):
        await stages.flush()
    append("c")
    switch.is_away = False

    await stages.flush()

    assert (await row(store, message_id)).detail == "notes,abc"
    assert seen == ["a", "b", "c"]


async def test_a_long_outage_is_written_in_bounded_transactions(
    store: Store, switch: SwitchedStore, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction over everything would never fit into its time."""
    monkeypatch.setattr(stages_module, "BATCH", 3)
    ids = [await keep(store, make_question()) for _ in range(8)]
    done: list[int] = []

    def later(number: int) -> None:
        async def work(_connection: AsyncConnection, _: Any) -> None:
            done.append(number)

        stages.gather(work, MessageId(1))

    for number, id_ in enumerate(ids):
        stages.note(id_, attempts=number)
        later(number)

    await stages.flush()

    assert [(await row(store, id_)).attempts for id_ in ids] == list(range(8))
    assert done == list(range(8))
    assert 4 <= switch.writes <= 6


async def test_a_fact_the_database_refuses_does_not_take_others_with_it(
    store: Store, stages: Stages, message_id: MessageId
) -> None:
    """It is told in the log; what else was noted is written."""

    async def refused(_connection: AsyncConnection, _: Any) -> None:
        raise DataError("", {}, ValueError("too long"))

    other = await keep(store, make_question())
    stages.note(message_id, attempts=1)
    stages.gather(refused, MessageId(1))
    stages.note(other, attempts=1)

    await stages.flush()
    await stages.flush()

    assert (await row(store, message_id)).attempts == 1
    assert (await row(store, other)).attempts == 1


async def test_whoever_waits_for_the_write_shares_it_with_the_others(
    store: Store, switch: SwitchedStore, stages: Stages
) -> None:
    """Fifty messages that are claimed at once cost a commit or two, and each is written."""
    ids = [await keep(store, make_question()) for _ in range(50)]

    async def note_and_wait(id_: MessageId) -> int:
        stages.note(id_, attempts=1)
        await stages.flush_together()
        attempts: int = (await row(store, id_)).attempts
        return attempts

    assert await asyncio.gather(*map(note_and_wait, ids)) == [1] * 50
    assert switch.writes <= 2


async def test_a_write_that_is_under_way_is_waited_for(
    store: Store, stages: Stages, message_id: MessageId
) -> None:
    """The periodic flush has taken the note already: that it is taken is not that it is written."""
    is_under_way, may_end = asyncio.Event(), asyncio.Event()

    async def slow(_connection: AsyncConnection, _: Any) -> None:
        is_under_way.set()
        await may_end.wait()

    stages.note(message_id, attempts=1)
    stages.gather(slow, MessageId(1))
    periodic = asyncio.create_task(stages.flush())
    await is_under_way.wait()
    waiting = asyncio.create_task(stages.flush_together())
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    may_end.set()
    await waiting

    assert (await row(store, message_id)).attempts == 1
    await periodic


async def test_whoever_waits_hears_that_nothing_was_written(
    store: Store,
    switch: SwitchedStore,
    stages: Stages,
    message_id: MessageId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All who share the write, after one try; the note is kept for the next one."""
    original, tries = switch.transact, 0

    async def transact(work: Any) -> Any:
        nonlocal tries
        tries += 1
        return await original(work)

    monkeypatch.setattr(switch, "transact", transact)
    switch.is_away = True
    stages.note(message_id, attempts=1)

    heard = await asyncio.gather(
        *(stages.flush_together() for _ in range(3)), return_exceptions=True
    )

    assert [type(one) for one in heard] == [StoreUnavailable] * 3
    assert tries == 1
    switch.is_away = False
    await stages.flush_together()
    assert (await row(store, message_id)).attempts == 1


async def test_the_memory_is_bounded(
    store: Store, switch: SwitchedStore, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a very long outage the first notes are kept; known messages can still be noted."""
    monkeypatch.setattr(stages_module, "KEEP_AT_MOST", 2)
    ids = [await keep(store, make_question()) for _ in range(3)]
    switch.is_away = True
    for id_ in ids:
        stages.note(id_, attempts=1)
    with pytest.raises(StoreUnavailable):
        await stages.flush()
    stages.note(ids[0], attempts=2)
    switch.is_away = False

    await stages.flush()

    assert [(await row(store, id_)).attempts for id_ in ids] == [2, 1, 0]


async def test_the_loop_writes_by_itself_and_once_more_at_its_end(
    store: Store, switch: SwitchedStore, stages: Stages, message_id: MessageId
) -> None:
    """It outlives a database that is away."""
    stop = asyncio.Event()
    switch.is_away = True
    loop = asyncio.create_task(stages.run(stop))
    stages.note(message_id, attempts=1)
    await asyncio.sleep(0.3)
    switch.is_away = False
    async with asyncio.timeout(30):
        while (await row(store, message_id)).attempts != 1:
            await asyncio.sleep(0.02)
        stages.note(message_id, attempts=2)
        stop.set()
        await loop

    assert (await row(store, message_id)).attempts == 2


async def test_a_fault_in_one_gathered_work_does_not_end_the_loop(store: Store) -> None:
    """The others are written, the faulty one is dropped and told."""
    written = []
    stages = Stages(store)

    async def faulty(*_: object) -> None:
        raise AttributeError("made by hand")

    async def sound(*_: object) -> None:
        written.append("sound")

    stages.gather(faulty, MessageId(1))
    stages.gather(sound, MessageId(1))

    await stages.flush()

    assert written[-1:] == ["sound"]


async def test_each_of_many_rows_is_found_by_its_key(store: Store) -> None:
    """Whatever the server believes of the table: a scan of all that waits would lock all of it."""
    ids = [await keep(store, make_question()) for _ in range(30)]
    if store.is_sqlite:
        # It writes row by row.
        return
    statement = _joined(
        ("claimed_at", "this_fence", "this_id"), 3, has_fence=True, while_unfinished=True
    )
    values = tuple(value for id_ in ids[:3] for value in ("2026-01-01", 5, id_))
    async with store.read() as connection:
        rows = (await connection.exec_driver_sql(f"EXPLAIN {statement}", values)).mappings().all()

    [messages] = [row for row in rows if row["table"] == "m"]
    assert (messages["type"], messages["key"]) == ("eq_ref", "PRIMARY")
