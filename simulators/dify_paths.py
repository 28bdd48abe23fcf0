"""
The other paths of the simulated Dify that a bridge needs: history, runs, what is said of an answer.

Suggestions and feedback are from the documentation and the code, not from a recording.
"""

from typing import Any

from aiohttp import web

from simulators.dify_app import App
from simulators.dify_endpoint import WRONG_ROUTE, only_conversing
from simulators.dify_errors import DifyRefused, conversation_missing
from simulators.dify_release import Kind, Release, body_json
from simulators.dify_store import (
    Message,
    Store,
    conversation_json,
    message_json,
    run_json,
)

PAGE = 20
MAX_PAGE = 100
RATINGS = ("like", "dislike", None)


class StorePaths:
    """Answers from the store; an app and the request go in, a response comes out."""

    def __init__(self, release: Release, store: Store) -> None:
        self._release = release
        self._store = store

    async def messages(self, request: web.Request, app: App) -> web.Response:
        """GET /messages: the newest page, the oldest of it first; `first_id` pages back."""
        only_conversing(app.kind)
        query = request.query
        conversation = self._store.find(
            app, _user(query.get("user")), query.get("conversation_id", "")
        )
        if conversation is None:
            raise conversation_missing(self._release)
        limit = _limit(query.get("limit"))
        earlier = _before(conversation.messages, query.get("first_id"))
        page = earlier[-limit:]
        return self._json(
            {
                "limit": limit,
                "has_more": len(earlier) > limit,
                "data": [message_json(self._release, message) for message in page],
            }
        )

    async def conversations(self, request: web.Request, app: App) -> web.Response:
        """GET /conversations, newest first."""
        only_conversing(app.kind)
        own = self._store.of_user(app, _user(request.query.get("user")))
        last_id = request.query.get("last_id")
        if last_id:
            ids = [conversation.conversation_id for conversation in own]
            if last_id not in ids:
                raise DifyRefused(404, "not_found", "Last Conversation Not Exists.")
            own = own[ids.index(last_id) + 1 :]
        limit = _limit(request.query.get("limit"))
        return self._json(
            {
                "limit": limit,
                "has_more": len(own) > limit,
                "data": [conversation_json(conversation) for conversation in own[:limit]],
            }
        )

    async def delete_conversation(self, request: web.Request, app: App) -> web.Response:
        """DELETE /conversations/{id}: 204 in the newer release, also the second time."""
        only_conversing(app.kind)
        body = await json_body(request)
        conversation = self._store.find_deleted(
            app, _user(body.get("user")), request.match_info["id"]
        )
        new = self._release is Release.NEW
        if conversation is None or (conversation.deleted and not new):
            raise conversation_missing(self._release)
        conversation.deleted = True
        if new:
            return web.Response(status=204, headers={"Content-Type": "application/json"})
        return self._json({"result": "success"})

    async def run(self, request: web.Request, app: App) -> web.Response:
        """GET /workflows/run/{id}: of chatflows the newer release only tells."""
        told = app.kind is Kind.WORKFLOW or (
            app.kind is Kind.CHATFLOW and self._release is Release.NEW
        )
        if not told:
            raise DifyRefused(400, "not_workflow_app", WRONG_ROUTE)
        message = self._store.find_run(app, request.match_info["id"])
        if message is None:
            raise DifyRefused(404, "not_found", "Workflow run not found")
        return self._json(run_json(self._release, message, app.workflow_id))

    async def suggested(self, request: web.Request, app: App) -> web.Response:
        """GET /messages/{id}/suggested."""
        only_conversing(app.kind)
        self._message(app, _user(request.query.get("user")), request)
        if app.suggestions is None:
            raise DifyRefused(400, "bad_request", "Suggested Questions Is Disabled.")
        return self._json({"result": "success", "data": list(app.suggestions)})

    async def feedback(self, request: web.Request, app: App) -> web.Response:
        """POST /messages/{id}/feedbacks; a rating of null takes the last one back."""
        body = await json_body(request)
        message = self._message(app, _user(body.get("user")), request)
        rating, content = body.get("rating"), body.get("content")
        if rating not in RATINGS:
            raise DifyRefused(400, "invalid_param", f"{rating} is not a valid choice")
        if rating is None and message.feedback is None:
            raise DifyRefused(
                400, "invalid_param", "rating cannot be None when feedback not exists"
            )
        message.feedback = rating and {"rating": rating, "content": content}
        return self._json({"result": "success"})

    def _message(self, app: App, user: str, request: web.Request) -> Message:
        message = self._store.find_message(app, user, request.match_info["id"])
        if message is None:
            raise DifyRefused(404, "not_found", "Message Not Exists.")
        return message

    def _json(self, value: Any) -> web.Response:
        return web.Response(
            body=body_json(self._release, value), headers={"Content-Type": "application/json"}
        )


async def stop_body_user(request: web.Request) -> str:
    """The user named in the body of a stop order."""
    return _user((await json_body(request)).get("user"))


async def json_body(request: web.Request) -> dict[str, Any]:
    """
    The body, empty if it is JSON but no object.

    Raises:
        DifyRefused: 400, it is not JSON.
    """
    try:
        body = await request.json()
    except ValueError as error:
        raise DifyRefused(400, "bad_request", "Failed to decode JSON object") from error
    return body if isinstance(body, dict) else {}


def _user(value: Any) -> str:
    if value in (None, ""):
        raise DifyRefused(400, "invalid_param", "Arg user must be provided.")
    return str(value)


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PAGE:
        raise DifyRefused(400, "invalid_param", f"{text} is not in the range of 1 to {MAX_PAGE}.")
    return int(text)


def _before(messages: list[Message], first_id: str | None) -> list[Message]:
    if not first_id:
        return messages
    ids = [message.message_id for message in messages]
    if first_id not in ids:
        raise DifyRefused(404, "not_found", "First Message Not Exists.")
    return messages[: ids.index(first_id)]
