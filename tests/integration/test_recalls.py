"""Questions that were taken back: nobody is answered who did not want to be, and nothing else is lost."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from typing_extensions import override

from app.models.content import Recall
from app.models.conversation import Conversation
from app.models.flow import Answer, Form, FormAction, MessageId, Segment, Turn, WcId
from app.models.message import Message
from app.models.pending_form import PendingFormRow
from app.models.segment import SegmentRow
from app.models.suggestion import Suggestion
from app.runtime import Role
from app.services.erasure import erase
from app.services.errors import QueueUnavailable, StaleFence, StoreUnavailable
from app.services.outbox import Outbox
from app.services.recalls import Recalls, take_back
from app.services.store import Store
from app.services.suggestions import Suggestions
from app.utils.clock import SystemClock
from simulators import ecloud_kinds as kinds
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_callbacks import group_callback
from tests.fixtures.callbacks import BOT, make_origin, make_question, make_turn
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.stores import SwitchedStore, keep, make_outbox, row_of, rows_of

ANSWER = Answer(text="甲乙", conversation_id="c-1", dify_message_id="m-1", task_id="t-1")


class SteppedClock(SystemClock):
    """Its seconds pass on command."""

    def __init__(self) -> None:
        self._seconds = 1_000.0

    @override
    def monotonic(self) -> float:
        return self._seconds

    def step(self, seconds: float) -> None:
        self._seconds += seconds


def texts(*contents: str, start: int = 0) -> list[Segment]:
    return [Segment(seq=start + seq, content=content) for seq, content in enumerate(contents)]


async def recall_of(store: Store, message_id: MessageId) -> Any:
    return await store.transact(lambda connection: take_back(connection, message_id))


async def states_of(store: Store) -> list[str]:
    return [row.state for row in sorted(await rows_of(store, SegmentRow), key=lambda one: one.seq)]


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return make_outbox(store)


@pytest.fixture
async def turn(store: Store) -> Turn:
    return make_turn(await keep(store, make_question()), fence=10)


async def test_a_waiting_question_is_ignored_from_then_on(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Its row has the outcome, and no worker can write an answer any more."""
    taken = await recall_of(store, turn.message_id)

    assert (taken.state, taken.cancelled) == ("received", 0)
    row = await row_of(store, Message, turn.message_id)
    assert (row.state, row.verdict, row.done_at is not None) == ("ignored", "recalled", True)
    with pytest.raises(StaleFence):
        await outbox.plan_part(turn, texts("甲"), ANSWER)
    with pytest.raises(StaleFence):
        await outbox.plan(turn, texts("甲"), ANSWER)
    with pytest.raises(StaleFence):
        await outbox.bury(turn, reason="x", error="x", segments=texts("抱歉"))
    assert await rows_of(store, SegmentRow) == []


async def test_parts_that_are_out_stay_and_the_others_are_dropped(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """A stream is under way: one segment is on its way, one is not."""
    await outbox.plan_part(turn, texts("甲", "乙"), ANSWER)
    first, second = await outbox.open_segments(turn.bot_wc_id, limit=9)
    assert await outbox.mark_sending(first, sender="s-1", sent=None)

    taken = await recall_of(store, turn.message_id)

    assert taken.cancelled == 1
    assert await states_of(store) == ["sending", "cancelled"]
    assert not await outbox.mark_sending(second, sender="s-1", sent=None)


async def test_an_answer_that_waits_for_the_account_is_not_sent(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """The journal forgets what nobody read, the message is through."""
    await outbox.plan(turn, texts("甲", "乙"), ANSWER)

    taken = await recall_of(store, turn.message_id)

    assert (taken.state, taken.cancelled) == ("answered", 2)
    row = await row_of(store, Message, turn.message_id)
    assert (row.state, row.verdict, row.journal_id) == ("done", "recalled", None)
    assert await rows_of(store, Conversation) == []


async def test_what_the_end_of_the_answer_offered_is_gone_with_it(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Nobody read the form or the list, so nobody can mean them; no list is planned behind, either."""
    form = Form(token="t", actions=(FormAction("a", "同意"),))
    await outbox.plan(turn, texts("甲", "乙"), replace(ANSWER, form=form))
    suggestions = Suggestions(store)
    offered = await suggestions.offer(turn, ["问"])

    await recall_of(store, turn.message_id)
    again = await suggestions.offer(turn, ["再问"])

    assert (offered, again) == (True, False)
    assert await rows_of(store, PendingFormRow) == []
    assert await rows_of(store, Suggestion) == []
    assert await states_of(store) == ["cancelled"] * 3


async def test_somebody_who_was_erased_is_offered_no_list(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """It comes some seconds behind the answer."""
    await outbox.plan(turn, texts("甲"), ANSWER)
    await erase(store, turn.user)

    assert not await Suggestions(store).offer(turn, ["问"])
    assert await rows_of(store, Suggestion) == []


async def test_the_journal_keeps_what_the_group_read(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Its turn has the recall as its outcome and the parts that are out as its answer."""
    await outbox.plan(turn, texts("甲", "乙"), ANSWER)
    first, _ = await outbox.open_segments(turn.bot_wc_id, limit=9)
    assert await outbox.mark_sending(first, sender="s-1", sent=None)

    await recall_of(store, turn.message_id)

    [journal] = await rows_of(store, Conversation)
    [entry] = journal.content
    assert (entry["answer"], entry["outcome"]) == ("甲", "recalled")
    assert journal.is_processed


@pytest.mark.parametrize("again", [1, 2])
async def test_an_answer_that_is_out_is_left_alone(
    store: Store, outbox: Outbox, turn: Turn, again: int
) -> None:
    """However often its recall is carried out."""
    await outbox.plan(turn, [], ANSWER)

    for _ in range(again):
        assert await recall_of(store, turn.message_id) is None

    row = await row_of(store, Message, turn.message_id)
    assert (row.state, row.verdict) == ("done", "answered")


@pytest.mark.parametrize("seed", range(12))
async def test_of_a_plan_and_a_recall_at_once_the_later_one_sees_the_other(
    store: Store, outbox: Outbox, turn: Turn, seed: int
) -> None:
    """Whoever commits first: nothing is owed to the group afterwards, and there is one outcome."""
    chance = random.Random(seed)

    async def later(work: Callable[[], Any]) -> Any:
        await asyncio.sleep(chance.choice([0.0, 0.0, 0.002, 0.005]))
        return await work()

    steps = [
        lambda: outbox.plan_part(turn, texts("甲"), ANSWER),
        lambda: outbox.plan(turn, texts("甲", "乙"), ANSWER),
        lambda: recall_of(store, turn.message_id),
    ]
    chance.shuffle(steps)
    ended = await asyncio.gather(*(later(step) for step in steps), return_exceptions=True)

    faults = [one for one in ended if isinstance(one, Exception)]
    assert all(isinstance(one, StaleFence) for one in faults), faults
    row = await row_of(store, Message, turn.message_id)
    assert (row.state, row.verdict) in {("ignored", "recalled"), ("done", "recalled")}
    assert set(await states_of(store)) <= {"cancelled"}
    assert await outbox.open_segments(turn.bot_wc_id, limit=9) == []


@pytest.mark.parametrize("keeps_text", [False, True])
async def test_what_was_taken_back_is_kept_only_if_a_setting_says_so(
    store: Store, keeps_text: bool
) -> None:
    """As with other messages that are not answered."""
    clock = SteppedClock()
    recalls = Recalls(store, clock, keeps_text=keeps_text)
    question = make_question("别看")
    message_id = await keep(store, question)
    origin = question.message.origin

    recalls.note(make_origin(), Recall(new_msg_id=origin.new_msg_id))
    await recalls.flush()

    row = await row_of(store, Message, message_id)
    kept = "别看" if keeps_text else None
    assert (row.state, row.text, row.question) == ("ignored", kept, kept)
    assert (row.raw is not None) is keeps_text
    assert await recalls.among([message_id]) == {message_id}


async def test_a_recall_is_found_by_the_accounts_own_id_and_only_for_its_author(
    store: Store,
) -> None:
    """Where the gateway does not say the other one."""
    recalls = Recalls(store, SteppedClock(), keeps_text=False)
    message_id = await keep(store, make_question(msg_id="77"))

    recalls.note(make_origin(from_user=WcId("wxid_other")), Recall(msg_id="77"))
    recalls.note(make_origin(bot_wc_id=WcId("wxid_bot2")), Recall(msg_id="77"))
    await recalls.flush()
    assert await recalls.among([message_id]) == set()

    recalls.note(make_origin(), Recall(msg_id="77"))
    await recalls.flush()
    assert await recalls.among([message_id]) == {message_id}


async def test_whoever_owns_the_group_may_take_back_what_others_wrote(store: Store) -> None:
    """Our own account, too; the id of the whole network says which message it is."""
    recalls = Recalls(store, SteppedClock(), keeps_text=False)
    question = make_question()
    message_id = await keep(store, question)

    recalls.note(
        make_origin(from_user=BOT, is_own=True),
        Recall(new_msg_id=question.message.origin.new_msg_id),
    )
    await recalls.flush()

    assert await recalls.among([message_id]) == {message_id}


async def test_a_recall_that_comes_before_its_question_is_carried_out_when_that_is_there(
    store: Store,
) -> None:
    """The gateway promises no order; after a minute nothing is remembered."""
    clock = SteppedClock()
    recalls = Recalls(store, clock, keeps_text=False)
    early, late = make_question(), make_question()
    for question in (early, late):
        recalls.note(make_origin(), Recall(new_msg_id=question.message.origin.new_msg_id))
    await recalls.flush()

    first = await keep(store, early)
    clock.step(1)
    await recalls.flush()
    assert await recalls.among([first]) == {first}

    for _ in range(60):
        clock.step(1)
        await recalls.flush()
    second = await keep(store, late)
    clock.step(600)
    await recalls.flush()
    assert await recalls.among([second]) == set()


async def test_a_segment_whose_call_failed_after_the_recall_is_not_called_again(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """It was on its way when the recall came; planned again, it is found by the next look."""
    clock = SteppedClock()
    recalls = Recalls(store, clock, keeps_text=False)
    question = make_question()
    turn = make_turn(await keep(store, question), fence=10)
    await outbox.plan(turn, texts("甲"), ANSWER)
    [segment] = await outbox.open_segments(turn.bot_wc_id, limit=9)
    assert await outbox.mark_sending(segment, sender="s-1", sent=None)
    recalls.note(make_origin(), Recall(new_msg_id=question.message.origin.new_msg_id))
    await recalls.flush()
    await outbox.put_back(segment, error="offline")

    clock.step(1)
    await recalls.flush()

    assert await states_of(store) == ["cancelled"]


async def test_while_the_database_is_away_a_recall_waits(switch: SwitchedStore) -> None:
    """Nothing is forgotten by a failure."""
    recalls = Recalls(switch, SteppedClock(), keeps_text=False)
    question = make_question()
    message_id = await keep(switch, question)
    recalls.note(make_origin(), Recall(new_msg_id=question.message.origin.new_msg_id))
    switch.is_away = True
    with pytest.raises(StoreUnavailable):
        await recalls.flush()

    switch.is_away = False
    await recalls.flush()

    assert await recalls.among([message_id]) == {message_id}


async def test_looks_are_counted_from_when_the_database_is_there_again(
    switch: SwitchedStore,
) -> None:
    """The question comes out of a spill file a while after that, however long the outage was."""
    clock = SteppedClock()
    recalls = Recalls(switch, clock, keeps_text=False)
    questions = [make_question(), make_question()]
    for question in questions:
        recalls.note(make_origin(), Recall(new_msg_id=question.message.origin.new_msg_id))
    switch.is_away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await recalls.flush()
        clock.step(600)

    switch.is_away = False
    for _ in range(10):
        await recalls.flush()
        clock.step(0.1)
    ids = {await keep(switch, question) for question in questions}
    clock.step(30)
    await recalls.flush()

    assert await recalls.among(ids) == ids


@pytest.mark.parametrize("knows", [True, False])
async def test_as_long_as_something_is_spilled_no_recall_is_forgotten(
    store: Store, *, knows: bool
) -> None:
    """Nor as long as nobody can tell; afterwards it is."""
    clock, spilled = SteppedClock(), True

    async def is_spilling() -> bool:
        if spilled and not knows:
            raise QueueUnavailable
        return spilled

    recalls = Recalls(store, clock, keeps_text=False, is_spilling=is_spilling)
    early, late = make_question(), make_question()
    for question in (early, late):
        recalls.note(make_origin(), Recall(new_msg_id=question.message.origin.new_msg_id))
    for _ in range(60):
        await recalls.flush()
        clock.step(10)
    first = await keep(store, early)
    spilled = False
    await recalls.flush()
    clock.step(600)
    second = await keep(store, late)
    await recalls.flush()

    assert await recalls.among([first, second]) == {first}


def recall_body(bridge: Inside, body: dict[str, Any]) -> bytes:
    """The callback by which a person takes back what *body* posted."""
    gateway = bridge.gateway
    data = body["data"]
    room = gateway.speech.find_group(data["fromGroup"])
    sending = kinds.recall(
        room=room.group_id, msg_id=data["msgId"], new_msg_id=data["newMsgId"], name="小明"
    )
    return json.dumps(
        group_callback(
            gateway.world,
            next(iter(gateway.world.accounts.values())),
            room,
            from_user=data["fromUser"],
            content=sending.content,
            ids=gateway.world.new_ids(),
            timestamp=data["timestamp"],
            message_type=sending.message_type,
            extra=sending.extra,
        )
    ).encode()


def queries(dify: DifySimulator) -> list[str]:
    """The first words of what Dify was asked, in order."""
    return [str(record.facts.get("query", "?")).split()[0] for record in dify.questions()]


def stops(dify: DifySimulator) -> int:
    """How often Dify was told to stop."""
    return len([one for one in dify.recorder.of("request") if one.name.endswith("/stop")])


async def ask(bridge: Inside, text: str, **how: Any) -> dict[str, Any]:
    """A person asks; returns the callback."""
    raw = bridge.callback(text, **how)
    await bridge.take(raw)
    body: dict[str, Any] = json.loads(raw)
    return body


RECALLED_ROWS = "SELECT * FROM messages WHERE verdict = 'recalled'"


async def test_a_question_that_waits_leaves_the_queue_and_the_others_keep_their_order(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Of three questions of one person the second is taken back while the first is in work."""
    async with inside() as bridge:
        await ask(bridge, "一 [[wait=1]] [[text=甲]]")
        second = await ask(bridge, "二 [[text=乙]]")
        await ask(bridge, "三 [[text=丙]]")
        await bridge.take(recall_body(bridge, second))
        answered = await bridge.until_settled(2)
        [recalled] = await bridge.rows(RECALLED_ROWS)
        left = [await bridge.runtime.redis.llen(f"ecloud_queue:{recalled['from_user']}")]

    assert queries(dify) == ["一", "三"]
    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["甲", "丙"]
    assert [one["verdict"] for one in answered] == ["answered", "answered"]
    assert (recalled["state"], recalled["text"], left) == ("ignored", None, [0])
    assert dify.concurrency.overlaps == []


async def test_a_question_in_work_is_stopped_and_what_is_out_of_its_answer_stays(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Dify is told to stop writing; the person's next question goes on."""
    first = "一 [[delay=0.05]] [[size=24]] [[text=" + "甲" * 230 + "\\n\\n" + "乙" * 2000 + "]]"
    async with inside(DIFY_STREAMING_ENABLED="true", ECLOUD_SEND_GAP="0") as bridge:
        asked = await ask(bridge, first)
        await gateway.wait_for_sent(1)
        await bridge.take(recall_body(bridge, asked))
        await ask(bridge, "二 [[text=丙]]")
        [second] = await bridge.until_settled(1)
        [recalled] = await bridge.rows(RECALLED_ROWS)
        segments = await bridge.rows("SELECT state FROM segments ORDER BY id")
        await dify.recorder.until(lambda: stops(dify) == 1, 20)

    said = [one.content.split("\u2005")[-1] for one in gateway.sent]
    assert said == ["甲" * 230, "丙"]
    assert {one["state"] for one in segments} <= {"sent", "cancelled"}
    assert (recalled["state"], second["verdict"]) == ("ignored", "answered")
    assert queries(dify) == ["一", "二"]


@INSIDE_EMBEDDED
async def test_a_blocking_question_in_work_does_not_hold_up_the_next_one(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Dify would think for a minute."""
    async with inside(DIFY_STREAMING_ENABLED="false") as bridge:
        asked = await ask(bridge, "一 [[wait=60]] [[text=甲]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 1, 20)
        await bridge.take(recall_body(bridge, asked))
        await ask(bridge, "二 [[text=乙]]")
        [second] = await bridge.until_settled(1, seconds=30)
        metrics = bridge.runtime.metrics.exposition().decode()

    assert second["verdict"] == "answered"
    assert [one.content.split("\u2005")[-1] for one in gateway.sent] == ["乙"]
    assert 'bridge_messages_total{outcome="recalled"} 1.0' in metrics


@pytest.mark.parametrize("inside_stores", ["servers"], indirect=True)
@pytest.mark.redis
@pytest.mark.mysql
async def test_the_process_that_works_learns_what_another_one_heard(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The callback came to one replica, the question is in work in the other."""
    async with (
        inside(role=Role.WORKER, DIFY_STREAMING_ENABLED="true") as worker,
        inside(role=Role.API) as api,
    ):
        asked = await ask(api, "一 [[wait=60]] [[text=甲]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 1, 20)
        await api.take(recall_body(api, asked))
        await ask(api, "二 [[text=乙]]")
        [second] = await worker.until_rows("SELECT * FROM messages WHERE state = 'answered'")

    assert second["verdict"] == "answered"
    assert queries(dify) == ["一", "二"]
    assert gateway.sent == []


@INSIDE_EMBEDDED
async def test_a_recall_is_noted_once_and_another_persons_question_is_left_alone(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Its notice has a verdict of its own; delivered twice it is one."""
    async with inside(works=False) as bridge:
        mine = await ask(bridge, "一")
        await ask(bridge, "二", person="小红")
        notice = recall_body(bridge, mine)
        await bridge.take(notice)
        await bridge.take(notice)
        await bridge.runtime.recalls.flush()
        rows = await bridge.rows("SELECT verdict, state, deliveries FROM messages ORDER BY id")

    assert [(one["verdict"], one["state"], one["deliveries"]) for one in rows] == [
        ("recalled", "ignored", 1),
        ("", "received", 1),
        ("recall", "ignored", 2),
    ]
    assert (gateway.sent, dify.questions()) == ([], [])
