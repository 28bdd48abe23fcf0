"""
The simulated Dify's own paths, for the page: what goes wrong there, and a real Dify in its place.

It listens on this machine alone, and the browser may be elsewhere; so the page's orders are passed on.
They are not read here: one of them has the key of an app.
"""

import asyncio
import re
from enum import StrEnum
from urllib.parse import urlsplit

import aiohttp
from fastapi import Request, Response

from app.console.playground.admission import Admission, is_this_machine
from app.console.playground.answers import FORBIDDEN, NO_STORE, found, problem
from app.console.playground.simulator import is_simulated_dify
from app.utils.http_client import make_http_client

SECONDS = 20.0
LONGEST_ORDER = 4_096
#: Names that no stranger can have pointed at this machine: addresses, and those without a dot.
_OWN_NAMES = re.compile(r"localhost|[A-Za-z0-9_-]+|[0-9.]+|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")


class Part(StrEnum):
    """What can be read and set there."""

    FAULTS = "faults"
    UPSTREAM = "upstream"


class DifyControl:
    """The handlers; open as long as the playground is, and only in front of a simulated Dify."""

    def __init__(self, base_url: str, admission: Admission) -> None:
        """
        Args:
            base_url: where the bridge asks, with ``/v1``.
        """
        self._origin = base_url.removesuffix("/v1")
        self._admission = admission

    async def show(self, part: Part) -> Response:
        """What is set; or that there is no simulated Dify, which is no fault."""
        if reason := await self._admission.check_once():
            return problem(FORBIDDEN, "playground_closed", reason)
        if not await self._is_simulated():
            return found({"simulated": False})
        return await self._pass_on(part, None)

    async def order(self, part: Part, request: Request) -> Response:
        """Set it, for a page of the playground only."""
        reason = await self._admission.check_once()
        if reason := reason or await _strange(request, part):
            return problem(FORBIDDEN, "playground_closed", reason)
        if not await self._is_simulated():
            return problem(409, "no_simulated_dify", "DIFY_BASE_URL 上不是模拟的 Dify。")
        length = request.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LONGEST_ORDER:
            return problem(413, "too_large", f"最多 {LONGEST_ORDER} 字节。")
        return await self._pass_on(part, await request.body())

    async def _is_simulated(self) -> bool:
        host = urlsplit(self._origin).hostname or ""
        return await is_this_machine(host) and await is_simulated_dify(self._origin)

    async def _pass_on(self, part: Part, order: bytes | None) -> Response:
        method = "GET" if order is None else "POST"
        try:
            async with (
                asyncio.timeout(SECONDS),
                make_http_client() as http,
                http.request(
                    method, f"{self._origin}/_sim/{part}", data=order, allow_redirects=False
                ) as answer,
            ):
                body = await answer.read()
        except (aiohttp.ClientError, OSError):
            # TimeoutError is an OSError.
            return problem(502, "dify_away", "模拟的 Dify 没有应答。")
        return Response(body, answer.status, NO_STORE, "application/json")


async def _strange(request: Request, part: Part) -> str:
    """Why an order is not taken for the page's, in Chinese; empty: it is."""
    host = request.headers.get("host", "")
    if urlsplit(request.headers.get("origin", "")).netloc != host:
        return "请求不是从演练场的页面来的。"
    if part is Part.FAULTS:
        return ""
    # A key is typed, and addresses inside are called: not for whoever else can open the page.
    if not _OWN_NAMES.fullmatch(urlsplit(f"//{host}").hostname or ""):
        return "请用 127.0.0.1 或 localhost 打开演练场,再切换。"
    if request.client is None or not await is_this_machine(request.client.host):
        return "只能在运行演练场的这台机器上切换(或经 SSH 转发)。"
    return ""
