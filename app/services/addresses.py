"""
Which address on the web may be asked, or handed on to be asked. Pure: names are resolved elsewhere.

An address in an answer or in a message is somebody else's word. What cannot be read in one way only is
no address.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from typing_extensions import override

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
#: A last label of this shape makes the name a number, which resolvers read in ways of their own.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
#: Names that mean something in one network only.
_PRIVATE_ENDS: Final = (
    ".localhost",
    ".local",
    ".localdomain",
    ".internal",
    ".intranet",
    ".private",
    ".lan",
    ".home",
    ".corp",
    ".home.arpa",
    ".test",
    ".invalid",
)
_MAX_HOST = 253


@dataclass(frozen=True, kw_only=True, slots=True)
class WebAddress:
    """An address of http or https without credentials."""

    scheme: str
    #: In lower case; an IPv6 address without brackets.
    host: str
    port: int
    #: Path and query, from the slash on; the query may be a signature.
    target: str = field(repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Whom it belongs to: scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    @property
    def is_private(self) -> bool:
        """Whether the host means something in one network only, as far as its name tells."""
        return is_private_host(self.host)

    def below(self, base: "WebAddress") -> str:
        """The same path and query at *base*, behind the path that *base* has."""
        return str(base).rstrip("/") + self.target

    @override
    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if _DEFAULT_PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"


def read_address(url: str) -> WebAddress | None:
    """
    The address, or None: another scheme, a name and password in it, or something odd about it.

    Odd are characters that no address has, a backslash, and hosts that are read in several ways
    (numbers, percent signs, other alphabets than that of DNS).
    """
    if not url.isascii() or not url.isprintable() or any(char in url for char in ' \\"<>^`{|}'):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in _DEFAULT_PORTS or "@" in parts.netloc or not _is_host(host):
        return None
    if port == 0 or parts.netloc.endswith(":"):
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = host.rstrip(".") if ":" not in host else host
    return WebAddress(scheme=scheme, host=host, port=port or _DEFAULT_PORTS[scheme], target=target)


def is_private_host(host: str) -> bool:
    """By its name alone: one of this machine or network, or a number that is such an address."""
    if (address := _literal(host)) is not None:
        return is_private_address(address)
    name = host.rstrip(".").lower()
    return "." not in name or f".{name}".endswith(_PRIVATE_ENDS)


def is_private_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address | str) -> bool:
    """
    Whether nobody outside could reach it: private, loopback, link-local, the clouds' metadata …

    An IPv6 address that carries an IPv4 one is as private as that one. What is no address counts as
    private.
    """
    if isinstance(address, str):
        literal = _literal(address.partition("%")[0])
        if literal is None:
            return True
        address = literal
    if not address.is_global or address.is_multicast or address.is_reserved:
        return True
    return isinstance(address, ipaddress.IPv6Address) and _carries_private(address)


def _carries_private(address: ipaddress.IPv6Address) -> bool:
    inner = [address.ipv4_mapped, address.sixtofour]
    if address.teredo is not None:
        inner.extend(address.teredo)
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return any(one is not None and is_private_address(one) for one in inner)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_host(host: str) -> bool:
    if _literal(host) is not None:
        return True
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST or _NUMBER.fullmatch(labels[-1]):
        return False
    return all(_NAME.fullmatch(label) for label in labels)


def matches_host(host: str, patterns: tuple[str, ...]) -> bool:
    """Whether the host is one of these: a name, or ``*.name`` for all below it."""
    return any(
        host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
        for pattern in patterns
    )
