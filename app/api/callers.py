"""Who may post callbacks: by the address a request comes from. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Callers:
    """The addresses that may post; none named: all may."""

    sources: tuple[Network, ...] = ()
    #: Whose word about where a request came from is taken.
    proxies: tuple[Network, ...] = ()

    @classmethod
    def of(cls, sources: Sequence[str], proxies: Sequence[str]) -> "Callers":
        """
        From addresses and networks as text.

        Raises:
            ValueError: one of them is neither.
        """
        return cls(tuple(map(ip_network, sources)), tuple(map(ip_network, proxies)))

    def admits(self, peer: str | None, forwarded_for: Sequence[str] = ()) -> bool:
        """
        Whether a request may post.

        Args:
            peer: the address of the socket; None: there is none.
            forwarded_for: the values of ``X-Forwarded-For``, as they stand.
        """
        if not self.sources:
            return True
        caller = self.caller(peer, forwarded_for)
        return caller is not None and _is_in(caller, self.sources)

    def caller(self, peer: str | None, forwarded_for: Sequence[str]) -> Address | None:
        """The last address that is no proxy of ours; what stands before it anybody may have written."""
        named = [part for value in forwarded_for for part in value.split(",")]
        hops = [*named, peer or ""]
        caller = None
        for hop in reversed(hops):
            caller = _read(hop)
            if caller is None or not _is_in(caller, self.proxies):
                return caller
        return caller


def _read(text: str) -> Address | None:
    """An address, some write its port behind it; None: it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
