"""The client against the recorded answers of real servers, byte for byte over a real socket."""

import random
from typing import Any

import pytest

from app.models.flow import Answer
from app.services.dify.client import DifyClient
from app.services.dify.responses import StreamingRequired
from app.services.dify.wire import ChatRequest, Ping, TextDelta, TextReplaced
from app.services.errors import (
    DifyConversationGone,
    DifyError,
    DifyOverloaded,
    DifyRejected,
    DifyUnavailable,
)
from tests.unit.dify import captures
from tests.unit.dify.conftest import KEY, ClientMaker, FakeDify, Seen, Wire


def pieces(count: int) -> str:
    """What the model behind the recordings says."""
    return "".join(f"第{number}段，你好world " for number in range(count))


THOUGHT = "\n我先想一想…用户问了问题。\n"
DETAILS = (
    '<details style="color:gray;background-color: #f8f8f8;padding: 8px;border-radius: 4px;" open> '
    "<summary> Thinking... </summary>"
)

#: Capture, text, tokens.
STREAMS = [
    ("0.15.3/agent_chat__tool_streaming", "我先查一下时间。" + pieces(5), 0),
    ("0.15.3/chat__continue_streaming", pieces(3) + "(历史5条)", 15),
    ("0.15.3/chat__slow_25s_pings_streaming", pieces(2), 13),
    ("0.15.3/chat__streaming", pieces(6), 17),
    ("0.15.3/chat__streaming_raw_chunked", pieces(4), 15),
    ("0.15.3/chat__think_streaming", f"{DETAILS}{THOUGHT}</details>\n\n{pieces(3)}", 19),
    ("0.15.3/chat_moderated__output_streaming", "内容已被替换", 39),
    ("0.15.3/chatflow_llm__streaming", pieces(6), 17),
    ("1.13.0/agent_chat__tool_streaming", "我先查一下时间。" + pieces(5), 32),
    ("1.13.0/chat__streaming", pieces(6), 17),
    ("1.13.0/chatflow_llm__streaming", pieces(6), 17),
    ("1.13.0/chatflow_llm__streaming_raw_chunked", pieces(4), 15),
    ("1.13.0/chatflow_llm__think_streaming", f"<think>{THOUGHT}</think>\n\n{pieces(3)}", 19),
    (
        "1.13.0/chatflow_llm__unicode_line_separators_streaming",
        "前\u2028后\x85\x0b\x0c\x1c末\r\n尾",
        16,
    ),
    ("1.13.0/chatflow_llm__with_file_streaming", pieces(2), 13),
    ("1.13.0/chatflow_moderated__output_streaming", "内容已被替换", 0),
]
BLOCKING = [
    ("0.15.3/chat__blocking", pieces(6), 17),
    ("0.15.3/chatflow_llm__blocking", pieces(6), 17),
    ("1.13.0/chat__blocking", pieces(6), 17),
]
#: Of apps that know no conversation: capture, kind, text, tokens.
KINDS = [
    ("0.15.3/completion__streaming", "completion", pieces(4), 15),
    ("1.13.0/workflow_run__blocking", "workflow", pieces(4), 15),
    ("1.13.0/workflow_run__streaming", "workflow", pieces(4), 15),
]
#: Capture, error, words in its message.
FAILURES: list[tuple[str, type[DifyError], str]] = [
    ("0.15.3/agent_chat__blocking", StreamingRequired, "blocking mode"),
    ("0.15.3/chatflow_node_fails__streaming", DifyUnavailable, "Connection refused"),
    ("0.15.3/err__bad_key", DifyRejected, "Access token is invalid"),
    ("0.15.3/err__empty_query", DifyRejected, "query is required"),
    ("0.15.3/err__unknown_conversation_streaming", DifyConversationGone, "Not Exists"),
    ("0.15.3/limit__max_active_requests_1_blocking", DifyOverloaded, "Too many requests"),
    ("1.13.0/chatflow_node_fails__streaming", DifyUnavailable, "Connection refused"),
    ("1.13.0/err__bad_key", DifyRejected, "Access token is invalid"),
    ("1.13.0/err__chatflow_unknown_conversation_streaming", DifyConversationGone, "事件"),
    ("1.13.0/err__unknown_conversation_blocking", DifyConversationGone, "Not Exists"),
    ("1.13.0/err__unknown_path", DifyRejected, "404 Not Found"),
    ("1.13.0/limit__max_active_requests_1_streaming", DifyOverloaded, "Too many requests"),
]
ELSEWHERE = {
    "1.13.0/chatflow_llm__stopped_midway_streaming",
    "0.15.3/info",
    "0.15.3/parameters",
    "1.13.0/chatflow_llm__blocking",
    "1.13.0/messages__list",
}


def replay(capture: captures.Capture, *cuts: int) -> Any:
    """A script that sends the capture, and goes on being silent if the server did."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.send(capture.response(*cuts))
        if capture.is_hanging:
            await wire.hang()

    return script


def request_of(capture: captures.Capture) -> ChatRequest:
    """The question of the capture."""
    return ChatRequest(
        query=capture.request.get("query", "x"),
        user=capture.request.get("user", "u"),
        conversation_id=capture.request.get("conversation_id", ""),
    )


async def stream(client: DifyClient, capture: captures.Capture) -> tuple[str, int]:
    """Text as a reader of the stream sees it, and how many pings."""
    text, pings = "", 0
    async with client.stream_chat(request_of(capture)) as events:
        async for event in events:
            pings += isinstance(event, Ping)
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, TextReplaced):
                text = event.text
    return text, pings


async def streamed_answer(client: DifyClient, capture: captures.Capture) -> Answer:
    """The capture as one answer; the client is made to stream by refusing to block."""
    client.traits.learn_to_stream("the test wants it")
    return await client.chat(request_of(capture))


def test_every_capture_is_in_a_table() -> None:
    """A sample that nothing reads proves nothing."""
    tables = (STREAMS, BLOCKING, KINDS, FAILURES)
    named = {row[0] for table in tables for row in table}

    assert sorted(named | ELSEWHERE) == captures.names()


@pytest.mark.parametrize(("name", "text", "tokens"), STREAMS)
async def test_recorded_streams_are_whole_answers(
    name: str, text: str, tokens: int, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Text, cost and ids of each."""
    capture = captures.load(name)
    dify.answer(replay(capture))

    answer = await streamed_answer(make_client(), capture)
    seen_text, pings = await stream(make_client(), capture)

    assert answer.text == seen_text == text
    assert answer.usage.total_tokens == tokens
    assert pings == capture.plain_body.count(b"event: ping")
    assert len(answer.conversation_id) == len(answer.dify_message_id) == len(answer.task_id) == 36
    assert len(answer.workflow_run_id) == (36 if "chatflow" in name else 0)


@pytest.mark.parametrize("name", [row[0] for row in STREAMS])
async def test_recorded_streams_cut_at_random_are_the_same(
    name: str, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Chunks that end anywhere, also within a character."""
    capture = captures.load(name)
    chance = random.Random(name)
    dify.answer(
        *(
            replay(capture, *chance.choices(range(len(capture.body)), k=chance.randint(1, 60)))
            for _ in range(5)
        )
    )
    client = make_client()
    expected = next(text for other, text, _ in STREAMS if other == name)

    for _ in range(5):
        assert (await streamed_answer(client, capture)).text == expected


@pytest.mark.parametrize(
    "name",
    [
        "0.15.3/chat__slow_25s_pings_streaming",
        "1.13.0/chat__streaming",
        "1.13.0/chatflow_llm__unicode_line_separators_streaming",
    ],
)
async def test_recorded_streams_in_single_bytes_are_the_same(
    name: str, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Every byte a chunk of its own."""
    capture = captures.load(name)
    dify.answer(replay(capture, *range(len(capture.body))))
    expected = next(text for other, text, _ in STREAMS if other == name)

    assert (await streamed_answer(make_client(), capture)).text == expected


@pytest.mark.parametrize(("name", "kind", "text", "tokens"), KINDS)
async def test_recorded_answers_of_apps_without_conversations(
    name: str, kind: str, text: str, tokens: int, dify: FakeDify, make_client: ClientMaker
) -> None:
    """In the mode of the recording."""
    capture = captures.load(name)
    dify.answer(replay(capture))
    client = make_client(kind=kind)
    if "streaming" in name:
        answer = await streamed_answer(client, capture)
    else:
        answer = await client.chat(request_of(capture))

    assert (answer.text, answer.usage.total_tokens) == (text, tokens)
    assert (answer.conversation_id, bool(answer.workflow_run_id)) == ("", kind == "workflow")


@pytest.mark.parametrize(("name", "text", "tokens"), BLOCKING)
async def test_recorded_blocking_answers(
    name: str, text: str, tokens: int, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Text, cost and ids of each."""
    capture = captures.load(name)
    dify.answer(replay(capture))

    answer = await make_client().chat(request_of(capture))

    assert answer.text == text
    price = "0" if name.startswith("1.13") else "0E-7"
    usage = answer.usage
    assert (usage.total_tokens, usage.total_price, usage.currency) == (tokens, price, "USD")
    assert usage.prompt_tokens + usage.completion_tokens == tokens
    assert (usage.seconds > 0) is (tokens > 0)
    assert len(answer.conversation_id) == len(answer.dify_message_id) == 36
    assert dify.seen[0].json["response_mode"] == "blocking"


@pytest.mark.parametrize(("name", "kind", "words"), FAILURES)
async def test_recorded_failures_by_fault(
    name: str, kind: type[DifyError], words: str, dify: FakeDify, make_client: ClientMaker
) -> None:
    """The class says who and whether, the message why, and the key is in neither."""
    capture = captures.load(name)
    dify.answer(replay(capture))

    with pytest.raises(DifyError) as caught:
        await stream(make_client(gap_timeout=1.0), capture)

    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert KEY not in repr(caught.value)


async def test_what_a_chatflow_said_before_it_was_stopped_is_a_part_of_an_answer(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """As 1.13.0 tells it."""
    capture = captures.load("1.13.0/chatflow_llm__stopped_midway_streaming")
    dify.answer(replay(capture))

    answer = await streamed_answer(make_client(gap_timeout=1.0), capture)

    assert answer.is_cut_short
    assert answer.text


async def test_blocking_call_that_1_13_0_leaves_silent_is_streamed_instead(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The release opens a stream, pings once and drops the answer; streaming works there."""
    silent = captures.load("1.13.0/chatflow_llm__blocking")
    dify.answer(replay(silent), replay(captures.load("1.13.0/chatflow_llm__streaming")))
    client = make_client(first_event_timeout=1.0)

    answer = await client.chat(request_of(silent))
    again = await client.chat(request_of(silent))

    assert answer.text == again.text == pieces(6)
    modes = [seen.json["response_mode"] for seen in dify.seen]
    assert modes == ["blocking", "streaming", "streaming"]


async def test_agent_that_refuses_blocking_is_streamed_and_remembered(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The refusal is met once per client."""
    refusal = captures.load("0.15.3/agent_chat__blocking")
    dify.answer(replay(refusal), replay(captures.load("0.15.3/agent_chat__tool_streaming")))
    client = make_client()

    assert not client.must_stream
    first = await client.chat(request_of(refusal))
    second = await client.chat(request_of(refusal))

    assert first.text == second.text == "我先查一下时间。" + pieces(5)
    assert client.must_stream
    modes = [seen.json["response_mode"] for seen in dify.seen]
    assert modes == ["blocking", "streaming", "streaming"]


async def test_stream_in_answer_to_a_blocking_call_is_put_together(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The head decides how an answer is read, not the question."""
    capture = captures.load("1.13.0/chatflow_llm__streaming")
    dify.answer(replay(capture))

    answer = await make_client().chat(request_of(capture))

    assert answer.text == pieces(6)
    assert len(dify.seen) == 1


async def test_blocking_answer_to_a_stream_is_told_as_events(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The other way round, too."""
    capture = captures.load("1.13.0/chat__blocking")
    dify.answer(replay(capture))

    assert await stream(make_client(), capture) == (pieces(6), 0)


async def test_info_shows_version_and_latency(dify: FakeDify, make_client: ClientMaker) -> None:
    """The cheap look at address and key."""
    dify.answer(captures.load("0.15.3/info").response())

    health = await make_client().ping()

    assert (health.version, health.app_name, health.mode) == ("0.15.3", "chat", "")
    assert 0 < health.latency < 5
    assert (dify.seen[0].method, dify.seen[0].path) == ("GET", "/v1/info")
    assert dify.seen[0].headers["authorization"] == f"Bearer {KEY}"


async def test_parameters_say_whether_the_app_moderates(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """With moderation an answer may be replaced late."""
    capture = captures.load("0.15.3/parameters")
    plain = capture.response()
    dify.answer(
        plain,
        b'HTTP/1.1 200 OK\r\nContent-Length: 46\r\n\r\n{"sensitive_word_avoidance":{"enabled":true }}',
    )
    client = make_client()

    first, second = await client.parameters(), await client.parameters()

    assert (first.is_output_moderated, first.opening_statement) == (False, "你好，我是机器人")
    assert (second.is_output_moderated, second.opening_statement) == (True, "")
