"""A question on its way to an answer, and the answer of the blocking mode."""

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from simulators.dify_answering import MODEL_FAILED, PROMPT_TOKENS
from simulators.dify_errors import DifyRefused
from simulators.dify_frames import Ids
from simulators.dify_release import Kind, Release, metadata, usage
from simulators.dify_script import Plan
from simulators.dify_store import App, Conversation, Message


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question that is going to be answered."""

    app: App
    asked: dict[str, Any]
    conversation: Conversation
    message: Message
    plan: Plan
    ids: Ids

    @property
    def first(self) -> bool:
        """Whether it is the first of its conversation."""
        return len(self.conversation.messages) == 1


def blocking_response(release: Release, question: Question) -> web.Response:
    """The whole answer at once; ASCII with spaces in both releases."""
    new = release is Release.NEW
    content_type = "application/json; charset=utf-8" if new else "application/json"
    return web.Response(
        body=json.dumps(whole_answer(release, question)).encode(),
        headers={"Content-Type": content_type},
    )


def whole_answer(release: Release, question: Question) -> dict[str, Any]:
    """The body of a blocking answer."""
    ids, plan = question.ids, question.plan
    used = usage(
        release,
        question.app.kind,
        prompt=PROMPT_TOKENS,
        completion=len(plan.deltas),
        latency=plan.seconds,
    )
    return {
        "event": "message",
        "task_id": ids.task_id,
        "id": ids.message_id,
        "message_id": ids.message_id,
        "conversation_id": ids.conversation_id,
        "mode": question.app.kind.mode,
        "answer": plan.final,
        "metadata": metadata(release, used),
        "created_at": ids.created_at,
    }


def blocking_failure(question: Question) -> DifyRefused:
    """The model failed: HTTP 400, by another code for chatflows."""
    if question.app.kind is Kind.CHATFLOW:
        return DifyRefused(400, "invalid_param", f"Run failed: {MODEL_FAILED}")
    return DifyRefused(400, question.plan.error_code, MODEL_FAILED)
