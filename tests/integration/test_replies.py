"""Asking Dify and planning what it says, between real stores and the simulated peers."""

import asyncio
import json
from typing import Any

import pytest

from app.services.dify.wire import AppParameters
from app.services.errors import DifyUnavailable
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import Inside, StartInside

STREAM = {"DIFY_STREAMING_ENABLED": "true", "REPLY_MAX_LENGTH": "60"}


async def test_a_stream_that_its_worker_gave_up_is_told_as_the_group_got_it(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The next worker does not ask again; the journal tells the parts, the conversation goes on."""
    async with inside(**STREAM) as bridge:
        await bridge.hear("一 [[long=4000]] [[delay=0.05]]")
        await gateway.wait_for_sent(2)
        bridge.background.hurry()
        await bridge.background.stop()
    async with inside(**STREAM) as bridge:
        [message] = await bridge.until_settled(1)
        [turn] = await bridge.rows("SELECT content, conversation_id FROM conversations")
        [session] = await bridge.rows("SELECT conversation_id FROM sessions")
        await bridge.hear("二 [[text=好]]")
        await bridge.until_settled(2)

    first, second = dify.questions()
    conversation = first.facts["answered_conversation_id"]
    assert (message["state"], message["verdict"]) == ("done", "cut_short")
    assert message["dify_message_id"] == first.facts["message_id"]
    said = [one.content.split("\u2005")[-1] for one in gateway.sent][:-1]
    assert len(said) >= 2
    assert json.loads(turn["content"])[0]["answer"] == "\n".join(said)
    assert (turn["conversation_id"], session["conversation_id"]) == (conversation, conversation)
    assert second.facts["conversation_id"] == conversation


def measured(bridge: Inside, mode: str, outcome: str) -> tuple[float, float]:
    """How many questions ended so, and the seconds that Dify took for them."""
    labels = {"mode": mode, "outcome": outcome}
    registry = bridge.runtime.metrics.registry
    count = registry.get_sample_value("bridge_dify_seconds_count", labels)
    return count or 0, registry.get_sample_value("bridge_dify_seconds_sum", labels) or 0


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
async def test_the_time_of_our_own_database_is_not_dify_s(
    inside: StartInside, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """However long each part takes to be planned."""
    is_streaming = str(mode == "streaming").lower()
    async with inside(**{**STREAM, "DIFY_STREAMING_ENABLED": is_streaming}) as bridge:
        for name in ("plan_part", "plan"):
            original = getattr(bridge.runtime.outbox, name)

            async def slow(*arguments: Any, original: Any = original, **options: Any) -> Any:
                await asyncio.sleep(1)
                return await original(*arguments, **options)

            monkeypatch.setattr(bridge.runtime.outbox, name, slow)
        await bridge.hear("一 [[long=150]] [[wait=0.3]]")
        await bridge.until_settled(1)
        count, seconds = measured(bridge, mode, "answered")

    assert count == 1
    assert 0.3 <= seconds < 1


async def test_a_question_that_dify_refuses_or_leaves_hanging_counts_as_failed(
    inside: StartInside,
) -> None:
    """An error of its own, and a try whose budget is spent."""
    async with inside(
        MESSAGE_PROCESSING_RETRY_DELAY="60", MESSAGE_PROCESSING_QUEUE_TIMEOUT="0.5", **STREAM
    ) as bridge:
        await bridge.hear("一 [[fail=500]]")
        await bridge.hear("二 [[hang=0]]", person="小红")
        async with asyncio.timeout(60):
            while measured(bridge, "streaming", "failed")[0] < 2:
                await asyncio.sleep(0.02)
        count, seconds = measured(bridge, "streaming", "failed")
        assert measured(bridge, "streaming", "answered") == (0, 0)

    assert count == 2
    # Of a minute of retry delay nothing.
    assert 0.4 <= seconds < 20


async def test_a_try_that_another_worker_took_over_says_nothing_about_dify(
    inside: StartInside, dify: DifySimulator
) -> None:
    """The part that is refused ends our try, not Dify's answer."""
    async with inside(**STREAM) as bridge:
        await bridge.hear("一 [[long=600]] [[delay=0.02]] [[wait=0.5;times=1]]")
        await dify.recorder.until(lambda: len(dify.questions()) == 1)
        fence = int(await bridge.runtime.redis.get("ecloud:fence") or 0) + 1_000_000
        await bridge.execute("UPDATE messages SET fence = :fence", fence=fence)
        [message] = await bridge.until_settled(1)
        assert measured(bridge, "streaming", "failed") == (0, 0)
        assert measured(bridge, "streaming", "answered")[0] == 1

    assert message["verdict"] == "answered"
    assert len(dify.questions()) == 2


def looks(dify: DifySimulator) -> int:
    """How often the app's parameters were asked for."""
    return len(dify.recorder.of("request", "GET /v1/parameters"))


async def planned(bridge: Inside) -> list[dict[str, Any]]:
    """All segments that were ever planned."""
    return await bridge.rows("SELECT content, state, planned_at FROM segments ORDER BY id")


async def test_a_moderated_app_is_heard_to_its_end_before_anything_is_sent(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Long answers are planned whole, in one commit; what Dify takes back nobody ever saw."""
    dify.default_app.moderated = True
    async with inside(**STREAM) as bridge:
        await bridge.hear("一 [[long=600]] [[delay=0.02]]")
        await bridge.until_settled(1)
        whole = await planned(bridge)
        await bridge.hear("二 [[long=600]] [[delay=0.02]] [[replace=换成这样]]")
        await bridge.until_settled(2)
        replaced = (await planned(bridge))[len(whole) :]
        turns = await bridge.rows("SELECT content FROM conversations")

    assert len(whole) > 2
    assert len({one["planned_at"] for one in whole}) == 1
    assert [one["content"].split("\u2005")[-1] for one in replaced] == ["换成这样"]
    assert [one.content for one in gateway.sent] == [one["content"] for one in whole + replaced]
    assert "换成这样" in [turn["answer"] for row in turns for turn in json.loads(row["content"])]
    assert 1 <= looks(dify) <= 2  # the look at the start, and one of the first answer's


async def test_an_app_that_does_not_moderate_is_read_while_it_writes(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Its parameters are asked for once, and the first part does not wait for the end."""
    async with inside(**STREAM) as bridge:
        for count, question in enumerate(("一", "二"), 1):
            await bridge.hear(f"{question} [[long=600]] [[delay=0.02]]")
            await bridge.until_settled(count)
        segments = await planned(bridge)

    assert len({one["planned_at"] for one in segments}) > 2
    assert 1 <= looks(dify) <= 2  # the look at the start, and one of the first answer's


@pytest.mark.parametrize("is_failing", [True, False])
async def test_parameters_that_cannot_be_had_delay_no_answer(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_failing: bool,
) -> None:
    """The look fails or hangs: the answer is there when Dify has written it, and comes whole."""
    async with inside(**STREAM) as bridge:

        async def parameters() -> None:
            if is_failing:
                raise DifyUnavailable("502")
            await asyncio.sleep(60)

        monkeypatch.setattr(bridge.runtime.apps["default"].client, "parameters", parameters)
        await bridge.hear("一 [[long=600]] [[delay=0.02]]")
        [message] = await bridge.until_settled(1, seconds=25)
        segments = await planned(bridge)

    assert message["verdict"] == "answered"
    assert len(segments) > 2
    assert len({one["planned_at"] for one in segments}) == 1


async def test_parts_flow_once_the_parameters_are_there(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They come late, in the middle of the first answer."""
    async with inside(**STREAM) as bridge:
        original, may_tell = bridge.runtime.apps["default"].client.parameters, asyncio.Event()

        async def parameters() -> AppParameters:
            await may_tell.wait()
            return await original()

        monkeypatch.setattr(bridge.runtime.apps["default"].client, "parameters", parameters)
        await bridge.hear("一 [[long=4000]] [[delay=0.03]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE first_text_at IS NOT NULL")
        assert await planned(bridge) == []
        may_tell.set()
        await gateway.wait_for_sent(1)
        [question] = dify.questions()

        assert question.ended is None
        bridge.background.hurry()
