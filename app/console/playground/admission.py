"""
Whether the playground may open: only in front of the simulated gateway on this machine.

What is said in the playground is sent by the gateway's account; with a real one it would go to
real people.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from app.console.playground.simulator import is_simulated_gateway
from config import EcloudSettings, PlaygroundSettings

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

IsSimulated = Callable[[str], Awaitable[bool]]


class Admission:
    """Asks on each opening of the page; what follows from an open page is let through."""

    def __init__(
        self,
        playground: PlaygroundSettings,
        ecloud: EcloudSettings,
        *,
        is_simulated: IsSimulated = is_simulated_gateway,
    ) -> None:
        self._playground = playground
        self._ecloud = ecloud
        self._is_simulated = is_simulated
        self._was_open = False

    async def check(self) -> str:
        """Why the playground is closed, in Chinese; empty: it is open."""
        reason = _wrong_settings(self._playground, self._ecloud) or await self._wrong_gateway()
        self._was_open = not reason
        return reason

    async def check_once(self) -> str:
        """As ``check``, but an open playground stays open while its gateway is away."""
        return "" if self._was_open else await self.check()

    async def _wrong_gateway(self) -> str:
        base_url = self._ecloud.base_url
        if not await is_this_machine(urlsplit(base_url).hostname or ""):
            return "ECLOUD_BASE_URL 不在这台机器上,可能是真实的网关。"
        if not await self._is_simulated(base_url):
            return "ECLOUD_BASE_URL 上没有模拟网关在运行,或者那里不是模拟网关。"
        return ""


def _wrong_settings(playground: PlaygroundSettings, ecloud: EcloudSettings) -> str:
    if not playground.gateway_url:
        return "没有设置 PLAYGROUND_GATEWAY_URL。"
    if not ecloud.base_url:
        return "没有设置 ECLOUD_BASE_URL。"
    if ecloud.accounts:
        return "ecloud.accounts 里还有其他网关登录,可能是真实的微信号。"
    if _port(playground.gateway_url) != _port(ecloud.base_url):
        return "PLAYGROUND_GATEWAY_URL 与 ECLOUD_BASE_URL 不是同一个网关。"
    return ""


def gateway_origin(gateway_url: str, host_header: str) -> str:
    """
    Where the browser finds the gateway: its port, under the name by which the browser came (pure).

    A header that is no host name is not used: the result stands in the content security policy.
    """
    parts = urlsplit(gateway_url)
    asked = _HOST.fullmatch(host_header)
    name = asked["name"] if asked else _bracketed(parts.hostname or "")
    return f"{parts.scheme}://{name}:{_port(gateway_url)}"


async def is_this_machine(host: str) -> bool:
    """Whether every address of *host* is one of this machine: it could be listened on."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_is_own(family, address[0]) for family, _, _, _, address in found)


def _is_own(family: int, address: str | int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
