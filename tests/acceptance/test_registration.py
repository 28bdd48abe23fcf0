"""The gateway posts to us, by itself, and nobody else is let in."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.acceptance.test_callback import ENVELOPE, GROUP, PERSON, counted, question
from tests.fixtures.bridge import Bridge, embedded_stores, peer_variables

TOKEN = "a-token-for-the-gateway"
MISSING = (404, {"detail": "Not Found"})


async def posted(bridge: Bridge, body: Any, **headers: str) -> tuple[int, object]:
    """Status and body of one callback's answer."""
    status, answer = await bridge.post(body, headers=headers)
    return status, json.loads(answer)


def asked(gateway: EcloudSimulator, number: int, shift: float = 0.0) -> dict[str, Any]:
    """A question of so many seconds after now."""
    return question(gateway, number, "在吗", timestamp=int(time.time() + shift))


def calls(gateway: EcloudSimulator) -> set[str]:
    """Endpoints that were called."""
    return {record.name for record in gateway.recorder.of("request")}


async def until_seen(bridge: Bridge, callback: str) -> dict[str, Any]:
    """What health says of the gateway once it has looked where callbacks go."""
    async with asyncio.timeout(60):
        while True:
            found: dict[str, Any] = (await bridge.get("/api/v1/health"))[1]["dependencies"][
                "ecloud"
            ]
            logins = found.get("details", {}).get("logins", {})
            if logins.get("default", {}).get("callback") == callback:
                return found
            await asyncio.sleep(0.1)


@pytest.fixture
def stranger(gateway: EcloudSimulator, dify: DifySimulator, tmp_path: Path) -> Iterator[Bridge]:
    """A bridge that the gateway does not know."""
    bridge = Bridge(embedded_stores(tmp_path), peer_variables(gateway, dify))
    yield bridge
    bridge.kill()


async def test_the_address_is_registered_at_the_start_with_its_token(
    gateway: EcloudSimulator, stranger: Bridge
) -> None:
    """Whatever stood there; no log shows the token."""
    gateway.callback_url = "http://somewhere.example/hook"
    own = f"{stranger.callback_url}/{TOKEN}"

    await stranger.start(ECLOUD_CALLBACK_URL=stranger.url, ECLOUD_CALLBACK_TOKEN=TOKEN)
    await gateway.recorder.until(lambda: gateway.callback_url == own)
    gateway.say(GROUP, PERSON, "在吗")
    await gateway.wait_for_sent(1)

    assert "callback.registered" in stranger.log
    assert TOKEN not in stranger.log


async def test_one_of_two_replicas_registers_once_and_what_is_ours_is_left_alone(
    gateway: EcloudSimulator, stranger: Bridge
) -> None:
    """Both valid tokens are ours; the test push of a registration is told as what it is."""
    tokens = f"{TOKEN},the-token-of-before"
    gateway.callback_url = f"{stranger.callback_url}/the-token-of-before"

    await stranger.start(ECLOUD_CALLBACK_URL=stranger.url, ECLOUD_CALLBACK_TOKEN=tokens)
    await until_seen(stranger, "ours")
    await gateway.recorder.until(lambda: "/getHttpCallbackUrl" in calls(gateway))

    assert "/setHttpCallbackUrl" not in calls(gateway)


async def test_health_says_that_callbacks_go_elsewhere_and_what_to_do(
    gateway: EcloudSimulator, stranger: Bridge
) -> None:
    """Without the setting nothing is changed at the gateway."""
    gateway.callback_url = "http://somewhere.example/hook"

    await stranger.start()
    found = await until_seen(stranger, "elsewhere")

    assert found["state"] == "degraded"
    assert "callback register" in found["warnings"][0]
    assert gateway.callback_url == "http://somewhere.example/hook"


async def test_callbacks_from_other_addresses_hear_what_a_wrong_path_hears(
    gateway: EcloudSimulator, stranger: Bridge
) -> None:
    """Nothing of them is kept; a listed proxy tells for whom it speaks."""
    await stranger.start(
        ECLOUD_CALLBACK_SOURCES='["203.0.113.7"]', SERVER_TRUSTED_PROXIES='["127.0.0.1"]'
    )
    body = asked(gateway, 1)

    seen = [
        await posted(stranger, body),
        await posted(stranger, body, **{"X-Forwarded-For": "203.0.113.7, 198.51.100.1"}),
        await posted(stranger, body, **{"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}),
    ]

    assert seen == [MISSING, MISSING, (200, ENVELOPE)]
    assert len(await stranger.rows("SELECT id FROM messages")) == 1
    assert (await counted(stranger))["wrong_source"] == 2


async def test_messages_of_another_time_are_not_taken_where_a_window_is_set(
    gateway: EcloudSimulator, stranger: Bridge
) -> None:
    """Neither old ones, nor those of the future, nor those without a time; others as ever."""
    await stranger.start(ECLOUD_CALLBACK_WINDOW="600")
    timeless = asked(gateway, 3)
    del timeless["data"]["timestamp"]

    seen = [
        await posted(stranger, body)
        for body in (
            asked(gateway, 1, -700),
            asked(gateway, 2, 700),
            timeless,
            asked(gateway, 4, -300),
            {"messageType": "00000", "data": {}},
        )
    ]

    assert seen == [MISSING, MISSING, MISSING, (200, ENVELOPE), (200, ENVELOPE)]
    assert len(await stranger.rows("SELECT id FROM messages")) == 2
    assert (await counted(stranger))["wrong_time"] == 3


def test_an_address_with_the_path_stops_the_start_and_says_so(stranger: Bridge) -> None:
    """The path and the token are put behind it by themselves."""
    process = stranger.launch(ECLOUD_CALLBACK_URL=stranger.callback_url)

    assert process.wait(60) != 0
    assert "ecloud.callback_url" in stranger.log
    assert "自动补全" in stranger.log
