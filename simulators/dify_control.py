"""The simulated Dify's own paths under `/_sim/`: its apps, read and set while it runs."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from simulators.dify_app import App, BadSetting
from simulators.serving import json_response, refusal

SetApp = Callable[[str, dict[str, Any]], App]


class AppPaths:
    """The handlers, for other programs; *set_app* makes or changes the app of a key."""

    def __init__(self, apps: dict[str, App], set_app: SetApp) -> None:
        self._apps = apps
        self._set_app = set_app

    def add_to(self, app: web.Application) -> None:
        """Put the paths into the router."""
        app.router.add_get("/_sim/apps", self._show)
        app.router.add_post("/_sim/apps", self._set)

    async def _show(self, _request: web.Request) -> web.Response:
        return json_response({"apps": [app.as_json() for app in self._apps.values()]})

    async def _set(self, request: web.Request) -> web.Response:
        """Body: `{"key": …, any settings of an app}`; an unknown key makes a new app."""
        try:
            order = await request.json()
        except ValueError as error:
            return refusal("BadJson", str(error))
        if not isinstance(order, dict) or not isinstance(order.get("key"), str):
            return refusal("BadOrder", "an object with a key is expected")
        key = order.pop("key")
        try:
            app = self._set_app(key, order)
        except BadSetting as error:
            return refusal("BadSetting", str(error))
        return json_response(app.as_json())
