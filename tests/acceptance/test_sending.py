"""What the gateway gets: order, pace, mentions, and a repeat only where nobody can know."""

from itertools import pairwise

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import ON_SERVERS, Bridge

GROUP = "40000000001@chatroom"
MING, HONG = "wxid_xiaoming0a1b21", "wxid_xiaohong0c2d22"


async def test_long_answers_go_out_in_order_paced_and_under_the_newest_login(
    idle_bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """The wId changes in the middle; the first segment of an answer mentions who asked."""
    bridge = await idle_bridge.start(ECLOUD_SEND_GAP="0.3", REPLY_MAX_LENGTH="80")
    gateway.say(GROUP, MING, "知道我是谁 [[text=知道]]")
    await bridge.until_rows(f"SELECT 1 FROM group_members WHERE wc_id = '{MING}'")
    gateway.say(GROUP, MING, "一 [[long=300]]")
    gateway.say(GROUP, MING, "二 [[text=二]]")
    gateway.say(GROUP, HONG, "三 [[text=三]]")
    await gateway.wait_for_sent(3)
    new = gateway.rotate()
    await bridge.until_rows(
        "SELECT 1 FROM messages WHERE 4 = (SELECT count(*) FROM messages WHERE state = 'done')"
    )
    segments = await bridge.rows("SELECT message_id, seq, content, mention FROM segments")

    ordered = sorted(segments, key=lambda one: (one["message_id"], one["seq"]))
    to_ming = [one["content"] for one in ordered if "三" not in one["content"][-2:]]
    assert [one.content for one in gateway.sent if not one.content.endswith("三")] == to_ming
    assert all((one["mention"] != "") == (one["seq"] == 0) for one in segments)
    assert all(len(one.content) <= 80 for one in gateway.sent)
    assert all(one.at_effective for one in gateway.sent if one.at)
    assert gateway.sent[-1].w_id == new
    assert min(b.sent_at - a.sent_at for a, b in pairwise(gateway.sent)) >= 0.1


@ON_SERVERS
async def test_killed_in_the_middle_of_an_answer_it_goes_on_at_the_first_unsent_segment(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """kill -9 between two segments: Dify is not asked again, one segment at most comes twice."""
    settings = {
        "ECLOUD_SEND_GAP": "0.6",
        "REPLY_MAX_LENGTH": "60",
        "ECLOUD_TIMEOUT": "1",
        "MESSAGE_PROCESSING_LEASE": "2",
    }
    bridge = await idle_bridge.start(**settings)
    gateway.say(GROUP, MING, "一 [[long=300]]")
    await gateway.wait_for_sent(2)
    bridge.kill()
    await bridge.start(ECLOUD_SEND_GAP="0")
    await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'done'", seconds=30)
    segments = await bridge.rows("SELECT content FROM segments ORDER BY seq")

    planned = [one["content"] for one in segments]
    sent = [one.content for one in gateway.sent]
    assert list(dict.fromkeys(sent)) == planned
    assert len(sent) <= len(planned) + 1
    assert len(dify.questions()) == 1
