"""Answers handed from an account that is offline to another: in the stores, beside a sender that still has them."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import update

from app.models.flow import Answer, Segment, Turn, WcId
from app.models.message import Message
from app.models.segment import SegmentRow, SegmentState
from app.services.accounts import Accounts
from app.services.handover import Handover, Move
from app.services.left_messages import LeftMessages
from app.services.outbox import Outbox
from app.services.queue.leases import Leases
from app.services.queue.redis_queue import RedisQueue
from app.services.stages import utc_now
from app.services.standing import Sign
from app.services.store import Store
from app.services.twins import SharedIds
from app.utils.clock import SystemClock
from app.workers.twin_keeper import TwinKeeper
from tests.fixtures.callbacks import BOT, make_question, make_turn
from tests.fixtures.stores import RecordingBell, StoreFactory, keep, make_outbox, rows_of

OTHER = WcId("wxid_bot_other")
ANSWER = Answer(text="甲乙", conversation_id="c-1", dify_message_id="m-1")


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return make_outbox(store)


@pytest.fixture
def handover(store: Store) -> Handover:
    return Handover(store)


async def answered(store: Store, outbox: Outbox, *, is_whole: bool = True) -> Turn:
    """A message that both accounts got, with an answer of two segments for the first one."""
    new_msg_id = str(len(await rows_of(store, Message)) + 9_000)
    asked = make_question(new_msg_id=new_msg_id)
    turn = make_turn(await keep(store, asked), fence=10)
    await keep(store, make_question(new_msg_id=new_msg_id, bot_wc_id=OTHER))
    segments = [Segment(seq=0, content="甲"), Segment(seq=1, content="乙")]
    if is_whole:
        await outbox.plan(turn, segments, ANSWER)
    else:
        await outbox.plan_part(turn, segments, ANSWER)
    return turn


async def owners(store: Store) -> list[str]:
    return [row.bot_wc_id for row in await rows_of(store, SegmentRow)]


async def test_an_answer_goes_over_whole_and_the_former_sender_can_do_nothing_with_it(
    store: Store, outbox: Outbox, handover: Handover
) -> None:
    """It has it in memory still: neither does it send it, nor give it up, nor put it back."""
    turn = await answered(store, outbox)
    stale, _ = await outbox.open_segments(BOT, limit=9)

    moves = await handover.move([BOT], [OTHER])

    assert moves == [Move(message_id=turn.message_id, former=BOT, other=OTHER)]
    assert await owners(store) == [OTHER, OTHER]
    assert not await outbox.mark_sending(stale, sender="s-1", sent=None)
    await outbox.give_up(stale, SegmentState.FAILED, error="too_old")
    first, second = await outbox.open_segments(OTHER, limit=9)
    assert await outbox.mark_sending(first, sender="s-2", sent=None)
    assert not await outbox.mark_sending(stale, sender="s-1", sent=None)
    [message] = [row for row in await rows_of(store, Message) if row.state == "answered"]
    assert (message.error, message.verdict, second.seq) == ("", "answered", 1)
    assert await handover.move([BOT], [OTHER]) == []


async def test_what_may_be_on_its_way_or_grows_still_stays(
    store: Store, outbox: Outbox, handover: Handover
) -> None:
    """Of the same person nothing overtakes it."""
    await answered(store, outbox)
    await answered(store, outbox)
    first, *_ = await outbox.open_segments(BOT, limit=9)
    assert await outbox.mark_sending(first, sender="s-1", sent=None)

    assert await handover.move([BOT], [OTHER]) == []
    assert set(await owners(store)) == {BOT}


async def test_an_answer_that_is_still_written_stays(
    store: Store, outbox: Outbox, handover: Handover
) -> None:
    """The worker plans the rest of it for the account it began with."""
    await answered(store, outbox, is_whole=False)

    assert await handover.move([BOT], [OTHER]) == []


async def test_a_sender_and_a_handover_at_the_same_moment_send_once(
    store_factory: StoreFactory,
) -> None:
    """Whichever is first: the call is the former account's, or the answer is the other one's."""
    here, there = store_factory(), store_factory()
    outbox = make_outbox(here)
    for _ in range(15):
        await answered(here, outbox)
        first, second = (await outbox.open_segments(BOT, limit=99))[-2:]
        is_called, moves = await asyncio.gather(
            outbox.mark_sending(first, sender="s-1", sent=None),
            Handover(there).move([BOT], [OTHER]),
        )
        assert is_called != bool(moves)
        [owner] = {
            row.bot_wc_id
            for row in await rows_of(here, SegmentRow)
            if row.message_id == first.message_id
        }
        assert owner == (BOT if is_called else OTHER)
        for one in (first, second):
            await outbox.give_up(one, SegmentState.FAILED, error="over")


async def test_the_accounts_that_got_a_message_are_known_the_answered_copy_first(
    store: Store, handover: Handover
) -> None:
    """Of a message that came through one there is one."""
    both, alone = make_question(new_msg_id="1"), make_question(new_msg_id="2")
    first = await keep(store, both)
    await keep(store, make_question(new_msg_id="1", bot_wc_id=OTHER))
    second = await keep(store, alone)

    assert await handover.takers(first) == [BOT, OTHER]
    assert await handover.takers(second) == [BOT]


async def test_a_mark_that_is_not_committed_yet_is_waited_for(store_factory: StoreFactory) -> None:
    """Else the second segment would go to the other account while the first one is being sent here."""
    here, there = store_factory(), store_factory()
    outbox = make_outbox(here)
    await answered(here, outbox)
    first, _ = await outbox.open_segments(BOT, limit=9)

    async with here.write() as connection:
        mark = update(SegmentRow).where(SegmentRow.id == first.id)
        await connection.execute(mark.values(state=SegmentState.SENDING, tries=1))
        moving = asyncio.create_task(Handover(there).move([BOT], [OTHER]))
        await asyncio.wait({moving}, timeout=0.3)
        assert not moving.done()

    assert await moving == []
    assert set(await owners(here)) == {BOT}


async def test_what_cannot_be_moved_hides_nothing_however_much_it_is(
    store: Store, outbox: Outbox, handover: Handover
) -> None:
    """Only one account got it; what another person is owed behind it goes."""
    alone = make_turn(await keep(store, make_question(new_msg_id="1", from_user="wxid_x")), fence=9)
    segments = [Segment(seq=number, content="甲") for number in range(501)]
    await outbox.plan(replace(alone, user=WcId("wxid_x")), segments, ANSWER)
    turn = await answered(store, outbox)

    moves = await handover.move([BOT], [OTHER])

    assert [one.message_id for one in moves] == [turn.message_id]


async def test_nothing_is_written_where_nothing_can_be_moved(
    store: Store, outbox: Outbox, handover: Handover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else got the message, or it has to stay behind one that nobody else got."""
    alone = make_turn(await keep(store, make_question(new_msg_id="1")), fence=9)
    await outbox.plan(alone, [Segment(seq=0, content="甲")], ANSWER)
    await answered(store, outbox)

    def transact(_: object) -> None:
        pytest.fail("a write for nothing")

    monkeypatch.setattr(store, "transact", transact)
    assert await handover.move([BOT], [OTHER]) == []


async def test_it_is_known_for_whom_a_question_waits_that_another_account_could_answer(
    store: Store, handover: Handover
) -> None:
    """Not for one whose questions nobody else got."""
    third = WcId("wxid_bot_third")
    await keep(store, make_question(new_msg_id="1"))
    await keep(store, make_question(new_msg_id="1", bot_wc_id=OTHER))
    await keep(store, make_question("别的", new_msg_id="2", bot_wc_id=third))

    assert await handover.has_waiting([BOT, third], [OTHER]) == {BOT}
    assert await handover.has_waiting([BOT], [third]) == set()


async def test_an_account_that_fails_takes_nothing_over_and_nobody_is_let_go_for_it(
    store: Store, outbox: Outbox, handover: Handover, redis_queue: RedisQueue
) -> None:
    """It has enough to do with its own; as soon as it works it gets what waits."""
    await answered(store, outbox)
    accounts = Accounts(store)
    accounts.learn([(BOT, "w1"), (OTHER, "w2")], time=int(utc_now().timestamp()))
    accounts.notice(BOT, Sign.NOT_LISTED)
    accounts.notice(OTHER, Sign.FAILS)
    clock = SystemClock()
    keeper = TwinKeeper(
        left=LeftMessages(store, SharedIds()),
        handover=handover,
        accounts=accounts,
        queue=redis_queue,
        bell=RecordingBell(),
        lease=Leases(redis_queue._redis, holder="here", clock=clock, namespace="t:").task(
            "twins", seconds=10
        ),
        clock=clock,
    )

    await keeper.look()
    assert set(await owners(store)) == {BOT}
    accounts.notice(OTHER, Sign.WORKS)
    await keeper.look()
    assert set(await owners(store)) == {OTHER}
