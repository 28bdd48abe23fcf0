"""What was sent whole is done a moment later, and is so too when a process dies in between."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.models.conversation import Conversation
from app.models.flow import Answer, MessageId, Segment, SentMessage
from app.models.message import Message
from app.services.errors import StoreUnavailable
from app.services.outbox import Outbox
from app.services.outbox_table import Planned, Sent
from app.services.stages import Stages, utc_now
from app.services.store import Store
from app.workers.finish_keeper import FinishKeeper
from tests.fixtures.callbacks import BOT, make_question, make_turn
from tests.fixtures.stores import SwitchedStore, keep, make_outbox, row_of, rows_of

LATER = timedelta(minutes=1)


@pytest.fixture
def stages(switch: SwitchedStore) -> Stages:
    """Written when the test says so."""
    return Stages(switch)


@pytest.fixture
def outbox(switch: SwitchedStore, stages: Stages) -> Outbox:
    """As the process has it."""
    return make_outbox(switch, stages=stages)


async def answered(store: Store, outbox: Outbox, *, parts: int = 1) -> MessageId:
    """A message whose answer is planned."""
    turn = make_turn(await keep(store, make_question()))
    segments = [Segment(seq=seq, content=f"第 {seq} 段") for seq in range(parts)]
    await outbox.plan(turn, segments, Answer(text="答", conversation_id="c-1"))
    return turn.message_id


async def call(outbox: Outbox, message_id: MessageId) -> Planned:
    """The call of the message's next segment goes out."""
    owed = await outbox.open_segments(BOT, limit=100)
    segment = next(one for one in owed if one.message_id == message_id)
    assert await outbox.mark_sending(segment, sender="s", sent=None)
    return segment


def receipt(segment: Planned) -> Sent:
    return Sent(segment=segment, receipt=SentMessage(), at=datetime.now(UTC))


async def states(store: Store, *ids: MessageId) -> list[Any]:
    return [(await row_of(store, Message, id_)).state for id_ in ids]


async def flags(store: Store) -> list[tuple[bool, bool]]:
    return [(row.is_processed, row.is_sent) for row in await rows_of(store, Conversation)]


async def test_many_messages_are_finished_by_one_commit_behind_their_receipts(
    store: Store, switch: SwitchedStore, stages: Stages, outbox: Outbox
) -> None:
    """One that owes a segment still is not among them."""
    whole = [await answered(store, outbox) for _ in range(3)]
    half = await answered(store, outbox, parts=2)
    for id_ in (*whole, half):
        await outbox.mark_sent(receipt(await call(outbox, id_)))
    assert await states(store, *whole, half) == ["answered"] * 4
    before = switch.writes

    await stages.flush()

    assert switch.writes == before + 1
    assert await states(store, *whole, half) == ["done"] * 3 + ["answered"]
    assert (await row_of(store, Message, whole[0])).done_at is not None
    assert await flags(store) == [(True, False)]

    await outbox.mark_sent(receipt(await call(outbox, half)))
    await stages.flush()

    assert await states(store, half) == ["done"]
    assert await flags(store) == [(True, True)]


async def test_a_receipt_that_was_not_written_finishes_nothing(
    store: Store, switch: SwitchedStore, stages: Stages, outbox: Outbox
) -> None:
    """Before the receipt is in SQL the message is not done."""
    id_ = await answered(store, outbox)
    segment = await call(outbox, id_)
    switch.is_away = True
    with pytest.raises(StoreUnavailable):
        await outbox.mark_sent(receipt(segment))
    switch.is_away = False

    await stages.flush()

    assert await states(store, id_) == ["answered"]


async def test_what_a_dead_process_had_sent_is_finished_by_the_next_one(
    store: Store, outbox: Outbox
) -> None:
    """It had written the receipts; what is owed still, or was answered just now, is left alone."""
    lost = [await answered(store, outbox) for _ in range(2)]
    for id_ in lost:
        await outbox.mark_sent(receipt(await call(outbox, id_)))
    owing = await answered(store, outbox)
    successor = make_outbox(store)

    assert await successor.finish_lost(before=utc_now() - LATER) == 0
    assert await successor.finish_lost(before=utc_now() + LATER) == 2

    assert await states(store, *lost, owing) == ["done", "done", "answered"]
    assert await successor.finish_lost(before=utc_now() + LATER) == 0


async def test_the_keeper_looks_at_once_and_outlives_a_database_that_is_away(
    store: Store, switch: SwitchedStore, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than one look holds are finished, too."""
    monkeypatch.setattr("app.workers.finish_keeper.AGE", -LATER)
    monkeypatch.setattr("app.workers.finish_keeper.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("app.workers.finish_keeper.FINISH_AT_ONCE", 2)
    monkeypatch.setattr("app.services.outbox.FINISH_AT_ONCE", 2)
    ids = [await answered(store, outbox) for _ in range(5)]
    for id_ in ids:
        await outbox.mark_sent(receipt(await call(outbox, id_)))
    stop = asyncio.Event()
    switch.is_away = True
    keeping = asyncio.create_task(FinishKeeper(make_outbox(switch)).run(stop))
    await asyncio.sleep(0.1)
    switch.is_away = False
    async with asyncio.timeout(30):
        while await states(store, *ids) != ["done"] * 5:
            await asyncio.sleep(0.02)
    stop.set()
    await keeping
