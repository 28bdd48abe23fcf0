"""The playground's way to its simulated Dify: whose orders are passed on, and a real one behind it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.e2e.test_playground_api import playground
from tests.fixtures.bridge import Bridge

KEY = "app-real-and-secret"


async def order(
    bridge: Bridge, part: str, body: Any, *, host: str = "", origin: str | None = None
) -> tuple[int, Any]:
    """Post an order as the page does, or as *host* and *origin* say."""
    host = host or f"127.0.0.1:{bridge.port}"
    origin = f"http://{host}" if origin is None else origin
    headers = {"Host": host, "Content-Type": "application/json"}
    if origin:
        headers["Origin"] = origin
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{bridge.url}/playground/api/dify/{part}",
            data=json.dumps(body).encode(),
            headers=headers,
        ) as response,
    ):
        return response.status, await response.json()


def files_below(folder: Path) -> list[bytes]:
    """All that was written there."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_fault_ordered_by_the_page_is_on_at_the_simulated_dify(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """And shown to whoever asks for it next."""
    async with playground(tmp_path, gateway, dify) as bridge:
        status, _ = await order(bridge, "faults", {"name": "latency", "value": 2})
        _, shown = await bridge.get("/playground/api/dify/faults")
        wrong, _ = await order(bridge, "faults", {"name": "no such fault"})
        large, _ = await order(bridge, "faults", {"x": "x" * 5000})
        unknown, _ = await order(bridge, "apps", {})

    assert status == 200
    assert [(one["name"], one["value"]) for one in shown["faults"]] == [("latency", 2)]
    assert dify.faults.strike("latency", "/v1/chat-messages") is not None
    assert (wrong, large, unknown) == (400, 413, 422)


async def test_orders_of_other_pages_are_refused(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Another host, another port, no page at all; a name that was pointed here may not switch."""
    off = {"on": False}
    async with playground(tmp_path, gateway, dify) as bridge:
        port = bridge.port
        for origin in ("http://evil.example", "http://127.0.0.1:1", "null", ""):
            assert (await order(bridge, "faults", {"clear": True}, origin=origin))[0] == 403
            assert (await order(bridge, "upstream", off, origin=origin))[0] == 403
        status, told = await order(bridge, "upstream", off, host=f"evil.example:{port}")
        assert (status, "127.0.0.1" in told["detail"]) == (403, True)
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"box:{port}"):
            assert (await order(bridge, "upstream", off, host=host))[0] == 200


async def test_real_dify_answers_the_group_while_it_is_switched_on(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The conversation of the fake is left for a new one; afterwards the fake answers again."""
    async with (
        DifySimulator.start(api_key=KEY) as real,
        playground(tmp_path, gateway, dify) as bridge,
    ):
        gateway.say("体验群", "小红", "第一问 [[text=假的]]")
        await gateway.wait_for_sent(1)
        status, told = await order(bridge, "upstream", {"base_url": real.base_url, "key": KEY})
        assert (status, told["on"], told["app"]["name"]) == (200, True, "群聊助手")
        gateway.say("体验群", "小红", "第二问 [[text=真的]]")
        await gateway.wait_for_sent(2)
        _, shown = await bridge.get("/playground/api/dify/upstream")
        await order(bridge, "upstream", {"on": False})
        gateway.say("体验群", "小红", "第三问 [[text=又是假的]]")
        sent = await gateway.wait_for_sent(3)
    written = await asyncio.to_thread(files_below, tmp_path)

    assert [one.content.split("\u2005")[-1] for one in sent] == ["假的", "真的", "又是假的"]
    assert [one.facts["query"] for one in real.questions()][-1] == "第二问 [[text=真的]]"
    assert real.questions()[-1].facts["conversation_id"] is None
    assert KEY not in str(shown)
    assert written
    assert not any(KEY.encode() in data for data in written)


async def test_bridge_in_front_of_a_real_dify_has_nothing_to_switch(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The gateway is not a Dify: the page is told so, an order is refused."""
    async with playground(tmp_path, gateway, dify, DIFY_BASE_URL=f"{gateway.url}/v1") as bridge:
        assert await bridge.get("/playground/api/dify/upstream") == (200, {"simulated": False})
        assert (await order(bridge, "upstream", {"on": False}))[0] == 409


async def test_closed_playground_passes_nothing_on(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Without its gateway's address there is no playground."""
    async with playground(tmp_path, gateway, dify, PLAYGROUND_GATEWAY_URL="") as bridge:
        assert (await bridge.get("/playground/api/dify/faults"))[0] == 403
        assert (await order(bridge, "faults", {"name": "hang"}))[0] == 403
    assert dify.faults.as_json()["faults"] == []
