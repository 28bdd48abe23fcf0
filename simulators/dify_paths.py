"""The other paths of the simulated Dify that a bridge reads: history, runs, the app's description."""

from typing import Any

from aiohttp import web

from simulators.dify_errors import DifyRefused, conversation_missing
from simulators.dify_release import Kind, Release, body_json
from simulators.dify_store import (
    App,
    Message,
    Store,
    conversation_json,
    message_json,
    run_json,
)

PAGE = 20
MAX_PAGE = 100
NOT_WORKFLOW_APP = "Please check if your app mode matches the right API route."


class ReadPaths:
    """Answers from the store; an app and the request go in, a response comes out."""

    def __init__(self, release: Release, store: Store) -> None:
        self._release = release
        self._store = store

    async def messages(self, request: web.Request, app: App) -> web.Response:
        """GET /messages: the newest page, the oldest of it first; `first_id` pages back."""
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
        body = await _json_body(request)
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
        if app.kind is not Kind.CHATFLOW or self._release is Release.OLD:
            raise DifyRefused(400, "not_workflow_app", NOT_WORKFLOW_APP)
        message = self._store.find_run(app, request.match_info["id"])
        if message is None:
            raise DifyRefused(404, "not_found", "Workflow run not found")
        return self._json(run_json(message, app.workflow_id))

    async def info(self, _request: web.Request, app: App) -> web.Response:
        """GET /info; the mode is told by the newer release only."""
        told: dict[str, Any] = {"name": app.name, "description": app.name, "tags": []}
        if self._release is Release.NEW:
            told |= {"mode": app.kind.mode, "author_name": "admin"}
        return self._json(told)

    async def parameters(self, _request: web.Request, app: App) -> web.Response:
        """GET /parameters."""
        uploads = ["remote_url", "local_file"]
        return self._json(
            {
                "opening_statement": "你好，我是机器人",
                "suggested_questions": [],
                "suggested_questions_after_answer": {"enabled": False},
                "speech_to_text": {"enabled": False},
                "text_to_speech": {"enabled": False, "voice": "", "language": ""},
                "retriever_resource": {"enabled": True},
                "annotation_reply": {"enabled": False},
                "more_like_this": {"enabled": False},
                "user_input_form": [],
                "sensitive_word_avoidance": _word_avoidance(app),
                "file_upload": {
                    "image": {
                        "enabled": False,
                        "number_limits": 3,
                        "detail": "high",
                        "transfer_methods": uploads,
                    },
                    "enabled": True,
                    "allowed_file_types": ["image", "document"],
                    "allowed_file_extensions": [".PNG", ".TXT"],
                    "allowed_file_upload_methods": uploads,
                    "number_limits": 3,
                },
                "system_parameters": {
                    "image_file_size_limit": 10,
                    "video_file_size_limit": 100,
                    "audio_file_size_limit": 50,
                    "file_size_limit": 15,
                    "workflow_file_upload_limit": 10,
                },
            }
        )

    def _json(self, value: Any) -> web.Response:
        return web.Response(
            body=body_json(self._release, value), headers={"Content-Type": "application/json"}
        )


def _word_avoidance(app: App) -> dict[str, Any]:
    """As the console saves it; an app that never had any tells `configs` instead of `config`."""
    if not app.moderated:
        return {"enabled": False, "type": "", "configs": []}
    config = {
        "keywords": "敏感词",
        "inputs_config": {"enabled": False, "preset_response": ""},
        "outputs_config": {"enabled": True, "preset_response": "内容已被替换"},
    }
    return {"enabled": True, "type": "keywords", "config": config}


async def stop_body_user(request: web.Request) -> str:
    """The user named in the body of a stop order."""
    return _user((await _json_body(request)).get("user"))


async def _json_body(request: web.Request) -> dict[str, Any]:
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
