"""Opening a turn: what a claim from Redis means in SQL."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update

from app.models.contact import Contact, GroupMember
from app.models.flow import Answer, Asking, Claim, MessageId, Segment, Turn, WcId
from app.models.message import MESSAGES, Message, MessageState
from app.models.segment import SegmentState
from app.services import turns as turns_module
from app.services.decide import GroupRules
from app.services.errors import StoreUnavailable
from app.services.group_table import GroupTable
from app.services.groups import Groups, GroupSettings
from app.services.letters import ReplayOptions
from app.services.replay import Replay
from app.services.store import Store
from app.services.turns import (
    AlreadySettled,
    FenceBehind,
    FormerLife,
    OutOfOrder,
    Turns,
    UnknownEntry,
)
from app.utils.batches import batches
from app.utils.ids import IdMaker
from tests.fixtures.callbacks import BOT, GROUP, USER, make_ignored, make_question, make_turn
from tests.fixtures.letters import bury, settle
from tests.fixtures.stores import SwitchedStore, keep, make_outbox

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STRANGER = WcId("wxid_stranger")


def make_turns(store: Store, *, mention_sender: bool = True) -> Turns:
    settings = GroupSettings(rules=GroupRules(), mention_sender=mention_sender)
    return Turns(store=store, groups=Groups(store, settings))


async def choose_app(store: Store, app: str) -> None:
    """The group asks this one from now on."""
    groups = Groups(store, GroupSettings(rules=GroupRules()))
    groups.note(BOT, GROUP)
    await groups.save()
    assert await GroupTable(store).choose_app([GROUP], app) == 1


@pytest.fixture
def turns(store: Store) -> Turns:
    """Of one process."""
    return make_turns(store)


def claim(message_id: MessageId, *, fence: int = 5, user: WcId = USER, attempts: int = 0) -> Claim:
    return Claim(user=user, message_id=message_id, token="t", fence=fence, attempts=attempts)


async def add(store: Store, row: Contact | GroupMember) -> None:
    """One row of the address book."""
    values = {
        column.key: getattr(row, column.key)
        for column in type(row).__table__.columns
        if getattr(row, column.key) is not None
    }
    async with store.write() as connection:
        await connection.execute(type(row).__table__.insert(), [values])  # type: ignore[attr-defined]


def member(**names: str) -> GroupMember:
    return GroupMember(group_id=GROUP, wc_id=USER, fetched_at=NOW, **names)


def contact(nick_name: str) -> Contact:
    return Contact(wc_id=USER, nick_name=nick_name, kind="person", seen_at=NOW)


async def opened(turns: Turns, message_id: MessageId, **options: Any) -> Turn:
    """The turn, where there must be one."""
    opening = await turns.open(claim(message_id, **options))
    assert isinstance(opening, Turn)
    return opening


async def test_the_head_of_the_queue_becomes_a_turn(store: Store, turns: Turns) -> None:
    """Everything the answer needs comes out of SQL."""
    message_id = await keep(store, make_question("几点下班"))

    turn = await opened(turns, message_id, fence=7, attempts=2)

    assert turn.received_at is not None
    assert turn == Turn(
        received_at=turn.received_at,
        message_id=message_id,
        fence=7,
        bot_wc_id=BOT,
        group_id=GROUP,
        user=USER,
        question="几点下班",
        attempts=2,
    )


async def test_an_older_unfinished_message_comes_first(store: Store, turns: Turns) -> None:
    """The list in Redis has another order than SQL: it is told the right one, all of it."""
    ids = [await keep(store, make_question(f"{n}")) for n in range(3)]
    await keep(store, make_question(from_user=STRANGER))
    await keep(store, make_ignored())

    assert await turns.open(claim(ids[1])) == OutOfOrder(tuple(ids))
    assert await turns.open(claim(ids[2])) == OutOfOrder(tuple(ids))
    assert (await opened(turns, ids[0])).message_id == ids[0]


@pytest.mark.parametrize(
    "state",
    [MessageState.ANSWERED, MessageState.DONE, MessageState.DEAD, MessageState.REFUSED],
)
async def test_a_settled_message_is_a_leftover(
    store: Store, turns: Turns, state: MessageState
) -> None:
    """The plan was saved, its ack was lost; the next message is not held up by it."""
    settled = await keep(store, make_question(), state=state)
    following = await keep(store, make_question())

    assert await turns.open(claim(settled)) == AlreadySettled()
    assert (await opened(turns, following)).message_id == following


async def test_an_entry_that_sql_does_not_know_is_told(store: Store, turns: Turns) -> None:
    """It is in a spill file, or somebody's hand put it there; also under another person's key."""
    ids = [await keep(store, make_question()) for _ in range(2)]
    await keep(store, make_question(), state=MessageState.DONE)

    assert await turns.open(claim(MessageId(4))) == UnknownEntry(waiting=tuple(ids))
    assert await turns.open(claim(ids[0], user=STRANGER)) == UnknownEntry()


async def test_a_row_written_under_a_greater_fence_is_told(store: Store, turns: Turns) -> None:
    """The clock of Redis went back: without a raised fence every plan would be refused."""
    message_id = await keep(store, make_question(), fence=9)

    assert await turns.open(claim(message_id, fence=8)) == FenceBehind(9)
    assert await turns.open(claim(message_id, fence=9)) == FenceBehind(9)
    assert (await opened(turns, message_id, fence=10)).fence == 10


async def test_a_turn_goes_on_in_the_persons_conversation(store: Store, turns: Turns) -> None:
    """By app, account, group and person; nobody else's."""
    outbox = make_outbox(store)
    first = make_turn(await keep(store, make_question()))
    await outbox.plan(first, [], Answer(text="x", conversation_id="c-1"))
    second = await keep(store, make_question())
    elsewhere = await keep(store, make_question(group_id="2@chatroom", from_user=STRANGER))

    assert (await opened(turns, second)).conversation_id == "c-1"
    assert (await opened(turns, elsewhere, user=STRANGER)).conversation_id == ""
    await choose_app(store, "other")
    assert (await opened(turns, second)).conversation_id == ""


async def test_a_turn_knows_what_is_planned_already(store: Store, turns: Turns) -> None:
    """After a cut stream numbering goes on behind what is out, cancelled ones included."""
    outbox = make_outbox(store)
    turn = make_turn(await keep(store, make_question()))
    segments = [Segment(seq=seq, content="x") for seq in range(3)]
    await outbox.plan_part(turn, segments, Answer(text=""))
    await outbox.plan_part(turn, [], Answer(text=""), void=range(9))

    reopened = await opened(turns, turn.message_id)
    assert (reopened.next_seq, reopened.begun, reopened.unheard) == (3, (), None)


async def test_a_turn_knows_the_answer_that_a_former_worker_began(
    store: Store, turns: Turns
) -> None:
    """What the group got of it, and Dify's ids; what was cancelled is no part of it."""
    outbox = make_outbox(store)
    turn = make_turn(await keep(store, make_question()))
    ids = Answer(
        text="",
        conversation_id="c-1",
        dify_message_id="m-1",
        task_id="t-1",
        workflow_run_id="r-1",
    )
    segments = [
        Segment(seq=0, content="@阿蓝\u2005一", mention=USER),
        Segment(seq=1, content="二"),
        Segment(seq=2, content="三"),
    ]
    await outbox.plan_part(turn, segments, ids)
    await outbox.plan_part(turn, [], ids, void=range(1, 2))

    reopened = await opened(turns, turn.message_id)
    assert reopened.begun == (segments[0], segments[2])
    assert reopened.asking == Asking(
        conversation_id="c-1", dify_message_id="m-1", task_id="t-1", workflow_run_id="r-1"
    )
    await choose_app(store, "other")
    elsewhere = await opened(turns, turn.message_id)
    assert (elsewhere.app, elsewhere.begun) == ("default", reopened.begun)
    assert elsewhere.unheard == reopened.unheard is not None


async def test_what_another_app_was_asked_and_has_not_begun_is_asked_anew(
    store: Store, turns: Turns
) -> None:
    """The group has another app now; what has begun is finished by the app that began it."""
    message_id = await keep(
        store,
        make_question(),
        dify_app="default",
        dify_conversation_id="c-1",
        dify_message_id="m-1",
    )
    assert (await opened(turns, message_id)).unheard is not None
    await choose_app(store, "other")

    turn = await opened(turns, message_id)

    assert (turn.app, turn.begun, turn.unheard) == ("other", (), None)


async def test_a_question_without_an_id_is_looked_for_where_it_was_asked(
    store: Store, turns: Turns
) -> None:
    """In the person's conversation; whatever an older try left in the row names another question."""
    outbox = make_outbox(store)
    first = make_turn(await keep(store, make_question()))
    await outbox.plan(first, [], Answer(text="x", conversation_id="c-1", dify_message_id="m-1"))
    asked: dict[str, Any] = {"asked_at": NOW, "dify_app": "default"}
    second = await keep(store, make_question(), dify_conversation_id="c-old", **asked)

    turn = await opened(turns, second)
    assert turn.asking == Asking(conversation_id="c-1", asked_at=NOW)
    assert await turns.taken(USER, ["m-1", "m-2"]) == {"m-1"}
    assert await turns.taken(STRANGER, ["m-1"]) == set()
    assert await turns.taken(USER, []) == set()


@pytest.mark.parametrize(
    ("names", "nick_name", "sender_name", "expected"),
    [
        ({"display_name": "小蓝", "nick_name": "蓝蓝"}, "阿蓝", "推送名", "小蓝"),
        ({"display_name": "", "nick_name": "蓝蓝"}, "阿蓝", "推送名", "蓝蓝"),
        ({}, "阿蓝", "推送名", "阿蓝"),
        (None, "阿蓝", "推送名", "阿蓝"),
        (None, None, "推送名", "推送名"),
        (None, None, "", ""),
        ({"display_name": "\u200b \u202e", "nick_name": "蓝蓝"}, "阿蓝", "推送名", "蓝蓝"),
        ({"display_name": "\u200b", "nick_name": ""}, "\u200b\n", "推送名", "推送名"),
        ({"display_name": "蓝\n\n 色🐼"}, None, "", "蓝 色🐼"),
    ],
)
async def test_the_name_behind_the_mention_is_the_best_that_can_be_seen(
    store: Store,
    turns: Turns,
    names: dict[str, str] | None,
    nick_name: str | None,
    sender_name: str,
    expected: str,
) -> None:
    """Name in the group, nickname, name out of the notification, nobody."""
    if names is not None:
        await add(store, member(**names))
    if nick_name is not None:
        await add(store, contact(nick_name))
    message_id = await keep(store, make_question(sender_name=sender_name))

    assert (await opened(turns, message_id)).mention_name == expected


async def test_the_name_of_another_group_is_not_used(store: Store, turns: Turns) -> None:
    """A person has a name in each group."""
    await add(store, member(display_name="小蓝"))
    message_id = await keep(store, make_question(group_id="2@chatroom"))

    assert (await opened(turns, message_id)).mention_name == ""


async def test_nobody_is_mentioned_where_that_is_switched_off(store: Store) -> None:
    """A setting of the group."""
    await add(store, member(display_name="小蓝"))
    message_id = await keep(store, make_question(sender_name="推送名"))

    assert (await opened(make_turns(store, mention_sender=False), message_id)).mention_name == ""


async def test_while_sql_is_away_nothing_is_known(switch: SwitchedStore) -> None:
    """The claim must wait."""
    switch.is_away = True

    with pytest.raises(StoreUnavailable):
        await make_turns(switch).open(claim(MessageId(1)))


@pytest.mark.parametrize("counts", [{"attempts": 3}, {"crashes": 2}])
async def test_counts_of_the_time_before_a_replay_are_not_taken_for_its_own(
    store: Store, turns: Turns, counts: dict[str, Any]
) -> None:
    """The old entry is still in the list; once the sweep saw the replay, counts are the new life's."""
    replayed_at = datetime.now(UTC)
    message_id = await keep(store, make_question(), replays=1, replayed_at=replayed_at)
    old = replace(claim(message_id), **counts)

    assert await turns.open(old) == FormerLife()
    assert (await opened(turns, message_id)).replayed_at == replayed_at
    async with store.write() as connection:
        await connection.execute(update(Message).values(queued_epoch="e-1"))
    assert isinstance(await turns.open(old), Turn)


async def test_tries_of_the_new_life_count_before_the_sweep_saw_it_too(
    store: Store, turns: Turns
) -> None:
    """They are in its row."""
    message_id = await keep(
        store, make_question(), replays=1, replayed_at=datetime.now(UTC), attempts=2
    )

    assert (await opened(turns, message_id, attempts=2)).attempts == 2


async def test_the_sentence_after_a_failure_is_no_part_of_the_answer(
    store: Store, turns: Turns
) -> None:
    """A replayed message is asked about, and its answer numbered behind the sentence."""
    message_id = await bury(store)
    await settle(store, message_id, SegmentState.SENT)
    await Replay(store, ReplayOptions()).one(message_id)

    turn = await opened(turns, message_id)

    assert (turn.begun, turn.next_seq) == ((), 1)


async def test_a_replayed_message_comes_before_newer_ones(store: Store, turns: Turns) -> None:
    """Its id is its place."""
    message_id = await bury(store)
    newer = await keep(store, make_question())
    await Replay(store, ReplayOptions()).one(message_id)

    assert await turns.open(claim(newer)) == OutOfOrder((message_id, newer))


async def test_tries_that_the_queue_has_forgotten_still_count(store: Store, turns: Turns) -> None:
    """It counts per user, and forgets when an older message comes in front; the row remembers."""
    message_id = await keep(store, make_question(), attempts=3, crashes=2, sole_crashes=1)
    forgotten = claim(message_id)
    known = replace(forgotten, attempts=4, sole_crashes=5)

    first, second = [await turns.open(one) for one in (forgotten, known)]

    assert isinstance(first, Turn)
    assert isinstance(second, Turn)
    assert (first.attempts, first.sole_crashes) == (3, 1)
    assert (second.attempts, second.sole_crashes) == (4, 5)
    counted = forgotten.counted_like(first)
    assert (counted.token, counted.fence) == (forgotten.token, forgotten.fence)
    # Whether it runs alone now goes by the queue.
    assert (counted.attempts, counted.crashes, counted.sole_crashes) == (3, 0, 1)


async def test_parts_that_are_void_do_not_hold_a_message_to_the_app_that_planned_them(
    store: Store, turns: Turns
) -> None:
    """Nothing of its answer is out: the app that was chosen since is asked, in its own conversation."""
    outbox = make_outbox(store)
    first = make_turn(await keep(store, make_question()))
    await outbox.plan(first, [], Answer(text="x", conversation_id="c-1"))
    turn = make_turn(await keep(store, make_question()))
    ids = Answer(text="", conversation_id="c-1", dify_message_id="m-1")
    await outbox.plan_part(turn, [Segment(seq=0, content="一")], ids)
    await choose_app(store, "other")
    begun = await opened(turns, turn.message_id)
    await outbox.plan_part(turn, [], ids, void=range(1))

    void = await opened(turns, turn.message_id)

    # The session is the chosen app's: the former one is not asked with it.
    assert (begun.app, begun.conversation_id, len(begun.begun)) == ("default", "", 1)
    assert (void.app, void.conversation_id, void.begun, void.next_seq) == ("other", "", (), 1)


async def test_opening_a_turn_costs_the_same_however_much_is_kept_and_waits(
    store: Store, turns: Turns
) -> None:
    """Every table is looked into by an index: nobody's backlog slows anybody down."""
    first = await keep(store, make_question("0"))
    async with store.read() as connection:
        row = dict((await connection.execute(select(MESSAGES))).mappings().one())
    ids = IdMaker()
    row |= dict.fromkeys(("twin_id", "twin_text", "twin_no"))
    many = [{**row, "id": ids.next(), "dedupe_key": f"d{n}"} for n in range(3000)]
    async with store.write() as connection:
        for some in batches(many, 500):
            await connection.execute(MESSAGES.insert(), some)
        if not store.is_sqlite:
            await connection.exec_driver_sql("ANALYZE TABLE messages")
    assert (await opened(turns, first)).message_id == first

    async with store.read() as connection:
        looked = turns_module._LOOK.params(this_id=first, this_user=USER)
        literal = looked.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN" if store.is_sqlite else "EXPLAIN"
        asked = text(f"{explain} {literal}".replace(":", "\\:"))
        plan = (await connection.execute(asked)).mappings().all()

    assert [dict(step) for step in plan if _reads_much(dict(step))] == []


def _reads_much(step: dict[str, Any]) -> bool:
    """A step of a plan that goes through messages one by one; SQLite's, then MariaDB's."""
    if "detail" in step:
        return "SCAN messages" in str(step["detail"])
    return step["table"] == "messages" and int(step["rows"] or 0) > 10
