"""An HTTP client that reaches public addresses only: for what somebody else's word names."""

import socket
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from typing_extensions import override

CONNECT_TIMEOUT = 10.0
MAX_CONNECTIONS = 8


class PublicResolver(AbstractResolver):
    """
    Resolves names, and refuses one that leads to an inner address, even beside public ones.

    The connection goes to the addresses that were looked at here: the name is not resolved again.
    """

    def __init__(
        self, is_private: Callable[[str], bool], inner: AbstractResolver | None = None
    ) -> None:
        self._is_private = is_private
        self._inner = inner or ThreadedResolver()

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not found or any(self._is_private(one["host"]) for one in found):
            raise OSError(f"{host} is no public host")
        return found

    @override
    async def close(self) -> None:
        await self._inner.close()


def make_public_http_client(is_private: Callable[[str], bool]) -> aiohttp.ClientSession:
    """
    A client that follows no proxy and keeps no cookies; numbers as hosts have to be judged before.

    Args:
        is_private: of a numeric address.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=MAX_CONNECTIONS,
            resolver=PublicResolver(is_private),
            use_dns_cache=False,
            force_close=True,
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
