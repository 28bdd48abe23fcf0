"""
``/playground/``: the page, its files, the ways of messages, and the control of the simulated Dify.

Speaking is the gateway's: the browser asks it itself.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.console.assets import serve
from app.console.playground.admission import Admission, gateway_origin
from app.console.playground.answers import FORBIDDEN, NO_STORE, found, problem
from app.console.playground.assets import TEMPLATES, read_assets
from app.console.playground.dify import DifyControl
from app.console.playground.way import read_ways
from app.runtime import Runtime
from app.services.errors import StoreUnavailable
from app.services.stages import utc_now

MOST_IDS = 50
LONGEST_ID = 32

Ids = Annotated[list[Annotated[str, Query(max_length=LONGEST_ID)]], Query(max_length=MOST_IDS)]


def playground_router(runtime: Runtime, *, admission: Admission | None = None) -> APIRouter:
    """
    The playground's routes.

    Args:
        admission: who decides whether it may open; None: the settings' gateway is asked.
    """
    settings = runtime.settings
    admission = admission or Admission(settings.playground, settings.ecloud)
    playground = Playground(runtime, admission)
    dify = DifyControl(settings.dify.base_url, admission)
    router = APIRouter(prefix="/playground", include_in_schema=False)
    router.add_api_route("/", playground.page, response_class=Response)
    router.add_api_route("/static/{name}", playground.file, response_class=Response)
    router.add_api_route("/api/messages", playground.messages, response_class=Response)
    router.add_api_route("/api/messages/{new_msg_id}", playground.message, response_class=Response)
    router.add_api_route("/api/dify/{part}", dify.show, response_class=Response)
    router.add_api_route("/api/dify/{part}", dify.order, methods=["POST"], response_class=Response)
    return router


class Playground:
    """The handlers."""

    def __init__(self, runtime: Runtime, admission: Admission) -> None:
        self._runtime = runtime
        self._admission = admission
        self._assets = read_assets()
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
        )

    async def page(self, request: Request) -> Response:
        """The page, or why there is none."""
        if reason := await self._admission.check():
            return self._html("closed.html", "", FORBIDDEN, reason=reason)
        settings = self._runtime.settings
        origin = gateway_origin(settings.playground.gateway_url, request.headers.get("host", ""))
        asks_by_mention = self._runtime.live.now.groups.trigger == "mention"
        return self._html("page.html", origin, gateway=origin, asks_by_mention=asks_by_mention)

    async def file(self, name: str, request: Request) -> Response:
        """One of the page's own files."""
        asset = self._assets.get(name)
        if asset is None:
            return problem(404, "unknown_file", "没有这个文件")
        return serve(asset, request.headers.get("if-none-match", ""))

    async def messages(self, new_msg_id: Ids) -> Response:
        """The ways of several messages; those that have not arrived are left out."""
        return await self._answer(new_msg_id, lambda ways: found({"messages": ways}))

    async def message(self, new_msg_id: str) -> Response:
        """The way of one message."""
        return await self._answer([new_msg_id], _only)

    async def _answer(
        self, ids: list[str], show: Callable[[list[dict[str, Any]]], Response]
    ) -> Response:
        if reason := await self._admission.check_once():
            return problem(FORBIDDEN, "playground_closed", reason)
        runtime = self._runtime
        try:
            ways = await read_ways(runtime.store, ids, bots=runtime.accounts.own_ids, now=utc_now())
        except StoreUnavailable as error:
            return problem(503, error.code, "数据库暂时不可用")
        return show(ways)

    def _html(self, template: str, origin: str, status: int = 200, **values: object) -> Response:
        body = self._templates.get_template(template).render(values)
        return HTMLResponse(body, status, {**NO_STORE, **_policy(origin)})


def _only(ways: list[dict[str, Any]]) -> Response:
    if not ways:
        return problem(404, "unknown_message", "没有收到过这个 newMsgId 的消息")
    return found(ways[0])


def _policy(gateway: str) -> dict[str, str]:
    """Everything is from here, but the gateway may be talked to and shows pictures; nothing stands inline."""
    rules = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        f"img-src 'self' {gateway}".rstrip(),
        f"connect-src 'self' {gateway}".rstrip(),
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return {"Content-Security-Policy": "; ".join(rules)}
