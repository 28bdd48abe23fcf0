"""Files are fetched from public places only, whole and bounded."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from app.services.addresses import is_private_address
from app.services.downloads import Downloader
from app.services.errors import DownloadFailed
from app.utils.public_http import PublicResolver, make_public_http_client

MOST = 1000


class Names(AbstractResolver):
    """Every name leads to these addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0
            )
            for one in self._addresses
        ]

    @override
    async def close(self) -> None:
        """Nothing to close."""


async def serve(request: web.Request) -> web.StreamResponse:
    """What a place may answer."""
    match request.match_info["what"]:
        case "good":
            return web.Response(body=b"x" * MOST)
        case "large":
            return web.Response(body=b"x" * (MOST + 1))
        case "endless":
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(50):
                await response.write(b"x" * 100)
            return response
        case "elsewhere":
            return web.Response(status=302, headers={"Location": "/good"})
        case _:
            return web.Response(status=404)


@asynccontextmanager
async def place(*own_hosts: str) -> AsyncIterator[tuple[Downloader, str]]:
    """A downloader, and a place on this machine."""
    app = web.Application()
    app.router.add_get("/{what}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with (
        make_public_http_client(is_private_address) as public,
        aiohttp.ClientSession() as own,
    ):
        yield Downloader(public, own=own, own_hosts=own_hosts), f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_the_gateway_s_own_place_may_be_inside() -> None:
    """Nobody else's."""
    async with place("127.0.0.1") as (downloader, url):
        assert await downloader.fetch(f"{url}/good", most=MOST) == b"x" * MOST


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("large", "too_large"),
        ("endless", "too_large"),
        ("elsewhere", "http_302"),
        ("gone", "http_404"),
    ],
)
async def test_what_is_no_whole_file_is_none(what: str, reason: str) -> None:
    """Neither one that is too large, said beforehand or not, nor one that is elsewhere."""
    async with place("127.0.0.1") as (downloader, url):
        with pytest.raises(DownloadFailed, match=f"^{reason}$"):
            await downloader.fetch(f"{url}/{what}", most=MOST)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("{}/good", "private_host"),
        ("http://localhost/good", "private_host"),
        ("http://169.254.169.254/latest", "private_host"),
        ("http://[::ffff:127.0.0.1]/good", "private_host"),
        ("file:///etc/passwd", "bad_address"),
        ("http://user@8.8.8.8/", "bad_address"),
    ],
)
async def test_nothing_is_fetched_from_inside(url: str, reason: str) -> None:
    """By number or by name."""
    async with place() as (downloader, own):
        with pytest.raises(DownloadFailed, match=f"^{reason}$"):
            await downloader.fetch(url.format(own), most=MOST)


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("8.8.8.8", "10.0.0.1"), ()])
async def test_a_name_that_leads_inside_is_refused(addresses: tuple[str, ...]) -> None:
    """Though it looks like any other, and even if it leads outside as well."""
    resolver = PublicResolver(is_private_address, Names(*addresses))
    with pytest.raises(OSError, match="no public host"):
        await resolver.resolve("files.example.com", 80)


async def test_a_name_that_leads_outside_is_connected_to_where_it_led() -> None:
    """It is resolved once."""
    resolver = PublicResolver(is_private_address, Names("8.8.8.8"))
    assert [one["host"] for one in await resolver.resolve("files.example.com", 80)] == ["8.8.8.8"]


async def test_the_client_refuses_a_name_that_leads_to_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole way: nothing is asked."""
    monkeypatch.setattr("app.utils.public_http.ThreadedResolver", lambda: Names("127.0.0.1"))
    async with place() as (downloader, url):
        port = url.rpartition(":")[2]
        with pytest.raises(DownloadFailed, match=r"^not_reached$"):
            await downloader.fetch(f"http://files.example.com:{port}/good", most=MOST)
