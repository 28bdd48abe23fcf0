"""What the staff tells the bridge in a group: durable, carried out once, and only by the staff."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner, Result

from app import cli
from app.models.account import Account
from app.models.flow import Answer, Command, MessageId, Noted, Segment, SentMessage, WcId
from app.models.message import Message
from app.services.outbox_table import Sent
from app.services.stages import utc_now
from app.services.store import Store
from app.services.take_backs import TakeBacks
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Stores
from tests.fixtures.callbacks import BOT, GROUP, make_origin, make_question, make_turn
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.sending import calls, hurry
from tests.fixtures.stores import keep, make_outbox, row_of

STAFF = {"GROUPS_STAFF": '["wxid_xiaohong0c2d22"]'}
CLOSED = "SELECT * FROM messages WHERE verdict = 'command' AND state = 'ignored'"
OVER = (
    "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM segments WHERE state IN "
    "('planned', 'sending', 'recalling'))"
)


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr("app.services.ecloud.pacing.RECALL_GAP", 0.01)
    monkeypatch.setattr("app.services.accounts.REFRESH_SECONDS", 0.2)
    monkeypatch.setattr("app.workers.command_keeper.LOOK_SECONDS", 0.1)


async def command(bridge: Inside, person: str = "小红", **data: Any) -> Any:
    """Somebody writes the command."""
    return await bridge.hear("#撤回", person=person, **data)


async def test_the_staff_has_the_last_answer_taken_back(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """All segments of it and of no other; the command is no question and nobody's queue holds it."""
    async with inside(REPLY_MAX_LENGTH="60", **STAFF) as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        await bridge.hear("二 [[long=200]]")
        await bridge.until_settled(2)
        receipt = await command(bridge)
        [row] = await bridge.until_rows(CLOSED)
        await bridge.until_rows(OVER)
        states = await bridge.rows("SELECT state FROM segments ORDER BY id")

    assert isinstance(receipt, Noted)
    assert (row["detail"], row["text"], row["queued_at"]) == ("taking_back", None, None)
    assert [one["state"] for one in states] == ["sent"] + ["recalled"] * (len(states) - 1)
    assert gateway.revoked == {one.new_msg_id for one in list(gateway.sent)[1:]}
    assert len(dify.questions()) == 2


@INSIDE_EMBEDDED
async def test_the_command_of_anybody_else_is_a_question(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """As every other text."""
    async with inside(**STAFF) as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        await command(bridge, person="小明")
        await bridge.until_settled(2)

    assert calls(gateway, "/revokeMsg") == 0
    assert dify.questions()[-1].facts["query"] == "#撤回"


@INSIDE_EMBEDDED
async def test_a_process_that_dies_behind_its_200_forgets_no_command(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """It waits in the inbox; delivered twice it is one."""
    async with inside(**STAFF) as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
    async with inside(works=False, **STAFF) as dead:
        body = dead.callback("#撤回", person="小红")
        await dead.take(body)
        await dead.take(body)
        [waiting] = await dead.rows("SELECT state FROM messages WHERE verdict = 'command'")
    async with inside(**STAFF) as bridge:
        [row] = await bridge.until_rows(CLOSED)
        await bridge.until_rows(OVER)

    assert waiting["state"] == "command"
    assert row["detail"] == "taking_back"
    assert calls(gateway, "/revokeMsg") == 1


@INSIDE_EMBEDDED
async def test_an_answer_that_is_still_being_written_ends_with_the_command(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """What the group has of it goes, and nothing more of it comes."""
    parts = "\\n\\n".join(name * 50 for name in "甲乙丙丁戊己庚辛")
    question = f"一 [[delay=0.3]] [[size=50]] [[text={parts}]]"
    async with inside(DIFY_STREAMING_ENABLED="true", REPLY_MAX_LENGTH="60", **STAFF) as bridge:
        await bridge.hear(question)
        await gateway.wait_for_sent(1)
        await command(bridge)
        await bridge.until_rows(CLOSED)
        await bridge.until_rows(
            "SELECT 1 FROM messages WHERE verdict = 'recalled' AND done_at IS NOT NULL"
        )
        await bridge.until_rows(OVER)

    assert len(gateway.sent) < 8
    assert gateway.revoked == {one.new_msg_id for one in gateway.sent}


async def answered(store: Store, *, at: Any = None, receipt: str = "22") -> MessageId:
    """An answer that is in the group."""
    outbox = make_outbox(store)
    turn = make_turn(await keep(store, make_question()), fence=10)
    await outbox.plan(turn, [Segment(seq=0, content="甲")], Answer(text="甲"))
    one = (await outbox.open_segments(BOT, limit=99))[-1]
    await outbox.mark_sending(one, sender="s-1", sent=None)
    sent = SentMessage(msg_id="11", new_msg_id=receipt, created_at=33)
    await outbox.mark_sent(Sent(segment=one, receipt=sent, at=at or utc_now()))
    return turn.message_id


@pytest.fixture
async def known(store: Store) -> Store:
    """Our accounts are known."""
    async with store.write() as connection:
        for bot in (BOT, "wxid_bot2"):
            await connection.execute(insert(Account).values(wc_id=bot, since=utc_now()))
    return store


async def tell(store: Store, **changes: Any) -> MessageId:
    values = {"timestamp": int(utc_now().timestamp()), **changes}
    quoted = values.pop("quoted_id", "")
    return await keep(store, Command(origin=make_origin(**values), quoted_id=quoted))


async def carried_out(store: Store) -> list[tuple[str, MessageId | None]]:
    """What each waiting command led to."""
    take_backs = TakeBacks(store)
    outcomes = [await take_backs.carry_out(told) for told in await take_backs.waiting()]
    return [(one.word, one.answered_id) for one in outcomes if one is not None]


async def test_a_command_of_which_two_accounts_hear_is_carried_out_once(known: Store) -> None:
    """The second one would take back the answer before."""
    await answered(known)
    last = await answered(known)
    now = int(utc_now().timestamp())
    await tell(known, timestamp=now)
    await tell(known, timestamp=now, bot_wc_id=WcId("wxid_bot2"))

    assert await carried_out(known) == [("taking_back", last), ("copy", None)]


async def test_a_command_is_carried_out_by_one_process(known: Store) -> None:
    """Whoever read it later finds it closed."""
    last = await answered(known)
    id_ = await tell(known)
    take_backs = TakeBacks(known)
    [told] = await take_backs.waiting()

    first, second = await take_backs.carry_out(told), await take_backs.carry_out(told)

    assert (first and first.answered_id, second) == (last, None)
    row = await row_of(known, Message, id_)
    assert (row.state, row.detail, row.done_at is not None) == ("ignored", "taking_back", True)


async def test_a_command_that_comes_late_means_what_was_said_before_it(known: Store) -> None:
    """It waited in a spill file, or is a replayed history."""
    await answered(known)
    await tell(known, timestamp=int(utc_now().timestamp()) - 3600)

    assert await carried_out(known) == [("nothing", None)]


async def test_a_quoted_answer_is_taken_back_though_it_is_not_the_last(known: Store) -> None:
    """By the id of the segment."""
    meant = await answered(known, receipt="71")
    await answered(known, receipt="72")
    await tell(known, quoted_id="71")

    assert await carried_out(known) == [("taking_back", meant)]


async def test_a_second_command_means_the_answer_before(known: Store) -> None:
    """As soon as the last one is gone; until then it means the same."""
    first, last = await answered(known), await answered(known)
    await tell(known)
    assert await carried_out(known) == [("taking_back", last)]
    await tell(known)
    assert await carried_out(known) == [("taking_back", last)]
    outbox = make_outbox(known)
    [one] = await outbox.open_segments(BOT, limit=9)
    await outbox.close_recall(one)
    await tell(known)
    assert await carried_out(known) == [("taking_back", first)]


@INSIDE_EMBEDDED
async def test_the_operator_takes_an_answer_back_by_command(
    inside: StartInside, inside_stores: Stores, gateway: EcloudSimulator
) -> None:
    """It says what goes, what is not asked for without ``--yes``, and the running bridge does it."""

    def run(*arguments: str) -> Result:
        env = {
            "DATABASE_URL": inside_stores.database_url,
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
        }
        return CliRunner().invoke(cli.app, ["recall", *arguments], env=env)

    async with inside(REPLY_MAX_LENGTH="60") as bridge:
        await bridge.hear("一 [[long=100]]")
        [message] = await bridge.until_settled(1)
        await bridge.until_rows("SELECT 1 FROM accounts")
    group = message["group_id"]
    looked = await asyncio.to_thread(run, "--group", group, "--dry-run", "--json")
    refused = await asyncio.to_thread(run, "--group", group)
    done = await asyncio.to_thread(run, str(message["id"]), "--yes")
    async with inside() as bridge:
        await bridge.until_rows(OVER)
    again = await asyncio.to_thread(run, "--group", group, "--yes")
    wrong = [await asyncio.to_thread(run, *some) for some in ((), ("1", "--group", "g"), ("x",))]

    shown = json.loads(looked.stdout)
    assert (shown["id"], shown["dry_run"]) == (str(message["id"]), True)
    assert shown["going"] == list(range(len(gateway.sent)))
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert (done.exit_code, "已发的第 1、2" in done.stdout) == (0, True)
    assert gateway.revoked == {one.new_msg_id for one in gateway.sent}
    assert (again.exit_code, again.stderr.strip()) == (1, "这个群最近十分钟没有可收回的回答。")
    assert [one.exit_code for one in wrong] == [2, 2, 2]


async def test_what_is_too_old_stays_and_the_command_says_so(known: Store, store_url: str) -> None:
    """Exit code 1: nothing was done."""
    id_ = await answered(known, at=utc_now() - timedelta(seconds=125))
    env = {"DATABASE_URL": store_url, "BRIDGE_ENV_FILE": "", "BRIDGE_CONFIG_FILE": ""}
    done = await asyncio.to_thread(
        CliRunner().invoke, cli.app, ["recall", "--group", GROUP, "--yes"], env=env
    )

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"消息 {id_}:没有可收回的。",
        "收不回:第 1 段,发出已过两分钟,或网关没有给出编号。",
    ]
