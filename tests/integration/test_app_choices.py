"""What an operator chooses about a Dify app: its kind, its variables, who stands in, how it reads."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from app.api.breakers import shown_breakers
from app.api.views import merged_looks
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

OTHER = "app-other"
STREAMING = pytest.mark.parametrize("streaming", ["true", "false"])


def said(gateway: EcloudSimulator) -> list[str]:
    """What the group saw, without the mentions."""
    return [one.content.split("\u2005")[-1] for one in gateway.sent]


def only_app(dify: DifySimulator, kind: str, **settings: Any) -> dict[str, str]:
    """The default app is this one."""
    dify.add_app(OTHER, kind, **settings)
    return {"DIFY_API_KEY": OTHER}


async def until_found(bridge: Inside, code: str) -> str:
    """The sentence of a finding about an app, as soon as it is there."""
    async with asyncio.timeout(20):
        while True:
            for finding in merged_looks(bridge.runtime.app_inspection.looks, "apps").findings:
                if finding.code == code:
                    return finding.text
            await asyncio.sleep(0.02)


@STREAMING
@pytest.mark.parametrize("kind", ["workflow", "completion", "chat", "agent", "chatflow"])
@INSIDE_EMBEDDED
async def test_apps_of_every_kind_answer_in_either_mode(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, kind: str, streaming: str
) -> None:
    """The operator says nothing about it; the second question knows what the first one learnt."""
    settings = only_app(dify, kind)
    async with inside(DIFY_STREAMING_ENABLED=streaming, **settings) as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[text=乙]]")
        messages = await bridge.until_settled(2)

    assert said(gateway) == ["甲", "乙"]
    assert [(one["verdict"], one["attempts"]) for one in messages] == [("answered", 0)] * 2
    converses = kind not in ("workflow", "completion")
    assert all(bool(one["dify_conversation_id"]) is converses for one in messages)


async def test_what_an_answer_cost_stands_in_its_row(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Tokens of either side, and the price."""
    dify.set_app(dify.default_app.key, {"price": "0.0021"})
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        [row] = await bridge.until_settled(1)

    assert row["prompt_tokens"] > 0
    assert row["completion_tokens"] > 0
    assert row["total_tokens"] == row["prompt_tokens"] + row["completion_tokens"]
    assert (row["total_price"], row["currency"]) == ("0.0021", "USD")


@INSIDE_EMBEDDED
async def test_variables_are_filled_by_the_operators_templates(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Only those that the app declares, once it has said which."""
    form = [{"name": "who", "type": "text-input", "required": True, "max_length": 20}]
    templates = {"who": "{user_id}", "undeclared": "x"}
    settings = only_app(dify, "chat", form=form)
    async with inside(DIFY_INPUTS=json.dumps(templates), **settings) as bridge:
        async with asyncio.timeout(20):
            while bridge.runtime.apps["default"].client.traits.fields is None:
                await asyncio.sleep(0.02)
        await bridge.hear("一 [[text=甲]]")
        [row] = await bridge.until_settled(1)

    [question] = dify.questions()
    assert question.facts["inputs"] == {"who": row["from_user"]}
    assert said(gateway) == ["甲"]


@INSIDE_EMBEDDED
async def test_a_required_variable_that_nobody_gives_is_said_at_start_and_costs_no_question(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Dify would refuse, or fall silent for minutes; the letter can be replayed when it is mended."""
    form = [{"name": "city", "type": "text-input", "required": True}]
    async with inside(**only_app(dify, "chatflow", form=form)) as bridge:
        text = await until_found(bridge, "dify_input_lacking")
        await bridge.hear("一 [[text=甲]]")
        [row] = await bridge.until_settled(1)

    assert "city" in text
    assert "dify.inputs" in text
    assert (row["verdict"], "city" in row["error"]) == ("failed:input_lacking", True)
    assert dify.questions() == []
    assert gateway.sent == []


@INSIDE_EMBEDDED
async def test_a_kind_that_the_app_is_not_is_said_at_start(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Instead of a dead letter per question, and nobody who knows why."""
    async with inside(DIFY_KIND="workflow") as bridge:
        text = await until_found(bridge, "dify_kind")

    assert "dify.kind" in text
    assert "workflow" in text


async def test_a_new_key_begins_new_conversations_and_the_old_one_finds_its_own(
    inside: StartInside, dify: DifySimulator
) -> None:
    """Under another key Dify knows none of them: no question is lost on finding that out."""
    dify.add_app(OTHER, "chat")
    rows: list[dict[str, Any]] = []
    keys: list[Mapping[str, str]] = [{}, {"DIFY_API_KEY": OTHER}, {"DIFY_API_KEY": OTHER}]
    for number, key in enumerate(keys, 1):
        async with inside(**key) as bridge:
            await bridge.hear(f"{number} [[text=好]]")
            rows = await bridge.until_settled(number)

    ids = [row["dify_conversation_id"] for row in rows]
    assert ids[0] != ids[1] == ids[2]
    assert len(dify.questions()) == 3


@STREAMING
async def test_a_conversation_that_the_model_refuses_is_left_for_a_new_one(
    inside: StartInside, gateway: EcloudSimulator, streaming: str
) -> None:
    """Else every further question in it would fail."""
    async with inside(DIFY_STREAMING_ENABLED=streaming) as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[fail=400:completion_request_error;times=1]] [[text=乙]]")
        await bridge.hear("三 [[text=丙]]")
        rows = await bridge.until_settled(3)

    assert said(gateway) == ["甲", "乙", "丙"]
    assert [(row["verdict"], row["attempts"]) for row in rows] == [("answered", 0)] * 3
    ids = [row["dify_conversation_id"] for row in rows]
    assert ids[0] != ids[1] == ids[2]


@pytest.mark.parametrize("recap", ["0", "5"])
async def test_a_conversation_that_is_gone_is_told_again_where_that_is_wanted(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, recap: str
) -> None:
    """Only to the new conversation's first question."""
    async with inside(DIFY_RECAP_TURNS=recap) as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        dify.store._conversations.clear()
        await bridge.hear("二 [[text=乙]]")
        await bridge.hear("三 [[text=丙]]")
        await bridge.until_settled(3)

    assert said(gateway) == ["甲", "乙", "丙"]
    asked = [question.facts["query"] for question in dify.questions()]
    assert ["答:甲" in query for query in asked] == [False, False, recap == "5", False]


@INSIDE_EMBEDDED
async def test_a_question_that_the_model_refuses_anywhere_is_given_up_and_its_conversation_kept(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """It was not the past."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[fail=400:completion_request_error]]")
        await bridge.hear("三 [[text=丙]]")
        rows = await bridge.until_settled(3)

    assert [row["verdict"] for row in rows] == ["answered", "failed:dify_rejected", "answered"]
    assert rows[0]["dify_conversation_id"] == rows[2]["dify_conversation_id"]
    assert len(dify.questions()) == 4


FALLBACK = {"MESSAGE_PROCESSING_RETRY_DELAY": "0", "DIFY_FALLBACK": "other"}


def with_other(dify: DifySimulator, **more: Any) -> dict[str, str]:
    """The default app is nowhere, and another one stands in for it."""
    dify.add_app(OTHER, "chat")
    one = {"name": "other", "base_url": dify.base_url, "api_key": OTHER, **more}
    return {"DIFY_APPS": json.dumps([one]), "DIFY_BASE_URL": "http://127.0.0.1:9/v1", **FALLBACK}


async def test_another_app_answers_while_the_groups_own_is_away(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """In a conversation of its own, which goes on; nothing waits, and no try is burnt for it."""
    async with inside(**with_other(dify)) as bridge:
        for number in (1, 2, 3):
            await bridge.hear(f"{number} [[text=代{number}]]")
        rows = await bridge.until_settled(3)
        sessions = await bridge.rows("SELECT app, conversation_id FROM sessions")
        breakers = await shown_breakers(bridge.runtime)

    assert said(gateway) == ["代1", "代2", "代3"]
    assert {row["dify_app"] for row in rows} == {"other"}
    assert len({row["dify_conversation_id"] for row in rows}) == 1
    assert [session["app"] for session in sessions] == ["other"]
    assert [row["attempts"] for row in rows[1:]] == [0, 0]
    assert breakers


async def test_whoever_waits_while_both_are_away_is_answered_when_one_is_back(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Nobody waits for the app that only stood in."""
    settings = with_other(dify, base_url="http://127.0.0.1:9/v1")
    async with inside(**settings) as bridge:
        await bridge.hear("一 [[text=甲]]")
        async with asyncio.timeout(30):
            while not (await bridge.runtime.queue.parked_peers()):
                await asyncio.sleep(0.02)
        parked = list(await bridge.runtime.queue.parked_peers())
    async with inside(**with_other(dify)) as bridge:
        [row] = await bridge.until_settled(1)

    assert parked == ["dify:default"]
    assert (row["verdict"], row["dify_app"]) == ("answered", "other")
    assert said(gateway) == ["甲"]


THOUGHT = "<think>\n嗯……\n</think>\n\n三点。"


@STREAMING
@INSIDE_EMBEDDED
async def test_thinking_does_not_reach_the_group_unless_it_is_wanted(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, streaming: str
) -> None:
    """The journal holds what the group read."""
    journal: list[dict[str, Any]] = []
    for strip in ("true", "false"):
        async with inside(DIFY_STREAMING_ENABLED=streaming, REPLY_STRIP_THINKING=strip) as bridge:
            await bridge.hear(f"{strip} [[text={THOUGHT}]]")
            await bridge.until_settled(1 if strip == "true" else 2)
            journal = await bridge.rows("SELECT content FROM conversations")

    assert said(gateway) == ["三点。", THOUGHT]
    turns = [turn for row in journal for turn in json.loads(row["content"])]
    assert [turn["answer"] for turn in turns] == ["三点。", THOUGHT]


MARKED = "## 时间\n\n- **九点** 开门\n- 五点关门"
PLAIN = "【时间】\n\n• 九点 开门\n• 五点关门"


@STREAMING
async def test_a_group_reads_plain_text_if_it_is_chosen_for_it(
    inside: StartInside, gateway: EcloudSimulator, streaming: str
) -> None:
    """By the settings for all, by its row for one."""
    async with inside(DIFY_STREAMING_ENABLED=streaming) as bridge:
        await bridge.hear(f"一 [[text={MARKED}]]")
        await bridge.until_settled(1)
        await bridge.until_rows("SELECT 1 FROM `groups`")
        await bridge.execute("UPDATE `groups` SET plain_text = 1")
        await bridge.runtime.groups.load()
        await bridge.hear(f"二 [[text={MARKED}]]")
        await bridge.until_settled(2)

    assert said(gateway) == [MARKED, PLAIN]
