"""Which addresses are handed on or asked: what is read in one way only, and is not of an inner network."""

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.addresses import (
    is_private_address,
    is_private_host,
    matches_host,
    read_address,
)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:image/png;base64,AA==",
        "//example.com/a",
        "/files/a",
        "https://user@example.com/a",
        "https://user:word@example.com/a",
        "https://example.com\\@10.0.0.1/a",
        "https://example.com:0/a",
        "https://example.com:/a",
        "https://example.com:99999/a",
        "https://exa mple.com/a",
        "https://example.com/a\nHost: x",
        "https://bücher.example/a",
        "https://example.com%2f@10.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://1.2.3.4.5/",
        "https://[::1/",
        "https://-a.example/",
        "https:///a",
    ],
)
def test_what_can_be_read_in_two_ways_is_no_address(url: str) -> None:
    """Nor what has a name and password in it, or is of another scheme."""
    assert read_address(url) is None


def test_an_address_comes_apart_and_together_again() -> None:
    """Scheme and host in lower case, the usual port left out, the query as it is."""
    address = read_address("HTTPS://Img.Example.COM:443/a%20b/c.png?sign=x%3D&t=1#part")

    assert address is not None
    assert address.origin == ("https", "img.example.com", 443)
    assert address.path == "/a%20b/c.png"
    assert str(address) == "https://img.example.com/a%20b/c.png?sign=x%3D&t=1"
    assert "sign" not in repr(address)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "api",
        "nginx",
        "dify.local",
        "dify.lan",
        "metadata.google.internal",
        "x.home.arpa",
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "0.0.0.0",  # noqa: S104 - it is refused
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "ff02::1",
    ],
)
def test_what_means_something_in_one_network_only_is_private(host: str) -> None:
    """Names without a dot, names of inner networks, and all addresses that are not everybody's."""
    assert is_private_host(host)


@pytest.mark.parametrize("host", ["example.com", "dify.example.org", "8.8.8.8", "2606:4700::1111"])
def test_what_everybody_can_reach_is_not(host: str) -> None:
    """By its name; where the name leads to is seen when it is asked."""
    assert not is_private_host(host)


def test_only_named_hosts_match() -> None:
    """A star stands for all below a name, not for the name, and not for another that ends alike."""
    patterns = ("img.example.com", "*.example.org")

    assert matches_host("img.example.com", patterns)
    assert matches_host("a.b.example.org", patterns)
    for host in ("example.org", "evilexample.org", "x.img.example.com", "img.example.com.evil.net"):
        assert not matches_host(host, patterns)


@given(st.ip_addresses())
def test_an_address_of_numbers_is_private_unless_the_registry_calls_it_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """As text and as a value; with a zone too."""
    if not address.is_global:
        assert is_private_address(address)
    assert is_private_address(address) == is_private_address(str(address))
    assert is_private_address(address) == is_private_host(str(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_within_an_ipv6_one_is_as_private_as_by_itself(
    address: ipaddress.IPv4Address,
) -> None:
    """Mapped, and by way of a translator."""
    for prefix in ("::ffff:", "64:ff9b::"):
        if is_private_address(address):
            assert is_private_address(f"{prefix}{address}")


ALPHABET = "ahtps:/\\@.?#[]%0127xlocehst -_\x00é\n"


@given(st.one_of(st.text(ALPHABET, max_size=60), st.text(ALPHABET).map("https://".__add__)))
def test_whatever_is_read_is_read_alike_by_the_library_that_asks(url: str) -> None:
    """Never raises; the host that was judged is the host of what is handed on."""
    address = read_address(url)
    if address is None:
        return
    parts = urlsplit(str(address))

    assert parts.scheme in {"http", "https"}
    assert parts.hostname == address.host
    assert parts.username is parts.password is None
    assert read_address(str(address)) == address
