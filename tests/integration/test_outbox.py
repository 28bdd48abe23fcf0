"""What is planned is owed to the group: one commit for the answer, one outcome per segment."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from app.models.conversation import Conversation, Session
from app.models.flow import (
    Answer,
    MessageId,
    Segment,
    SegmentKind,
    SentMessage,
    Turn,
    Usage,
    WcId,
)
from app.models.message import Message, MessageState
from app.models.segment import SegmentRow, SegmentState
from app.services.errors import StaleFence, StoreUnavailable
from app.services.outbox import Outbox
from app.services.outbox_table import Planned, Sent
from app.services.store import Store
from tests.fixtures.callbacks import BOT, GROUP, USER, make_question, make_turn
from tests.fixtures.stores import RecordingBell, keep, make_outbox, row_of, rows_of

ANSWER = Answer(
    text="六点。",
    conversation_id="c-1",
    dify_message_id="m-1",
    task_id="t-1",
    workflow_run_id="r-1",
    usage=Usage(total_tokens=42, total_price="0.00012", currency="USD"),
)


def texts(*contents: str, start: int = 0) -> list[Segment]:
    return [Segment(seq=start + seq, content=content) for seq, content in enumerate(contents)]


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """Of the app ``default``, in Shanghai."""
    return make_outbox(store)


@pytest.fixture
async def turn(store: Store) -> Turn:
    """The turn of a question that waits."""
    return make_turn(await keep(store, make_question()), fence=10)


async def message_of(store: Store, turn: Turn) -> Any:
    return await row_of(store, Message, turn.message_id)


async def sent(outbox: Outbox, segment: Planned, new_msg_id: str = "9") -> None:
    """Send one segment as the sender does."""
    assert await outbox.mark_sending(segment, sender="s-1", sent=None)
    receipt = SentMessage(msg_id="8", new_msg_id=new_msg_id, created_at=1_767_000_001)
    await outbox.mark_sent(Sent(segment=segment, receipt=receipt, at=datetime.now(UTC)))


async def test_a_plan_saves_answer_segments_journal_and_session(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """One call, everything is there."""
    segments = [
        Segment(seq=0, content="@阿蓝\u2005六点。", mention=USER),
        Segment(seq=1, content="http://x/y.png", kind=SegmentKind.IMAGE),
    ]

    await outbox.plan(turn, segments, ANSWER)

    message = await message_of(store, turn)
    assert (message.state, message.verdict, message.fence) == ("answered", "answered", 10)
    assert message.answered_at is not None
    assert (message.dify_app, message.dify_conversation_id) == ("default", "c-1")
    assert (message.dify_message_id, message.dify_task_id, message.dify_run_id) == (
        "m-1",
        "t-1",
        "r-1",
    )
    assert (message.total_tokens, message.total_price, message.currency) == (42, "0.00012", "USD")
    planned = await outbox.open_segments(BOT, limit=10)
    assert [(one.seq, one.content, one.kind, one.mention) for one in planned] == [
        (0, "@阿蓝\u2005六点。", SegmentKind.TEXT, USER),
        (1, "http://x/y.png", SegmentKind.IMAGE, ""),
    ]
    assert {(one.bot_wc_id, one.group_id, one.state) for one in planned} == {
        (BOT, GROUP, SegmentState.PLANNED)
    }
    [session] = await rows_of(store, Session)
    assert (session.app, session.from_user, session.conversation_id) == ("default", USER, "c-1")
    [journal] = await rows_of(store, Conversation)
    assert journal.content[0]["answer"] == "六点。"
    assert message.journal_id == journal.id


async def test_an_older_fence_is_refused_and_changes_nothing(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """A worker that was thought dead comes back late: its answer is void."""
    await outbox.plan_part(make_turn(turn.message_id, fence=20), texts("新"), ANSWER)

    with pytest.raises(StaleFence):
        await outbox.plan(turn, texts("旧", start=1), ANSWER)
    with pytest.raises(StaleFence):
        await outbox.plan_part(turn, texts("旧", start=1), ANSWER)
    with pytest.raises(StaleFence):
        await outbox.bury(turn, reason="x", error="x", segments=[])

    assert [one.content for one in await outbox.open_segments(BOT, limit=9)] == ["新"]
    assert (await message_of(store, turn)).state == "received"


async def test_a_newer_fence_wins(store: Store, outbox: Outbox, turn: Turn) -> None:
    """The next claim goes on where the former one stopped."""
    await outbox.plan_part(turn, texts("一"), ANSWER)

    await outbox.plan(make_turn(turn.message_id, fence=11), texts("二", start=1), ANSWER)

    assert [one.content for one in await outbox.open_segments(BOT, limit=9)] == ["一", "二"]
    assert (await message_of(store, turn)).fence == 11


async def test_a_message_is_answered_once(store: Store, outbox: Outbox, turn: Turn) -> None:
    """Neither the same claim nor a newer one plans a second answer."""
    await outbox.plan(turn, texts("一"), ANSWER)

    for fence in (10, 99):
        with pytest.raises(StaleFence):
            await outbox.plan(make_turn(turn.message_id, fence=fence), texts("二", start=1), ANSWER)

    assert len(await rows_of(store, SegmentRow)) == 1


async def test_of_two_plans_at_the_same_moment_one_wins(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Two workers hold the same message: exactly one answer is planned."""
    results = await asyncio.gather(
        *(
            outbox.plan(make_turn(turn.message_id, fence=fence), texts(f"{fence}"), ANSWER)
            for fence in (10, 11, 12)
        ),
        return_exceptions=True,
    )

    assert [type(result) for result in results].count(StaleFence) == 2
    assert len(await rows_of(store, SegmentRow)) == 1


class BrokenStore(Store):
    """Breaks each transaction off after its last statement."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner._reader, inner._writer)

    @override
    async def transact(self, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        async with self.write() as connection:
            await work(connection)
            raise StoreUnavailable("broken off by the test")


async def test_a_plan_is_all_or_nothing(store: Store, turn: Turn) -> None:
    """The commit fails: no segment, no journal, no session, not answered, no bell."""
    bell = RecordingBell()
    outbox = make_outbox(BrokenStore(store), bell=bell)

    for call in (
        outbox.plan(turn, texts("一"), ANSWER),
        outbox.plan_part(turn, texts("一"), ANSWER),
        outbox.bury(turn, reason="x", error="x", segments=texts("一")),
    ):
        with pytest.raises(StoreUnavailable):
            await call

    message = await message_of(store, turn)
    assert (message.state, message.fence, message.journal_id) == ("received", 0, None)
    for table in (SegmentRow, Conversation, Session):
        assert await rows_of(store, table) == []
    assert bell.rung == []


async def test_the_sender_is_told_of_what_is_planned(store: Store) -> None:
    """By account; a bell that cannot be rung does not void the plan."""
    bell = RecordingBell()
    outbox = make_outbox(store, bell=bell)
    turn = make_turn(await keep(store, make_question()))
    await outbox.plan_part(turn, texts("一"), ANSWER)
    assert bell.rung == [BOT]

    bell.is_away = True
    await outbox.plan(turn, texts("二", start=1), ANSWER)

    assert len(await outbox.open_segments(BOT, limit=9)) == 2


async def test_a_segment_number_is_planned_once(store: Store, outbox: Outbox, turn: Turn) -> None:
    """A second segment of the same number is another claim's, and with it the whole plan is void."""
    await outbox.plan_part(turn, texts("一"), ANSWER)

    with pytest.raises(StaleFence):
        await outbox.plan(turn, texts("又一"), ANSWER)

    assert (await message_of(store, turn)).state == "received"


async def test_a_repeated_part_or_plan_is_the_same_one(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """A commit that seemed to fail may have been carried out: nothing is there twice or void."""
    await outbox.plan_part(turn, texts("旧"), ANSWER)
    for _ in range(2):
        new = texts("一", "二", start=1)
        assert await outbox.plan_part(turn, new, ANSWER, void=range(1)) == {1, 2}
    for is_repeated in (False, True):
        await outbox.plan(turn, texts("三", start=3), ANSWER, is_repeated=is_repeated)

    assert [one.content for one in await outbox.open_segments(BOT, limit=9)] == ["一", "二", "三"]
    newer = make_turn(turn.message_id, fence=11)
    with pytest.raises(StaleFence):
        await outbox.plan(newer, texts("四", start=4), ANSWER, is_repeated=True)


async def test_an_answer_without_segments_is_done_at_once(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Dify ended in order and said nothing: nothing to send counts as sent."""
    await outbox.plan(turn, [], ANSWER.with_text(" \n"))

    message = await message_of(store, turn)
    assert (message.state, message.verdict) == ("done", "answered_nothing")
    assert message.done_at is not None
    [journal] = await rows_of(store, Conversation)
    assert (journal.is_processed, journal.is_sent) == (True, True)


async def test_a_cut_stream_is_told(store: Store, outbox: Outbox, turn: Turn) -> None:
    """What had arrived is the answer, and the row says so."""
    answer = Answer(text="六", conversation_id="c-1", is_cut_short=True)

    await outbox.plan(turn, texts("六"), answer)

    message = await message_of(store, turn)
    assert (message.verdict, message.is_cut_short) == ("cut_short", True)


async def test_parts_of_a_stream_are_planned_before_its_end(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """The message stays unfinished; Dify's ids are saved with the first part."""
    await outbox.plan_part(turn, texts("一"), ANSWER)
    await outbox.plan_part(turn, texts("二", start=1), ANSWER)

    message = await message_of(store, turn)
    assert (message.state, message.verdict, message.dify_task_id) == ("received", "", "t-1")
    assert [one.seq for one in await outbox.open_segments(BOT, limit=9)] == [0, 1]


async def test_a_replaced_text_cancels_what_is_not_out_yet(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Sent ones are to be taken back, one on its way, too; planned ones are void; the replacement follows."""
    await outbox.plan_part(turn, texts("已发", "在途", "未发"), ANSWER)
    first, second, third = await outbox.open_segments(BOT, limit=9)
    await sent(outbox, first)
    await outbox.mark_sending(second, sender="s-1", sent=None)

    await outbox.plan_part(turn, texts("替换", start=3), ANSWER, void=range(3))

    states = [row.state for row in await rows_of(store, SegmentRow)]
    assert states == ["recalling", "sending", "cancelled", "planned"]
    assert not await outbox.mark_sending(third, sender="s-1", sent=None)


async def test_segments_go_out_in_the_order_of_planning(store: Store, outbox: Outbox) -> None:
    """Of one account over all its groups and people; other accounts have their own."""
    turns = [make_turn(await keep(store, make_question())) for _ in range(3)]
    other = make_turn(turns[2].message_id, bot_wc_id=WcId("wxid_other"))

    await outbox.plan(turns[1], texts("先一", "先二"), ANSWER)
    await outbox.plan(turns[0], texts("后"), ANSWER)
    await outbox.plan(other, texts("别处"), ANSWER)

    assert [one.content for one in await outbox.open_segments(BOT, limit=9)] == [
        "先一",
        "先二",
        "后",
    ]
    assert len(await outbox.open_segments(BOT, limit=2)) == 2
    assert sorted(await outbox.owing_accounts()) == sorted([BOT, "wxid_other"])


async def test_a_receipt_is_committed_with_the_mark_of_the_next_call(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """So at most one segment of an account is undecided when its sender dies."""
    await outbox.plan(turn, texts("一", "二"), ANSWER)
    first, second = await outbox.open_segments(BOT, limit=9)
    at = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
    receipt = SentMessage(msg_id="1", new_msg_id="18446744073709551615", created_at=5)

    assert await outbox.mark_sending(first, sender="s-1", sent=None)
    assert await outbox.mark_sending(
        second, sender="s-1", sent=Sent(segment=first, receipt=receipt, at=at)
    )

    one, two = await rows_of(store, SegmentRow)
    assert (one.state, one.sent_at, one.new_msg_id) == ("sent", at, "18446744073709551615")
    assert (one.msg_id, one.created_time, one.tries) == ("1", 5, 1)
    assert (two.state, two.sender, two.tries) == ("sending", "s-1", 1)
    assert (await message_of(store, turn)).state == "answered"
    assert [one.seq for one in await outbox.open_segments(BOT, limit=9)] == [1]


@pytest.mark.parametrize("trouble", ["cancelled", "another sender's", "receipt is known"])
async def test_of_a_receipt_and_a_mark_each_is_written_where_the_other_must_not_be(
    store: Store, outbox: Outbox, trouble: str
) -> None:
    """One statement writes both; where it cannot, what may be written is."""
    turn = make_turn(await keep(store, make_question()))
    await outbox.plan(turn, [Segment(seq=0, content="一"), Segment(seq=1, content="二")], ANSWER)
    first, second = await outbox.open_segments(BOT, limit=10)
    assert await outbox.mark_sending(first, sender="s-1", sent=None)
    sent = Sent(segment=first, receipt=SentMessage(msg_id="7"), at=datetime.now(UTC))
    if trouble == "cancelled":
        await outbox.give_up(second, SegmentState.FAILED, error="x")
    elif trouble == "another sender's":
        assert await outbox.mark_sending(second, sender="s-2", sent=None)
    else:
        await outbox.mark_sent(sent)

    is_open = await outbox.mark_sending(second, sender="s-1", sent=sent)

    rows = await rows_of(store, SegmentRow)
    assert is_open is (trouble == "receipt is known")
    assert (rows[0].state, rows[0].msg_id, rows[0].tries) == ("sent", "7", 1)
    assert (rows[1].state, rows[1].sender, rows[1].tries) == {
        "cancelled": ("failed", "", 0),
        "another sender's": ("sending", "s-2", 1),
        "receipt is known": ("sending", "s-1", 1),
    }[trouble]


async def test_a_mark_that_is_repeated_counts_one_call(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Its commit seemed to fail and was carried out; the next call of the segment counts again."""
    await outbox.plan(turn, texts("一"), ANSWER)
    [segment] = await outbox.open_segments(BOT, limit=9)
    for _ in range(2):
        await outbox.mark_sending(segment, sender="s-1", sent=None)
    [called] = await outbox.open_segments(BOT, limit=9)
    assert called.tries == 1

    await outbox.mark_sending(called, sender="s-2", sent=None)

    [row] = await rows_of(store, SegmentRow)
    assert (row.tries, row.sender) == (2, "s-2")


async def test_a_message_is_done_when_its_last_segment_is_closed(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Not with the first, not with the second; then at once, and the journal says sent."""
    await outbox.plan(turn, texts("一", "二"), ANSWER)
    first, second = await outbox.open_segments(BOT, limit=9)
    await sent(outbox, second)
    assert (await message_of(store, turn)).state == "answered"
    assert not (await rows_of(store, Conversation))[0].is_sent

    await sent(outbox, first)

    assert (await message_of(store, turn)).state == "done"
    assert (await rows_of(store, Conversation))[0].is_sent
    assert await outbox.owing_accounts() == []


async def test_parts_that_are_sent_before_the_end_do_not_finish_the_message(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Dify is still writing: the message is done only when its answer is whole."""
    await outbox.plan_part(turn, texts("一"), ANSWER)
    [first] = await outbox.open_segments(BOT, limit=9)
    await sent(outbox, first)
    assert (await message_of(store, turn)).state == "received"

    await outbox.plan(turn, [], ANSWER)

    assert (await message_of(store, turn)).state == "done"


async def test_a_call_that_did_not_go_out_is_planned_again(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """The call does not count and the reason is kept; a sent one cannot be put back."""
    await outbox.plan(turn, texts("一"), ANSWER)
    [segment] = await outbox.open_segments(BOT, limit=9)
    await outbox.mark_sending(segment, sender="s-1", sent=None)

    await outbox.put_back(segment, error="ecloud_throttled " + "长" * 600)

    [row] = await rows_of(store, SegmentRow)
    assert (row.state, row.tries, len(row.error)) == ("planned", 0, 500)
    await sent(outbox, segment)
    await outbox.put_back(segment, error="late")
    [row] = await rows_of(store, SegmentRow)
    assert (row.state, row.error) == ("sent", "")


@pytest.mark.parametrize(
    ("state", "verdict"),
    [(SegmentState.FAILED, "failed:not_sent"), (SegmentState.UNKNOWN, "answered")],
)
async def test_a_segment_that_is_given_up_shows_on_segment_message_and_journal(
    store: Store, outbox: Outbox, turn: Turn, state: SegmentState, verdict: str
) -> None:
    """The operator sees which one, why, and that the person got no answer."""
    await outbox.plan(turn, texts("一"), ANSWER)
    [segment] = await outbox.open_segments(BOT, limit=9)

    await outbox.give_up(segment, state, error="refused")

    [row] = await rows_of(store, SegmentRow)
    assert (row.state, row.error) == (state, "refused")
    message = await message_of(store, turn)
    assert (message.state, message.verdict) == ("done", verdict)
    assert message.error == "segment 0 not sent: refused"
    [journal] = await rows_of(store, Conversation)
    assert (journal.is_processed, journal.is_sent) == (True, False)


async def test_an_answer_of_which_a_part_arrived_stays_answered(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """One of two segments is given up: the error names it, the verdict stands."""
    await outbox.plan(turn, texts("一", "二"), ANSWER)
    first, second = await outbox.open_segments(BOT, limit=9)
    await sent(outbox, first)

    await outbox.give_up(second, SegmentState.FAILED, error="too_old")

    message = await message_of(store, turn)
    assert (message.state, message.verdict) == ("done", "answered")
    assert message.error == "segment 1 not sent: too_old"


async def test_a_buried_message_is_dead_with_its_reason(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Dead in SQL, one sentence for the group, the turn has its outcome."""
    await outbox.bury(
        turn, reason="dify_rejected", error="401 " + "x" * 900, segments=texts("稍后再试")
    )

    message = await message_of(store, turn)
    assert (message.state, message.verdict) == ("dead", "failed:dify_rejected")
    assert len(message.error) == 500
    assert message.done_at is not None
    [segment] = await outbox.open_segments(BOT, limit=9)
    assert segment.content == "稍后再试"
    [journal] = await rows_of(store, Conversation)
    assert journal.content[0]["outcome"] == "failed:dify_rejected"
    assert (journal.is_processed, journal.is_sent) == (True, False)
    await sent(outbox, segment)
    assert (await rows_of(store, Conversation))[0].is_sent
    message = await message_of(store, turn)
    assert (message.state, message.verdict) == ("dead", "failed:dify_rejected")


async def test_the_session_follows_the_newest_conversation(store: Store, outbox: Outbox) -> None:
    """A new conversation replaces the old one; the same one is not written again."""
    for number, conversation in ((1, "c-1"), (2, "c-2")):
        turn = make_turn(await keep(store, make_question()), fence=number)
        await outbox.plan(turn, [], Answer(text="x", conversation_id=conversation))

    [session] = await rows_of(store, Session)
    assert session.conversation_id == "c-2"


async def test_people_groups_accounts_and_apps_have_sessions_of_their_own(
    store: Store, outbox: Outbox
) -> None:
    """Nobody goes on in somebody else's conversation."""
    changes: list[dict[str, Any]] = [
        {},
        {"user": "wxid_LANLAN5521m22"},
        {"group_id": "2@chatroom"},
        {"bot_wc_id": "b"},
    ]
    for app in ("default", "other"):
        for number, change in enumerate(changes):
            turn = make_turn(await keep(store, make_question()), app=app, **change)
            await outbox.plan(turn, [], Answer(text="x", conversation_id=f"c-{number}"))

    assert len(await rows_of(store, Session)) == 8


async def test_recent_sends_are_what_the_account_sent(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Sent and on their way, oldest first; planned ones and other accounts do not count."""
    await outbox.plan(turn, texts("一", "二", "三"), ANSWER)
    first, second, _third = await outbox.open_segments(BOT, limit=9)
    start = datetime.now(UTC) - timedelta(seconds=1)
    await sent(outbox, first)
    await outbox.mark_sending(second, sender="s-1", sent=None)

    sends = await outbox.recent_sends(BOT, since=start)

    assert [one.segment_id for one in sends] == [first.id, second.id]
    assert [(one.group, one.kind) for one in sends] == [(turn.group_id, "text")] * 2
    assert start <= sends[0].at <= sends[1].at
    assert await outbox.count_calls(BOT, since=start) == 2
    assert await outbox.count_calls(BOT, since=datetime.now(UTC) + timedelta(1)) == 0
    assert await outbox.recent_sends(WcId("wxid_other"), since=start) == []
    assert await outbox.recent_sends(BOT, since=datetime.now(UTC) + timedelta(1)) == []


async def test_long_ids_of_dify_are_cut_to_their_columns(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """An odd peer must not make an answer unsavable."""
    answer = Answer(
        text="x",
        conversation_id="c" * 100,
        dify_message_id="m" * 100,
        task_id="t" * 100,
        workflow_run_id="r" * 100,
        usage=Usage(total_tokens=2**40, total_price="1" * 50, currency="U" * 20),
    )

    await outbox.plan(turn, [], answer)

    message = await message_of(store, turn)
    assert message.dify_conversation_id == "c" * 64
    assert message.total_tokens == 2**40
    assert await rows_of(store, Session) == []


async def test_unknown_messages_cannot_be_planned(outbox: Outbox) -> None:
    """A turn of a row that does not exist."""
    with pytest.raises(StaleFence):
        await outbox.plan(make_turn(MessageId(404)), texts("x"), ANSWER)


async def test_a_finished_message_cannot_be_buried(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Answered stays answered."""
    await outbox.plan(turn, texts("一"), ANSWER)

    with pytest.raises(StaleFence):
        await outbox.bury(turn, reason="x", error="x", segments=[])

    assert (await message_of(store, turn)).state == MessageState.ANSWERED


async def test_two_senders_that_read_one_segment_do_not_both_call(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """A wiped Redis may give the lease to another while the first one still believes to have it."""
    await outbox.plan(turn, texts("一"), ANSWER)
    [read_by_first] = await outbox.open_segments(BOT, limit=10)
    [read_by_second] = await outbox.open_segments(BOT, limit=10)

    first = await outbox.mark_sending(read_by_first, sender="first", sent=None)
    second = await outbox.mark_sending(read_by_second, sender="second", sent=None)
    repeated = await outbox.mark_sending(read_by_first, sender="first", sent=None)
    [found] = await outbox.open_segments(BOT, limit=10)
    decided = await outbox.mark_sending(found, sender="second", sent=None)

    assert (first, second) == (True, False)
    assert repeated, "a commit of which it is unknown whether it was carried out is repeated"
    assert decided, "an undecided one that is to be sent again"
