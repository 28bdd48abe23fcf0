"""The HTTP client's promises, against a real server."""

import asyncio
import gzip

import aiohttp
import pytest
from aiohttp import web

from app.utils.http_client import make_http_client


@pytest.fixture
async def address() -> object:
    """A server that sets a cookie, tells what it got, and compresses on request."""

    async def answer(request: web.Request) -> web.Response:
        response = web.json_response({"cookies": dict(request.cookies)})
        response.set_cookie("session", "x")
        return response

    async def compressed(_: web.Request) -> web.Response:
        body = gzip.compress("你好".encode())
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    arrived = asyncio.Barrier(150)

    async def together(_: web.Request) -> web.Response:
        await arrived.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    app.router.add_get("/gzip", compressed)
    app.router.add_get("/together", together)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    # By name: cookies of a bare address would be dropped by any client.
    yield f"http://localhost:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_cookies_are_not_kept(address: str) -> None:
    """What one peer sets is never sent again."""
    async with make_http_client() as http:
        await (await http.get(address)).read()
        second = await (await http.get(address)).json()

    assert second == {"cookies": {}}


async def test_compressed_answer_is_unpacked(address: str) -> None:
    """Callers see the body as it was meant."""
    async with make_http_client() as http:
        assert await (await http.get(f"{address}/gzip")).text() == "你好"


async def test_more_than_a_hundred_requests_run_side_by_side(address: str) -> None:
    """The library's own limit of 100 connections does not hold; the callers' limits do."""
    async with asyncio.timeout(60), make_http_client() as http:

        async def ask() -> int:
            async with http.get(f"{address}/together") as response:
                return response.status

        statuses = await asyncio.gather(*(ask() for _ in range(150)))

    assert statuses == [200] * 150


async def test_proxy_of_the_environment_is_not_followed(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key goes to the address in the settings and nowhere else."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async with make_http_client() as http, http.get(address) as response:
        assert response.status == 200


async def test_whole_call_has_no_limit_of_its_own() -> None:
    """Streams of many minutes are the callers' business; connecting is bounded."""
    async with make_http_client() as http:
        assert http.timeout.total is None
        assert http.timeout.sock_connect == 10
        assert isinstance(http.connector, aiohttp.TCPConnector)
        assert http.connector.limit == 0


async def test_client_is_closed_at_the_end_of_its_block() -> None:
    """No connection outlives the program's part that uses it."""
    async with make_http_client() as http:
        assert not http.closed

    assert http.closed
