"""
Answers whose end nobody heard: fetched from Dify, asked anew, or closed with what is out.

Streams end by ``eof``: a socket that is reset takes back what a slow machine has not read yet.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulators.dify import DifySimulator
from simulators.dify_store import Message
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.ports import free_port

STREAM = {"DIFY_STREAMING_ENABLED": "true", "REPLY_MAX_LENGTH": "60"}
LONG = "[[long=600]] [[delay=0.01]]"
RECORDS = ("/v1/messages", "/v1/workflows/run/*")
CHAT = pytest.mark.parametrize("kind", ["chat"])


@pytest.fixture
def kind() -> str:
    """Chatflows of the newer release go on when nobody listens."""
    return "chatflow"


@pytest.fixture
async def dify(kind: str) -> AsyncIterator[DifySimulator]:
    """A simulated Dify with an app of that kind."""
    async with DifySimulator.start(kind=kind, port=free_port()) as simulator:
        yield simulator


def said(gateway: EcloudSimulator) -> str:
    """All that the group read, without mentions and white space."""
    return "".join("".join(one.content.split("\u2005")[-1] for one in gateway.sent).split())


def kept(dify: DifySimulator, number: int = 0) -> Message:
    """What Dify has of a question."""
    run_id = dify.questions()[number].facts["run_id"]
    message = dify.store.find_run(dify.default_app, run_id)
    assert message is not None
    return message


def calls(dify: DifySimulator, end: str) -> int:
    """How many requests went to paths that end so."""
    return len([one for one in dify.recorder.of("request") if one.name.endswith(end)])


def recovered(bridge: Inside, outcome: str) -> float:
    """How many answers were looked for with this outcome."""
    registry = bridge.runtime.metrics.registry
    return registry.get_sample_value("bridge_dify_recovered_total", {"outcome": outcome}) or 0


async def journal(bridge: Inside) -> list[dict[str, Any]]:
    """All turns."""
    rows = await bridge.rows("SELECT content FROM conversations")
    return [turn for row in rows for turn in json.loads(row["content"])]


async def test_a_stream_cut_behind_parts_goes_on_with_what_dify_wrote_alone(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Exactly the rest, once; asked once; row, journal and session as of any answer."""
    async with inside(**STREAM) as bridge:
        await bridge.hear(f"一 {LONG} [[eof=15]] [[saved=0.5]]")
        [message] = await bridge.until_settled(1, seconds=60)
        [turn] = await journal(bridge)
        [session] = await bridge.rows("SELECT conversation_id FROM sessions")
        assert recovered(bridge, "whole") == 1

    answer = kept(dify).answer
    assert said(gateway) == "".join(answer.split())
    assert len(gateway.sent) > 4
    assert len(dify.questions()) == 1
    assert (message["verdict"], message["is_cut_short"]) == ("answered", 0)
    assert (message["total_tokens"], message["dify_app"]) == (kept(dify).tokens, "default")
    assert (turn["answer"], turn["outcome"]) == (answer, "answered")
    assert session["conversation_id"] == kept(dify).conversation_id


@INSIDE_EMBEDDED
async def test_a_stream_cut_before_its_first_word_is_not_asked_again(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Dify was asked already; moderation's words come by the same way."""
    dify.default_app.moderated = True
    async with inside(**STREAM) as bridge:
        await bridge.hear("一 [[eof=0]] [[saved=0.2]] [[text=好]]")
        await bridge.hear("二 [[eof=1]] [[saved=0.2]] [[text=坏话]] [[replace=换成这样]]")
        messages = await bridge.until_settled(2, seconds=60)

    assert [one["verdict"] for one in messages] == ["answered"] * 2
    assert said(gateway) == "好换成这样"
    assert len(dify.questions()) == 2


@INSIDE_EMBEDDED
async def test_of_a_run_that_failed_alone_nothing_is_had(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Behind parts the answer is closed with them; without any the question is asked again."""
    async with inside(**STREAM) as bridge:
        await bridge.hear(f"一 {LONG} [[eof=15]] [[error=20]] [[saved=0.2]]")
        await bridge.hear(
            "二 [[eof=0;times=1]] [[error=0;times=1]] [[saved=0.2]] [[text=好]]", person="小红"
        )
        messages = await bridge.until_settled(2, seconds=60)
        assert recovered(bridge, "nothing") >= 2

    assert [one["verdict"] for one in messages] == ["cut_short", "answered"]
    assert messages[1]["attempts"] == 1
    assert len(dify.questions()) == 3
    assert calls(dify, "/stop") == 0


@INSIDE_EMBEDDED
async def test_a_text_that_does_not_begin_with_what_is_out_is_not_sent_behind_it(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Closed with what the group has; nothing twice, nothing mixed."""
    async with inside(**STREAM) as bridge:
        await bridge.hear(f"一 {LONG} [[eof=15]] [[kept=别的话]] [[saved=0.1]]")
        [message] = await bridge.until_settled(1, seconds=60)
        [turn] = await journal(bridge)
        assert recovered(bridge, "differs") == 1

    assert message["verdict"] == "cut_short"
    assert "别的话" not in said(gateway)
    assert "".join(turn["answer"].split()) == said(gateway)


@INSIDE_EMBEDDED
async def test_a_run_that_does_not_end_is_stopped_when_the_time_of_the_try_is_over(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Parts are the answer; a question without any is asked anew, and its old run is no answer."""
    async with inside(MESSAGE_PROCESSING_QUEUE_TIMEOUT="4", **STREAM) as bridge:
        await bridge.hear(f"一 {LONG} [[eof=15]] [[saved=600]]")
        await bridge.hear("二 [[eof=0;times=1]] [[saved=600]] [[text=好]]", person="小红")
        messages = await bridge.until_settled(2, seconds=60)
        await dify.recorder.until(lambda: calls(dify, "/stop") == 2, 60)
        assert recovered(bridge, "unfinished") == 2

    assert [one["verdict"] for one in messages] == ["cut_short", "answered"]
    assert len(dify.questions()) == 3
    assert [kept(dify, number).run_status for number in (0, 1)] == ["stopped", "stopped"]


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of the breaker of a fifth of a second."""
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "NEXT_PROBE"):
        monkeypatch.setattr(f"app.services.queue.breakers.{name}", 0.2)
    monkeypatch.setattr("app.workers.parking.LOOK_SECONDS", 0.05)


@pytest.mark.usefixtures("quick_probes")
async def test_dify_away_while_the_rest_is_fetched_is_waited_for(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Tries and the open breaker as for a question, the next message behind; then the rest, once."""
    async with inside(MESSAGE_PROCESSING_MAX_RETRY_COUNT="0", **STREAM) as bridge:
        dify.faults.set("down", endpoints=RECORDS)
        await bridge.hear(f"一 {LONG} [[eof=15]] [[saved=0.1]]")
        await bridge.hear("二 [[text=好]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE attempts = 1", seconds=60)
        begun = await bridge.rows("SELECT content FROM segments")
        asked = len(dify.questions())
        dify.faults.clear()
        messages = await bridge.until_settled(2, seconds=60)
        assert recovered(bridge, "away") >= 1

    assert (len(begun) > 2, asked) == (True, 1)
    assert [one["verdict"] for one in messages] == ["answered"] * 2
    assert said(gateway) == "".join(kept(dify).answer.split()) + "好"
    assert len(dify.questions()) == 2


@INSIDE_EMBEDDED
@pytest.mark.usefixtures("quick_probes")
async def test_a_question_beside_a_form_that_waits_is_not_asked_twice(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The next try fetches what the first one asked for."""
    async with inside(MESSAGE_PROCESSING_MAX_RETRY_COUNT="0", **STREAM) as bridge:
        await bridge.hear("下单 [[form=请确认。]] [[actions=同意|拒绝]]")
        await bridge.until_settled(1)
        dify.faults.set("down", endpoints=RECORDS)
        await bridge.hear("几点下班 [[eof=0]] [[saved=0.1]] [[text=六点。]]")
        await bridge.until_rows("SELECT 1 FROM messages WHERE attempts = 1", seconds=60)
        dify.faults.clear()
        messages = await bridge.until_settled(2, seconds=60)
        waiting = await bridge.rows("SELECT 1 FROM pending_forms")

    assert [one["verdict"] for one in messages] == ["answered"] * 2
    assert said(gateway).endswith("六点。")
    assert len(dify.questions()) == 2
    assert len(waiting) == 1


@INSIDE_EMBEDDED
@pytest.mark.usefixtures("quick_probes")
async def test_dify_away_for_good_closes_the_answer_with_its_parts(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """When the wait is over: not dead, no apology, and what was finished is out."""
    async with inside(
        MESSAGE_PROCESSING_MAX_RETRY_COUNT="0",
        MESSAGE_PROCESSING_OUTAGE_MAX_WAIT="2",
        MESSAGE_PROCESSING_FAILURE_REPLY="抱歉",
        **STREAM,
    ) as bridge:
        dify.faults.set("down", endpoints=RECORDS)
        await bridge.hear(f"一 {LONG} [[eof=15]] [[saved=0.1]]")
        [message] = await bridge.until_settled(1, seconds=60)
        [turn] = await journal(bridge)
        [session] = await bridge.rows("SELECT conversation_id FROM sessions")

    assert (message["state"], message["verdict"]) == ("done", "cut_short")
    assert "".join(turn["answer"].split()) == said(gateway)
    assert session["conversation_id"] == kept(dify).conversation_id
    assert said(gateway).endswith("。")
    assert len(dify.questions()) == 1


async def test_the_next_process_fetches_what_a_stopped_one_had_begun(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """At the end of its patience it let go of the run without stopping it."""
    async with inside(**STREAM) as bridge:
        await bridge.hear("一 [[long=900]] [[delay=0.04]]")
        await gateway.wait_for_sent(2, seconds=60)
        bridge.background.hurry()
        await bridge.background.stop()
    async with inside(**STREAM) as bridge:
        [message] = await bridge.until_settled(1, seconds=60)

    assert (message["verdict"], message["is_cut_short"]) == ("answered", 0)
    assert said(gateway) == "".join(kept(dify).answer.split())
    assert len(dify.questions()) == 1
    assert calls(dify, "/stop") == 0


@INSIDE_EMBEDDED
async def test_an_answer_over_which_processes_died_is_closed_with_its_parts(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Perhaps it is the rest that they died over: it is not fetched, and nobody apologises."""
    async with inside(**STREAM) as bridge:
        await bridge.hear("一 [[long=900]] [[delay=0.3]]")
        await gateway.wait_for_sent(2, seconds=60)
        bridge.background.hurry()
        await bridge.background.stop()
        await bridge.execute("UPDATE messages SET crashes = 6, sole_crashes = 4")
    async with inside(MESSAGE_PROCESSING_FAILURE_REPLY="抱歉", **STREAM) as bridge:
        [message] = await bridge.until_settled(1, seconds=60)

    assert (message["state"], message["verdict"]) == ("done", "cut_short")
    assert "抱歉" not in said(gateway)
    assert calls(dify, "/messages") == 0


@CHAT
@INSIDE_EMBEDDED
async def test_a_blocking_call_that_took_too_long_is_recognised_in_its_conversation(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """By its words, though somebody answered the same words before; without a conversation it is
    asked again."""
    async with inside(DIFY_BLOCKING_TIMEOUT="3", MESSAGE_PROCESSING_RETRY_DELAY="0.2") as bridge:
        await bridge.hear("慢 [[wait=4;times=1]] [[text=第{try}次]]")
        await bridge.until_settled(1, seconds=60)
        asked = len(dify.questions())
        await bridge.hear("同 [[wait=0]] [[text=第{try}次]]")
        await bridge.hear("同 [[wait=0]] [[text=第{try}次]]")
        await bridge.until_settled(3, seconds=60)
        dify.faults.set("pace", 4.0, times=1)
        await bridge.hear("同 [[wait=0]] [[text=第{try}次]]")
        messages = await bridge.until_settled(4, seconds=60)

    assert (asked, len(dify.questions())) == (2, 5)
    assert said(gateway) == "第2次第1次第2次第3次"
    assert messages[3]["attempts"] == 0
    assert messages[3]["dify_message_id"] == dify.questions()[4].facts["message_id"]


@INSIDE_EMBEDDED
async def test_after_a_plain_no_nothing_is_looked_for(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """An error event, behind words or before any: Dify itself gave up."""
    async with inside(**STREAM) as bridge:
        await bridge.hear("一 [[error=1;times=1]] [[code=internal_server_error]] [[text=好好好]]")
        await bridge.hear(f"二 {LONG} [[error=15]]")
        messages = await bridge.until_settled(2, seconds=60)

    assert [one["verdict"] for one in messages] == ["answered", "cut_short"]
    assert len(dify.questions()) == 3
    assert calls(dify, "/messages") == 0
