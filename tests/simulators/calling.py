"""A client of the simulated gateway, with a receiver for its callbacks."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from simulators.ecloud import EcloudSimulator

GROUP = "40000000001@chatroom"
BOT = "wxid_botaaaa0000b22"
MING, HONG, WANG = "wxid_xiaoming0a1b21", "wxid_xiaohong0c2d22", "laowang-1975"
DONE = {"code": "1000", "message": "success", "data": None}


class Receiver:
    """What the bridge is to the gateway: takes callbacks and answers as told."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.raw: list[bytes] = []
        self.content_types: list[str | None] = []
        self.slow: dict[str, float] = {}
        self.url = ""
        #: Answers in place of `take`.
        self.answer = self.take

    async def handle(self, request: web.Request) -> web.Response:
        """Whatever answers at present."""
        return await self.answer(request)

    async def take(self, request: web.Request) -> web.Response:
        """Keep the body; sleep for messages of a group named in `slow`."""
        raw = await request.read()
        self.raw.append(raw)
        self.content_types.append(request.headers.get("Content-Type"))
        body = json.loads(raw) if raw.startswith(b"{") and raw.endswith(b"}") else None
        self.bodies.append(body)
        group = body["data"].get("fromGroup", "") if body else ""
        await asyncio.sleep(self.slow.get(group, 0.0))
        return web.json_response(DONE)

    @property
    def texts(self) -> list[str]:
        """What was said, in order of arrival."""
        return [body["data"]["content"] for body in self.bodies]


class Caller:
    """A client of the gateway with a receiver for its callbacks."""

    def __init__(
        self, gateway: EcloudSimulator, http: aiohttp.ClientSession, receiver: Receiver
    ) -> None:
        self.gateway = gateway
        self.http = http
        self.receiver = receiver

    @property
    def w_id(self) -> str:
        """The first account's present login."""
        return self.gateway.world.first_account().w_id

    async def raw(self, path: str, /, **body: Any) -> tuple[int, str]:
        """HTTP status and text."""
        async with self.http.post(f"{self.gateway.base_url}{path}", json=body) as response:
            return response.status, await response.text()

    async def call(self, path: str, /, **body: Any) -> dict[str, Any]:
        """The envelope; HTTP 200 is expected."""
        status, text = await self.raw(path, **body)
        assert status == 200
        envelope: dict[str, Any] = json.loads(text)
        return envelope

    async def send(self, content: str = "答", **body: Any) -> dict[str, Any]:
        """Send a text to the group."""
        return await self.call("/sendText", wId=self.w_id, wcId=GROUP, content=content, **body)


@asynccontextmanager
async def calling(**settings: Any) -> AsyncIterator[Caller]:
    """A gateway whose callbacks go to a receiver; *settings* are those of the simulator."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/cb", receiver.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"{site.name}/cb"
    settings.setdefault("callback_url", receiver.url)
    try:
        async with EcloudSimulator.start(**{"seed": 1, **settings}) as gateway:
            headers = {"Authorization": gateway.authorization}
            async with aiohttp.ClientSession(headers=headers) as http:
                yield Caller(gateway, http, receiver)
    finally:
        await runner.cleanup()
