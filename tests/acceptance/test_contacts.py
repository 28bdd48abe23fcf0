"""Names: learnt beside the work, used once they are known, and never waited for."""

import time

from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import ON_SERVERS, Bridge

GROUP = "40000000001@chatroom"
MING, WANG = "wxid_xiaoming0a1b21", "laowang-1975"
LOOK_UPS = ("/getContact", "/getChatRoomMember", "/getChatRoomMemberInfo", "/getChatRoomInfo")


@ON_SERVERS
async def test_look_ups_that_hang_for_a_minute_delay_no_answer_and_names_come_later(
    idle_bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """First without a name from the group, then, when the gateway speaks again, with it."""
    gateway.faults.set("hang", 60, endpoints=LOOK_UPS)
    bridge = await idle_bridge.start(ECLOUD_TIMEOUT="20")
    gateway.say(GROUP, WANG, "一 [[text=一]]")
    await gateway.wait_for_sent(1)
    await gateway.recorder.until(lambda: bool(gateway.recorder.of("request", "/getContact")))
    times = []
    for number in range(3):
        started = time.monotonic()
        gateway.say(GROUP, MING, f"{number} [[text={number}]]")
        await gateway.wait_for_sent(2 + number)
        times.append(time.monotonic() - started)
    first = gateway.sent[0]
    stopping = time.monotonic()
    code = await bridge.stop()
    stopped_in = time.monotonic() - stopping

    gateway.faults.clear()
    await bridge.start()
    await bridge.until_rows(f"SELECT 1 FROM group_members WHERE wc_id = '{WANG}'")
    await bridge.until_rows(f"SELECT 1 FROM contacts WHERE wc_id = '{WANG}' AND fetched_at > 0")
    gateway.say(GROUP, WANG, "二 [[text=二]]")
    sent = await gateway.wait_for_sent(5)

    assert max(times) < 3
    assert (code, stopped_in < 10) == (0, True)
    assert first.at == (WANG,)
    assert first.content.startswith("@老王\u2005")
    assert sent[-1].content == "@老王（财务）\u2005二"
    assert sent[-1].at_effective
