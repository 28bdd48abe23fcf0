"""Of what is said once in a group with several accounts of ours, one copy is answered: in the stores."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from app.models.content import Recall
from app.models.flow import (
    Accepted,
    Duplicate,
    Ignored,
    IgnoreReason,
    Left,
    MessageId,
    Noted,
    Question,
    Refused,
    WcId,
)
from app.models.message import Message, MessageState
from app.services.figures import read_ledger
from app.services.inbox_rows import make_row
from app.services.inbox_table import InboxTable
from app.services.left_messages import LeftMessages
from app.services.queue.redis_queue import RedisQueue
from app.services.recalls import Recalls
from app.services.stages import utc_now
from app.services.store import Store
from app.services.twins import SharedIds
from app.utils.clock import SystemClock
from app.utils.ids import LAST_ID
from tests.fixtures.callbacks import BOT, RAW, USER, make_question
from tests.fixtures.stores import StoreFactory, SwitchedStore, rows_of
from tests.integration.test_inbox import Parts

OTHER = WcId("wxid_bot_other")
THIRD = WcId("wxid_bot_third")


def copies(number: int, *bots: WcId, **changes: Any) -> list[Question]:
    """One thing said, as each account hears it."""
    said = {"new_msg_id": str(70_000 + number), "timestamp": 1_760_000_000 + number, **changes}
    return [make_question(f"第 {number} 句", bot_wc_id=bot, **said) for bot in bots]


async def states(store: Store) -> list[tuple[str, str]]:
    """State and verdict of every row, in order of receipt."""
    return [(row.state, row.verdict) for row in await rows_of(store, Message)]


@pytest.fixture
def parts(store: Store, redis_queue: RedisQueue, tmp_path: Path) -> Parts:
    """One process."""
    return Parts(store, redis_queue, tmp_path / "spill")


async def test_the_second_account_yields_and_says_to_whom(
    parts: Parts, store: Store, redis_queue: RedisQueue
) -> None:
    """One question in the queue; the other row keeps ids and reason, and no text."""
    mine, theirs = copies(1, BOT, OTHER)
    first, second = await parts.accept(mine), await parts.accept(theirs)
    again = await parts.accept(theirs)

    assert isinstance(first, Accepted)
    assert isinstance(second, Left)
    assert isinstance(again, Duplicate)
    assert second.answered_as == first.message_id
    answered, other = await rows_of(store, Message)
    assert (answered.state, other.state, other.verdict) == ("received", "ignored", "other_account")
    assert other.twin_of == answered.id
    assert str(answered.id) in other.detail
    assert (other.text, other.question, other.raw, other.deliveries) == (None, None, None, 2)
    assert (answered.deliveries, answered.text) == (1, "第 1 句")
    assert await redis_queue.depths([USER]) == [1]


async def test_copies_of_one_batch_are_settled_like_any(parts: Parts, store: Store) -> None:
    """With their neighbours and second deliveries among them; the ledger adds up."""
    batch = [one for number in range(20) for one in copies(number, BOT, OTHER, THIRD)]
    batch += copies(3, OTHER) + copies(30, THIRD)
    random.Random(5).shuffle(batch)

    receipts = await parts.accept_all(batch)

    kinds = [type(receipt) for receipt in receipts]
    assert (kinds.count(Accepted), kinds.count(Left), kinds.count(Duplicate)) == (21, 40, 1)
    ledger = await read_ledger(store)
    assert (ledger.received, ledger.waiting, ledger.duplicates) == (62, 21, 1)
    assert ledger.verdicts == {IgnoreReason.OTHER_ACCOUNT: 40}


@pytest.mark.parametrize("shares_ids", [True, False])
async def test_two_replicas_that_hear_two_accounts_answer_once(
    store_factory: StoreFactory, redis_queue: RedisQueue, tmp_path: Path, *, shares_ids: bool
) -> None:
    """At the same moment, over and over; also where each account has ids of its own."""
    replicas = [
        Parts(store_factory(), redis_queue, tmp_path / f"spill-{number}") for number in range(2)
    ]

    async def hear(parts: Parts, bot: WcId, number: int) -> Any:
        changes = {} if shares_ids else {"new_msg_id": f"{hash(bot) % 1000}{number}"}
        [one] = copies(number, bot, **changes)
        return await parts.accept(one)

    receipts = await asyncio.gather(
        *(
            hear(parts, bot, number)
            for number in range(40)
            for parts, bot in zip(replicas, (BOT, OTHER), strict=True)
        )
    )
    for parts in replicas:
        await parts.inbox.replay()

    kinds = [type(receipt) for receipt in receipts]
    rows = await states(replicas[0].store)
    assert rows.count((MessageState.RECEIVED, "")) == 40
    assert rows.count((MessageState.IGNORED, IgnoreReason.OTHER_ACCOUNT)) == 40
    # What the disk took for a while was settled later.
    assert kinds.count(Accepted) >= 40


async def test_the_same_text_twice_in_one_second_is_two_questions(
    parts: Parts, store: Store
) -> None:
    """Through one account, and through two whose ids differ."""
    receipts = [
        await parts.accept(make_question("好", bot_wc_id=bot))
        for bot in (BOT, BOT, OTHER, OTHER, OTHER)
    ]

    assert [type(receipt) for receipt in receipts] == [Accepted, Accepted, Left, Left, Accepted]
    assert len(await rows_of(store, Message)) == 5


async def test_copies_on_the_disk_are_settled_when_sql_is_back(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """Of each message one stays in the queue, whether its copies lay there together or one was in SQL."""
    parts = Parts(switch, redis_queue, tmp_path / "spill")
    early, late = copies(1, BOT, OTHER)
    await parts.accept(early)
    switch.is_away = True
    for one in [late, *copies(2, OTHER, BOT), *copies(3, BOT)]:
        assert isinstance(await parts.accept(one), Accepted)
    switch.is_away = False
    await parts.inbox.replay()

    rows = await rows_of(switch, Message)
    asked = [(row.new_msg_id, row.bot_wc_id) for row in rows if row.state == "received"]
    assert asked == [("70001", BOT), ("70002", OTHER), ("70003", BOT)]
    assert await redis_queue.depths([USER]) == [3]


async def test_a_copy_on_the_disk_for_which_there_was_no_room_is_no_odd_line(
    switch: SwitchedStore, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """Whether the other copy is in SQL or lies there, too: each callback has its verdict."""
    parts = Parts(switch, redis_queue, tmp_path / "spill", per_user=2)
    early, late = copies(1, BOT, OTHER)
    await parts.accept(early)
    switch.is_away = True
    receipts = [await parts.accept(one) for one in [*copies(2, BOT, OTHER), late]]
    assert isinstance(receipts[-1], Refused)
    switch.is_away = False
    await parts.inbox.replay()

    ledger = await read_ledger(switch)
    assert (ledger.received, len(await rows_of(switch, Message))) == (4, 4)
    assert list((tmp_path / "spill").glob("*.odd")) == []
    assert await redis_queue.depths([USER]) == [2]


async def test_a_commit_that_seemed_to_fail_makes_nobody_yield_to_himself(store: Store) -> None:
    """The rows are there under their own ids, claims and all; inserted again they stand as they are."""
    rows = [
        make_row(
            one,
            RAW,
            message_id=MessageId(number),
            received_at=utc_now(),
            keep_ignored_text=False,
        )
        for number, one in enumerate(copies(1, BOT, OTHER), start=1)
    ]
    first = await InboxTable(store).insert(rows)
    again = await InboxTable(store).insert(rows)

    assert first[rows[0].message_id] == again[rows[0].message_id] == rows[0].message_id
    assert again[rows[1].message_id] == rows[1].message_id
    assert [row.deliveries for row in await rows_of(store, Message)] == [1, 1]


async def test_a_recall_that_only_the_other_account_heard_takes_the_answered_copy_back(
    parts: Parts, store: Store
) -> None:
    """The account that was to answer went offline meanwhile."""
    mine, theirs = copies(1, BOT, OTHER)
    for one in (mine, theirs):
        await parts.accept(one)
    recalls = Recalls(store, SystemClock(), keeps_text=False)

    recalls.note(theirs.message.origin, Recall(new_msg_id="70001"))
    await recalls.flush()

    assert await states(store) == [("ignored", "recalled"), ("ignored", "other_account")]


async def test_what_was_left_to_another_account_and_is_taken_back_is_answered_by_nobody(
    parts: Parts, store: Store
) -> None:
    """The other one's callback never came; without the recall it would have been answered here."""
    first, second = (
        Ignored(
            origin=one.message.origin,
            reason=IgnoreReason.OTHER_ACCOUNT,
            detail=OTHER,
            question=one,
        )
        for one in (*copies(1, BOT), *copies(2, BOT))
    )
    for one in (first, second):
        assert isinstance(await parts.accept(one), Noted)
    recalls = Recalls(store, SystemClock(), keeps_text=False)
    recalls.note(first.origin, Recall(new_msg_id="70001"))
    await recalls.flush()

    assert await LeftMessages(store, SharedIds()).settle(before=LAST_ID) == 1

    assert await states(store) == [("ignored", "recalled"), ("received", "")]


async def test_what_was_left_is_taken_up_by_one_process_only(
    store_factory: StoreFactory, redis_queue: RedisQueue, tmp_path: Path
) -> None:
    """Two accounts left it to a third, two processes look at once, and its own copy comes meanwhile."""
    parts = Parts(store_factory(), redis_queue, tmp_path / "spill")
    for number in range(20):
        for one in copies(number, BOT, OTHER):
            left = Ignored(
                origin=one.message.origin,
                reason=IgnoreReason.OTHER_ACCOUNT,
                detail=THIRD,
                question=one,
            )
            await parts.accept(left)
    keepers = [LeftMessages(store_factory(), SharedIds()) for _ in range(2)]

    await asyncio.gather(
        *(keeper.settle(before=LAST_ID) for keeper in keepers),
        *(parts.accept(one) for number in range(10) for one in copies(number, THIRD)),
    )
    await parts.inbox.replay()

    rows = await states(parts.store)
    assert rows.count((MessageState.RECEIVED, "")) == 20
    assert rows.count((MessageState.IGNORED, IgnoreReason.OTHER_ACCOUNT)) == 30
