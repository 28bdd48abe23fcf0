"""The echo of a segment in the inbox's table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.models.flow import (
    Answer,
    IgnoreReason,
    Segment,
    SegmentKind,
    SentMessage,
    WcId,
    echo_text,
)
from app.models.segment import SegmentRow
from app.services.outbox import Outbox
from app.services.outbox_table import Planned, Sent
from app.services.store import Store
from tests.fixtures.callbacks import BOT, GROUP, make_ignored, make_question, make_turn
from tests.fixtures.stores import keep, make_outbox, rows_of

TEXT = "@阿蓝\u2005六点。\n再见"
AS_IT_COMES = "@阿蓝 六点。  再见"


@pytest.fixture
def outbox(store: Store) -> Outbox:
    """Of the app ``default``."""
    return make_outbox(store)


async def called(store: Store, outbox: Outbox, *, text: str = TEXT, group: WcId = GROUP) -> Planned:
    """A segment whose call just went out."""
    turn = make_turn(await keep(store, make_question()), group_id=group)
    await outbox.plan(turn, [Segment(seq=0, content=text)], Answer(text=text))
    segment = (await outbox.open_segments(BOT, limit=9))[-1]
    assert await outbox.mark_sending(segment, sender="s-1", sent=None)
    return (await outbox.open_segments(BOT, limit=9))[-1]


async def hear(store: Store, *, seconds: float = 0.0, text: str = AS_IT_COMES, **data: Any) -> None:
    """Our own message comes back, *seconds* from now."""
    own = make_ignored(
        IgnoreReason.OWN_MESSAGE, text=text, **{"timestamp": 0, "new_msg_id": "7", **data}
    )
    await keep(store, own, received_at=datetime.now(UTC) + timedelta(seconds=seconds))


async def test_an_echo_is_of_the_same_account_group_and_text(store: Store, outbox: Outbox) -> None:
    """And tells the gateway's ids, which a receipt would have told."""
    segment = await called(store, outbox)
    await hear(store, group_id="2@chatroom", new_msg_id="1")
    await hear(store, bot_wc_id="wxid_other", new_msg_id="2")
    await hear(store, text="@阿蓝 七点。 再见", new_msg_id="3")
    assert await outbox.find_echo(segment) is None

    await hear(store, msg_id="8", new_msg_id="9")

    assert await outbox.find_echo(segment) == SentMessage(msg_id="8", new_msg_id="9")


async def test_calls_of_other_texts_and_in_other_groups_take_no_echo_of_this_one(
    store: Store, outbox: Outbox
) -> None:
    """Though nobody knows what became of them."""
    await called(store, outbox, group=WcId("2@chatroom"))
    await called(store, outbox, text="@阿蓝 七点。")
    segment = await called(store, outbox)
    await hear(store)

    assert await outbox.find_echo(segment) is not None


@pytest.mark.parametrize(
    ("seconds", "counts"), [(-20, False), (-3, True), (110, True), (130, False)]
)
async def test_an_echo_comes_within_two_minutes(
    store: Store, outbox: Outbox, seconds: float, *, counts: bool
) -> None:
    """A little early where another host's clock is behind; what comes later is another message."""
    segment = await called(store, outbox)
    await hear(store, seconds=seconds)

    assert (await outbox.find_echo(segment) is not None) is counts


async def test_the_echo_of_the_same_words_said_before_is_not_taken(
    store: Store, outbox: Outbox
) -> None:
    """Two people ask the same; the first answer's echo comes while the second is undecided."""
    first = await called(store, outbox)
    receipt = SentMessage(msg_id="8", new_msg_id="9", created_at=0)
    await outbox.mark_sent(Sent(segment=first, receipt=receipt, at=datetime.now(UTC)))
    second = await called(store, outbox)
    await hear(store, new_msg_id="9")
    assert await outbox.find_echo(second) is None

    await hear(store, seconds=0.1, new_msg_id="10")

    echo = await outbox.find_echo(second)
    assert echo == SentMessage(msg_id="1904417701", new_msg_id="10")
    await outbox.mark_sent(Sent(segment=second, receipt=echo, at=datetime.now(UTC)))
    third = await called(store, outbox)
    assert await outbox.find_echo(third) is None
    rows = await rows_of(store, SegmentRow)
    assert [(row.state, row.new_msg_id) for row in rows] == [
        ("sent", "9"),
        ("sent", "10"),
        ("sending", ""),
    ]


async def call(outbox: Outbox, seq: int) -> Planned:
    """The segment of that number, whose call just went out."""
    planned = next(one for one in await outbox.open_segments(BOT, limit=9) if one.seq == seq)
    assert await outbox.mark_sending(planned, sender="s-1", sent=None)
    return next(one for one in await outbox.open_segments(BOT, limit=9) if one.seq == seq)


async def test_the_echo_of_another_picture_is_not_taken(store: Store, outbox: Outbox) -> None:
    """Pictures have no text to be told apart by; each echo is one call's all the same."""
    turn = make_turn(await keep(store, make_question()))
    urls = [f"https://files.example.com/{number}.png" for number in (1, 2)]
    pictures = [
        Segment(seq=seq, kind=SegmentKind.IMAGE, content=url) for seq, url in enumerate(urls)
    ]
    await outbox.plan(turn, pictures, Answer(text="看"))
    echoed = echo_text(SegmentKind.IMAGE, "")
    receipt = SentMessage(msg_id="8", new_msg_id="9", created_at=0)
    first = await call(outbox, 0)
    await outbox.mark_sent(Sent(segment=first, receipt=receipt, at=datetime.now(UTC)))
    segment = await call(outbox, 1)
    await hear(store, text=echoed, new_msg_id="9")
    assert await outbox.find_echo(segment) is None

    await hear(store, text=echoed, new_msg_id="10")
    found = await outbox.find_echo(segment)

    assert found is not None
    assert found.new_msg_id == "10"
