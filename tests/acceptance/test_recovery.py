"""A killed process leaves a run behind in Dify: the next one fetches its answer and asks nobody again."""

from collections.abc import AsyncIterator

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge
from tests.fixtures.ports import free_port

GROUP = "40000000001@chatroom"
MING, HONG = "wxid_xiaoming0a1b21", "wxid_xiaohong0c2d22"
SENTENCE = "这一段讲的是怎样一步一步地把事情做完。"
PARAGRAPHS = [f"{number}:{SENTENCE * 12}" for number in "甲乙丙丁"]


@pytest.fixture
async def dify() -> AsyncIterator[DifySimulator]:
    """A chatflow of the newer release: its runs go on when nobody listens."""
    async with DifySimulator.start(kind="chatflow", port=free_port()) as simulator:
        yield simulator


def bodies(gateway: EcloudSimulator) -> list[str]:
    """What arrived, without mentions."""
    return [one.content.split("\u2005")[-1] for one in gateway.sent]


async def test_after_a_kill_in_mid_stream_exactly_the_rest_is_sent(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Behind the part that was out; and an answer of which no word had come. Both asked once."""
    bridge = await idle_bridge.start(DIFY_STREAMING_ENABLED="true")
    text = "\\n\\n".join(PARAGRAPHS)
    gateway.say(GROUP, MING, f"长 [[delay=0.5]] [[size=60]] [[saved=1]] [[text={text}]]")
    gateway.say(GROUP, HONG, "短 [[wait=60]] [[saved=1]] [[text=好]]")
    await bridge.until_rows("SELECT 1 FROM segments WHERE state = 'sent'", seconds=60)
    await bridge.until_rows(
        "SELECT 1 FROM messages WHERE dify_run_id <> '' AND question LIKE '短%'",
        seconds=60,
    )
    bridge.kill()
    before = bodies(gateway)
    await bridge.start()
    rows = await bridge.until_rows(
        "SELECT verdict, is_cut_short FROM messages WHERE state = 'done' AND 2 = "
        "(SELECT count(*) FROM messages WHERE state = 'done') ORDER BY id",
        seconds=90,
    )

    assert before == PARAGRAPHS[:1]
    assert [one for one in bodies(gateway) if one != "好"] == [
        PARAGRAPHS[0],
        "\n\n".join(PARAGRAPHS[1:]),
    ]
    assert "好" in bodies(gateway)
    assert [(row["verdict"], row["is_cut_short"]) for row in rows] == [("answered", 0)] * 2
    assert sorted(str(one.facts["query"])[0] for one in dify.questions()) == ["短", "长"]
    assert "dify.recovered" in bridge.log
