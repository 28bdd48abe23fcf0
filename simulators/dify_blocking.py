"""
Answers of the blocking mode, whole, or as the failure that stands for them.

A workflow's run is recorded of the newer release; a completion's answer is from the code.
"""

import json
from typing import Any

from aiohttp import web

from simulators.dify_errors import DifyRefused
from simulators.dify_question import MODEL_FAILED, Question
from simulators.dify_release import Kind, Release, metadata, now


def blocking_response(question: Question) -> web.Response:
    """
    The whole answer at once; ASCII with spaces in both releases.

    Raises:
        DifyRefused: the model failed. Of a workflow that is an answer like any other.
    """
    failed = question.plan.error_after is not None
    if question.app.kind is Kind.WORKFLOW:
        told = finished_run(question, failed=failed)
    elif failed:
        raise _failure(question)
    else:
        told = whole_answer(question)
    new = question.release is Release.NEW
    content_type = "application/json; charset=utf-8" if new else "application/json"
    return web.Response(
        body=json.dumps(told).encode(),
        headers={"Content-Type": content_type},
    )


def whole_answer(question: Question) -> dict[str, Any]:
    """The body of a blocking answer; a completion's has no conversation."""
    ids, plan, kind = question.ids, question.plan, question.app.kind
    told: dict[str, Any] = {
        "event": "message",
        "task_id": ids.task_id,
        "id": ids.message_id,
        "message_id": ids.message_id,
    }
    if kind.converses:
        told["conversation_id"] = ids.conversation_id
    used = question.used(plan.seconds)
    return told | {
        "mode": kind.mode,
        "answer": plan.final,
        "metadata": metadata(question.release, used, question.citations()),
        "created_at": ids.created_at,
    }


def finished_run(question: Question, *, failed: bool) -> dict[str, Any]:
    """The body of a blocking run, which is HTTP 200 however it ended."""
    ids, plan = question.ids, question.plan
    nothing: dict[str, Any] | None = {} if question.release is Release.NEW else None
    return {
        "task_id": ids.task_id,
        "workflow_run_id": ids.run_id,
        "data": {
            "id": ids.run_id,
            "workflow_id": ids.workflow_id,
            "status": "failed" if failed else "succeeded",
            "outputs": nothing if failed else question.outputs(plan.final),
            "error": MODEL_FAILED if failed else None,
            "elapsed_time": plan.seconds,
            "total_tokens": 0 if failed else question.tokens,
            "total_steps": 2 if failed else question.steps,
            "created_at": ids.created_at,
            "finished_at": now(),
        },
    }


def _failure(question: Question) -> DifyRefused:
    """The model failed: HTTP 400, by another code for chatflows."""
    if question.app.kind is Kind.CHATFLOW:
        return DifyRefused(400, "invalid_param", f"Run failed: {MODEL_FAILED}")
    return DifyRefused(400, question.plan.error_code, MODEL_FAILED)
