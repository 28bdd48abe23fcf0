"""Asks the gateway or Dify whether it is the simulated one, by the simulators' own path."""

import asyncio

import aiohttp
from pydantic_core import from_json

from app.utils.http_client import make_http_client

SECONDS = 3.0
LONGEST = 65_536


async def is_simulated_gateway(base_url: str) -> bool:
    """Whether a server there says of itself that it is the simulated gateway; False if nobody answers."""
    return await _says(base_url, "ecloud")


async def is_simulated_dify(base_url: str) -> bool:
    """The same of the simulated Dify; *base_url* is without its ``/v1``."""
    return await _says(base_url, "dify")


async def _says(base_url: str, name: str) -> bool:
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
    return response.status == 200 and _named(body) == name  # noqa: PLR2004 - HTTP's OK


def _named(body: bytes) -> object:
    try:
        about = from_json(body)
    except ValueError:
        return None
    return about.get("simulator") if isinstance(about, dict) else None
