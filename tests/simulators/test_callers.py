"""The simulated gateway notes which callers hung up behind an answer."""

import asyncio

import aiohttp

from simulators.callers import Callers
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from simulators.recorder import Record, Recorder
from tests.fixtures.ports import free_port

SECONDS = 20.0


async def ask(gateway: EcloudSimulator, http: aiohttp.ClientSession) -> None:
    """One call, answered and heard."""
    headers = {"Authorization": AUTHORIZATION}
    async with http.post(f"{gateway.url}/queryLoginWx", json={}, headers=headers) as response:
        await response.read()


def calls(gateway: EcloudSimulator) -> list[Record]:
    """As they stand now."""
    gateway.callers.look()
    return gateway.recorder.of("request")


async def test_a_caller_who_stays_heard_the_answer_and_one_who_hangs_up_may_not_have() -> None:
    """Only the last call of a connection is in doubt."""
    async with EcloudSimulator.start(port=free_port()) as gateway:
        async with aiohttp.ClientSession() as http:
            await ask(gateway, http)
            await ask(gateway, http)
            assert all("left_at" not in one.facts for one in calls(gateway))
        async with asyncio.timeout(SECONDS):
            while "left_at" not in calls(gateway)[1].facts:
                await asyncio.sleep(0.01)

        assert "left_at" not in calls(gateway)[0].facts


def test_a_caller_who_left_before_his_question_was_read_is_noted_at_once() -> None:
    """He wrote it and was gone while the gateway stood still: there is no connection any more."""
    recorder = Recorder()
    record = recorder.open("request", "/sendText")

    Callers().ask(None, record)

    assert "left_at" in record.facts
