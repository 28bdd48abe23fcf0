"""
A real Dify in the place of the simulated one, while that is switched on by `/_sim/upstream`.

The bridge keeps its address and its key; what it asks goes on to the real app with the real key, and
the answer comes back byte for byte. The key is kept in memory only and told to nobody.
"""

import asyncio
import json
import re
import secrets
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from simulators.serving import cut, json_response, refusal

TRY_SECONDS = 10.0
#: Longest silence in an answer; the real one pings every ten seconds.
READ_SECONDS = 330.0
LONGEST_ADDRESS = 300
LONGEST_INFO = 65_536
#: What comes with it has been passed on already: it would go round for ever.
MARK = "X-Simulated-Dify"
KEY = re.compile(r"[\x21-\x7e]{1,200}")
PASSED = ("Content-Type", "Retry-After", "Cache-Control")
NO_CHAT = {"workflow": "工作流", "completion": "文本生成"}
HINT = "地址通常以 /v1 结尾,例如 https://api.dify.ai/v1。"


class NotUsable(ValueError):
    """The real one cannot be used; the text says why, for whoever typed it."""


class Upstream:
    """The real Dify; nothing is there until it is switched on."""

    def __init__(self) -> None:
        self._address: str | None = None
        self._key = ""
        self._app: dict[str, str] = {}
        self._own_mark = secrets.token_hex(8)

    @property
    def is_on(self) -> bool:
        """Whether questions go to the real one."""
        return self._address is not None

    def goes_round(self, request: web.Request) -> bool:
        """Whether it was passed on here: the address that was typed is our own."""
        return request.headers.get(MARK) == self._own_mark

    def add_to(self, app: web.Application) -> None:
        """Put the paths into the router."""
        app.router.add_get("/_sim/upstream", self._show)
        app.router.add_post("/_sim/upstream", self._set)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """
        Ask the real one the same and give its answer as it comes.

        Raises:
            aiohttp.ClientError, TimeoutError: it gave none.
        """
        path = request.rel_url.raw_path_qs.removeprefix("/v1")
        headers = {"Accept-Encoding": "identity", **self._with_key(self._key)}
        for name in ("Content-Type", "Accept"):
            if name in request.headers:
                headers[name] = request.headers[name]
        body = await request.read()
        async with (
            _client(READ_SECONDS) as http,
            http.request(
                request.method,
                URL(f"{self._address}{path}", encoded=True),
                headers=headers,
                data=body or None,
                allow_redirects=False,
            ) as answer,
        ):
            return await _relay(request, answer)

    async def _show(self, _request: web.Request) -> web.Response:
        return json_response(self._told())

    async def _set(self, request: web.Request) -> web.Response:
        """
        Body: `{"base_url": …, "key": …}`, tried before it is used; or `{"on": false}`.

        The answer is what is on now, and in `refused` why what was tried is not.
        """
        if "Origin" in request.headers:
            return refusal(
                "StrangeOrigin", "no page asks here; the bridge passes its orders on", 403
            )
        try:
            order = await request.json()
        except ValueError:
            return refusal("BadJson", "an object is expected")
        if not isinstance(order, dict):
            return refusal("BadOrder", "an object is expected")
        if order.get("on") is False:
            self._address, self._key, self._app = None, "", {}
            return json_response(self._told())
        try:
            address, key = _checked(order)
            app = await _try(address, self._with_key(key))
        except NotUsable as error:
            return json_response({**self._told(), "refused": str(error)})
        self._address, self._key, self._app = address, key, app
        return json_response(self._told())

    def _with_key(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}", MARK: self._own_mark}

    def _told(self) -> dict[str, Any]:
        if self._address is None:
            return {"simulated": True, "on": False}
        return {"simulated": True, "on": True, "base_url": self._address, "app": self._app}


def _checked(order: dict[str, Any]) -> tuple[str, str]:
    """The address without a slash at its end, and the key."""
    address, key = str(order.get("base_url", "")).strip(), str(order.get("key", "")).strip()
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise NotUsable(f"这不是一个 http(s) 地址。{HINT}") from None
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    if not is_web or len(address) > LONGEST_ADDRESS:
        raise NotUsable(f"这不是一个 http(s) 地址。{HINT}")
    if parts.username is not None or parts.query or parts.fragment:
        raise NotUsable("地址里不要有用户名、? 和 #。")
    if not KEY.fullmatch(key):
        raise NotUsable("密钥是一串字母和数字,通常以 app- 开头。")
    return address.rstrip("/"), key


async def _try(address: str, headers: dict[str, str]) -> dict[str, str]:
    """Name and mode of the app."""
    try:
        async with (
            asyncio.timeout(TRY_SECONDS),
            _client(TRY_SECONDS) as http,
            http.get(f"{address}/info", headers=headers, allow_redirects=False) as answer,
        ):
            status, body = answer.status, await _read(answer)
    except TimeoutError:
        raise NotUsable(f"{TRY_SECONDS:g} 秒内没有应答。") from None
    except aiohttp.ClientSSLError:
        raise NotUsable("它的证书不被信任,或者那里不是 https。") from None
    except aiohttp.ClientConnectorDNSError:
        raise NotUsable("找不到这个主机名。") from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise NotUsable("连不上:那里没有服务在监听,或者不是 HTTP。") from None
    return _app_in(status, body)


def _app_in(status: int, body: bytes) -> dict[str, str]:
    if status in (401, 403):
        raise NotUsable(f"密钥不对(HTTP {status})。")
    if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirections
        raise NotUsable(f"它转到别处去了(HTTP {status}),请填最后的地址。{HINT}")
    try:
        told = json.loads(body) if status == 200 else None  # noqa: PLR2004 - HTTP's OK
    except ValueError:
        told = None
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        raise NotUsable(f"那里不是 Dify 的接口(HTTP {status})。{HINT}")
    mode = str(told.get("mode") or "")
    if mode in NO_CHAT:
        raise NotUsable(
            f"这是{NO_CHAT[mode]}应用;群里要能对话的:聊天助手、Agent 或 Chatflow 的密钥。"
        )
    return {"name": told["name"][:100], "mode": mode[:30]}


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > LONGEST_INFO:
            return b""
    return body


async def _relay(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    if 300 <= answer.status < 400:  # noqa: PLR2004 - HTTP's redirections
        return web.Response(status=502)
    headers = {name: answer.headers[name] for name in PASSED if name in answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError):
        # Begun already: its breaking off is what the bridge has to see.
        cut(request)
        return response
    await response.write_eof()
    return response


def _client(read_seconds: float) -> aiohttp.ClientSession:
    """No cookies, and no proxy of the environment: the key goes to the address that was typed."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=read_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
