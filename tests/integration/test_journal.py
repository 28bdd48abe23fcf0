"""The hourly journal: which row a turn stands in, and what its two flags say."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from app.models.conversation import Conversation
from app.models.flow import Answer, MessageId, Segment, SentMessage, Turn
from app.models.message import Message
from app.models.segment import SegmentRow, SegmentState
from app.models.tables import Base
from app.services.outbox import Outbox
from app.services.outbox_table import Sent
from app.services.store import Store
from app.utils.db import make_engines
from tests.fixtures.callbacks import BOT, GROUP, USER, make_question, make_turn
from tests.fixtures.stores import StoreFactory, keep, make_outbox, open_turn, rows_of

#: 23:59:59 in Shanghai.
BEFORE_MIDNIGHT = datetime(2026, 1, 1, 15, 59, 59, 999999, tzinfo=UTC)
AFTER_MIDNIGHT = datetime(2026, 1, 1, 16, 0, 0, tzinfo=UTC)


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """Of one process."""
    return make_outbox(store)


async def asked(store: Store, outbox: Outbox, question: str, at: datetime) -> Turn:
    """A question whose turn is open."""
    turn = make_turn(await keep(store, make_question(question), received_at=at), question=question)
    await store.transact(lambda connection: open_turn(connection, turn))
    return turn


async def send_all(outbox: Outbox) -> None:
    for segment in await outbox.open_segments(BOT, limit=100):
        await outbox.mark_sending(segment, sender="s", sent=None)
        at = datetime.now(UTC)
        await outbox.mark_sent(Sent(segment=segment, receipt=SentMessage(), at=at))


def answer(conversation_id: str, text: str = "答") -> Answer:
    return Answer(text=text, conversation_id=conversation_id)


def flags(row: Conversation) -> tuple[bool, bool]:
    return (row.is_processed, row.is_sent)


async def test_an_open_turn_stands_in_the_row_without_a_conversation(
    store: Store, outbox: Outbox
) -> None:
    """The question is there from the start; nothing is processed or sent."""
    turn = await asked(store, outbox, "几点 🐼\u2028\x00?", BEFORE_MIDNIGHT)

    [row] = await rows_of(store, Conversation)
    assert (row.from_user, row.conversation_id, row.group) == (USER, "", GROUP)
    assert row.hour == "20260101_23"
    assert row.content == [
        {
            "message_id": str(turn.message_id),
            "at": "2026-01-01T15:59:59.999999+00:00",
            "question": "几点 🐼\u2028\x00?",
            "answer": None,
            "outcome": None,
        }
    ]
    assert flags(row) == (False, False)


async def test_an_answered_turn_moves_to_the_row_of_its_conversation(
    store: Store, outbox: Outbox
) -> None:
    """The row without one is gone; the turn is complete in the new one."""
    turn = await asked(store, outbox, "几点?", BEFORE_MIDNIGHT)

    await outbox.plan(turn, [Segment(seq=0, content="六点")], answer("c-1", "六点 🐼\u2028\x00"))

    [row] = await rows_of(store, Conversation)
    [entry] = row.content
    assert row.conversation_id == "c-1"
    assert (entry["answer"], entry["outcome"]) == ("六点 🐼\u2028\x00", "answered")
    assert flags(row) == (True, False)
    await send_all(outbox)
    [row] = await rows_of(store, Conversation)
    assert flags(row) == (True, True)


async def test_turns_of_one_hour_share_a_row_in_the_order_of_receipt(
    store: Store, outbox: Outbox
) -> None:
    """Also when they are answered in another order; an hour later is another row."""
    turns = [await asked(store, outbox, f"问 {n}", BEFORE_MIDNIGHT) for n in range(3)]
    later = await asked(store, outbox, "次日", AFTER_MIDNIGHT)

    for turn in (turns[2], turns[0], turns[1], later):
        await outbox.plan(turn, [], answer("c-1"))

    first, second = sorted(await rows_of(store, Conversation), key=lambda row: str(row.hour))
    assert [entry["question"] for entry in first.content] == ["问 0", "问 1", "问 2"]
    assert (second.hour, len(second.content)) == ("20260102_00", 1)


async def test_a_row_is_processed_only_when_every_turn_of_it_is(
    store: Store, outbox: Outbox
) -> None:
    """A second question in the hour opens the row again."""
    first = await asked(store, outbox, "一", BEFORE_MIDNIGHT)
    await outbox.plan(first, [Segment(seq=0, content="答")], answer("c-1"))
    await send_all(outbox)
    second = make_turn(
        await keep(store, make_question("二"), received_at=BEFORE_MIDNIGHT), question="二"
    )
    await outbox.plan_part(second, [Segment(seq=0, content="部分")], answer("c-1"))
    await store.transact(lambda connection: open_turn(connection, second))
    [row] = await rows_of(store, Conversation)
    assert flags(row) == (False, False)

    await outbox.plan(second, [], answer("c-1"))
    [row] = await rows_of(store, Conversation)
    assert flags(row) == (True, False)

    await send_all(outbox)
    [row] = await rows_of(store, Conversation)
    assert flags(row) == (True, True)


async def test_a_turn_that_moves_leaves_right_flags_behind(store: Store, outbox: Outbox) -> None:
    """The row it left holds a buried turn with nothing to send: that one is processed and sent."""
    buried = await asked(store, outbox, "一", BEFORE_MIDNIGHT)
    moving = await asked(store, outbox, "二", BEFORE_MIDNIGHT)
    await outbox.bury(buried, reason="dify_rejected", error="401", segments=[])

    await outbox.plan(moving, [Segment(seq=0, content="答")], answer("c-1"))

    rows = {row.conversation_id: row for row in await rows_of(store, Conversation)}
    assert flags(rows[""]) == (True, True)
    assert flags(rows["c-1"]) == (True, False)
    assert [entry["question"] for entry in rows[""].content] == ["一"]


async def test_a_turn_is_in_one_row_after_its_conversation_was_lost(
    store: Store, outbox: Outbox
) -> None:
    """Dify forgot the first conversation, the answer came in another: the turn moved on."""
    turn = await asked(store, outbox, "一", BEFORE_MIDNIGHT)
    await outbox.plan_part(turn, [Segment(seq=0, content="部分")], answer("c-old"))
    await store.transact(lambda connection: open_turn(connection, turn))
    [row] = await rows_of(store, Conversation)
    assert row.conversation_id == "c-old"

    await outbox.plan(turn, [], answer("c-new"))

    [row] = await rows_of(store, Conversation)
    assert (row.conversation_id, len(row.content)) == ("c-new", 1)


async def test_an_answer_that_was_faster_than_the_opening_is_not_opened_again(
    store: Store, outbox: Outbox
) -> None:
    """The opening is written in a batch, later; it must not wipe the answer out."""
    turn = make_turn(await keep(store, make_question()))
    await outbox.plan(turn, [], answer("c-1"))

    await store.transact(lambda connection: open_turn(connection, turn))

    [row] = await rows_of(store, Conversation)
    assert (row.conversation_id, row.content[0]["answer"]) == ("c-1", "答")


async def test_opening_twice_is_opening_once(store: Store, outbox: Outbox) -> None:
    """Each try of a message opens its turn."""
    turn = await asked(store, outbox, "一", BEFORE_MIDNIGHT)

    await store.transact(lambda connection: open_turn(connection, turn))

    [row] = await rows_of(store, Conversation)
    assert len(row.content) == 1


async def test_concurrent_turns_and_receipts_leave_nothing_out(
    store_factory: StoreFactory,
) -> None:
    """Several processes plan and send into one row at the same time: all turns, right flags."""
    stores = [store_factory() for _ in range(4)]
    boxes = [make_outbox(store) for store in stores]
    turns = [await asked(stores[0], boxes[0], f"问 {n}", BEFORE_MIDNIGHT) for n in range(16)]

    async def plan_and_send(index: int) -> None:
        box, turn = boxes[index % 4], turns[index]
        await box.plan(turn, [Segment(seq=0, content="答")], answer("c-1"))
        mine = await box.open_segments(BOT, limit=99)
        for segment in mine:
            if segment.message_id == turn.message_id:
                await box.mark_sending(segment, sender="s", sent=None)
                at = datetime.now(UTC)
                await box.mark_sent(Sent(segment=segment, receipt=SentMessage(), at=at))

    await asyncio.gather(*(plan_and_send(index) for index in range(16)))

    [row] = await rows_of(stores[0], Conversation)
    assert [entry["question"] for entry in row.content] == [f"问 {n}" for n in range(16)]
    assert flags(row) == (True, True)
    assert {message.state for message in await rows_of(stores[0], Message)} == {"done"}


class HeldStore(Store):
    """Stands still before each commit until it is let go."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner._reader, inner._writer)
        self.is_held = asyncio.Event()
        self.may_go = asyncio.Event()

    @override
    async def transact(self, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        async with self.write() as connection:
            result = await work(connection)
            self.is_held.set()
            await self.may_go.wait()
            return result


async def test_flags_are_right_when_two_transactions_meet(store_factory: StoreFactory) -> None:
    """One turn is planned while another's receipt is written: neither sees the other's work yet."""
    store, held = store_factory(), HeldStore(store_factory())
    outbox = make_outbox(store)
    first = await asked(store, outbox, "一", BEFORE_MIDNIGHT)
    await outbox.plan(first, [Segment(seq=0, content="答")], answer("c-1"))
    second = make_turn(await keep(store, make_question("二"), received_at=BEFORE_MIDNIGHT))
    await outbox.plan_part(second, [], answer("c-1"))
    await store.transact(lambda connection: open_turn(connection, second))

    planning = asyncio.create_task(make_outbox(held).plan(second, [], answer("c-1")))
    await held.is_held.wait()
    sending = asyncio.create_task(send_all(outbox))
    # Long enough for the receipt to run into the lock of the plan.
    await asyncio.wait({sending}, timeout=0.3)
    assert not sending.done()
    held.may_go.set()
    await asyncio.gather(planning, sending)

    [row] = await rows_of(store, Conversation)
    assert flags(row) == (True, True)


@dataclass
class Expected:
    """A turn as the model sees it."""

    conversation: str = ""
    is_final: bool = False
    segments: dict[int, str] = field(default_factory=dict)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["part", "plan", "bury", "send", "fail", "unknown", "open"]),
        st.integers(0, 2),
        st.sampled_from(["c-1", "c-2"]),
        st.integers(0, 2),
    ),
    max_size=14,
)


@pytest.fixture(scope="module")
def model_url(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One file for all examples, emptied by each."""
    path = tmp_path_factory.mktemp("model") / "bridge.db"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture
async def model_store(model_url: str) -> AsyncIterator[Store]:
    """On that file."""
    store = Store(*make_engines(model_url))
    yield store
    await store.close()


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
async def test_the_flags_are_those_of_a_simple_model(
    model_store: Store, steps: list[tuple[str, int, str, int]]
) -> None:
    """Whatever happens in whatever order: processed = all turns final, sent = all segments sent."""
    async with model_store.write() as connection:
        for table in Base.metadata.tables.values():
            await connection.execute(delete(table))
    outbox = make_outbox(model_store)
    turns = [await asked(model_store, outbox, f"{n}", BEFORE_MIDNIGHT) for n in range(3)]
    model = {turn.message_id: Expected() for turn in turns}

    for step, index, conversation, count in steps:
        await take_step(outbox, model_store, turns[index], model, (step, conversation, count))

    await compare(model_store, model)


async def take_step(
    outbox: Outbox,
    store: Store,
    turn: Turn,
    model: dict[MessageId, Expected],
    step: tuple[str, str, int],
) -> None:
    """Do one thing to the outbox and to the model."""
    expected = model[turn.message_id]
    what, conversation, count = step
    first = len(expected.segments)
    new = [Segment(seq=first + n, content="x") for n in range(count)]
    if what in ("part", "plan", "bury") and not expected.is_final:
        if what == "part":
            await outbox.plan_part(turn, new, answer(conversation))
        elif what == "plan":
            await outbox.plan(turn, new, answer(conversation))
        else:
            await outbox.bury(turn, reason="x", error="x", segments=new)
            # No sentence behind parts of an answer.
            new = [] if expected.segments else new
        expected.segments |= {segment.seq: "open" for segment in new}
        expected.is_final = what != "part"
        if what != "bury":
            expected.conversation = conversation
    elif what == "open":
        await store.transact(lambda connection: open_turn(connection, turn))
    elif what in ("send", "fail", "unknown"):
        open_ones = await outbox.open_segments(BOT, limit=99)
        segment = next((one for one in open_ones if one.message_id == turn.message_id), None)
        if segment is None:
            return
        if what == "send":
            await outbox.mark_sending(segment, sender="s", sent=None)
            at = datetime.now(UTC)
            await outbox.mark_sent(Sent(segment=segment, receipt=SentMessage(), at=at))
        else:
            state = SegmentState.FAILED if what == "fail" else SegmentState.UNKNOWN
            await outbox.give_up(segment, state, error="x")
        expected.segments[segment.seq] = "sent" if what == "send" else "lost"


async def compare(store: Store, model: dict[MessageId, Expected]) -> None:
    """Every turn is in exactly one row, and the flags are the model's."""
    rows = await rows_of(store, Conversation)
    places = [MessageId(int(entry["message_id"])) for row in rows for entry in row.content]
    assert sorted(places) == sorted(model)
    for row in rows:
        mine = [model[MessageId(int(entry["message_id"]))] for entry in row.content]
        is_processed = all(one.is_final for one in mine)
        is_sent = is_processed and all(
            state == "sent" for one in mine for state in one.segments.values()
        )
        assert flags(row) == (is_processed, is_sent)
        finals = {one.conversation for one in mine if one.is_final}
        assert finals <= {row.conversation_id}
    for message in await rows_of(store, Message):
        one = model[message.id]
        is_closed = one.is_final and "open" not in one.segments.values()
        assert (message.done_at is not None) >= is_closed
    states = {(row.message_id, row.seq): row.state for row in await rows_of(store, SegmentRow)}
    assert len(states) == sum(len(one.segments) for one in model.values())


async def test_what_a_hand_put_into_a_row_stops_nobody(store: Store, outbox: Outbox) -> None:
    """Elements that are no turns of ours stay where they are."""
    first = await asked(store, outbox, "一", BEFORE_MIDNIGHT)
    async with store.write() as connection:
        await connection.execute(update(Conversation).values(content=["x", {"message_id": None}]))

    await outbox.plan(first, (), answer(""))

    [row] = await rows_of(store, Conversation)
    assert row.content[:2] == ["x", {"message_id": None}]
    assert row.content[2]["message_id"] == str(first.message_id)
