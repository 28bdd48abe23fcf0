"""Runs that wait for a person, over real HTTP: the form, its paths, and how the run goes on."""

import json
from typing import Any

import aiohttp
import pytest

from simulators.dify import DifySimulator

ORDERS = "下单 [[text=如下。]] [[form=请确认。]] [[actions=同意|拒绝]] [[fields=note]]"


def frames(body: str) -> list[dict[str, Any]]:
    """The data of a stream."""
    lines = (line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: "))
    return [json.loads(line) for line in lines]


class Client:
    """Somebody with the key."""

    def __init__(self, dify: DifySimulator, http: aiohttp.ClientSession) -> None:
        self._url = dify.base_url
        self._http = http

    async def ask(self, query: str) -> list[dict[str, Any]]:
        """The frames of an answer."""
        body = {"query": query, "user": "u", "inputs": {}, "response_mode": "streaming"}
        async with self._http.post(f"{self._url}/chat-messages", json=body) as response:
            return frames(await response.text())

    async def submit(self, token: str, **body: Any) -> tuple[int, str]:
        """Status and code."""
        path = f"{self._url}/form/human_input/{token}"
        async with self._http.post(path, json={"user": "u", **body}) as response:
            return response.status, (await response.json()).get("code", "")

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        async with self._http.get(f"{self._url}/{path}") as response:
            return response.status, await response.text()


async def test_a_form_is_told_read_and_filled_in_and_its_run_goes_on() -> None:
    """Once; a wrong reply leaves it as it is, and another user hears nothing of the run."""
    async with (
        DifySimulator.start(kind="chatflow") as dify,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {dify.api_key}"}) as http,
    ):
        client = Client(dify, http)
        told = await client.ask(f"{ORDERS} [[after=好:{{note}}]]")
        required = next(one["data"] for one in told if one["event"] == "human_input_required")
        run, token = told[-1]["workflow_run_id"], required["form_token"]
        _, shown = await client.get(f"form/human_input/{token}")
        wrong = [
            await client.submit(token, action="a9", inputs={"note": "x"}),
            await client.submit(token, action="a1", inputs={}),
            await client.submit("unknown", action="a1", inputs={"note": "x"}),
        ]
        right = await client.submit(token, action="a1", inputs={"note": "x"})
        again = await client.submit(token, action="a1", inputs={"note": "x"})
        _, live = await client.get(f"workflow/{run}/events?user=u")
        _, ended = await client.get(f"workflow/{run}/events?user=u")
        stranger, _ = await client.get(f"workflow/{run}/events?user=v")

    assert told[-1]["event"] == "workflow_paused"
    assert [one["title"] for one in json.loads(shown)["user_actions"]] == ["同意", "拒绝"]
    assert wrong == [(400, "invalid_form_data"), (400, "invalid_form_data"), (404, "not_found")]
    assert (right, again[0], stranger) == ((200, ""), 404, 404)
    assert frames(live)[0]["event"] == "human_input_form_filled"
    assert [one["event"] for one in frames(ended)] == ["workflow_finished"]
    assert frames(ended)[0]["data"]["outputs"]["answer"] == "如下。好:x"


@pytest.mark.parametrize(("release", "status"), [("1.13.0", 412), ("0.15.3", 404)])
async def test_an_expired_form_is_refused_and_the_older_release_knows_none(
    release: str, status: int
) -> None:
    """There the order has no effect."""
    async with (
        DifySimulator.start(kind="chatflow", release=release) as dify,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {dify.api_key}"}) as http,
    ):
        client = Client(dify, http)
        told = await client.ask(f"{ORDERS} [[expires=0]]")
        forms = [one["data"] for one in told if one["event"] == "human_input_required"]
        token = forms[0]["form_token"] if forms else "x"
        got, _ = await client.get(f"form/human_input/{token}")

    assert bool(forms) is (release == "1.13.0")
    assert got == status
