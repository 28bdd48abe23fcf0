"""What the bot said, taken back: once, in all its segments, before anything else is said in the group."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from app.models.flow import Answer, MessageId, Segment, SentMessage, Turn, WcId
from app.models.segment import SegmentRow
from app.runtime import Role
from app.services.outbox import Outbox
from app.services.outbox_table import Sent
from app.services.stages import utc_now
from app.services.store import Store
from app.services.taking_back import Fates, fates_of, want_back
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Stores
from tests.fixtures.callbacks import BOT, make_question, make_turn
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.sending import calls, hurry, texts
from tests.fixtures.stores import keep, make_outbox, rows_of

RECEIPT = SentMessage(msg_id="11", new_msg_id="22", created_at=33)
ANSWER = Answer(text="甲乙丙丁戊", conversation_id="c-1", dify_message_id="m-1", task_id="t-1")
STATES = "SELECT state, error FROM segments ORDER BY seq"


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr("app.services.ecloud.pacing.RECALL_GAP", 0.01)


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return make_outbox(store)


@pytest.fixture
async def turn(store: Store) -> Turn:
    return make_turn(await keep(store, make_question()), fence=10)


async def states_of(store: Store) -> list[tuple[str, bool]]:
    """State of each segment, and whether it is wanted back."""
    rows = sorted(await rows_of(store, SegmentRow), key=lambda one: one.seq)
    return [(row.state, row.recall_wanted_at is not None) for row in rows]


async def plan(outbox: Outbox, turn: Turn, *contents: str) -> None:
    segments = [Segment(seq=seq, content=content) for seq, content in enumerate(contents)]
    await outbox.plan(turn, segments, ANSWER)


async def taken_back(store: Store, message_id: MessageId) -> Fates:
    async def work(connection: Any) -> Fates:
        await want_back(connection, message_id)
        return await fates_of(connection, message_id, since=utc_now() - timedelta(seconds=120))

    return await store.transact(work)


async def test_each_segment_goes_the_way_of_its_state(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Sent, sent long ago, sent without ids, under way, planned."""
    await plan(outbox, turn, *"甲乙丙丁戊")
    found = await outbox.open_segments(BOT, limit=9)
    receipts = (RECEIPT, RECEIPT, SentMessage())
    for one, ago, receipt in zip(found, (1, 121, 1), receipts, strict=False):
        await outbox.mark_sending(one, sender="s-1", sent=None)
        at = utc_now() - timedelta(seconds=ago)
        await outbox.mark_sent(Sent(segment=one, receipt=receipt, at=at))
    await outbox.mark_sending(found[3], sender="s-1", sent=None)

    fates = await taken_back(store, turn.message_id)

    assert (fates.going, fates.staying, fates.cancelled) == ((0, 3), (1, 2), (4,))
    assert fates.bots == {BOT}
    assert await states_of(store) == [
        ("recalling", True),
        ("sent", False),
        ("sent", False),
        ("sending", True),
        ("cancelled", True),
    ]


@pytest.mark.parametrize("way", ["alone", "with_the_next", "echo"])
async def test_what_was_under_way_is_taken_back_as_soon_as_it_is_known_to_be_sent(
    store: Store, outbox: Outbox, turn: Turn, *, way: str
) -> None:
    """However its receipt is written."""
    await plan(outbox, turn, "甲")
    [one] = await outbox.open_segments(BOT, limit=9)
    await outbox.mark_sending(one, sender="s-1", sent=None)
    await taken_back(store, turn.message_id)
    sent = Sent(segment=one, receipt=RECEIPT, at=utc_now())
    if way == "with_the_next":
        other = make_turn(await keep(store, make_question()), fence=11)
        await plan(outbox, other, "别的")
        [_, following] = await outbox.open_segments(BOT, limit=9)
        assert await outbox.mark_sending(following, sender="s-1", sent=sent)
    else:
        await outbox.mark_sent(sent)

    [due, *_] = await outbox.open_segments(BOT, limit=9)
    assert (due.state, due.receipt, due.is_unwanted) == ("recalling", RECEIPT, True)
    assert await outbox.owing_accounts() == [BOT]


async def test_what_certainly_was_not_sent_is_not_sent_any_more(
    store: Store, outbox: Outbox, turn: Turn
) -> None:
    """Its call failed, and it is neither planned again nor called again."""
    await plan(outbox, turn, "甲")
    [one] = await outbox.open_segments(BOT, limit=9)
    await outbox.mark_sending(one, sender="s-1", sent=None)
    await taken_back(store, turn.message_id)
    assert not await outbox.mark_sending(one, sender="s-1", sent=None)
    await outbox.put_back(one, error="away")

    assert await states_of(store) == [("cancelled", True)]
    assert await outbox.owing_accounts() == []


async def test_of_two_senders_one_may_call(store: Store, outbox: Outbox, turn: Turn) -> None:
    """And after its outcome nobody."""
    await plan(outbox, turn, "甲")
    [one] = await outbox.open_segments(BOT, limit=9)
    await outbox.mark_sending(one, sender="s-1", sent=None)
    await outbox.mark_sent(Sent(segment=one, receipt=RECEIPT, at=utc_now()))
    await taken_back(store, turn.message_id)

    assert sorted(await asyncio.gather(*(outbox.mark_recall(one) for _ in range(3)))) == [
        False,
        False,
        True,
    ]
    await outbox.close_recall(one)
    assert not await outbox.mark_recall(one)
    assert await states_of(store) == [("recalled", True)]


async def ask_back(bridge: Inside, question: str = "") -> None:
    """Want the answer back, as the command or the operator does."""
    where = f"WHERE question LIKE '{question}%'" if question else ""
    [row] = await bridge.rows(f"SELECT id, bot_wc_id FROM messages {where}")
    await bridge.runtime.store.transact(lambda one: want_back(one, MessageId(row["id"])))
    await bridge.runtime.outbox.ring(WcId(row["bot_wc_id"]))


async def until_over(bridge: Inside) -> list[dict[str, Any]]:
    await bridge.until_rows(
        "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM segments WHERE state IN "
        "('planned', 'sending', 'recalling'))"
    )
    return await bridge.rows(STATES)


async def test_an_answer_is_taken_back_in_all_its_segments(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """By the ids of their receipts; the journal still says what was said."""
    async with inside(REPLY_MAX_LENGTH="60") as bridge:
        await bridge.hear("一 [[long=200]]")
        await bridge.until_settled(1)
        [before] = await bridge.rows("SELECT content, is_sent FROM conversations")
        await ask_back(bridge)
        segments = await until_over(bridge)
        [journal] = await bridge.rows("SELECT content, is_sent FROM conversations")

    assert len(segments) > 2
    assert {(one["state"], one["error"]) for one in segments} == {("recalled", "")}
    assert gateway.revoked == {one.new_msg_id for one in gateway.sent}
    assert calls(gateway, "/revokeMsg") == len(segments)
    assert journal == before
    assert journal["is_sent"]


async def test_two_replicas_take_each_segment_back_once(
    inside: StartInside, inside_stores: Stores, gateway: EcloudSimulator
) -> None:
    """Whoever has the account's lease; both hear of it."""
    async with inside(REPLY_MAX_LENGTH="60") as bridge:
        await bridge.hear("一 [[long=200]]")
        await bridge.until_settled(1)
        if inside_stores.name == "embedded":
            await asyncio.gather(ask_back(bridge), ask_back(bridge))
            segments = await until_over(bridge)
        else:
            async with inside(role=Role.SENDER) as other:
                await asyncio.gather(ask_back(bridge), ask_back(other))
                segments = await until_over(bridge)

    assert {one["state"] for one in segments} == {"recalled"}
    assert calls(gateway, "/revokeMsg") == len(segments) == len(gateway.revoked)


async def test_nothing_is_said_in_the_group_before_and_other_groups_go_on(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway wants no such call for a while."""
    monkeypatch.setattr("app.workers.recalling.THROTTLED_PAUSE", 2.0)
    world = gateway.world
    world.add_group("50000000002@chatroom", "别的群", ["wxid_xiaohong0c2d22"])
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        gateway.faults.set("http_429", times=1, endpoints=("/revokeMsg",))
        await ask_back(bridge)
        await gateway.recorder.until(lambda: calls(gateway, "/revokeMsg") >= 1)
        await bridge.hear("二 [[text=二]]")
        await bridge.hear("三 [[text=三]]", person="小红", group="别的群")
        await bridge.until_settled(3)
        await until_over(bridge)

    [_, taken_back] = gateway.recorder.of("request", "/revokeMsg")
    [_, elsewhere, here] = gateway.sent
    assert (elsewhere.content[-1], here.content[-1]) == ("三", "二")
    assert elsewhere.sent_at < taken_back.started < here.sent_at
    assert len(gateway.revoked) == 1


async def test_a_recall_of_which_nobody_knows_is_not_repeated(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The gateway answered with an error of its own: perhaps it was carried out."""
    async with inside(ECLOUD_TIMEOUT="0.5") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        gateway.faults.set("bad_gateway", times=1, endpoints=("/revokeMsg",))
        await ask_back(bridge)
        segments = await until_over(bridge)

    assert segments == [{"state": "sent", "error": "recall: undecided"}]
    assert calls(gateway, "/revokeMsg") == 1


@INSIDE_EMBEDDED
@pytest.mark.parametrize("called", [True, False])
async def test_after_a_crash_a_recall_goes_on_unless_its_call_may_have_gone_out(
    inside: StartInside, gateway: EcloudSimulator, *, called: bool
) -> None:
    """The process died after the wish was written, or after the call was marked."""
    async with inside(ECLOUD_TIMEOUT="0.5") as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
    async with inside(works=False) as dead:
        await ask_back(dead)
        if called:
            await dead.execute("UPDATE segments SET recall_called_at = sent_at")
    async with inside(ECLOUD_TIMEOUT="0.5") as bridge:
        [segment] = await until_over(bridge)

    assert calls(gateway, "/revokeMsg") == (0 if called else 1)
    assert segment["state"] == ("sent" if called else "recalled")
    assert segment["error"] == ("recall: undecided" if called else "")


@INSIDE_EMBEDDED
async def test_what_the_gateway_refuses_to_take_back_stays_sent(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Two minutes by its own clock; the row says why."""
    gateway._sends.revoke_limit = 0.0
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        await ask_back(bridge)
        [segment] = await until_over(bridge)

    assert segment["state"] == "sent"
    assert "已超过两分钟" in segment["error"]
    assert calls(gateway, "/revokeMsg") == 1


@INSIDE_EMBEDDED
async def test_what_grew_too_old_while_it_waited_is_not_asked_for(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
    async with inside(works=False) as dead:
        await ask_back(dead)
        old = utc_now() - timedelta(seconds=121)
        await dead.execute("UPDATE segments SET sent_at = :old", old=old.replace(tzinfo=None))
    async with inside() as bridge:
        [segment] = await until_over(bridge)

    assert segment == {"state": "sent", "error": "recall: too_old"}
    assert calls(gateway, "/revokeMsg") == 0


async def test_an_answer_is_taken_back_under_a_new_login(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The wId that sent it is over: the refusal says nothing of the message."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=一]]")
        await bridge.until_settled(1)
        gateway.rotate()
        await ask_back(bridge)
        segments = await until_over(bridge)

    assert [one["state"] for one in segments] == ["recalled"]
    assert texts(gateway) == ["一"]


async def test_parts_that_dify_replaces_are_taken_back_and_the_replacement_follows(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The group had read some of them; it keeps the new text alone."""
    parts = "\\n\\n".join(name * 50 for name in "甲乙丙丁戊己")
    question = f"一 [[delay=0.15]] [[size=50]] [[text={parts}]] [[replace=换成这样]]"
    async with inside(DIFY_STREAMING_ENABLED="true", REPLY_MAX_LENGTH="60") as bridge:
        await bridge.hear(question)
        await gateway.wait_for_sent(1)
        await bridge.until_settled(1)
        await until_over(bridge)
        [message] = await bridge.rows("SELECT verdict FROM messages")
        [journal] = await bridge.rows("SELECT content FROM conversations")

    kept = [one for one in gateway.sent if one.new_msg_id not in gateway.revoked]
    assert [one.content.split("\u2005")[-1] for one in kept] == ["换成这样"]
    assert kept == gateway.sent[-1:]
    assert gateway.revoked
    last = max(one.started for one in gateway.recorder.of("request", "/revokeMsg"))
    assert last < kept[0].sent_at
    assert message["verdict"] == "answered"
    [turn] = json.loads(journal["content"])
    assert turn["answer"] == "换成这样"
