"""A conversation is reset: the next question begins a new one, and what was asked before does not come back."""

import asyncio
import json
from datetime import timedelta

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app import cli
from app.models.conversation import SESSIONS
from app.models.flow import Answer, Asking, WcId
from app.services.audit import Deed
from app.services.resets import reset_conversations
from app.services.stages import utc_now
from app.services.store import Store
from simulators.dify import DifySimulator
from tests.fixtures.callbacks import GROUP, USER, make_question, make_turn
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.stores import keep, make_outbox

BY = Deed(operator="小王", action="conversation.reset", subject="")


async def place(bridge: Inside) -> tuple[WcId, WcId]:
    """Group and person of the first message."""
    row = (await bridge.rows("SELECT group_id, from_user FROM messages ORDER BY id LIMIT 1"))[0]
    return WcId(row["group_id"]), WcId(row["from_user"])


def conversations(dify: DifySimulator) -> list[str]:
    """With which conversation each question went on; empty: a new one."""
    return [str(record.facts.get("conversation_id") or "") for record in dify.questions()]


def queries(dify: DifySimulator) -> list[str]:
    """What Dify was asked, whole."""
    return [str(record.facts["query"]) for record in dify.questions()]


async def test_the_next_question_begins_a_new_conversation_without_what_was_said(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Nor does the recap go further back; another person's conversation goes on."""
    async with inside(DIFY_RECAP_TURNS="5") as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("另一个 [[text=丁]]", person="小红")
        await bridge.until_settled(2)
        group, person = await place(bridge)
        count = await reset_conversations(bridge.runtime.store, group, person, by=BY)
        await bridge.hear("二 [[text=乙]]")
        await bridge.hear("又一个 [[text=戊]]", person="小红")
        await bridge.until_settled(4)
        await bridge.hear("三 [[text=丙]]")
        rows = await bridge.until_settled(5)
        # Dify has forgotten the new one, too: it is told again what was said since.
        dify.store._conversations.clear()
        await bridge.hear("四 [[text=己]]")
        await bridge.until_settled(6)
        retold = queries(dify)[-1]

    asked = {
        query.split()[0]: conversation
        for query, conversation in zip(queries(dify), conversations(dify), strict=True)
        if not query.startswith("(")
    }
    own = {row["question"].split()[0]: row["dify_conversation_id"] for row in rows}
    assert count == 1
    assert asked["二"] == ""
    assert ["答:甲" in retold, "答:乙" in retold, "答:丙" in retold] == [False, True, True]
    assert own["二"] != own["一"]
    assert asked["三"] == own["二"]
    assert asked["又一个"] == own["另一个"]


@INSIDE_EMBEDDED
async def test_an_answer_under_way_does_not_bring_the_old_conversation_back(
    inside: StartInside, dify: DifySimulator
) -> None:
    """It is finished as it is."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        group, person = await place(bridge)
        old = (await bridge.rows("SELECT conversation_id AS c FROM sessions"))[0]["c"]
        await bridge.hear("二 [[wait=1]] [[text=乙]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 2)
        await reset_conversations(bridge.runtime.store, group, person, by=BY)
        await bridge.until_settled(2)
        left = (await bridge.rows("SELECT conversation_id AS c FROM sessions"))[0]["c"]

    assert old
    assert left == ""


@pytest.mark.parametrize(("asked_ago", "kept"), [(60, ""), (-60, "c-old")])
async def test_an_answer_that_is_fetched_later_does_not_bring_it_back_either(
    store: Store, asked_ago: float, kept: str
) -> None:
    """What was asked before the reset; what was asked behind it goes on with its conversation."""
    first, second = [await keep(store, make_question(text)) for text in ("一", "二")]
    outbox = make_outbox(store)
    await outbox.plan(make_turn(first), (), Answer(text="甲", conversation_id="c-old"))
    await reset_conversations(store, GROUP, USER, by=BY)
    asked_at = utc_now() - timedelta(seconds=asked_ago)
    asking = Asking(conversation_id="c-old", dify_message_id="m", asked_at=asked_at)
    turn = make_turn(second, asking=asking)
    await outbox.plan(turn, (), Answer(text="乙", conversation_id="c-old"))
    async with store.read() as connection:
        found = await connection.scalar(select(SESSIONS.c.conversation_id))

    assert found == kept


async def test_the_command_resets_and_tells_how_many(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One person's, then everybody's; an empty option means nobody."""
    monkeypatch.setenv("BRIDGE_ENV_FILE", "")
    monkeypatch.setenv("BRIDGE_CONFIG_FILE", "")
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[text=乙]]", person="小红")
        await bridge.until_settled(2)
        group, person = await place(bridge)
        env = {"DATABASE_URL": bridge.runtime.settings.database_url.get_secret_value()}

        def run(*arguments: str) -> tuple[int, str]:
            command = ["conversations", "reset", "--group", group, "--json", *arguments]
            found = CliRunner().invoke(cli.app, command, env=env)
            return found.exit_code, found.stdout

        odd = await asyncio.to_thread(run, "--user", " ")
        one = await asyncio.to_thread(run, "--user", person)
        every = await asyncio.to_thread(run)
        deeds = await bridge.rows(
            "SELECT subject FROM audit_log WHERE action = 'conversation.reset' ORDER BY id"
        )

    assert odd[0] == 2
    assert json.loads(one[1]) == {"group": group, "user": person, "reset": 1}
    assert json.loads(every[1]) == {"group": group, "user": None, "reset": 1}
    assert [row["subject"] for row in deeds] == [person, group]
