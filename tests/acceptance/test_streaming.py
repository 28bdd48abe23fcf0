"""Streaming: the group reads while Dify still writes; what breaks off, and what is replaced."""

from collections.abc import AsyncIterator

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge

GROUP = "40000000001@chatroom"
SENTENCE = "这一段讲的是怎样一步一步地把事情做完。"
PARAGRAPH = SENTENCE * 12


def bodies(gateway: EcloudSimulator, mark: str) -> list[str]:
    """What arrived of the answers that bear this mark, without the mention."""
    found = [one.content.split("\u2005")[-1] for one in gateway.sent]
    return [one for one in found if mark in one]


async def test_streamed_answers_arrive_in_parts_and_end_as_they_must(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Several people at once: a long answer, cuts early and late, a replacement, silence."""
    bridge = await idle_bridge.start(DIFY_STREAMING_ENABLED="true")
    people = {word: f"wxid_{number}" for number, word in enumerate("长断早换空")}
    for word, person in people.items():
        gateway.world.add_person(person, word)
        gateway.world.groups[GROUP].members[person] = ""
    long = "\\n\\n".join(f"长{number}{PARAGRAPH}" for number in range(4))
    gateway.say(GROUP, people["长"], f"长文 [[delay=0.01]] [[text={long}]]")
    part = f"断{PARAGRAPH}\\n\\n断{PARAGRAPH}"
    gateway.say(GROUP, people["断"], f"断流 [[delay=0.002]] [[eof=60]] [[text={part}]]")
    gateway.say(GROUP, people["早"], "早断 [[cut=0;times=1]] [[text=早安]]")
    gateway.say(GROUP, people["换"], "换掉 [[replace=换成这样]] [[text=换之前]]")
    gateway.say(GROUP, people["空"], "空的 [[empty]]")

    await gateway.recorder.until(lambda: len(bodies(gateway, "长")) >= 1, 60)
    asking = next(one for one in dify.questions() if "长文" in one.facts["query"])
    long_is_running = asking.ended is None
    await gateway.recorder.until(lambda: len(bodies(gateway, "长")) >= 4, 60)
    rows = await bridge.until_rows(
        "SELECT from_user, verdict, state, is_cut_short, error FROM messages WHERE 5 = "
        "(SELECT count(*) FROM messages WHERE state IN ('done', 'dead'))"
    )

    assert long_is_running
    assert [one[:2] for one in bodies(gateway, "长")] == ["长0", "长1", "长2", "长3"]
    assert "".join(bodies(gateway, "长")).replace("\n", "") == "".join(
        f"长{number}{PARAGRAPH}" for number in range(4)
    )
    assert bodies(gateway, "断") == [f"断{PARAGRAPH}", f"断{SENTENCE * 6}"]
    assert bodies(gateway, "早") == ["早安"]
    assert bodies(gateway, "换") == ["换成这样"]
    verdicts = {row["from_user"]: row["verdict"] for row in rows}
    assert verdicts == {
        people["长"]: "answered",
        people["断"]: "cut_short",
        people["早"]: "answered",
        people["换"]: "answered",
        people["空"]: "answered_nothing",
    }
    asked = [str(record.facts["query"])[:2] for record in dify.questions()]
    assert sorted(asked) == sorted(["长文", "断流", "早断", "早断", "换掉", "空的"])
    assert all(len(one.at) <= 1 for one in gateway.sent)


@pytest.fixture
async def dify_agent() -> AsyncIterator[DifySimulator]:
    """A simulated Dify with an agent app, which answers streams only."""
    async with DifySimulator.start(kind="agent") as simulator:
        yield simulator


async def test_an_agent_app_is_streamed_and_gathered_in_blocking_mode(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify_agent: DifySimulator
) -> None:
    """The group gets whole answers; the app is not asked in the wrong way a second time."""
    person = "wxid_xiaoming0a1b21"
    await idle_bridge.start(DIFY_BASE_URL=dify_agent.base_url, DIFY_STREAMING_ENABLED="false")
    gateway.say(GROUP, person, "一 [[tool]] [[text=第一段\\n\\n第二段]]")
    gateway.say(GROUP, person, "二 [[text=好]]")
    sent = await gateway.wait_for_sent(2, seconds=60)

    assert "第一段\n\n第二段" in sent[0].content
    assert sent[1].content.endswith("好")
    assert len([r for r in dify_agent.questions() if r.facts.get("mode") == "streaming"]) == 2
