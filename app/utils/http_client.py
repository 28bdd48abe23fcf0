"""The one HTTP client of a process."""

import aiohttp

CONNECT_TIMEOUT = 10.0
KEEPALIVE = 60.0
DNS_CACHE = 300


def make_http_client() -> aiohttp.ClientSession:
    """
    A client for both peers; close it, or use it as ``async with``. Needs a running loop.

    Connections are not limited here: how many requests run is decided by the callers, who also
    set each call's time-out in seconds (only connecting is bounded, by 10). Cookies are not
    kept and the proxy variables of the environment are not followed: a key must go to the
    address in the settings and nowhere else.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEPALIVE, ttl_dns_cache=DNS_CACHE
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=True,
        trust_env=False,
    )
