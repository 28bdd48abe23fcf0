"""What people think of answers, from the quotation in the group to Dify."""

import json
from typing import Any

import pytest

from app.models.flow import Duplicate, MessageId, Noted
from app.services.stages import utc_now
from app.workers import feedback_keeper
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_callbacks import QUOTATION, quotation
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

TOLD = "SELECT * FROM messages WHERE verdict = 'feedback' AND state = 'ignored' ORDER BY id"


def rating(
    bridge: Inside, text: str, *, number: int = 0, person: str = "小明", **changes: Any
) -> bytes:
    """A callback in which somebody rates a message that was sent."""
    gateway = bridge.gateway
    room = gateway.speech.find_group("体验群")
    if gateway.sent:
        one = gateway.sent[number]
        quoted = {"sender": one.bot, "content": one.content, "new_msg_id": one.new_msg_id}
    else:
        quoted = {"sender": next(iter(gateway.world.accounts)), "content": "?", "new_msg_id": 1}
    data = quotation(
        text, group=room, name="小助手", timestamp=1_767_000_000, **{**quoted, **changes}
    )
    body = json.loads(bridge.callback("", person=person, **data))
    return json.dumps({**body, "messageType": QUOTATION}).encode()


def ratings(dify: DifySimulator) -> list[tuple[str, str, str]]:
    """What Dify was told, by message, user and rating."""
    return [
        (one.facts["message_id"], one.facts["user"], one.facts["rating"])
        for one in dify.recorder.of("request")
        if one.name.endswith("/feedbacks") and "rating" in one.facts
    ]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for seconds between two looks."""
    monkeypatch.setattr(feedback_keeper, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(feedback_keeper, "FIRST_PAUSE", 0.1)


async def test_a_rating_below_an_answer_reaches_dify_and_is_no_question(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Any segment of the answer will do, and any member: Dify knows the answer under who asked."""
    async with inside(REPLY_MAX_LENGTH="40") as bridge:
        await bridge.hear("一 [[long=100]]")
        [answered] = await bridge.until_settled(1)
        receipt = await bridge.take(rating(bridge, "👍", number=-1, person="小红"))
        [row] = await bridge.until_rows(TOLD)
        again = await bridge.take(rating(bridge, "踩"))
        await bridge.until_rows(f"{TOLD} LIMIT 1 OFFSET 1")
        queued = await bridge.rows("SELECT 1 FROM messages WHERE queued_at IS NOT NULL")

    assert isinstance(receipt, Noted)
    assert isinstance(again, Noted)
    message, user = answered["dify_message_id"], answered["from_user"]
    assert ratings(dify) == [(message, user, "like"), (message, user, "dislike")]
    assert (row["detail"], row["text"], row["question"]) == ("told", None, None)
    assert row["from_user"] != user
    assert len(dify.questions()) == 1
    assert len(queued) == 1


@INSIDE_EMBEDDED
async def test_a_process_that_dies_behind_its_200_loses_none(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """It waits in the inbox; a second delivery is the same one."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        bridge.background.hurry()
        await bridge.background.stop()
        body = rating(bridge, "赞")
        first = await bridge.take(body)
        second = await bridge.take(body)
        [waiting] = await bridge.rows("SELECT state FROM messages WHERE verdict = 'feedback'")
    async with inside() as bridge:
        [row] = await bridge.until_rows(TOLD)

    assert waiting["state"] == "rating"
    assert isinstance(first, Noted)
    assert second == Duplicate(message_id=MessageId(row["id"]))
    assert [one[2] for one in ratings(dify)] == ["like"]
    assert row["done_at"] is not None


@INSIDE_EMBEDDED
async def test_an_older_rating_that_waits_never_overwrites_a_newer_one(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """They are told in their order, however often Dify fails; other answers do not wait."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[text=乙]]", person="小红")
        first, second = await bridge.until_settled(2)
        number = [one.content.endswith("甲") for one in gateway.sent].index(True)
        fault = f"*/{first['dify_message_id']}/feedbacks"
        dify.faults.set("http_500", endpoints=[fault], times=2)
        await bridge.take(rating(bridge, "赞", number=number))
        await bridge.take(rating(bridge, "踩", number=number))
        await bridge.take(rating(bridge, "踩", number=1 - number))
        rows = await bridge.until_rows(f"{TOLD} LIMIT 1 OFFSET 2") and await bridge.rows(TOLD)

    mine = [one[2] for one in ratings(dify) if one[0] == first["dify_message_id"]]
    assert mine == ["like", "dislike"]
    assert [one[2] for one in ratings(dify) if one[0] == second["dify_message_id"]] == ["dislike"]
    assert [(one["detail"], one["attempts"]) for one in rows] == [
        ("told", 2),
        ("told", 0),
        ("told", 0),
    ]


@INSIDE_EMBEDDED
async def test_ratings_of_an_app_that_fails_hold_up_no_others(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many wait."""
    monkeypatch.setattr("app.services.feedback_table.PAGE", 2)
    monkeypatch.setattr(feedback_keeper, "FIRST_PAUSE", 60.0)
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.hear("二 [[text=乙]]", person="小红")
        first, second = await bridge.until_settled(2)
        number = [one.content.endswith("甲") for one in gateway.sent].index(True)
        dify.faults.set("http_500", endpoints=[f"*/{first['dify_message_id']}/feedbacks"])
        for text in ("赞", "踩", "赞", "踩"):
            await bridge.take(rating(bridge, text, number=number))
        await bridge.take(rating(bridge, "踩", number=1 - number))
        [told] = await bridge.until_rows(TOLD, seconds=20)
        waiting = await bridge.rows("SELECT 1 FROM messages WHERE state = 'rating'")

    assert [one[2] for one in ratings(dify) if one[0] == second["dify_message_id"]] == ["dislike"]
    assert (told["detail"], len(waiting)) == ("told", 4)


@INSIDE_EMBEDDED
async def test_what_dify_refuses_or_never_takes_is_given_up(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A message that is gone there, an app that fails for hours, an answer that is none of ours."""
    monkeypatch.setattr(feedback_keeper, "MOST_TRIES", 2)
    monkeypatch.setattr(feedback_keeper, "UNKNOWN_AGE", utc_now() - utc_now())
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        dify.store._messages.clear()
        await bridge.take(rating(bridge, "赞"))
        await bridge.until_rows(TOLD)
        dify.faults.set("http_500", endpoints=["*/feedbacks"])
        await bridge.take(rating(bridge, "踩"))
        await bridge.take(rating(bridge, "踩", new_msg_id=77))
        rows = await bridge.until_rows(f"{TOLD} LIMIT 1 OFFSET 2") and await bridge.rows(TOLD)

    assert [one["detail"] for one in rows] == ["refused", "dify_unavailable", "unknown_answer"]


@INSIDE_EMBEDDED
async def test_where_it_is_off_a_rating_is_a_question_as_any_quote(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Nobody is told what somebody thinks."""
    async with inside(DIFY_FEEDBACK="false") as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        await bridge.take(rating(bridge, "赞"))
        rows = await bridge.until_settled(2)

    assert [row["verdict"] for row in rows] == ["answered", "answered"]
    assert ratings(dify) == []


@INSIDE_EMBEDDED
async def test_a_rating_survives_a_database_that_is_away(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the disk, like a question."""
    async with inside() as bridge:
        await bridge.hear("一 [[text=甲]]")
        await bridge.until_settled(1)
        table = bridge.runtime.inbox._table
        monkeypatch.setattr(table, "_seconds", 0.0)
        await bridge.take(rating(bridge, "赞"))
        assert bridge.runtime.inbox.spilled == 1
        monkeypatch.undo()
        [row] = await bridge.until_rows(TOLD)

    assert (row["rating"], row["detail"]) == ("like", "told")
