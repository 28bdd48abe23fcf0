"""Keeping the registered address, also at a gateway that does not tell it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from loguru import logger

from app.services.ecloud.client import EcloudClient, EcloudLogin
from app.services.errors import EcloudRefused
from app.services.queue.leases import Leases
from app.utils.clock import SystemClock
from app.utils.http_client import make_http_client
from app.workers.callback_keeper import CallbackKeeper
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from tests.fixtures.redis import RedisEngine

OWN = ("http://bot.example/api/v1/callback/new", "http://bot.example/api/v1/callback/old")
ELSEWHERE = "http://other.example/hook"


@pytest.fixture
async def keeper(
    gateway: EcloudSimulator, redis_engine: RedisEngine
) -> AsyncIterator[CallbackKeeper]:
    """One process's keeper."""
    leases = Leases(
        redis_engine.client(),
        holder="a",
        clock=SystemClock(),
        namespace=redis_engine.keys.namespace,
    )
    login = EcloudLogin(name="default", base_url=gateway.base_url, authorization=AUTHORIZATION)
    async with make_http_client() as http:
        yield CallbackKeeper(
            EcloudClient(http, login, 10.0),
            own=OWN,
            tokens=("new", "old"),
            lease=leases.task("callback", seconds=30),
        )


def registrations(gateway: EcloudSimulator) -> int:
    """How often an address was registered."""
    return len(gateway.recorder.of("request", "/setHttpCallbackUrl"))


async def test_another_address_is_replaced_as_often_as_it_appears(
    keeper: CallbackKeeper, gateway: EcloudSimulator
) -> None:
    """And ours, with either token, is left alone."""
    for there in (None, ELSEWHERE, OWN[1], ELSEWHERE):
        gateway.callback_url = there
        await keeper.look()

    assert gateway.callback_url == OWN[0]
    assert registrations(gateway) == 3


@pytest.mark.parametrize("answer", ["html", "data_null"])
async def test_a_gateway_that_does_not_tell_is_told_once(
    keeper: CallbackKeeper, gateway: EcloudSimulator, answer: str
) -> None:
    """It does not know the call, or always says that there is none: else a test push every five minutes."""
    gateway.faults.set(answer, endpoints=["/getHttpCallbackUrl"])

    for _ in range(3):
        await keeper.look()

    assert gateway.callback_url == OWN[0]
    assert registrations(gateway) == 1


async def test_a_refusal_that_repeats_the_address_shows_no_token(
    keeper: CallbackKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the log; where callbacks go may be read there, not what lets them in."""
    logged: list[str] = []
    stop = asyncio.Event()

    async def refuse(self: EcloudClient, url: str) -> None:
        stop.set()
        raise EcloudRefused(f"bad address: {url}")

    monkeypatch.setattr(EcloudClient, "set_callback_url", refuse)
    monkeypatch.setattr("app.workers.callback_keeper.FIRST_SECONDS", 0.01)
    sink = logger.add(lambda line: logged.append(str(line)), format="{message} {extra}")
    try:
        async with asyncio.timeout(10):
            await keeper.run(stop)
    finally:
        logger.remove(sink)

    [line] = [line for line in logged if "callback.not_checked" in line]
    assert "bad address: http://bot.example" in line
    assert OWN[0] not in line
