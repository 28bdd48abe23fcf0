"""What is said to Dify and what it says, as values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.models.flow import AnswerFile, Form, Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatFile:
    """A file given along with a question: either a public address or an uploaded file's id."""

    #: ``image``, ``document``, ``audio``, ``video`` or ``custom``.
    kind: str
    url: str = ""
    upload_id: str = ""

    def to_wire(self) -> dict[str, str]:
        """As ``files[]`` of chat-messages wants it."""
        if self.upload_id:
            source = {"transfer_method": "local_file", "upload_file_id": self.upload_id}
        else:
            source = {"transfer_method": "remote_url", "url": self.url}
        return {"type": self.kind, **source}


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """One question. *user* scopes the conversation: another user never finds it again."""

    query: str = field(repr=False)
    user: str
    conversation_id: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    files: tuple[ChatFile, ...] = ()

    def to_body(self, *, streaming: bool) -> bytes:
        """
        The JSON body of ``POST /chat-messages``.

        Lone surrogates become ``?``. ``auto_generate_name`` is off: the name costs a second and a
        model call, and nobody sees it.
        """
        body = self._common(self.inputs, streaming=streaming)
        body |= {"query": self.query, "auto_generate_name": False}
        if self.conversation_id:
            body["conversation_id"] = self.conversation_id
        return _to_json(body)

    def to_inputs_body(self, *, streaming: bool, input_key: str) -> bytes:
        """The JSON body for apps that know no conversation: the question is the input *input_key*."""
        inputs = {**self.inputs, input_key: self.query}
        return _to_json(self._common(inputs, streaming=streaming))

    def _common(self, inputs: Mapping[str, Any], *, streaming: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "inputs": dict(inputs),
            "user": self.user,
            "response_mode": "streaming" if streaming else "blocking",
        }
        if self.files:
            body["files"] = [file.to_wire() for file in self.files]
        return body


def _to_json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputField:
    """A variable that an app declares for its callers."""

    name: str
    is_required: bool
    #: Longest value in characters; 0: not said.
    max_length: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadRules:
    """Which files an app takes along with a question."""

    #: ``image``, ``document``, ``audio``, ``video``, ``custom``; empty: none.
    kinds: frozenset[str] = frozenset()
    #: Of ``custom`` ones, in lower case with the dot.
    extensions: frozenset[str] = frozenset()
    #: With one question; 0: not said.
    most: int = 0
    #: Largest file of a kind, in bytes; what is missing is not said.
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AppParameters:
    """What an app says about itself that matters to us."""

    #: Its answers are checked for words; what was streamed may be replaced late.
    is_output_moderated: bool
    opening_statement: str = ""
    #: It suggests what to ask next, behind each answer.
    suggests: bool = False
    inputs: tuple[InputField, ...] = ()
    uploads: UploadRules = field(default_factory=UploadRules)
    #: It has a model that makes a text of what somebody says.
    hears: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredMessage:
    """A question and its answer as Dify keeps them."""

    message_id: str
    query: str = field(repr=False)
    #: Empty until it is whole, and for good if the run behind it died.
    answer: str = field(repr=False)
    #: ``normal`` from the beginning, ``error``, ``paused``.
    status: str
    #: Seconds since 1970 by Dify's clock.
    created_at: int
    #: Those of the answer.
    files: tuple[AnswerFile, ...] = ()
    #: As ``Ended`` has them.
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """The run of a chatflow as Dify keeps it."""

    #: ``running``, ``succeeded``, ``partial-succeeded``, ``failed``, ``stopped``, ``paused`` …
    status: str
    #: The answer as the run's output, before any moderation; empty until the end.
    answer: str = field(repr=False)
    error: str = field(repr=False)
    usage: Usage
    #: Its release lets a run go on when nobody listens; else "running" may stand there for ever.
    goes_on_alone: bool
    files: tuple[AnswerFile, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The ids known so far; told again whenever one more is learnt. Empty: not known."""

    conversation_id: str = ""
    message_id: str = ""
    task_id: str = ""
    workflow_run_id: str = ""

    def merged(self, newer: "Started") -> "Started":
        """These ids with the gaps filled from *newer*; the first value of an id stays."""
        return Started(
            conversation_id=self.conversation_id or newer.conversation_id,
            message_id=self.message_id or newer.message_id,
            task_id=self.task_id or newer.task_id,
            workflow_run_id=self.workflow_run_id or newer.workflow_run_id,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TextDelta:
    """Text to append."""

    text: str
    is_agent: bool = False
    #: It is the form of a run that waits: no part of what a model said.
    is_form: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TextReplaced:
    """The text that stands for everything so far."""

    text: str
    #: E.g. ``output_moderation``; empty on older releases.
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSaid:
    """A file that belongs to the answer."""

    file: AnswerFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """``message_end``: the answer is whole."""

    usage: Usage = field(default_factory=Usage)
    files: tuple[AnswerFile, ...] = ()
    #: Names of the documents that the answer is from, each once.
    sources: tuple[str, ...] = ()


#: Statuses of a run that has no answer.
BAD_ENDS = frozenset({"failed", "stopped"})


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowFinished:
    """``workflow_finished``: how the run behind a chatflow ended."""

    #: ``succeeded``, ``partial-succeeded``, ``failed``, ``stopped``.
    status: str
    #: The whole answer as the run's output; empty if there is none.
    answer: str = ""
    error: str = ""
    usage: Usage = field(default_factory=Usage)
    #: Names of the outputs, of which none is known to be the answer.
    unclear_outputs: tuple[str, ...] = ()
    files: tuple[AnswerFile, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """``error``: Dify gives up on this question."""

    code: str = ""
    message: str = ""
    #: HTTP-like status; 0 if it is not said.
    status: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """The run waits for a human; nothing more comes in this stream."""

    #: What the run asks the human, as he reads it; empty if it does not say, or was told as text.
    form: str = ""
    #: How it is answered; None: not here.
    request: Form | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ping:
    """A sign of life."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """An event that carries no answer text: nodes, thoughts, audio, or one of a newer release."""

    name: str = ""


ChatEvent = (
    Started
    | TextDelta
    | TextReplaced
    | FileSaid
    | Ended
    | WorkflowFinished
    | Failed
    | Paused
    | Ping
    | Unknown
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame of the stream: what it says, and the ids it bears."""

    event: ChatEvent
    ids: Started = field(default_factory=Started)
