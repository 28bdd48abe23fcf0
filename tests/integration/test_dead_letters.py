"""Dead letters out of SQL: which there are, in what order, and how many for which cause."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.models.flow import MessageId, WcId
from app.models.message import MessageState
from app.models.segment import SegmentState
from app.services import dead_letters
from app.services.dead_letters import Choice, DeadLetters, received
from app.services.errors import StoreUnavailable
from app.services.store import Store
from tests.fixtures.callbacks import make_ignored, make_question
from tests.fixtures.letters import SENTENCE, answer, bury
from tests.fixtures.stores import ON_SQLITE, SwitchedStore, keep

ALL = Choice()
OTHER = WcId("wxid_other")


@pytest.fixture
def letters(store: Store) -> DeadLetters:
    return DeadLetters(store)


async def test_what_was_given_up_is_listed_newest_first(store: Store, letters: DeadLetters) -> None:
    """Messages without an answer, and answers that did not all get to the group."""
    dead = await bury(store)
    not_sent = await answer(store, SegmentState.FAILED, SegmentState.FAILED)
    partly = await answer(store, SegmentState.SENT, SegmentState.FAILED)
    unknown = await answer(store, SegmentState.SENT, SegmentState.UNKNOWN)
    await answer(store, SegmentState.SENT)
    await answer(store, SegmentState.FAILED, SegmentState.SENDING)
    await keep(store, make_ignored())
    await keep(store, make_question())
    await keep(store, make_question(), state=MessageState.REFUSED, verdict="user_queue_full")

    found = await letters.newest(ALL, before=None, limit=50)

    assert [(one.id, one.cause, one.sent, len(one.answer)) for one in found] == [
        (unknown, "undecided", 1, 2),
        (partly, "partly_sent", 1, 2),
        (not_sent, "not_sent", 0, 2),
        (dead, "dify_rejected", 0, 0),
    ]
    assert found[-1].error == "400"
    assert found[-1].has_question


async def test_the_list_goes_on_where_it_ended_and_pages_are_in_the_order_of_receipt(
    store: Store, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By id, so that nothing is missed or shown twice while others are added."""
    monkeypatch.setattr(dead_letters, "PAGE", 2)
    ids = []
    for _ in range(3):
        ids += [await bury(store), await answer(store, SegmentState.FAILED)]

    first = await letters.newest(ALL, before=None, limit=4)
    second = await letters.newest(ALL, before=first[-1].id, limit=4)
    pages = [[one.id for one in page] async for page in letters.pages(ALL)]

    assert [one.id for one in first + second] == ids[::-1]
    assert pages == [ids[:2], ids[2:4], ids[4:]]
    assert await letters.newest(ALL, before=ids[0], limit=4) == []


async def test_filters_choose_of_both_kinds(store: Store, letters: DeadLetters) -> None:
    """Cause, user, group, byte for byte; list, pages and counts agree."""
    ids = [
        await bury(store),
        await bury(store, "crashed", from_user=OTHER),
        await answer(store, SegmentState.FAILED, group_id="9@chatroom"),
        await answer(store, SegmentState.SENT, SegmentState.FAILED, from_user=OTHER),
        await answer(store, SegmentState.UNKNOWN),
    ]
    expected: list[tuple[Choice, list[int]]] = [
        (Choice(cause="dify_rejected"), [0]),
        (Choice(cause="crashed"), [1]),
        (Choice(cause="not_sent"), [2]),
        (Choice(cause="partly_sent"), [3]),
        (Choice(cause="undecided"), [4]),
        (Choice(cause="crashed' OR 1=1"), []),
        (Choice(user=OTHER), [1, 3]),
        (Choice(user=WcId(OTHER.upper())), []),
        (Choice(group_id=WcId("9@chatroom")), [2]),
        (Choice(user=OTHER, cause="partly_sent"), [3]),
        (ALL, [0, 1, 2, 3, 4]),
    ]

    for choice, indexes in expected:
        wanted = [ids[index] for index in indexes]
        found = await letters.newest(choice, before=None, limit=9)
        pages = [one.id async for page in letters.pages(choice) for one in page]
        counts = await letters.counts(choice)
        assert [one.id for one in found] == wanted[::-1], choice
        assert pages == wanted, choice
        assert sum(one.count for one in counts) == len(wanted), choice
        assert {one.cause for one in counts} == {one.cause for one in found}, choice


async def test_times_choose_by_receipt(store: Store, letters: DeadLetters) -> None:
    """From *since* on, until before *until*, however far they lie."""
    ids = [await bury(store), await answer(store, SegmentState.FAILED)]
    begin = received(ids[0])
    later = received(ids[1]) + timedelta(milliseconds=1)
    far = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)

    async def found(**bounds: Any) -> list[MessageId]:
        return [one.id async for page in letters.pages(Choice(**bounds)) for one in page]

    assert await found(since=begin) == ids
    assert await found(since=later) == []
    assert await found(until=begin) == []
    assert await found(until=later) == ids
    assert await found(until=far) == ids
    assert await found(since=far) == []
    assert await found(since=datetime(1980, 1, 1, tzinfo=UTC)) == ids


async def test_causes_are_counted_with_their_first_and_last(
    store: Store, letters: DeadLetters
) -> None:
    """The commonest first."""
    first = await bury(store)
    crashed = await bury(store, "crashed")
    await bury(store)
    last = await bury(store)

    many, one = await letters.counts(ALL)

    assert (many.cause, many.count, many.first, many.last) == (
        "dify_rejected",
        3,
        received(first),
        received(last),
    )
    assert (one.cause, one.count, one.first, one.last) == (
        "crashed",
        1,
        received(crashed),
        received(crashed),
    )


@ON_SQLITE
async def test_named_messages_are_found_whatever_became_of_them(
    store: Store, letters: DeadLetters
) -> None:
    """Those that there are; the caller sees which are missing."""
    waiting = await keep(store, make_question())
    dead = await bury(store)

    found = await letters.named([dead, 1, 2**63 - 1, waiting])

    assert [(one.id, one.state) for one in found] == [(waiting, "received"), (dead, "dead")]
    assert await letters.named([]) == []


@ON_SQLITE
async def test_the_whole_of_a_message_has_all_its_columns(
    store: Store, letters: DeadLetters
) -> None:
    """Its row, its segments, and what replaying is decided by."""
    dead = await bury(store)

    whole = await letters.whole(dead)

    assert whole is not None
    assert (whole.letter.id, whole.message["question"]) == (dead, "几点下班")
    assert [row["content"] for row in whole.segments] == [SENTENCE]
    assert await letters.whole(5) is None


@ON_SQLITE
async def test_while_sql_is_away_nothing_is_told(switch: SwitchedStore) -> None:
    """An error, no empty list."""
    switch.is_away = True
    letters = DeadLetters(switch)

    for look in (letters.newest(ALL, before=None, limit=1), letters.counts(ALL), letters.whole(1)):
        with pytest.raises(StoreUnavailable):
            await look
