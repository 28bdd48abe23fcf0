"""Suggested questions: the list behind an answer, and the number that asks one of them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from app.services import suggesting
from app.services.errors import StoreUnavailable
from app.services.stages import utc_now
from app.services.suggestions import HEADING, shown_suggestions
from app.workers.retention import Ages, Retention
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

QUESTIONS = ["怎么退货 [[text=这样退。]]", "多久到账 [[text=三天。]]"]
LIST = f"{HEADING}\n1. {QUESTIONS[0]}\n2. {QUESTIONS[1]}"
ON = {"REPLY_SUGGESTIONS": "true"}
STREAMING = pytest.mark.parametrize("streaming", ["true", "false"])


def said(gateway: EcloudSimulator) -> list[str]:
    """What the group saw, without the mentions."""
    return [one.content.split("\u2005")[-1] for one in gateway.sent]


def suggest(dify: DifySimulator, questions: Sequence[str] = QUESTIONS) -> None:
    """The app suggests these behind each answer."""
    dify.set_app(
        dify.default_app.key,
        {
            "suggestions": list(questions),
            "parameters": {"suggested_questions_after_answer": {"enabled": True}},
        },
    )


def asked(dify: DifySimulator) -> list[str]:
    """What Dify was asked so far."""
    return [one.facts["query"] for one in dify.questions()]


def looks(dify: DifySimulator) -> int:
    """How often Dify was asked for suggestions."""
    names = [one.name for one in dify.recorder.of("request")]
    return sum(name.endswith("/suggested") for name in names)


async def until_offered(bridge: Inside, gateway: EcloudSimulator, count: int) -> None:
    """So many messages are in the group, and nothing is owed to it."""
    await gateway.wait_for_sent(count)
    await bridge.until_settled(1)


@STREAMING
async def test_a_list_stands_behind_the_answer_and_a_number_asks_from_it(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, streaming: str
) -> None:
    """The message is done only when its list is out; another replica may take the number."""
    suggest(dify)
    settings = {**ON, "DIFY_STREAMING_ENABLED": streaming, "GROUPS_TRIGGER": "prefix"}
    async with inside(GROUPS_PREFIXES='["问"]', **settings) as bridge:
        await bridge.hear("问一 [[text=甲。]]")
        await until_offered(bridge, gateway, 2)
        first = await bridge.rows("SELECT seq, content FROM segments ORDER BY id")
    async with inside(GROUPS_PREFIXES='["问"]', **settings) as bridge:
        await bridge.hear(" 2. ")
        await gateway.wait_for_sent(4)
        *_, message = await bridge.until_settled(2)

    assert [(one["seq"], one["content"].split("\u2005")[-1]) for one in first] == [
        (0, "甲。"),
        (1, LIST),
    ]
    assert said(gateway) == ["甲。", LIST, "三天。", LIST]
    assert (message["text"], message["question"]) == (" 2. ", QUESTIONS[1])
    assert asked(dify) == ["一 [[text=甲。]]", QUESTIONS[1]]


@INSIDE_EMBEDDED
async def test_a_number_is_a_text_once_the_person_has_asked_again(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The list is that person's, and in force until the next question."""
    suggest(dify)
    async with inside(**ON) as bridge:
        await bridge.hear("一 [[text=甲。]]")
        await gateway.wait_for_sent(2)
        await bridge.hear("1", person="小红")
        await gateway.wait_for_sent(4)
        suggest(dify, ())
        await bridge.hear("二 [[text=乙。]]")
        await gateway.wait_for_sent(5)
        await bridge.hear("2")
        await bridge.until_settled(4)

    assert asked(dify) == ["一 [[text=甲。]]", "1", "二 [[text=乙。]]", "2"]


@INSIDE_EMBEDDED
async def test_a_list_of_half_an_hour_ago_is_over(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Nobody knows any more what a number meant."""
    suggest(dify)
    async with inside(**ON) as bridge:
        await bridge.hear("一 [[text=甲。]]")
        await gateway.wait_for_sent(2)
        long_ago = utc_now().replace(tzinfo=None) - timedelta(minutes=31)
        await bridge.execute("UPDATE suggestions SET offered_at = :at", at=long_ago)
        await bridge.hear("2")
        await bridge.until_settled(2)

    assert asked(dify) == ["一 [[text=甲。]]", "2"]


@INSIDE_EMBEDDED
async def test_a_person_who_has_asked_meanwhile_gets_no_list(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """It would stand behind the wrong answer."""
    suggest(dify)
    dify.faults.set("latency", 1.0, endpoints=["*/suggested"], times=1)
    async with inside(**ON) as bridge:
        await bridge.hear("一 [[text=甲。]]")
        await gateway.wait_for_sent(1)
        await dify.recorder.until(lambda: looks(dify) == 1)
        await bridge.hear("二 [[text=乙。]]")
        await gateway.wait_for_sent(3)
        await bridge.until_settled(2)

    assert said(gateway) == ["甲。", "乙。", LIST]


@INSIDE_EMBEDDED
@pytest.mark.parametrize("switch", ["off", "app"])
async def test_where_it_is_off_nobody_asks_and_a_number_costs_no_look(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
    switch: str,
) -> None:
    """Off by default, and off where the app does not suggest."""
    if switch == "off":
        suggest(dify)
    settings = {} if switch == "off" else ON
    async with inside(**settings) as bridge:
        if switch == "off":
            monkeypatch.delattr(type(bridge.runtime.suggestions), "in_force")
        await bridge.hear("一 [[text=甲。]]")
        await bridge.hear("2")
        await bridge.until_settled(2)

    assert looks(dify) == 0
    assert len(said(gateway)) == 2
    assert asked(dify)[1] == "2"


@INSIDE_EMBEDDED
async def test_a_database_that_cannot_tell_lets_the_number_be_a_text(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway waits for six seconds only; nothing is lost."""

    async def away(_origin: object) -> tuple[str, ...]:
        await asyncio.sleep(0)
        raise StoreUnavailable("away")

    async def stuck(_origin: object) -> tuple[str, ...]:
        await asyncio.sleep(60)
        return ("何时",)

    async with inside(**ON) as bridge:
        for number, look in (("1", away), ("2", stuck)):
            monkeypatch.setattr(bridge.runtime.suggestions, "in_force", look)
            await bridge.hear(number)
        messages = await bridge.until_settled(2)

    assert [one["question"] for one in messages] == ["1", "2"]


@INSIDE_EMBEDDED
async def test_slow_suggestions_hold_up_neither_the_answer_nor_the_next_question(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And stopping waits no longer than they are given."""
    monkeypatch.setattr(suggesting, "SUGGEST_SECONDS", 0.5)
    suggest(dify)
    dify.faults.set("hang", endpoints=["*/suggested"])
    async with inside(**ON) as bridge:
        await bridge.hear("一 [[text=甲。]]")
        await bridge.hear("二 [[text=乙。]]")
        messages = await bridge.until_settled(2)

    assert said(gateway) == ["甲。", "乙。"]
    assert {one["verdict"] for one in messages} == {"answered"}


@INSIDE_EMBEDDED
async def test_a_message_that_is_done_owes_its_list(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Nobody should read "done" where the group still gets something."""
    suggest(dify)
    dify.faults.set("latency", 0.6, endpoints=["*/suggested"])
    async with inside(**ON) as bridge:
        await bridge.hear("一 [[text=甲。]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'done'")
        gateway.faults.set("slow", 1.5, endpoints=["/send*"])
        await bridge.until_rows("SELECT 1 FROM segments WHERE seq = 1")
        [owing] = await bridge.rows("SELECT state FROM messages")
        await gateway.wait_for_sent(2)
        await bridge.until_settled(1)

    assert owing["state"] == "answered"


@INSIDE_EMBEDDED
async def test_old_lists_are_removed(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """They hold text."""
    suggest(dify)
    days = timedelta(days=30)
    async with inside(**ON) as bridge:
        await bridge.hear("一 [[text=甲。]]")
        await gateway.wait_for_sent(2)
        runtime = bridge.runtime
        keeper = Retention(
            store=runtime.store,
            leases=runtime.leases,
            ages=Ages(text=days, raw=days, dedupe=days),
            clock=runtime.clock,
        )
        await keeper.remove_old()
        young = await bridge.rows("SELECT 1 FROM suggestions")
        # The walk over the messages has passed this one long ago.
        long_ago = utc_now() - timedelta(days=2)
        await bridge.execute("UPDATE suggestions SET offered_at = :at", at=str(long_ago)[:26])
        await keeper.remove_old()
        old = await bridge.rows("SELECT 1 FROM suggestions")

    assert (len(young), old) == (1, [])


def test_a_list_has_what_can_be_read_and_asked_by_one_digit() -> None:
    """Blank ones, twins and novels are left out; the rest is one line each."""
    wanted = ("甲 乙", "丙", "丁", "戊", "己")

    assert (
        shown_suggestions(
            ["甲\n乙", "", " ", "丙", "丙", "长" * 201, "丁", "戊", "己", "庚"], limit=500
        )
        == wanted
    )
    assert shown_suggestions(["甲", "乙" * 40], limit=20) == ("甲",)
    assert shown_suggestions(["甲"], limit=3) == ()
