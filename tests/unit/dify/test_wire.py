"""Frames and bodies as values."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import Answer, Usage
from app.services.dify.parsing import parse_answer, parse_frame
from app.services.dify.sse import SseEvent
from app.services.dify.wire import (
    ChatEvent,
    ChatFile,
    ChatRequest,
    Ended,
    Failed,
    Frame,
    Paused,
    Ping,
    Started,
    TextDelta,
    TextReplaced,
    Unknown,
    WorkflowFinished,
)
from app.services.errors import DifyProtocolError


def frame(**fields: Any) -> Frame:
    """A data frame, parsed."""
    return parse_frame(SseEvent(data=json.dumps(fields)))


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        ({"event": "message", "answer": "x"}, TextDelta(text="x")),
        ({"event": "agent_message", "answer": "x"}, TextDelta(text="x", is_agent=True)),
        ({"event": "message", "answer": None}, TextDelta(text="")),
        ({"event": "message", "answer": ["x"]}, TextDelta(text="")),
        ({"event": "message"}, TextDelta(text="")),
        (
            {"event": "message_replace", "answer": "y", "reason": "output_moderation"},
            TextReplaced(text="y", reason="output_moderation"),
        ),
        (
            {
                "event": "message_end",
                "metadata": {
                    "usage": {"total_tokens": 7, "total_price": "0E-7", "currency": "USD"}
                },
            },
            Ended(usage=Usage(total_tokens=7, total_price="0E-7", currency="USD")),
        ),
        ({"event": "message_end", "metadata": {}}, Ended()),
        ({"event": "message_end", "metadata": None}, Ended()),
        (
            {
                "event": "message_end",
                "metadata": {"usage": {"total_tokens": "7", "total_price": 0.5}},
            },
            Ended(usage=Usage(total_price="0.5")),
        ),
        (
            {
                "event": "workflow_finished",
                "data": {
                    "status": "succeeded",
                    "outputs": {"answer": "z"},
                    "error": None,
                    "total_tokens": 17.0,
                },
            },
            WorkflowFinished(status="succeeded", answer="z", usage=Usage(total_tokens=17)),
        ),
        (
            {
                "event": "workflow_finished",
                "data": {"status": "failed", "error": "e", "outputs": None},
            },
            WorkflowFinished(status="failed", error="e"),
        ),
        ({"event": "workflow_finished", "data": "odd"}, WorkflowFinished(status="")),
        ({"event": "workflow_finished", "data": {"status": "paused"}}, Paused()),
        ({"event": "workflow_paused", "data": {}}, Paused()),
        ({"event": "human_input_required", "data": {"form_content": "?"}}, Paused(form="?")),
        (
            {"event": "error", "code": "invalid_param", "message": "m", "status": 400},
            Failed(code="invalid_param", message="m", status=400),
        ),
        ({"event": "error", "status": "odd"}, Failed()),
        ({"event": "error", "status": True}, Failed()),
        ({"event": "ping"}, Ping()),
        ({"event": "node_started", "data": {}}, Unknown(name="node_started")),
        ({"event": "agent_thought", "thought": "x"}, Unknown(name="agent_thought")),
        ({"event": ["odd"]}, Unknown()),
        ({}, Unknown()),
    ],
)
def test_frames_are_the_events_they_say(fields: dict[str, Any], event: ChatEvent) -> None:
    """Each known event, and what missing or mistyped fields make of it."""
    assert frame(**fields).event == event


def test_ping_has_no_data() -> None:
    """Dify's ping is a name alone."""
    assert parse_frame(SseEvent(name="ping")).event == Ping()


@pytest.mark.parametrize("text", ["", "[DONE]", "null", "17", '"x"', "[1]", "hello"])
def test_data_that_is_no_object_is_ignored(text: str) -> None:
    """Proxies and other servers add such lines; no answer text is in them."""
    assert parse_frame(SseEvent(data=text)).event == Unknown()


@pytest.mark.parametrize("text", ["{", '{"event":"message","answer":"x', "{" * 5000, '{"a":}'])
def test_broken_object_is_a_protocol_error(text: str) -> None:
    """A piece of the answer may be missing."""
    with pytest.raises(DifyProtocolError):
        parse_frame(SseEvent(data=text))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('{"event":"message","answer":"a\\ud83db"}', "a?b"),
        ('{"event":"message","answer":"\\ud83d\\ude00"}', "😀"),
        ('{"event":"message","answer":"x","latency":NaN}', "x"),
        ('{"event":"message","answer":"\\u0000x"}', "\x00x"),
    ],
)
def test_json_that_python_servers_write_is_read(data: str, text: str) -> None:
    """Lone surrogates become something that can be sent; NaN does not cost the frame."""
    assert parse_frame(SseEvent(data=data)).event == TextDelta(text=text)


def test_ids_are_taken_from_any_frame() -> None:
    """The frame of a workflow's start names them all."""
    ids = frame(
        event="workflow_started",
        conversation_id="c",
        message_id="m",
        task_id="t",
        workflow_run_id="w",
    ).ids

    assert ids == Started(conversation_id="c", message_id="m", task_id="t", workflow_run_id="w")


def test_id_is_the_message_id_in_message_frames_only() -> None:
    """A thought's own id is not the message's."""
    assert frame(event="message", id="m").ids == Started(message_id="m")
    assert frame(event="agent_thought", id="x").ids == Started()


def test_odd_ids_are_not_kept() -> None:
    """Nothing that does not fit a column comes out."""
    assert (
        frame(event="message", conversation_id="x" * 65, task_id=5, message_id=None).ids
        == Started()
    )


def test_first_value_of_an_id_stays() -> None:
    """An error frame without a task does not take the task away."""
    known = Started(conversation_id="c", task_id="t")

    assert known.merged(Started(conversation_id="other", message_id="m")) == Started(
        conversation_id="c", task_id="t", message_id="m"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["answer", "data", "metadata", "code", "message", "status", "conversation_id", "id", "reason"]
)
EVENTS = st.sampled_from(
    [
        "message",
        "agent_message",
        "message_end",
        "message_replace",
        "workflow_finished",
        "workflow_paused",
        "human_input_required",
        "error",
        "ping",
        "x",
    ]
)


@given(event=EVENTS, fields=st.dictionaries(KEYS, JSON))
def test_any_field_of_any_type_is_a_value(event: str, fields: dict[str, Any]) -> None:
    """Mistyped fields never raise, and what comes out can be encoded."""
    value = frame(**{**fields, "event": event})

    repr(value).encode()


@given(text=st.text(max_size=80) | st.text(alphabet='{}[]":,0e9\\u d', max_size=40))
def test_any_data_is_a_value_or_a_protocol_error(text: str) -> None:
    """Nothing else is raised."""
    try:
        assert isinstance(parse_frame(SseEvent(data=text)), Frame)
    except DifyProtocolError:
        assert text.lstrip().startswith("{")


def test_huge_numbers_count_as_nothing() -> None:
    """They would not fit the column."""
    data = '{"event":"message_end","metadata":{"usage":{"total_tokens":1%s}}}' % ("0" * 400)

    assert parse_frame(SseEvent(data=data)).event == Ended()


def test_request_body_is_what_dify_wants() -> None:
    """Mode, no name for the conversation, and only what is there."""
    request = ChatRequest(query="你好", user="wxid_a")

    assert json.loads(request.to_body(streaming=True)) == {
        "query": "你好",
        "inputs": {},
        "user": "wxid_a",
        "response_mode": "streaming",
        "auto_generate_name": False,
    }


def test_request_body_with_everything() -> None:
    """Conversation, inputs and both kinds of files."""
    request = ChatRequest(
        query="q",
        user="u",
        conversation_id="c",
        inputs={"city": "上海"},
        files=(
            ChatFile(kind="image", url="http://x/a.png"),
            ChatFile(kind="document", upload_id="f"),
        ),
    )

    body = json.loads(request.to_body(streaming=False))

    assert body["response_mode"] == "blocking"
    assert body["conversation_id"] == "c"
    assert body["inputs"] == {"city": "上海"}
    assert body["files"] == [
        {"type": "image", "transfer_method": "remote_url", "url": "http://x/a.png"},
        {"type": "document", "transfer_method": "local_file", "upload_file_id": "f"},
    ]


def test_lone_surrogates_in_a_question_can_be_sent() -> None:
    """A broken emoji in a group does not stop the answer."""
    body = ChatRequest(query="a\ud83db", user="u").to_body(streaming=False)

    assert json.loads(body)["query"] == "a?b"


def test_question_is_not_in_the_repr() -> None:
    """Requests may be logged."""
    assert "secret" not in repr(ChatRequest(query="secret", user="u", inputs={"k": "secret"}))


def test_blocking_answer_is_read_with_ids_and_cost() -> None:
    """Every field that the flow keeps."""
    body = {
        "event": "message",
        "task_id": "t",
        "id": "m",
        "conversation_id": "c",
        "answer": "x",
        "metadata": {"usage": {"total_tokens": 3, "total_price": "0.1", "currency": "USD"}},
    }

    assert parse_answer(body) == Answer(
        text="x",
        conversation_id="c",
        dify_message_id="m",
        task_id="t",
        usage=Usage(total_tokens=3, total_price="0.1", currency="USD"),
    )


def test_blocking_answer_may_be_empty_but_not_missing() -> None:
    """The model said nothing, as opposed to no answer at all."""
    assert parse_answer({"answer": "", "metadata": {}}).text == ""
    with pytest.raises(DifyProtocolError):
        parse_answer({"result": "success"})
