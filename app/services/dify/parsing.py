"""Dify's JSON into values. Only this file and ``wire`` know its field names; odd fields count as empty."""

import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import orjson

from app.models.flow import Answer, Usage
from app.services.dify.files import parse_file, parse_files
from app.services.dify.human_input import parse_form
from app.services.dify.outputs import parse_outputs
from app.services.dify.sse import SseEvent
from app.services.dify.uploads import parse_uploads
from app.services.dify.wire import (
    AppParameters,
    ChatEvent,
    Ended,
    Failed,
    FileSaid,
    Frame,
    InputField,
    Paused,
    Ping,
    Started,
    StoredMessage,
    StoredRun,
    TextDelta,
    TextReplaced,
    Unknown,
    WorkflowFinished,
)
from app.services.errors import DifyProtocolError

#: Dify's ids are UUIDs of 36 characters; anything much longer is not one and is not kept.
_MAX_ID = 64
_MAX_NUMBER_TEXT = 40
_MAX_COUNT = 2**63 - 1
#: Most documents of an answer that are kept, and most characters of a name.
_MAX_SOURCES = 50
_MAX_SOURCE = 200
#: Most suggested questions of one answer that are looked at.
_MAX_SUGGESTED = 50
#: Longest time that an answer can have taken, in seconds.
_MAX_SECONDS = 86_400.0

WORKFLOW_FINISHED = "workflow_finished"


def load_object(data: str | bytes) -> dict[str, Any] | None:
    """The JSON object in *data*, or None. Takes NaN and lone surrogates, which Python servers write."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def parse_frame(sse: SseEvent, *, output_key: str | None = None) -> Frame:
    """
    One event of the stream as a value; missing or mistyped fields count as empty.

    Args:
        output_key: as ``parse_outputs`` has it.

    Raises:
        DifyProtocolError: an object that is not JSON, so that a piece of the answer may be missing.
    """
    if sse.name == "ping":
        return Frame(event=Ping())
    body = load_object(sse.data)
    if body is None:
        if sse.data.lstrip().startswith("{"):
            raise DifyProtocolError("事件流中有一帧不是完整的 JSON")
        return Frame(event=Unknown(name=sse.name))
    name = _text(body, "event") or sse.name
    if name == WORKFLOW_FINISHED:
        return parse_finished_run(body, output_key=output_key)
    return Frame(event=_event(name, body), ids=_ids(name, body))


def parse_finished_run(body: Mapping[str, Any], *, output_key: str | None) -> Frame:
    """How a run ended: the event of a stream, or the body of a workflow's blocking call."""
    return Frame(event=_workflow_finished(body, output_key), ids=_ids(WORKFLOW_FINISHED, body))


def parse_answer(body: Mapping[str, Any]) -> Answer:
    """
    The answer in the body of a blocking call; its text may be empty.

    Raises:
        DifyProtocolError: there is no answer in it.
    """
    if "answer" not in body:
        raise DifyProtocolError("Dify 的应答中没有 answer 字段")
    ids = _ids("message", body)
    metadata = _object(body, "metadata")
    return Answer(
        text=_text(body, "answer"),
        files=parse_files(body.get("files")),
        conversation_id=ids.conversation_id,
        dify_message_id=ids.message_id,
        task_id=ids.task_id,
        workflow_run_id=ids.workflow_run_id,
        usage=_usage(_object(metadata, "usage")),
        sources=_sources(metadata),
    )


def parse_parameters(body: Mapping[str, Any]) -> AppParameters:
    """What ``/parameters`` says. Words are checked on the way out unless it says that they are not."""
    avoidance = _object(body, "sensitive_word_avoidance")
    outputs = _object(_object(avoidance, "config"), "outputs_config")
    return AppParameters(
        is_output_moderated=avoidance.get("enabled") is True
        and outputs.get("enabled") is not False,
        opening_statement=_text(body, "opening_statement"),
        suggests=_object(body, "suggested_questions_after_answer").get("enabled") is True,
        inputs=_input_fields(body.get("user_input_form")),
        uploads=parse_uploads(body),
        hears=_object(body, "speech_to_text").get("enabled") is True,
    )


def _input_fields(form: object) -> tuple[InputField, ...]:
    """Each element is an object with one key, the kind of the field."""
    fields = [
        field
        for element in (form if isinstance(form, list) else ())
        if isinstance(element, dict)
        for field in element.values()
        if isinstance(field, dict)
    ]
    return tuple(
        InputField(
            name=_text(field, "variable"),
            is_required=field.get("required") is True,
            max_length=_count(field, "max_length"),
        )
        for field in fields
        if _text(field, "variable")
    )


def parse_suggested(body: Mapping[str, Any]) -> tuple[str, ...]:
    """
    What ``/messages/<id>/suggested`` says.

    Raises:
        DifyProtocolError: there is no list in it.
    """
    data = body.get("data")
    if not isinstance(data, list):
        raise DifyProtocolError("Dify 的建议问题中没有 data 字段")
    return tuple(one for one in data[:_MAX_SUGGESTED] if isinstance(one, str))


def parse_messages(body: Mapping[str, Any]) -> tuple[StoredMessage, ...]:
    """
    A page of ``/messages``, in its order.

    Raises:
        DifyProtocolError: there is no list in it.
    """
    data = body.get("data")
    if not isinstance(data, list):
        raise DifyProtocolError("Dify 的消息列表中没有 data 字段")
    return tuple(_stored_message(one) for one in data if isinstance(one, dict))


def parse_run(
    body: Mapping[str, Any], *, goes_on_alone: bool, output_key: str | None = None
) -> StoredRun | None:
    """What ``/workflows/run/<id>`` says; None: nothing (some releases tell an unknown run so)."""
    status = _text(body, "status")
    if not _id(body, "id") or not status:
        return None
    outputs = body.get("outputs")
    if isinstance(outputs, str):
        # Older releases give it as the text of its JSON.
        outputs = load_object(outputs)
    output = parse_outputs(outputs if isinstance(outputs, dict) else {}, output_key)
    return StoredRun(
        status=status,
        answer=output.text,
        files=output.files,
        error=_text(body, "error"),
        usage=Usage(total_tokens=_count(body, "total_tokens")),
        goes_on_alone=goes_on_alone,
    )


def _stored_message(body: Mapping[str, Any]) -> StoredMessage:
    return StoredMessage(
        message_id=_id(body, "id"),
        query=_text(body, "query"),
        answer=_text(body, "answer"),
        status=_text(body, "status"),
        created_at=_count(body, "created_at"),
        files=parse_files(body.get("message_files")),
        sources=_sources(body),
    )


def answer_events(answer: Answer) -> tuple[ChatEvent, ...]:
    """The events by which a stream would have told *answer*."""
    started = Started(
        conversation_id=answer.conversation_id,
        message_id=answer.dify_message_id,
        task_id=answer.task_id,
        workflow_run_id=answer.workflow_run_id,
    )
    return (
        started,
        TextDelta(text=answer.text),
        Ended(usage=answer.usage, files=answer.files, sources=answer.sources),
    )


def _event(name: str, body: Mapping[str, Any]) -> ChatEvent:
    parse = _PARSERS.get(name)
    return Unknown(name=name) if parse is None else parse(body)


def _message(body: Mapping[str, Any]) -> ChatEvent:
    return TextDelta(text=_text(body, "answer"))


def _agent_message(body: Mapping[str, Any]) -> ChatEvent:
    return TextDelta(text=_text(body, "answer"), is_agent=True)


def _message_replace(body: Mapping[str, Any]) -> ChatEvent:
    return TextReplaced(text=_text(body, "answer"), reason=_text(body, "reason"))


def _message_end(body: Mapping[str, Any]) -> ChatEvent:
    metadata = _object(body, "metadata")
    return Ended(
        usage=_usage(_object(metadata, "usage")),
        files=parse_files(body.get("files")),
        sources=_sources(metadata),
    )


def _message_file(body: Mapping[str, Any]) -> ChatEvent:
    file = parse_file(body)
    return Unknown(name="message_file") if file is None else FileSaid(file=file)


def _error(body: Mapping[str, Any]) -> ChatEvent:
    return Failed(
        code=_text(body, "code"), message=_text(body, "message"), status=_count(body, "status")
    )


def _paused(body: Mapping[str, Any]) -> ChatEvent:
    form = parse_form(_object(body, "data"))
    return Paused(form=form.text, request=form.request)


def _ping(_body: Mapping[str, Any]) -> ChatEvent:
    return Ping()


def _workflow_finished(body: Mapping[str, Any], output_key: str | None) -> ChatEvent:
    data = _object(body, "data")
    status = _text(data, "status")
    if status == "paused":
        return Paused()
    output = parse_outputs(_object(data, "outputs"), output_key)
    return WorkflowFinished(
        status=status,
        answer=output.text,
        error=_text(data, "error"),
        usage=Usage(total_tokens=_count(data, "total_tokens")),
        unclear_outputs=output.unclear,
        files=(*output.files, *parse_files(data.get("files"))),
    )


# Not among them: ``text_chunk`` of workflows, which stream every output of theirs, the answer or not;
# what the answer is, the end of the run says.
_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], ChatEvent]] = {
    "message": _message,
    "agent_message": _agent_message,
    "message_replace": _message_replace,
    "message_file": _message_file,
    "message_end": _message_end,
    "workflow_paused": _paused,
    "human_input_required": _paused,
    "error": _error,
    "ping": _ping,
}


def _ids(name: str, body: Mapping[str, Any]) -> Started:
    message_id = _id(body, "message_id")
    # The field "id" is the message's in these events only; elsewhere it is a thought's or a file's.
    if not message_id and name in ("message", "agent_message", "message_end"):
        message_id = _id(body, "id")
    return Started(
        conversation_id=_id(body, "conversation_id"),
        message_id=message_id,
        task_id=_id(body, "task_id"),
        workflow_run_id=_id(body, "workflow_run_id"),
    )


def _usage(body: Mapping[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=_count(body, "prompt_tokens"),
        completion_tokens=_count(body, "completion_tokens"),
        seconds=_seconds(body, "latency"),
        total_tokens=_count(body, "total_tokens"),
        total_price=_number_text(body, "total_price"),
        currency=_text(body, "currency")[:_MAX_NUMBER_TEXT],
    )


def _sources(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the documents among the ``retriever_resources``, each once, the best ones first."""
    resources = body.get("retriever_resources")
    named = (
        _text(one, "document_name").strip()[:_MAX_SOURCE]
        for one in (resources if isinstance(resources, list) else ())
        if isinstance(one, dict)
    )
    return tuple(islice(dict.fromkeys(filter(None, named)), _MAX_SOURCES))


def _object(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        return ""
    # A lone surrogate can be neither stored nor sent.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _id(body: Mapping[str, Any], key: str) -> str:
    value = _text(body, key).strip()
    return value if len(value) <= _MAX_ID else ""


def _count(body: Mapping[str, Any], key: str) -> int:
    """A whole number that counts something; 0 for anything else."""
    value = body.get(key)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value <= _MAX_COUNT else 0


def _seconds(body: Mapping[str, Any], key: str) -> float:
    """A time that something took; 0 for anything else."""
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= _MAX_SECONDS else 0.0


def _number_text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return ""
    text = str(value)
    return text if len(text) <= _MAX_NUMBER_TEXT else ""
