"""Workflow and completion answers are what real servers sent, byte by byte but for ids and times."""

import re
from typing import Any

import aiohttp
import pytest

from simulators.dify import DifySimulator
from tests.simulators.captures import HEADERS, normalised, recorded

OLD, NEW = "0.15.3", "1.13.0"
AS_RECORDED = {"question_input": "q", "outputs": {"text": "{answer}"}}
TIMESTAMP = re.compile(rb'("sys\.timestamp":)\d+')


@pytest.mark.parametrize(
    ("release", "kind", "path", "app", "name"),
    [
        (OLD, "completion", "completion-messages", {}, "completion__streaming"),
        (NEW, "workflow", "workflows/run", AS_RECORDED, "workflow_run__streaming"),
        (NEW, "workflow", "workflows/run", AS_RECORDED, "workflow_run__blocking"),
    ],
)
async def test_answer_equals_the_recording(
    release: str, kind: str, path: str, app: dict[str, Any], name: str
) -> None:
    """Status, headers, and every byte of the body but ids and times are those of the recording."""
    real = recorded(release, name)
    async with (
        DifySimulator.start(release=release, kind=kind, app=app) as dify,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {dify.api_key}"}) as http,
        http.post(f"{dify.base_url}/{path}", json=real.request) as response,
    ):
        body = await response.read()
        headers = {each.title(): value for each, value in response.headers.items()}

    assert response.status == real.status
    assert {each: headers.get(each) for each in HEADERS} == {
        each: real.headers.get(each) for each in HEADERS
    }
    assert _comparable(body) == _comparable(real.body)


def _comparable(body: bytes) -> list[str]:
    return normalised(TIMESTAMP.sub(rb"\g<1>0", body)).split("\n\n")
