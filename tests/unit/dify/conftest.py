"""A server on a real socket that answers with exactly the bytes a test gives it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest

from app.services.dify.client import DifyClient
from app.services.dify.transport import DifyApp
from app.utils.clock import SystemClock

KEY = "app-1234567890secret"


@dataclass
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Wire:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def open_stream(self, *, version: str = "1.13.0") -> None:
        """Head of an event stream in chunks."""
        await self.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
            b"X-Version: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % version.encode()
        )

    async def chunk(self, data: bytes) -> None:
        """One chunk of the body."""
        await self.send(b"%X\r\n%s\r\n" % (len(data), data))

    async def frame(self, **fields: Any) -> None:
        """One data frame."""
        await self.chunk(b"data: " + json.dumps(fields).encode() + b"\n\n")

    async def ping(self) -> None:
        """Dify's sign of life."""
        await self.chunk(b"event: ping\n\n")

    async def end(self) -> None:
        """The end of the body as HTTP wants it."""
        await self.send(b"0\r\n\r\n")

    async def reply(self, status: str, body: bytes, *headers: str, kind: str = "json") -> None:
        """A whole answer."""
        extra = "".join(f"{header}\r\n" for header in headers)
        mime = {"json": "application/json", "html": "text/html"}[kind]
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {mime}\r\nContent-Length: {len(body)}\r\n{extra}"
        )
        await self.send(head.encode() + b"\r\n" + body)

    async def hang(self) -> None:
        """Say nothing until the client leaves."""
        while await self._reader.read(65536):
            pass

    def cut(self) -> None:
        """Drop the connection."""
        self._writer.transport.abort()


Script = Callable[[Seen, Wire], Awaitable[None]]


@dataclass
class FakeDify:
    """Answers the n-th request by the n-th script; the last one goes on."""

    url: str
    scripts: list[Script] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    #: Set when a client has left a connection on which a script hung.
    is_left: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    def answer(self, *scripts: Script | bytes) -> None:
        """What to say; bytes are sent as they are."""
        self.scripts = [_as_script(script) for script in scripts]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while (request := await _read_request(reader)) is not None:
                script = self.scripts[min(len(self.seen), len(self.scripts) - 1)]
                self.seen.append(request)
                await script(request, Wire(reader, writer))
        except ConnectionError:
            pass  # the client left while a script was writing
        finally:
            self.is_left.set()
            writer.close()


def _as_script(script: Script | bytes) -> Script:
    if not isinstance(script, bytes):
        return script
    data = script

    async def send(_seen: Seen, wire: Wire) -> None:
        await wire.send(data)

    return send


async def _read_request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
    method, path, _ = first.split(" ")
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method=method, path=path, headers=headers, body=body)


@pytest.fixture
async def dify() -> AsyncIterator[FakeDify]:
    """A listening fake."""
    fake = FakeDify(url="")
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(fake.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield fake
    server.close()
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """The session that a process shares."""
    async with aiohttp.ClientSession() as session:
        yield session


ClientMaker = Callable[..., DifyClient]


@pytest.fixture
def make_client(dify: FakeDify, http: aiohttp.ClientSession) -> ClientMaker:
    """A client of the fake; keyword arguments change its settings."""

    def make(**changes: Any) -> DifyClient:
        app = DifyApp(
            name="main",
            base_url=dify.url,
            api_key=KEY,
            blocking_timeout=10,
            streaming_timeout=10,
            first_event_timeout=5,
            gap_timeout=5,
        )
        return DifyClient(http, replace(app, **changes), SystemClock())

    return make
