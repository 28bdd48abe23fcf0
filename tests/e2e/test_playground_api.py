"""The playground's routes on a real process: what they tell, and when they keep silent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.console.playground.assets import TEMPLATES, read_assets
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge, embedded_stores, peer_variables
from tests.fixtures.ports import free_port

PAGE_BYTES = 110_000
#: Shown in an empty field, never asked for.
EXAMPLE = 'placeholder="https://api.dify.ai/v1"'
STATIONS = ["received", "queued", "claimed", "asked", "first_text", "answered"]


@asynccontextmanager
async def playground(
    folder: Path, gateway: EcloudSimulator, dify: DifySimulator, **changes: str
) -> AsyncIterator[Bridge]:
    """A bridge with its playground in front of the simulated gateway."""
    bridge = Bridge(embedded_stores(folder), peer_variables(gateway, dify))
    gateway.callback_url = bridge.callback_url
    settings = {
        "PLAYGROUND_ENABLED": "true",
        "PLAYGROUND_GATEWAY_URL": gateway.url,
        "DIFY_STREAMING_ENABLED": "true",
    }
    try:
        yield await bridge.start(**{**settings, **changes})
        await bridge.stop()
    finally:
        bridge.kill()


@asynccontextmanager
async def some_gateway() -> AsyncIterator[str]:
    """A server on this machine that answers everything as a real gateway would; its address."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"code": "1000", "message": "处理成功", "data": []})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def fetch(
    bridge: Bridge, path: str, method: str = "GET", **headers: str
) -> tuple[aiohttp.ClientResponse, str]:
    """The response, read to its end, and its text."""
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, bridge.url + path, headers=headers, allow_redirects=False) as response,
    ):
        return response, await response.text()


async def settled_way(bridge: Bridge, new_msg_id: str) -> dict[str, Any]:
    """The way of a message as soon as nothing more will be written."""
    await bridge.until_rows(f"SELECT id FROM messages WHERE dedupe_key = '{new_msg_id}'")
    while True:
        status, way = await bridge.get(f"/playground/api/messages/{new_msg_id}")
        assert status == 200
        if way["is_settled"]:
            found: dict[str, Any] = way
            return found


async def test_way_of_an_answered_message_has_every_station(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Times grow from station to station, ids are strings, and nobody's words are in it."""
    async with playground(tmp_path, gateway, dify) as bridge:
        said = gateway.say("体验群", "小红", "几点开始?")
        sent = await gateway.wait_for_sent(1)
        way = await settled_way(bridge, str(said.new_msg_id))
        _, several = await bridge.get(
            f"/playground/api/messages?new_msg_id={said.new_msg_id}&new_msg_id=77"
        )

        times = [station["ms"] for station in way["stations"]]
        assert [station["name"] for station in way["stations"]] == STATIONS
        assert times[0] == 0
        assert all(isinstance(ms, float) and ms < 10_000 for ms in times[1:])
        assert times[2] <= times[3] <= times[4] <= times[5] <= way["done"]["ms"]
        assert [one["new_msg_id"] for one in way["segments"]] == [str(sent[0].new_msg_id)]
        assert way["segments"][0]["sent_ms"] >= way["segments"][0]["planned_ms"]
        assert way["new_msg_id"] == str(said.new_msg_id)
        assert isinstance(way["message_id"], str)
        assert (way["state"], way["label"], way["attempts"]) == ("done", "已回答", 0)
        assert several["messages"] == [way]
        assert "几点开始" not in str(several)
        assert sent[0].content not in str(several)


async def test_message_that_is_not_answered_says_why(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """In a group where only mentions count, a line without one is explained."""
    async with playground(tmp_path, gateway, dify, GROUPS_TRIGGER="mention") as bridge:
        said = gateway.say("体验群", "小明", "有人吗")
        way = await settled_way(bridge, str(said.new_msg_id))

        assert (way["state"], way["verdict"], way["tone"]) == ("ignored", "not_mentioned", "quiet")
        assert "没有 @" in way["explanation"]
        assert 'data-mention="yes"' in (await fetch(bridge, "/playground/"))[1]


async def test_unknown_ids_methods_and_files_are_refused(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """404 for what is not there, 405 for what would change something, 422 for too much at once."""
    async with playground(tmp_path, gateway, dify) as bridge:
        status, body = await bridge.get("/playground/api/messages/123")
        assert (status, body["error"]) == (404, "unknown_message")
        for path in ("messages/x%27%20or%201=1", f"messages/{'9' * 500}"):
            assert (await fetch(bridge, f"/playground/api/{path}"))[0].status == 404
        assert await bridge.get("/playground/api/messages?new_msg_id=1") == (200, {"messages": []})
        many = "&".join(f"new_msg_id={number}" for number in range(51))
        assert (await fetch(bridge, f"/playground/api/messages?{many}"))[0].status == 422
        for name in ("nothing.js", "..%2frouter.py", "%2e%2e%2ftemplates%2fpage.html"):
            assert (await fetch(bridge, f"/playground/static/{name}"))[0].status == 404
        for method in ("POST", "PUT", "DELETE"):
            for path in ("/playground/", "/playground/api/messages/1"):
                assert (await fetch(bridge, path, method))[0].status == 405


async def test_page_allows_its_own_files_and_its_gateway_only(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The policy names the gateway under the name by which the page was opened; nothing is inline."""
    async with playground(tmp_path, gateway, dify) as bridge:
        response, text = await fetch(bridge, "/playground/", Host="lab.example:8000")
        policy = response.headers["Content-Security-Policy"]
        assert response.status == 200
        assert f"connect-src 'self' http://lab.example:{gateway.port};" in policy
        assert f"img-src 'self' http://lab.example:{gateway.port};" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert f'data-gateway="http://lab.example:{gateway.port}"' in text
        assert "<style" not in text
        assert ' style="' not in text
        assert "onclick" not in text

        response, _ = await fetch(bridge, "/playground")
        assert (response.status, response.headers["Location"][-12:]) == (307, "/playground/")

        response, script = await fetch(bridge, "/playground/static/playground.js")
        assert response.content_type == "text/javascript"
        again, _ = await fetch(
            bridge,
            "/playground/static/playground.js",
            **{"If-None-Match": response.headers["ETag"]},
        )
        assert script
        assert again.status == 304


async def test_playground_refuses_a_gateway_that_is_no_simulator(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """403 with a sentence in Chinese, on the page and on the API."""
    async with (
        some_gateway() as real,
        playground(
            tmp_path, gateway, dify, ECLOUD_BASE_URL=real, PLAYGROUND_GATEWAY_URL=real
        ) as bridge,
    ):
        response, text = await fetch(bridge, "/playground/")
        assert response.status == 403
        assert "演练场未开放" in text
        assert "不是模拟网关" in text
        assert "playground.js" not in text
        assert "connect-src 'self';" in response.headers["Content-Security-Policy"]

        status, body = await bridge.get("/playground/api/messages/1")
        assert (status, body["error"]) == (403, "playground_closed")


async def test_playground_is_not_there_unless_it_is_switched_on(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Every address of it is unknown."""
    async with playground(tmp_path, gateway, dify, PLAYGROUND_ENABLED="false") as bridge:
        for path in ("", "/", "/static/playground.js", "/api/messages/1"):
            assert (await fetch(bridge, f"/playground{path}"))[0].status == 404


def test_page_and_its_files_are_small_and_from_here() -> None:
    """Less than 110 kB in all, before it is compressed, and no address of another host but a name space and an example."""
    files = {name: asset.body for name, asset in read_assets().items()}
    files |= {path.name: path.read_bytes() for path in TEMPLATES.iterdir()}

    assert sum(len(body) for body in files.values()) < PAGE_BYTES
    for name, body in files.items():
        text = body.decode().replace("http://www.w3.org/2000/svg", "").replace(EXAMPLE, "")
        assert "://" not in text.replace("${", ""), name
        assert "innerHTML" not in text
        assert "insertAdjacentHTML" not in text


@pytest.mark.parametrize("name", sorted(read_assets()))
def test_every_file_is_used(name: str) -> None:
    """By the page or by another file."""
    users = [path.read_text("utf-8") for path in TEMPLATES.iterdir()]
    users += [asset.body.decode() for other, asset in read_assets().items() if other != name]

    assert any(name in text for text in users)
