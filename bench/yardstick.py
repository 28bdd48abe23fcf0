"""
The thinnest program that does the bridge's work: what speed is measured against.

A raw ASGI app puts each callback into one Redis list (LPUSH); one loop takes them out (BRPOP), keeps a
line per sender, asks Dify over kept-alive connections and sends the answer. It promises nothing: what
it holds is lost with it, nothing is deduplicated, nothing is paced, nobody is mentioned.

``python -m bench.yardstick`` reads the variables that the bridge reads: SERVER_PORT, REDIS_URL,
DIFY_BASE_URL, DIFY_API_KEY, DIFY_STREAMING_ENABLED, ECLOUD_BASE_URL, ECLOUD_AUTHORIZATION.
"""

import asyncio
import os
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import uvicorn
import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

QUEUE = "yardstick"
ANSWER = b'{"code":"1000","message":"success","data":null}'
JSON = [(b"content-type", b"application/json")]
#: Longest BRPOP; below the client's own time-out.
BLOCK = 1.0
#: To Redis; who finds all in use waits for one.
CONNECTIONS = 64

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Callbacks:
    """The ASGI app: every POST is a callback, everything else is told that all is well."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        if scope["method"] == "POST":
            await self._redis.lpush(QUEUE, await _body(receive))
        await send({"type": "http.response.start", "status": 200, "headers": JSON})
        await send({"type": "http.response.body", "body": ANSWER})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += bytes(event.get("body", b""))
        if not event.get("more_body"):
            return body


class Answers:
    """One message of a sender at a time, senders side by side."""

    def __init__(self, redis: "Redis", http: aiohttp.ClientSession) -> None:
        self._redis = redis
        self._http = http
        self._lines: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self._busy: set[asyncio.Task[None]] = set()
        self._mode = "blocking"
        if os.environ.get("DIFY_STREAMING_ENABLED") == "true":
            self._mode = "streaming"

    async def run(self) -> None:
        """Take messages out of the list, for ever."""
        while True:
            found = await self._redis.brpop([QUEUE], timeout=BLOCK)
            if found is None:
                continue
            message = orjson.loads(found[1])["data"]
            line = self._lines[message["fromUser"]]
            line.append(message)
            if len(line) == 1:
                task = asyncio.create_task(self._serve(line))
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)

    async def _serve(self, line: deque[dict[str, Any]]) -> None:
        while line:
            message = line[0]
            answer = await self._ask(message)
            await self._send(message, answer)
            line.popleft()

    async def _ask(self, message: dict[str, Any]) -> str:
        body = {
            "inputs": {},
            "query": message["content"],
            "user": message["fromUser"],
            "response_mode": self._mode,
            "auto_generate_name": False,
        }
        url = f"{os.environ['DIFY_BASE_URL']}/chat-messages"
        headers = {"Authorization": f"Bearer {os.environ['DIFY_API_KEY']}"}
        async with self._http.post(url, json=body, headers=headers) as response:
            if self._mode == "blocking":
                return str(orjson.loads(await response.read())["answer"])
            return await _streamed(response)

    async def _send(self, message: dict[str, Any], answer: str) -> None:
        body = {"wId": message["wId"], "wcId": message["fromGroup"], "content": answer}
        headers = {"Authorization": os.environ["ECLOUD_AUTHORIZATION"]}
        url = f"{os.environ['ECLOUD_BASE_URL']}/sendText"
        async with self._http.post(url, json=body, headers=headers) as response:
            await response.read()


async def _streamed(response: aiohttp.ClientResponse) -> str:
    pieces = []
    async for line in response.content:
        if line.startswith(b"data: "):
            event = orjson.loads(line[6:])
            if event.get("event") == "message":
                pieces.append(event["answer"])
    return "".join(pieces)


async def serve() -> None:
    """Run until a signal ends the server."""
    pool = BlockingConnectionPool.from_url(
        os.environ["REDIS_URL"], max_connections=CONNECTIONS, timeout=None
    )
    redis = Redis.from_pool(pool)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        taking = asyncio.create_task(Answers(redis, http).run())
        config = uvicorn.Config(
            Callbacks(redis),
            host="127.0.0.1",
            port=int(os.environ["SERVER_PORT"]),
            access_log=False,
            log_level="warning",
            lifespan="off",
            backlog=2048,
        )
        await uvicorn.Server(config).serve()
        taking.cancel()
    await redis.aclose()


if __name__ == "__main__":
    uvloop.run(serve())
