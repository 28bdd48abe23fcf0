"""An answer while it is written: what is planned of it, and when."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest

from app.models.conversation import Conversation, Session
from app.models.flow import Answer, Asking, Turn
from app.models.message import Message
from app.models.segment import SegmentRow
from app.services.dify.wire import ChatEvent, Ping, Started, TextDelta, TextReplaced
from app.services.errors import DifyError, DifyUnavailable, StaleFence
from app.services.outbox import Outbox
from app.services.segmenter import Segmenter
from app.services.stages import Stages
from app.services.store import Store
from app.services.streamed_reply import StreamedReply
from app.utils.clock import SystemClock
from tests.fixtures.callbacks import BOT, make_question, make_turn
from tests.fixtures.stores import SwitchedStore, keep, make_outbox, row_of, rows_of

LONG = "这一段说得很长,长到可以单独成为一条消息。" * 10


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """Of the app ``default``, in Shanghai."""
    return make_outbox(store)


@pytest.fixture
async def turn(store: Store) -> Turn:
    """The turn of somebody with a name."""
    return make_turn(await keep(store, make_question()), mention_name="阿蓝")


def make_reply(
    store: Store,
    outbox: Outbox,
    turn: Turn,
    *,
    join_seconds: float = 60.0,
    may_be_replaced: Callable[[], bool] = lambda: False,
) -> StreamedReply:
    return StreamedReply(
        turn,
        outbox=outbox,
        stages=Stages(store),
        segmenter=Segmenter(1500, join_seconds=join_seconds),
        clock=SystemClock(),
        may_be_replaced=may_be_replaced,
    )


async def spoken(text: asyncio.Queue[str | DifyError | None]) -> AsyncGenerator[ChatEvent]:
    """A stream that says what is put into the queue; None ends it."""
    while (said := await text.get()) is not None:
        if isinstance(said, DifyError):
            raise said
        yield TextDelta(text=said)


async def contents(store: Store) -> list[str]:
    """What is planned, without the mention."""
    return [row.content.split("\u2005")[-1] for row in await rows_of(store, SegmentRow)]


@pytest.mark.parametrize(
    ("rest", "finished"),
    [
        ("二段。\n\n三段。其中写到一", ["二段。\n\n三段。"]),
        ("二段写到一", []),
        ("```py\na = 1\nb = ", ["```py\na = 1\n```"]),
    ],
)
async def test_a_cut_answer_is_what_was_finished_of_it(
    store: Store, outbox: Outbox, turn: Turn, rest: str, finished: list[str]
) -> None:
    """What arrived behind the last part is planned as far as it is whole; the journal has no more."""
    reply = make_reply(store, outbox, turn)
    await reply.take(Started(conversation_id="c-1"))
    await reply.take(TextDelta(text=f"{LONG}\n\n"))
    assert await contents(store) == [LONG]
    await reply.take(TextDelta(text=rest))
    await reply.cut_short()

    assert await contents(store) == [LONG, *finished]
    message = await row_of(store, Message, turn.message_id)
    assert (message.state, message.verdict, message.is_cut_short) == ("answered", "cut_short", True)
    [journal] = await rows_of(store, Conversation)
    assert journal.content[0]["answer"] == "\n".join([LONG, *finished])
    assert [row.conversation_id for row in await rows_of(store, Session)] == ["c-1"]


async def test_the_journal_of_a_cut_answer_has_what_took_the_place_of_a_replaced_text(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """What was out is taken back; what was cancelled is not told."""
    reply = make_reply(store, outbox, turn)
    for text in (LONG, LONG[::-1]):
        await reply.take(TextDelta(text=f"{text}\n\n"))
    [first, *_] = await outbox.open_segments(BOT, limit=9)
    assert await outbox.mark_sending(first, sender="s-1", sent=None)
    await reply.take(TextReplaced(text="换成这样。还有"))
    await reply.cut_short()

    [journal] = await rows_of(store, Conversation)
    assert journal.content[0]["answer"] == "换成这样。"


def whole(text: str) -> Answer:
    """What Dify has of a broken stream."""
    return Answer(text=text, conversation_id="c-1", dify_message_id="m-1")


async def test_an_answer_that_is_fetched_goes_on_behind_its_parts(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """In the middle of the paragraph that was coming in; it is an answer like any other."""
    reply = make_reply(store, outbox, turn)
    await reply.take(TextDelta(text=f"{LONG}\n\n二段写到一"))
    text = f"{LONG}\n\n二段写到一半。\n\n三段。"

    assert await reply.complete(whole(text))
    assert await contents(store) == [LONG, "二段写到一半。\n\n三段。"]
    message = await row_of(store, Message, turn.message_id)
    assert (message.verdict, message.is_cut_short) == ("answered", False)
    assert message.dify_message_id == "m-1"
    [journal] = await rows_of(store, Conversation)
    assert journal.content[0]["answer"] == text
    assert [row.mention for row in await rows_of(store, SegmentRow)] == [turn.user, ""]


@pytest.mark.parametrize("text", [LONG[:-1], "", f"又{LONG}", LONG[::-1]])
async def test_an_answer_that_does_not_begin_with_its_parts_is_not_planned(
    store: Store, outbox: Outbox, turn: Turn, text: str
) -> None:
    """Shorter than what is out, too; then what is out counts."""
    reply = make_reply(store, outbox, turn)
    await reply.take(TextDelta(text=f"{LONG}\n\n二段。"))

    assert not await reply.complete(whole(text))
    assert await contents(store) == [LONG]
    await reply.cut_short()
    assert await contents(store) == [LONG, "二段。"]


async def test_an_answer_that_is_fetched_before_any_part_is_planned_whole(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """What came in of it before is in it."""
    reply = make_reply(store, outbox, turn)
    await reply.take(TextDelta(text="一段写到"))

    assert await reply.complete(whole("一段写到底。"))
    assert await contents(store) == ["一段写到底。"]
    assert (await rows_of(store, SegmentRow))[0].mention == turn.user


async def test_what_was_finished_is_kept_and_the_next_worker_goes_on_behind_it(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Dify was away just then; of the code block that broke off both halves are one."""
    reply = make_reply(store, outbox, turn)
    await reply.take(Started(conversation_id="c-1", message_id="m-1", task_id="t-1"))
    await reply.take(TextDelta(text=f"{LONG}\n\n二段。\n```py\na = 1\nb ="))
    await reply.keep()
    kept = await contents(store)

    begun, conversation_id = await outbox.begun(turn)
    asking = Asking(conversation_id=conversation_id, dify_message_id="m-1", task_id="t-1")
    again = make_turn(
        turn.message_id, fence=2, mention_name="阿蓝", begun=begun, next_seq=2, asking=asking
    )
    next_reply = make_reply(store, outbox, again)
    assert (next_reply.planned, next_reply.asking) == (2, asking)
    assert await next_reply.complete(whole(f"{LONG}\n\n二段。\n```py\na = 1\nb = 2\n```\n完"))

    assert kept == [LONG, "二段。\n```py\na = 1\n```"]
    assert await contents(store) == [*kept, "```py\nb = 2\n```\n完"]
    rows = await rows_of(store, SegmentRow)
    assert [(row.seq, row.mention) for row in rows] == [(0, turn.user), (1, ""), (2, "")]


async def until_planned(store: Store, count: int) -> list[str]:
    """What is planned as soon as it is so much."""
    async with asyncio.timeout(30):
        while len(planned := await contents(store)) < count:
            await asyncio.sleep(0.01)
    return planned


async def test_a_finished_paragraph_goes_out_in_time_though_the_stream_is_silent(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """The model thinks on for long; the read that waits for it is not disturbed."""
    text: asyncio.Queue[str | DifyError | None] = asyncio.Queue()
    reply = make_reply(store, outbox, turn, join_seconds=0.05)
    following = asyncio.create_task(reply.follow(spoken(text)))
    for number in range(2):
        text.put_nowait(f"第{number}段。\n\n")
        assert await until_planned(store, number + 1) == [f"第{n}段。" for n in range(number + 1)]
        assert not following.done()
    text.put_nowait("完")
    text.put_nowait(None)
    await following
    assert await reply.finish() == 3

    assert await contents(store) == ["第0段。", "第1段。", "完"]


async def test_a_paragraph_that_is_not_due_waits_for_the_next_one(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Short paragraphs that come quickly are one message."""
    text: asyncio.Queue[str | DifyError | None] = asyncio.Queue()
    reply = make_reply(store, outbox, turn, join_seconds=5)
    for said in ("一。\n\n", "二。\n\n", None):
        text.put_nowait(said)
    await reply.follow(spoken(text))
    assert await contents(store) == []
    await reply.finish()

    assert await contents(store) == ["一。\n\n二。"]


async def test_a_part_that_the_database_missed_is_planned_when_it_is_back(
    switch: SwitchedStore, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting for the next event."""
    monkeypatch.setattr("app.services.streamed_reply.PLAN_PAUSE_SECONDS", 0.02)
    text: asyncio.Queue[str | DifyError | None] = asyncio.Queue()
    reply = make_reply(switch, make_outbox(switch), turn)
    switch.is_away = True
    following = asyncio.create_task(reply.follow(spoken(text)))
    text.put_nowait(f"{LONG}\n\n")
    await asyncio.sleep(0.1)
    switch.is_away = False

    assert await until_planned(switch, 1) == [LONG]
    text.put_nowait(None)
    await following


async def test_a_failure_of_the_stream_is_told_while_something_is_due(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """As by the stream itself, behind the events before it."""
    text: asyncio.Queue[str | DifyError | None] = asyncio.Queue()
    reply = make_reply(store, outbox, turn)
    text.put_nowait("一段。\n\n")
    text.put_nowait(DifyUnavailable("cut"))

    with pytest.raises(DifyUnavailable):
        await reply.follow(spoken(text))
    await reply.cut_short()
    assert await contents(store) == ["一段。"]


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_reply_that_ends_early_leaves_no_read_behind(
    store: Store, outbox: Outbox, turn: Turn, *, is_cancelled: bool
) -> None:
    """Cancelled, or refused because a newer claim has the message."""
    text: asyncio.Queue[str | DifyError | None] = asyncio.Queue()
    reply = make_reply(store, outbox, turn, join_seconds=0.2)
    events = spoken(text)
    text.put_nowait("一段。\n\n")
    following = asyncio.create_task(reply.follow(events))
    if is_cancelled:
        await asyncio.sleep(0.05)
        following.cancel()
    else:
        await outbox.plan_part(make_turn(turn.message_id, fence=9), [], Answer(text=""))

    with pytest.raises(asyncio.CancelledError if is_cancelled else StaleFence):
        await following
    assert await anext(events, None) is None


async def test_of_a_text_that_may_be_replaced_nothing_is_planned_before_its_end(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Then it is cut like any whole answer; paragraphs that came slowly make no messages of their own."""
    reply = make_reply(store, outbox, turn, join_seconds=0, may_be_replaced=lambda: True)
    for text in (f"{LONG}\n\n", "二段。\n\n", "三段。"):
        await reply.take(TextDelta(text=text))
        await reply.take(Ping())
    assert (await contents(store), reply.planned) == ([], 0)
    await reply.finish()

    assert await contents(store) == [f"{LONG}\n\n二段。\n\n三段。"]


async def test_a_replacement_of_held_text_is_all_that_is_planned(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Nobody ever saw the words that were taken back; what follows the new ones counts as well."""
    reply = make_reply(store, outbox, turn, may_be_replaced=lambda: True)
    for event in (TextDelta(text=LONG), TextReplaced(text="换成这样。"), TextDelta(text="还有。")):
        await reply.take(event)
    await reply.finish()

    assert await contents(store) == ["换成这样。还有。"]
    assert (await rows_of(store, SegmentRow))[0].mention == turn.user


async def test_parts_flow_as_soon_as_it_is_known_that_they_stay(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """And stop when that changes; at a cut, what is held then is not said."""
    may_be_replaced = True
    reply = make_reply(store, outbox, turn, may_be_replaced=lambda: may_be_replaced)
    await reply.take(TextDelta(text=f"{LONG}\n\n"))
    assert await contents(store) == []
    may_be_replaced = False
    await reply.take(Ping())
    assert await contents(store) == [LONG]
    may_be_replaced = True
    await reply.take(TextDelta(text="二段。\n\n"))
    await reply.cut_short()

    assert await contents(store) == [LONG]
