"""What an app of the simulated Dify says of itself: GET /info and GET /parameters."""

from typing import Any

from aiohttp import web

from simulators.dify_app import App
from simulators.dify_release import Release, body_json

UPLOADS = ["remote_url", "local_file"]


class DescriptionPaths:
    """Answers from the app's settings."""

    def __init__(self, release: Release) -> None:
        self._release = release

    async def info(self, _request: web.Request, app: App) -> web.Response:
        """GET /info; the mode is told by the newer release only."""
        told: dict[str, Any] = {"name": app.name, "description": app.name, "tags": []}
        if self._release is Release.NEW:
            told |= {"mode": app.kind.mode, "author_name": "admin"}
        return self._json(told)

    async def parameters(self, _request: web.Request, app: App) -> web.Response:
        """GET /parameters; what the app's settings name stands in the place of the default."""
        return self._json(_parameters(app) | dict(app.parameters))

    def _json(self, value: Any) -> web.Response:
        return web.Response(
            body=body_json(self._release, value), headers={"Content-Type": "application/json"}
        )


def _parameters(app: App) -> dict[str, Any]:
    of_graph = app.kind.has_graph
    return {
        "opening_statement": "你好，我是机器人",
        "suggested_questions": [],
        "suggested_questions_after_answer": {"enabled": app.suggestions is not None},
        "speech_to_text": {"enabled": app.speech is not None},
        "text_to_speech": {"enabled": False, "voice": "", "language": ""},
        "retriever_resource": {"enabled": True},
        "annotation_reply": {"enabled": False},
        "more_like_this": {"enabled": False},
        "user_input_form": [one.as_shown(of_graph=of_graph) for one in app.asked_fields],
        "sensitive_word_avoidance": _word_avoidance(app),
        "file_upload": {
            "image": {
                "enabled": False,
                "number_limits": 3,
                "detail": "high",
                "transfer_methods": UPLOADS,
            },
            "enabled": True,
            "allowed_file_types": ["image", "document"],
            "allowed_file_extensions": [".PNG", ".TXT"],
            "allowed_file_upload_methods": UPLOADS,
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
