"""A dead letter goes on where it stopped: what its rows say afterwards, and what is never repeated."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from app.models.conversation import Conversation
from app.models.flow import Answer, MessageId, Segment, Turn
from app.models.message import Message, MessageState
from app.models.segment import SegmentRow, SegmentState
from app.services import replay as replay_module
from app.services.errors import StaleFence, StoreUnavailable
from app.services.figures import read_figures, read_ledger
from app.services.letters import Refusal, ReplayOptions, Resumption, Way
from app.services.replay import Replay
from app.services.stages import Stages, utc_now
from app.services.store import Store
from tests.fixtures.callbacks import BOT, make_question, make_turn
from tests.fixtures.letters import SENTENCE, answer, bury, settle
from tests.fixtures.stores import (
    ON_SQLITE,
    StoreFactory,
    SwitchedStore,
    keep,
    make_outbox,
    row_of,
    rows_of,
)

SENT, FAILED, UNKNOWN = SegmentState.SENT, SegmentState.FAILED, SegmentState.UNKNOWN


async def replayed(store: Store, message_id: int, **options: bool) -> Resumption | Refusal:
    """What became of one."""
    return await Replay(store, ReplayOptions(**options)).one(MessageId(message_id))


async def change(store: Store, message_id: int, **columns: Any) -> None:
    """Change a message's row by hand."""
    async with store.write() as connection:
        await connection.execute(update(Message).where(Message.id == message_id).values(**columns))


async def states(store: Store, message_id: int) -> list[str]:
    """Of the message's segments, in order."""
    rows = sorted(await rows_of(store, SegmentRow), key=lambda row: row.seq)
    return [row.state for row in rows if row.message_id == message_id]


async def journal(store: Store) -> tuple[Any, bool, bool]:
    """The one turn, and the flags of its row."""
    [row] = await rows_of(store, Conversation)
    [turn] = row.content
    return (turn["answer"], turn["outcome"]), row.is_processed, row.is_sent


async def test_without_an_answer_the_message_is_as_just_received(store: Store) -> None:
    """Same id, no tries, in no index; old claims may not write, and the sentence comes no more."""
    message_id = await bury(store)
    await change(
        store,
        message_id,
        attempts=3,
        crashes=2,
        sole_crashes=1,
        runs_alone=True,
        queued_epoch="e-1",
        claimed_at=utc_now(),
        dify_conversation_id="c-9",
        dify_message_id="m-9",
    )
    before = await row_of(store, Message, message_id)

    assert await replayed(store, message_id) == Resumption(way=Way.ASK, void=(0,))

    row = await row_of(store, Message, message_id)
    assert (row.state, row.verdict, row.error) == ("received", "", "")
    assert (row.attempts, row.crashes, row.sole_crashes, row.runs_alone) == (0, 0, 0, False)
    assert (row.queued_epoch, row.claimed_at, row.done_at) == (None, None, None)
    assert (row.replays, row.received_at) == (1, before.received_at)
    assert row.replayed_at is not None
    assert row.fence == before.fence + 1
    assert (row.dify_conversation_id, row.dify_message_id) == ("c-9", "")
    assert await states(store, message_id) == ["cancelled"]
    assert await journal(store) == ((None, None), False, False)


async def test_the_second_answer_takes_the_place_of_the_failure_in_the_journal(
    store: Store,
) -> None:
    """One turn, its final outcome, and the flags of now."""
    outbox = make_outbox(store)
    message_id = await bury(store)
    await settle(store, message_id, SENT)
    assert await journal(store) == ((None, "failed:dify_rejected"), True, True)
    await replayed(store, message_id)
    turn = make_turn(message_id, fence=5)

    await outbox.plan(turn, [Segment(seq=1, content="六点。")], Answer(text="六点。"))
    planned = await journal(store)
    await settle(store, message_id, SENT)

    assert planned == (("六点。", "answered"), True, False)
    assert await journal(store) == (("六点。", "answered"), True, True)
    row = await row_of(store, Message, message_id)
    assert (row.state, row.verdict) == ("done", "answered")


@ON_SQLITE
async def test_claims_of_the_time_before_write_nothing(store: Store) -> None:
    """A worker that was thought dead, and what it noted while SQL was away."""
    message_id = await bury(store)
    stages = Stages(store)
    await replayed(store, message_id)

    stages.note(
        message_id, fence=1, while_unfinished=True, state=MessageState.PROCESSING, crashes=7
    )
    stages.note(message_id, fence=1, attempts=3)
    await stages.flush()
    with pytest.raises(StaleFence):
        await make_outbox(store).plan(make_turn(message_id, fence=1), [], Answer(text="旧"))

    row = await row_of(store, Message, message_id)
    assert (row.state, row.attempts, row.crashes) == ("received", 0, 0)


@ON_SQLITE
async def test_given_up_again_the_group_hears_no_second_sentence(store: Store) -> None:
    """One at most; an unsent one of the first time is not counted."""
    outbox = make_outbox(store)
    heard, unheard = await bury(store), await bury(store)
    await settle(store, heard, SENT)
    for message_id in (heard, unheard):
        await replayed(store, message_id)
        turn = make_turn(message_id, fence=5)
        segments = [Segment(seq=0, content=SENTENCE)]
        await outbox.bury(turn, reason="dify_unavailable", error="x", segments=segments)

    assert await states(store, heard) == ["sent"]
    assert await states(store, unheard) == ["cancelled", "planned"]
    assert (await row_of(store, Message, heard)).verdict == "failed:dify_unavailable"


@ON_SQLITE
async def test_an_answer_of_which_nothing_arrives_is_not_sent_though_a_sentence_was(
    store: Store,
) -> None:
    """The sentence of the first time is no part of the answer."""
    message_id = await bury(store)
    await settle(store, message_id, SENT)
    await replayed(store, message_id)
    turn = make_turn(message_id, fence=5)
    await make_outbox(store).plan(turn, [Segment(seq=1, content="六点。")], Answer(text="六点。"))
    await settle(store, message_id, FAILED)

    row = await row_of(store, Message, message_id)
    assert (row.state, row.verdict) == ("done", "failed:not_sent")


async def test_of_an_answer_only_the_failed_segments_are_planned_again(store: Store) -> None:
    """What is in the group, or may be, stays; Dify's side stays, too; the message closes once more."""
    message_id = await answer(store, SENT, FAILED, UNKNOWN, FAILED)
    before = {row.seq: row for row in await rows_of(store, SegmentRow)}

    assert await replayed(store, message_id) == Resumption(way=Way.SEND, again=(1, 3))

    after = {row.seq: row for row in await rows_of(store, SegmentRow)}
    row = await row_of(store, Message, message_id)
    assert await states(store, message_id) == ["sent", "planned", "unknown", "planned"]
    assert (after[0], after[2]) == (before[0], before[2])
    assert (after[1].id, after[1].tries, after[1].error) == (before[1].id, 0, "")
    assert after[1].planned_at > before[1].planned_at
    assert (row.state, row.verdict, row.error) == ("answered", "answered", "")
    assert (row.dify_message_id, row.replays, row.done_at) == ("m-1", 1, None)
    assert await journal(store) == (("答", "answered"), True, False)

    await settle(store, message_id, SENT, SENT)

    row = await row_of(store, Message, message_id)
    assert (row.state, row.done_at is None) == ("done", False)
    assert await journal(store) == (("答", "answered"), True, False)  # one is undecided still


@ON_SQLITE
@pytest.mark.parametrize("cut_short", [False, True])
async def test_an_answer_that_was_not_sent_at_all_is_an_answer_again(
    store: Store, cut_short: bool
) -> None:
    """Its verdict is what Dify gave; when it fails once more it is what it was."""
    message_id = await answer(store, FAILED, FAILED, cut_short=cut_short)
    assert (await row_of(store, Message, message_id)).verdict == "failed:not_sent"

    await replayed(store, message_id)

    row = await row_of(store, Message, message_id)
    assert row.verdict == ("cut_short" if cut_short else "answered")
    await settle(store, message_id, FAILED, FAILED)
    assert (await row_of(store, Message, message_id)).verdict == "failed:not_sent"
    await replayed(store, message_id)
    assert (await row_of(store, Message, message_id)).replays == 2


@ON_SQLITE
async def test_undecided_segments_are_sent_again_only_on_demand(store: Store) -> None:
    """Their calls stay counted: failing once more, they are undecided, not failed."""
    message_id = await answer(store, SENT, UNKNOWN)

    assert await replayed(store, message_id) is Refusal.ONLY_UNDECIDED
    assert await replayed(store, message_id, resend_unknown=True) == Resumption(
        way=Way.SEND, again=(1,)
    )

    assert await states(store, message_id) == ["sent", "planned"]
    [segment] = await make_outbox(store).open_segments(BOT, limit=9)
    assert segment.tries == 1


@ON_SQLITE
async def test_an_answer_of_which_nothing_is_out_is_asked_for_again_on_demand(
    store: Store,
) -> None:
    """The old segments are void and the new ones numbered behind them."""
    message_id = await answer(store, FAILED, FAILED)

    assert await replayed(store, message_id, ask_again=True) == Resumption(way=Way.ASK, void=(0, 1))

    row = await row_of(store, Message, message_id)
    assert (row.state, row.answered_at, row.dify_message_id) == ("received", None, "")
    assert await states(store, message_id) == ["cancelled", "cancelled"]
    assert await journal(store) == ((None, None), False, False)


async def dead_with_parts(store: Store, *part_states: SegmentState) -> MessageId:
    """A stream of which parts were planned, given up after a long outage of Dify."""
    outbox = make_outbox(store)
    message_id = await keep(store, make_question())
    segments = [Segment(seq=seq, content=f"{seq}") for seq in range(len(part_states))]
    await outbox.plan_part(make_turn(message_id), segments, Answer(text="", conversation_id="c-1"))
    await settle(store, message_id, *part_states)
    await outbox.bury(
        make_turn(message_id, fence=2),
        reason="dify_unavailable",
        error="x",
        segments=[Segment(seq=0, content=SENTENCE)],
    )
    return message_id


@ON_SQLITE
async def test_parts_that_are_in_the_group_are_gone_on_with(store: Store) -> None:
    """Back into the queue, where the next claim ends the answer behind them."""
    message_id = await dead_with_parts(store, SENT, FAILED)

    assert await replayed(store, message_id, ask_again=True) is Refusal.SEGMENTS_OUT
    assert await replayed(store, message_id) == Resumption(way=Way.CLOSE, again=(1,))

    row = await row_of(store, Message, message_id)
    assert (row.state, row.verdict) == ("received", "")
    assert row.dify_conversation_id == "c-1"
    assert await states(store, message_id) == ["sent", "planned"]


@ON_SQLITE
async def test_parts_that_never_got_there_are_void_and_dify_is_asked(store: Store) -> None:
    """Nobody has seen anything yet."""
    message_id = await dead_with_parts(store, FAILED, FAILED)

    assert await replayed(store, message_id) == Resumption(way=Way.ASK, void=(0, 1))
    assert await states(store, message_id) == ["cancelled", "cancelled"]


@ON_SQLITE
async def test_what_is_not_dead_is_left_alone(store: Store) -> None:
    """Unknown, waiting, answered, or its text removed: not one column changes."""
    gone = await bury(store)
    await change(store, gone, text=None, question=None)
    others = [
        await keep(store, make_question()),
        await answer(store, SENT),
        await answer(store, FAILED, SegmentState.SENDING),
    ]
    before = [await rows_of(store, table) for table in (Message, SegmentRow, Conversation)]

    for unknown in (1, 2**63 - 1):
        assert await replayed(store, unknown) is Refusal.NOT_FOUND
    for other in others:
        assert await replayed(store, other) is Refusal.NOT_DEAD
    assert await replayed(store, gone) is Refusal.TEXT_GONE
    assert [await rows_of(store, table) for table in (Message, SegmentRow, Conversation)] == before


@ON_SQLITE
async def test_a_sentence_on_its_way_is_waited_for(store: Store) -> None:
    """Else it might come behind the answer."""
    message_id = await bury(store)
    await settle(store, message_id, SegmentState.SENDING)

    assert await replayed(store, message_id) is Refusal.SENDING
    assert (await row_of(store, Message, message_id)).state == "dead"


async def test_two_operators_at_once_replay_each_message_once(
    store: Store, store_factory: StoreFactory
) -> None:
    """Whoever comes second finds nothing to do."""
    ids = [await bury(store) for _ in range(6)] + [await answer(store, FAILED) for _ in range(3)]

    async def all_of_them(one: Store) -> list[Resumption | Refusal]:
        replay = Replay(one, ReplayOptions())
        return [decision async for _, decision in replay.run(ids)]

    first, second = await asyncio.gather(all_of_them(store_factory()), all_of_them(store_factory()))

    for one, other in zip(first, second, strict=True):
        assert {type(one), type(other)} == {Resumption, Refusal}
    rows = await rows_of(store, Message)
    assert {row.replays for row in rows} == {1}
    assert [row.state for row in rows] == ["received"] * 6 + ["answered"] * 3


async def test_a_replay_and_its_sender_do_not_lose_each_others_work(
    store: Store, store_factory: StoreFactory
) -> None:
    """The sentence is sent, or void, never both; a deadlock is tried again."""
    ids = [await bury(store) for _ in range(5)]

    async def send_all() -> int:
        outbox = make_outbox(store_factory())
        owed = await outbox.open_segments(BOT, limit=9)
        return sum([await outbox.mark_sending(one, sender="s", sent=None) for one in owed])

    async def replay_all() -> list[Resumption | Refusal]:
        replay = Replay(store_factory(), ReplayOptions())
        return [decision async for _, decision in replay.run(ids)]

    sent, decisions = await asyncio.gather(send_all(), replay_all())

    assert sent + sum(isinstance(one, Resumption) for one in decisions) == len(ids)
    for message_id, decision in zip(ids, decisions, strict=True):
        expected = ["cancelled"] if isinstance(decision, Resumption) else ["sending"]
        assert await states(store, message_id) == expected


@ON_SQLITE
async def test_a_replay_waits_for_a_database_that_is_away_for_a_moment(
    store: Store, switch: SwitchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives up in the end; what is replayed by then stays replayed."""
    monkeypatch.setattr(replay_module, "PAUSES", (0.05, 0.05))
    ids = [await bury(store) for _ in range(3)]
    replay = Replay(switch, ReplayOptions())
    run = replay.run(ids)

    assert (await anext(run))[0] == ids[0]
    switch.is_away = True
    asyncio.get_running_loop().call_later(0.02, setattr, switch, "is_away", False)
    assert (await anext(run))[0] == ids[1]
    switch.is_away = True
    with pytest.raises(StoreUnavailable):
        await anext(run)

    assert [row.state for row in await rows_of(store, Message)] == ["received"] * 2 + ["dead"]


async def test_the_ledger_holds_through_a_replay(store: Store) -> None:
    """Received = verdicts + duplicates + waiting, before, meanwhile and afterwards."""
    ids = [await bury(store), await bury(store), await answer(store, FAILED)]

    async def balance() -> tuple[int, int]:
        ledger = await read_ledger(store)
        total = sum(ledger.verdicts.values()) + ledger.duplicates + ledger.waiting
        assert ledger.received == total
        return ledger.received, ledger.waiting

    before = await balance()
    for message_id in ids:
        await replayed(store, message_id)
    meanwhile = await balance()
    for message_id in ids[:2]:
        await make_outbox(store).plan(make_turn(message_id, fence=9), [], Answer(text="答"))

    assert (before[1], meanwhile[1]) == (0, 2)
    assert before[0] == meanwhile[0] == (await balance())[0]


async def test_a_replayed_message_has_waited_since_its_replay(store: Store) -> None:
    """Days in the dead letters are not days in the queue; others keep their age."""
    replayed_id = await bury(store)
    await change(store, replayed_id, received_at=utc_now().replace(year=2025))
    await replayed(store, replayed_id)
    young = (await read_figures(store)).oldest_age(utc_now())
    other = await keep(store, make_question())
    await change(store, other, received_at=utc_now().replace(year=2024))

    assert young < 60
    assert (await read_figures(store)).oldest_age(utc_now()) > 86_400


@ON_SQLITE
async def test_a_journal_row_that_retention_removed_is_written_anew(store: Store) -> None:
    """The message does not need it."""
    message_id = await bury(store)
    async with store.write() as connection:
        await connection.execute(Conversation.__table__.delete())  # type: ignore[attr-defined]

    await replayed(store, message_id)
    turn: Turn = make_turn(message_id, fence=5)
    await make_outbox(store).plan(turn, [], Answer(text="答"))

    assert await journal(store) == (("答", "answered"), True, True)
