"""Bounds of HTTP connections, over real sockets: endless heads, silence, slowness; others go on."""

import asyncio
import resource
from collections.abc import AsyncIterator

import pytest
from fastapi import APIRouter, Request

from app.api import protocol
from app.api.app import create_app
from app.api.server import FILES, KEEP_ALIVE_SECONDS, bind, make_server, raise_file_limit

END = b"\r\n\r\n"
HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server with one route that gives back how long the body was."""
    router = APIRouter()

    @router.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    server = make_server(create_app(version="0", routers=[router]))
    listener = bind("127.0.0.1", 0)
    listener.listen()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving
    listener.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """One whole answer."""
    head = await reader.readuntil(END)
    length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
    return head + await reader.readexactly(int(length.split(b":")[1]))


async def ask(port: int, request: bytes) -> bytes:
    """The answer to one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    found = await answer(reader)
    writer.close()
    return found


async def test_an_endless_header_is_refused_and_others_are_answered(port: int) -> None:
    """The bridge keeps nothing of it beyond the bound."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"X: ")
    sent = 0
    try:
        while sent < 20 * 1024 * 1024 and not reader.at_eof():
            writer.write(b"a" * 65_536)
            await writer.drain()
            sent += 65_536
    except ConnectionError:
        pass
    found = await ask(port, HEAD + b"Content-Length: 3" + END + b"abc")

    assert sent < 20 * 1024 * 1024
    assert found.startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(HEAD + b"X: " + b"a" * protocol.MAX_HEAD, id="one header"),
        pytest.param(
            HEAD + b"\r\n".join([b"X: aaaaaaaa"] * (protocol.MAX_HEAD // 9 + 1)),
            id="many headers",
        ),
        pytest.param(b"POST /" + b"a" * protocol.MAX_HEAD + b" HTTP/1.1\r\nHost: x", id="path"),
    ],
)
async def test_a_head_above_the_bound_hears_431(port: int, head: bytes) -> None:
    """Also when it comes at once and is complete."""
    assert (await ask(port, head + END)).startswith(b"HTTP/1.1 431")


async def test_a_large_body_behind_a_small_head_is_read_whole(port: int) -> None:
    """Pipelined requests included: bodies do not count as heads."""
    body = b"x" * 1_000_000
    request = HEAD + b"Content-Length: 1000000" + END + body
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request + request[:-10])
    first = await answer(reader)
    writer.write(request[-10:])
    second = await answer(reader)
    writer.close()

    assert first.endswith(b"1000000")
    assert second.endswith(b"1000000")


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"", id="silent"),
        pytest.param(HEAD + b"X: a", id="half a head"),
        pytest.param(HEAD + b"Content-Length: 9" + END + b"abc", id="half a body"),
    ],
)
async def test_who_does_not_go_on_loses_the_connection(
    port: int, beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enough of them would keep the gateway out."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(beginning)

    async with asyncio.timeout(30):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()


async def test_an_idle_connection_is_kept_and_a_slow_second_request_is_not(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between requests the long bound holds, from the first byte on the short one."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    whole = HEAD + b"Content-Length: 3" + END + b"abc"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(whole)
    first = await answer(reader)
    await asyncio.sleep(0.3)
    writer.write(whole)
    second = await answer(reader)
    writer.write(whole[:10])

    async with asyncio.timeout(30):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    assert first.endswith(b"3")
    assert second.endswith(b"3")
    writer.close()


def test_connections_are_kept_longer_than_clients_keep_theirs() -> None:
    """Most clients and proxies close after 60 s at the latest."""
    server = make_server(create_app(version="0", routers=[]))

    assert server.config.timeout_keep_alive == KEEP_ALIVE_SECONDS > 60


def test_the_soft_limit_of_files_is_raised_within_the_hard_one() -> None:
    """And never lowered."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        raise_file_limit()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    most = FILES if before[1] == resource.RLIM_INFINITY else min(before[1], FILES)
    assert raised == (most, before[1])
