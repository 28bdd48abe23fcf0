"""The bodies of the three endpoints that take questions, checked and brought into one form."""

import uuid
from typing import Any

from simulators.dify_app import App
from simulators.dify_endpoint import Endpoint
from simulators.dify_errors import DifyRefused
from simulators.dify_release import Release

PAYLOAD = {
    Endpoint.CHAT: "ChatRequestPayload",
    Endpoint.COMPLETION: "CompletionRequestPayload",
    Endpoint.WORKFLOW: "WorkflowRunPayload",
}


def checked_body(endpoint: Endpoint, release: Release, app: App, body: Any) -> dict[str, Any]:
    """
    The body with `query`, wherever it stood, `user` and `conversation_id`, trimmed or None.

    Raises:
        DifyRefused: 400, a field is missing or wrong.
    """
    if not isinstance(body, dict):
        raise DifyRefused(400, "bad_request", "The browser (or proxy) sent a bad request.")
    if not isinstance(body.get("inputs"), dict):
        raise _missing(endpoint, release, "inputs")
    query = _query(endpoint, release, app, body)
    if body.get("response_mode") not in (None, "blocking", "streaming"):
        raise _missing(endpoint, release, "response_mode")
    if body.get("user") in (None, "") or isinstance(body["user"], dict | list):
        raise DifyRefused(400, "invalid_param", "Arg user must be provided.")
    conversation = body.get("conversation_id") if endpoint is Endpoint.CHAT else None
    return {
        **body,
        "query": query.replace("\x00", ""),
        "user": str(body["user"]),
        "conversation_id": _conversation_id(conversation),
    }


def _query(endpoint: Endpoint, release: Release, app: App, body: dict[str, Any]) -> str:
    if endpoint is Endpoint.CHAT:
        return _top_level(endpoint, release, body)
    asked = body["inputs"].get(app.question_input)
    if asked is None and endpoint is Endpoint.COMPLETION:
        asked = body.get("query")
        if asked is not None and not isinstance(asked, str):
            raise _missing(endpoint, release, "query")
    return "" if asked is None else str(asked)


def _top_level(endpoint: Endpoint, release: Release, body: dict[str, Any]) -> str:
    query = body.get("query")
    if query is None or (not isinstance(query, str) and release is Release.NEW):
        raise _missing(endpoint, release, "query")
    if not str(query):
        raise DifyRefused(400, "invalid_param", "query is required")
    return str(query)


def _conversation_id(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise DifyRefused(400, "invalid_param", f"{text} is not a valid uuid.") from error


def _missing(endpoint: Endpoint, release: Release, name: str) -> DifyRefused:
    if release is Release.OLD:
        message = "Missing required parameter in the JSON body"
        return DifyRefused(400, "invalid_param", message, params=name)
    message = f"1 validation error for {PAYLOAD[endpoint]}\n{name}\n  Field required or not allowed"
    return DifyRefused(400, "invalid_param", message)
