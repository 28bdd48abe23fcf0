"""Conversations, messages and runs of the simulated Dify; everything is scoped by app and user."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulators.dify_app import App
from simulators.dify_release import Kind, Release, now

KEPT_CONVERSATIONS = 50_000


@dataclass(slots=True, kw_only=True)
class Message:
    """A question and its answer; of a workflow app it is the run alone."""

    message_id: str
    conversation_id: str
    query: str
    inputs: dict[str, Any]
    created_at: int
    run_id: str
    answer: str = ""
    status: str = "normal"
    error: str | None = None
    run_status: str = "running"
    run_error: str | None = None
    """What the run says where it is not what the message says."""
    finished_at: int | None = None
    tokens: int = 0
    steps: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)
    """Of the run, once it has succeeded."""
    citations: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    """That tools made."""
    feedback: dict[str, str | None] | None = None
    """`rating` and `content`."""


@dataclass(slots=True, kw_only=True)
class Conversation:
    """
    A conversation; valid only with the same app and the same user.

    A completion and a run of a workflow have one of their own too, of which nobody is told.
    """

    conversation_id: str
    app_key: str
    user: str
    created_at: int
    updated_at: int
    inputs: dict[str, Any] = field(default_factory=dict)
    name: str = "New conversation"
    deleted: bool = False
    messages: list[Message] = field(default_factory=list)


class Store:
    """All conversations; the oldest are forgotten beyond a bound."""

    def __init__(self, keep: int = KEPT_CONVERSATIONS) -> None:
        self._keep = keep
        self._conversations: dict[str, Conversation] = {}
        self._runs: dict[str, tuple[Conversation, Message]] = {}
        self._messages: dict[str, tuple[Conversation, Message]] = {}
        self._end_users: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._conversations)

    def create(self, app: App, user: str, inputs: Mapping[str, Any]) -> Conversation:
        """A new conversation."""
        at = now()
        conversation = Conversation(
            conversation_id=str(uuid.uuid4()),
            app_key=app.key,
            user=user,
            created_at=at,
            updated_at=at,
            inputs=dict(inputs),
        )
        self._conversations[conversation.conversation_id] = conversation
        if len(self._conversations) > self._keep:
            oldest = self._conversations.pop(next(iter(self._conversations)))
            for message in oldest.messages:
                self._runs.pop(message.run_id, None)
                self._messages.pop(message.message_id, None)
        return conversation

    def find(self, app: App, user: str, conversation_id: str) -> Conversation | None:
        """The conversation if it is this app's and this user's and not deleted."""
        conversation = self.find_deleted(app, user, conversation_id)
        return None if conversation is None or conversation.deleted else conversation

    def find_deleted(self, app: App, user: str, conversation_id: str) -> Conversation | None:
        """As `find`, deleted ones too."""
        conversation = self._conversations.get(conversation_id)
        if conversation is None or (conversation.app_key, conversation.user) != (app.key, user):
            return None
        return conversation

    def of_user(self, app: App, user: str) -> list[Conversation]:
        """The user's conversations, newest first."""
        own = [
            conversation
            for conversation in self._conversations.values()
            if (conversation.app_key, conversation.user) == (app.key, user)
            and not conversation.deleted
        ]
        return sorted(own, key=lambda one: one.updated_at, reverse=True)

    def add_message(
        self, conversation: Conversation, query: str, inputs: dict[str, Any]
    ) -> Message:
        """A question whose answer is still to come."""
        message = Message(
            message_id=str(uuid.uuid4()),
            conversation_id=conversation.conversation_id,
            query=query,
            inputs=inputs,
            created_at=now(),
            run_id=str(uuid.uuid4()),
        )
        conversation.messages.append(message)
        conversation.updated_at = message.created_at
        self._runs[message.run_id] = (conversation, message)
        self._messages[message.message_id] = (conversation, message)
        return message

    def find_run(self, app: App, run_id: str) -> Message | None:
        """The message of a workflow run of this app."""
        found = self._runs.get(run_id)
        return found[1] if found and found[0].app_key == app.key else None

    def find_message(self, app: App, user: str, message_id: str) -> Message | None:
        """The message if it is this app's and this user's; a workflow app has none."""
        conversation, message = self._messages.get(message_id, (None, None))
        if conversation is None or app.kind is Kind.WORKFLOW:
            return None
        return message if (conversation.app_key, conversation.user) == (app.key, user) else None

    def end_user(self, user: str) -> str:
        """The id Dify gives to a `user` string."""
        return self._end_users.setdefault(user, str(uuid.uuid4()))


def message_json(release: Release, message: Message) -> dict[str, Any]:
    """An element of GET /messages."""
    shown: dict[str, Any] = {"id": message.message_id, "conversation_id": message.conversation_id}
    if release is Release.NEW:
        shown["parent_message_id"] = str(uuid.UUID(int=0))
    rated = message.feedback and {"rating": message.feedback["rating"]}
    shown |= {
        "inputs": message.inputs,
        "query": message.query,
        "answer": message.answer,
        "feedback": rated,
        "retriever_resources": message.citations,
        "created_at": message.created_at,
        "agent_thoughts": [],
        "message_files": message.files,
        "status": message.status,
        "error": message.error,
    }
    if release is Release.NEW:
        shown["extra_contents"] = []
    return shown


def conversation_json(conversation: Conversation) -> dict[str, Any]:
    """An element of GET /conversations."""
    return {
        "id": conversation.conversation_id,
        "name": conversation.name,
        "inputs": conversation.inputs,
        "status": "normal",
        "introduction": "",
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
    }


def run_json(release: Release, message: Message, workflow_id: str) -> dict[str, Any]:
    """
    GET /workflows/run/{id}.

    Inputs are a text that holds JSON, and so are the older release's outputs: by its code, not by
    a recording.
    """
    outputs = json.dumps(message.outputs, ensure_ascii=False)
    return {
        "id": message.run_id,
        "workflow_id": workflow_id,
        "status": message.run_status,
        "inputs": json.dumps(message.inputs, ensure_ascii=False),
        "outputs": outputs if release is Release.OLD else message.outputs,
        "error": message.run_error or message.error,
        "total_steps": message.steps,
        "total_tokens": message.tokens,
        "created_at": message.created_at,
        "finished_at": message.finished_at,
        "elapsed_time": float((message.finished_at or message.created_at) - message.created_at),
    }
