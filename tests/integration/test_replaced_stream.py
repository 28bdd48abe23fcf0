"""Dify takes its words back in the middle of a stream: what the group has seen decides."""

import asyncio
from datetime import timedelta

import pytest

from app.models.flow import SentMessage, Turn
from app.models.segment import SegmentRow, SegmentState
from app.services.dify.wire import TextDelta, TextReplaced
from app.services.outbox import Outbox
from app.services.outbox_table import Planned, Sent
from app.services.segmenter import Segmenter
from app.services.stages import Stages, utc_now
from app.services.store import Store
from app.services.streamed_reply import StreamedReply
from app.utils.clock import SystemClock
from tests.fixtures.callbacks import BOT, make_question, make_turn
from tests.fixtures.stores import SwitchedStore, keep, make_outbox, rows_of


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """Of the app ``default``, in Shanghai."""
    return make_outbox(store)


@pytest.fixture
async def turn(store: Store) -> Turn:
    """The turn of somebody with a name."""
    return make_turn(await keep(store, make_question()), mention_name="阿蓝")


def make_reply(store: Store, outbox: Outbox, turn: Turn) -> StreamedReply:
    return StreamedReply(
        turn,
        outbox=outbox,
        stages=Stages(store),
        segmenter=Segmenter(60),
        clock=SystemClock(),
        may_be_replaced=lambda: False,
    )


async def test_a_replacement_of_an_unseen_beginning_mentions_the_person(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """The mention was void with the first segment; nothing counts as out until the new text is."""
    reply = make_reply(store, outbox, turn)
    await reply.take(TextDelta(text="甲" * 200))
    assert reply.planned
    await reply.take(TextReplaced(text="新"))
    assert not reply.planned
    await reply.finish()

    [only] = await outbox.open_segments(BOT, limit=9)
    assert only.content.startswith("@阿蓝")
    assert only.mention == turn.user
    assert only.seq == len(await rows_of(store, SegmentRow)) - 1


async def test_a_replacement_of_a_seen_part_mentions_the_person_again(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """The part on its way is taken back, and with it the mention."""
    reply = make_reply(store, outbox, turn)
    await reply.take(TextDelta(text="甲" * 200))
    [first, *_] = await outbox.open_segments(BOT, limit=9)
    assert await outbox.mark_sending(first, sender="s-1", sent=None)
    await reply.take(TextReplaced(text="新"))
    await reply.finish()

    planned = await outbox.open_segments(BOT, limit=9)
    assert [(one.content, one.is_unwanted) for one in planned][1:] == [("@阿蓝\u2005新", False)]
    assert (planned[0].id, planned[0].is_unwanted) == (first.id, True)


async def test_a_replacement_behind_a_part_that_must_stay_does_not_mention_twice(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """It was sent too long ago to be taken back, and the mention stays with it."""
    reply = make_reply(store, outbox, turn)
    await reply.take(TextDelta(text="甲" * 200))
    [first, *_] = await outbox.open_segments(BOT, limit=9)
    await send(outbox, first, ago=timedelta(seconds=121))
    await reply.take(TextReplaced(text="新"))
    await reply.finish()

    assert [one.content for one in await outbox.open_segments(BOT, limit=9)] == ["新"]


async def send(outbox: Outbox, segment: Planned, *, ago: timedelta) -> None:
    """The segment is in the group, with its receipt."""
    assert await outbox.mark_sending(segment, sender="s-1", sent=None)
    receipt = SentMessage(msg_id="1", new_msg_id="2", created_at=3)
    await outbox.mark_sent(Sent(segment=segment, receipt=receipt, at=utc_now() - ago))


PARAGRAPHS = [letter * 50 for letter in "甲乙丙丁"]
TEXT = "\n\n".join(PARAGRAPHS)


async def begin(reply: StreamedReply, outbox: Outbox, *, seen: int, text: str = TEXT) -> None:
    """Let the reply plan the finished parts of *text*; of these the first *seen* are on their way."""
    await reply.take(TextDelta(text=text))
    await see(outbox, seen)


async def see(outbox: Outbox, count: int = 9) -> None:
    """The first *count* segments that are planned are on their way."""
    planned = [one for one in await outbox.open_segments(BOT, limit=9) if not one.is_unwanted]
    for one in planned[:count]:
        assert await outbox.mark_sending(one, sender="s-1", sent=None)


async def said(store: Store) -> str:
    """What the group reads in the end, one letter for each paragraph of it."""
    gone = (SegmentState.CANCELLED, SegmentState.RECALLING)
    rows = [
        row
        for row in await rows_of(store, SegmentRow)
        if row.state not in gone and row.recall_wanted_at is None
    ]
    letters = [dict.fromkeys(row.content.split("\u2005")[-1]) for row in rows]
    return "".join("".join(one).replace("\n", "") for one in letters)


@pytest.mark.parametrize("seen", [0, 1, 3])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("again", [TEXT, f"{TEXT}\n\n戊", TEXT.replace("\n\n", " \r\n")])
async def test_the_same_text_again_is_not_said_twice(
    store: Store, outbox: Outbox, turn: Turn, *, seen: int, times: int, again: str
) -> None:
    """Dify repeats what it wrote, or repeats it and goes on: the group reads everything once."""
    reply = make_reply(store, outbox, turn)
    await begin(reply, outbox, seen=seen)
    for _ in range(times):
        await reply.take(TextReplaced(text=again))
    planned = await reply.finish()

    assert await said(store) == "甲乙丙丁戊"[: 5 if "戊" in again else 4]
    rows = await rows_of(store, SegmentRow)
    assert planned == len(rows)
    assert [bool(row.mention) for row in rows] == [True] + [False] * (len(rows) - 1)


async def test_a_text_that_ends_otherwise_cancels_only_what_does_not_fit(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """The first parts are in the new text as well."""
    reply = make_reply(store, outbox, turn)
    await begin(reply, outbox, seen=1)
    await reply.take(TextReplaced(text="\n\n".join([*PARAGRAPHS[:2], "完"])))
    await reply.finish()

    assert await said(store) == "甲乙完"
    states = [row.state for row in await rows_of(store, SegmentRow)]
    assert states == ["sending", "planned", "cancelled", "planned"]


async def test_a_seen_part_that_the_new_text_contradicts_is_taken_back(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Its second paragraph is out and no part of the new text, which goes on behind the first, once."""
    reply = make_reply(store, outbox, turn)
    await begin(reply, outbox, seen=2)
    for _ in range(2):
        await reply.take(TextReplaced(text=TEXT.replace("乙", "戊")))
        await see(outbox)
    await reply.finish()

    assert await said(store) == "甲戊丙丁"
    wanted = [row.seq for row in await rows_of(store, SegmentRow) if row.recall_wanted_at]
    assert 1 in wanted
    assert 0 not in wanted


async def test_a_text_that_contradicts_what_must_stay_follows_whole(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """WeChat takes back nothing that is older than two minutes."""
    reply = make_reply(store, outbox, turn)
    await begin(reply, outbox, seen=0)
    for one in (await outbox.open_segments(BOT, limit=9))[:2]:
        await send(outbox, one, ago=timedelta(seconds=121))
    await reply.take(TextReplaced(text=TEXT.replace("乙", "戊")))
    await reply.finish()

    assert await said(store) == "甲乙甲戊丙丁"


async def test_a_replacement_waits_for_the_database_to_say_what_is_out(
    switch: SwitchedStore, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is away nobody knows whether a part is sent; then the text goes on in the right place."""
    monkeypatch.setattr("app.services.planning.PLAN_PAUSE_SECONDS", 0.01)
    outbox = make_outbox(switch)
    reply = make_reply(switch, outbox, turn)
    await begin(reply, outbox, seen=1)
    switch.is_away = True
    replacing = asyncio.create_task(reply.take(TextReplaced(text=f"{PARAGRAPHS[0]}\n\n完")))
    await asyncio.sleep(0.05)
    assert not replacing.done()
    switch.is_away = False
    await replacing
    await reply.finish()

    assert await said(switch) == "甲完"
