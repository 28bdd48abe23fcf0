"""A conversation is reset: the next question begins a new one, and what was asked before does not come back."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from app import cli
from app.models.flow import WcId
from app.services.audit import Deed
from app.services.resets import reset_conversations
from simulators.dify import DifySimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

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

    asked = {
        query.rpartition("(现在的问题)\n")[2].split()[0]: (query, conversation)
        for query, conversation in zip(queries(dify), conversations(dify), strict=True)
    }
    own = {row["question"].split()[0]: row["dify_conversation_id"] for row in rows}
    assert count == 1
    assert asked["二"][1] == ""
    assert "甲" not in asked["二"][0]
    assert own["二"] != own["一"]
    assert asked["三"][1] == own["二"]
    assert asked["又一个"][1] == own["另一个"]


@INSIDE_EMBEDDED
async def test_an_answer_under_way_does_not_bring_the_old_conversation_back(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Not even where its process died and another one fetches the rest."""
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
