"""Asks the gateway whether it is the simulated one, by the simulator's own path."""

import asyncio

import aiohttp
from pydantic_core import from_json

from app.utils.http_client import make_http_client

SECONDS = 3.0
LONGEST = 65_536


async def is_simulated_gateway(base_url: str) -> bool:
    """Whether a server there says of itself that it is the simulated gateway; False if nobody answers."""
    try:
        async with (
            asyncio.timeout(SECONDS),
            make_http_client() as http,
            http.get(f"{base_url}/_sim/about", allow_redirects=False) as response,
        ):
            body = await response.content.read(LONGEST)
    except (aiohttp.ClientError, OSError):
        # TimeoutError is an OSError.
        return False
    return response.status == 200 and _names_gateway(body)  # noqa: PLR2004 - HTTP's OK


def _names_gateway(body: bytes) -> bool:
    try:
        about = from_json(body)
    except ValueError:
        return False
    return isinstance(about, dict) and about.get("simulator") == "ecloud"
