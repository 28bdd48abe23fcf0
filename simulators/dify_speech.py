"""POST /audio-to-text of the simulated Dify, after its documentation and its code."""

from dataclasses import dataclass

from aiohttp import web

from simulators.dify_app import App
from simulators.dify_errors import DifyRefused
from simulators.dify_release import Release, body_json

EXTENSIONS = ("mp3", "mp4", "mpeg", "mpga", "m4a", "wav", "webm", "amr")
LIMIT = 30 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A recording that was taken."""

    app_key: str
    user: str
    name: str
    mime: str
    data: bytes


class Hearing:
    """Hears of every recording what the app's settings say."""

    def __init__(self, release: Release) -> None:
        self.heard: list[Heard] = []
        #: What the model behind it takes.
        self.extensions: tuple[str, ...] = EXTENSIONS
        self._release = release

    async def transcribe(self, request: web.Request, app: App) -> web.Response:
        """The text, or what is wrong with the recording; its kind is what the request calls it."""
        if app.speech is None:
            raise DifyRefused(400, "invalid_param", "Speech to text is not enabled")
        form = await request.post() if request.content_type == "multipart/form-data" else {}
        file, user = form.get("file"), form.get("user")
        if not isinstance(file, web.FileField):
            raise DifyRefused(400, "no_audio_uploaded", "Please upload your audio.")
        if file.content_type not in {f"audio/{extension}" for extension in self.extensions}:
            raise DifyRefused(415, "unsupported_audio_type", "Audio type not allowed.")
        data = file.file.read()
        if len(data) > LIMIT:
            raise DifyRefused(413, "audio_too_large", "Audio size larger than 30 mb")
        told = Heard(
            app_key=app.key,
            user=user if isinstance(user, str) else "",
            name=file.filename,
            mime=file.content_type,
            data=data,
        )
        self.heard.append(told)
        return web.Response(
            body=body_json(self._release, {"text": app.speech}),
            headers={"Content-Type": "application/json"},
        )
