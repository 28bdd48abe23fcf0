"""Looks at the peers that settings name, without a start: no question is asked and nothing is sent."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from app.opening import StartRefused
from app.peers import look_at_app, look_at_gateway, make_apps, make_eclouds
from app.services.checks.report import Checked, Outcome, judged
from app.services.dify.apps import AskedApp
from app.services.ecloud.client import EcloudClient
from app.services.errors import ServiceError
from app.services.findings import Look
from app.utils.clock import SystemClock
from app.utils.http_client import make_http_client
from config import DifySettings, EcloudSettings
from settings.sections import DEFAULT_LOGIN

#: Longest look at one server, in seconds.
SECONDS: Final = 10.0
DIFY: Final = "Dify"
ECLOUD: Final = "E云管家"


async def check_apps(settings: DifySettings, zone: ZoneInfo) -> list[Checked]:
    """Every app that the settings name."""

    async def look(app: AskedApp, _: AsyncExitStack) -> Look:
        return await look_at_app(app)

    advice = "请检查应用的地址(含 /v1)和密钥"
    found = []
    async with make_http_client() as http:
        for name, app in make_apps(settings, http, SystemClock(), zone).items():
            found += await check(f"{DIFY} {name}", partial(look, app), advice)
    return found


async def check_gateways(settings: EcloudSettings) -> list[Checked]:
    """Every login at a gateway that the settings name."""

    async def look(ecloud: EcloudClient, _: AsyncExitStack) -> Look:
        return await look_at_gateway(settings, ecloud)

    found = []
    async with make_http_client() as http:
        eclouds = make_eclouds(settings, http)
        for one in eclouds:
            name = ECLOUD if len(eclouds) == 1 else f"{ECLOUD} {one.login.name}"
            advice = f"请检查 {_where_set(one.login.name)}"
            found += await check(name, partial(look, one), advice)
    return found


def _where_set(login: str) -> str:
    """Where an operator finds the settings of a login."""
    if login == DEFAULT_LOGIN:
        return "ecloud.base_url 和 ecloud.authorization"
    return f"ecloud.accounts 里 {login} 的 base_url 和 authorization"


async def check(
    name: str, look: Callable[[AsyncExitStack], Awaitable[Look]], advice: str
) -> list[Checked]:
    """
    One server: what was found, or why it could not be asked.

    Args:
        advice: what to look at where it does not answer.
    """
    try:
        async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
            return judged(name, await look(stack))
    except StartRefused as error:
        return [Checked(name, Outcome.FAILED, str(error))]
    except (ServiceError, TimeoutError) as error:
        reason = str(error) or f"{SECONDS:g} 秒内没有回应"
        return [Checked(name, Outcome.FAILED, f"连不上({reason})。{advice}。")]
