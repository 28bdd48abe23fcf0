"""POST /files/upload of the simulated Dify, and the files that questions name. Recorded of the older release."""

import mimetypes
import uuid
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from simulators.dify_app import App
from simulators.dify_errors import DifyRefused
from simulators.dify_release import Release, body_json, now
from simulators.dify_store import Store

MEGABYTE = 1024 * 1024
LIMITS = {"image": 10, "audio": 50, "video": 100}
DOCUMENT_LIMIT = 15


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file of one user of one app."""

    upload_id: str
    app_key: str
    user: str
    name: str
    data: bytes


class Uploads:
    """Takes files and knows whose they are."""

    def __init__(self, release: Release, store: Store) -> None:
        self.files: dict[str, Upload] = {}
        self._release = release
        self._store = store

    async def upload(self, request: web.Request, app: App) -> web.Response:
        """201 and the file's id, or what is wrong with it."""
        if request.content_type != "multipart/form-data":
            raise DifyRefused(400, "no_file_uploaded", "Please upload your file.")
        form = await request.post()
        file, user = form.get("file"), form.get("user")
        if not isinstance(file, web.FileField):
            raise DifyRefused(400, "no_file_uploaded", "Please upload your file.")
        if not isinstance(user, str) or not user:
            raise DifyRefused(400, "invalid_param", "Arg user must be provided.")
        data = file.file.read()
        _, dot, extension = file.filename.rpartition(".")
        if not dot:
            raise DifyRefused(415, "unsupported_file_type", "File type not allowed.")
        mime = mimetypes.guess_type(file.filename)[0] or file.content_type
        if len(data) > LIMITS.get(mime.partition("/")[0], DOCUMENT_LIMIT) * MEGABYTE:
            raise DifyRefused(413, "file_too_large", "File size exceeded.")
        one = Upload(
            upload_id=str(uuid.uuid4()), app_key=app.key, user=user, name=file.filename, data=data
        )
        self.files[one.upload_id] = one
        told = {
            "id": one.upload_id,
            "name": one.name,
            "size": len(data),
            "extension": extension,
            "mime_type": mime,
            "created_by": self._store.end_user(user),
            "created_at": now(),
        }
        return web.Response(
            status=201,
            body=body_json(self._release, told),
            headers={"Content-Type": "application/json"},
        )

    def check(self, app: App, asked: dict[str, Any]) -> None:
        """
        Whether the files that a question names are there for its user.

        Raises:
            DifyRefused: 400, one is not.
        """
        for file in asked.get("files") or []:
            if file.get("transfer_method") == "remote_url":
                continue
            known = self.files.get(str(file.get("upload_file_id")))
            if known is None or (known.app_key, known.user) != (app.key, asked["user"]):
                raise DifyRefused(400, "invalid_param", "Invalid upload file")
