"""The main job on real parts: a callback goes in, Dify is asked, the answer arrives in the group."""

import json
import subprocess

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import ON_EMBEDDED, Bridge

GROUP = "25411981800@chatroom"
USER = "wxid_ynu1tgjz156j22"
BOT = "wxid_phyyedw9xap22"
W_ID = "12491ae9-62aa-4f7a-83e6-9db4e9f28e3c"

#: The README's example, to the letter.
EXAMPLE = {
    "account": "17200000000",
    "messageType": "80001",
    "wcId": BOT,
    "data": {
        "content": "消息内容",
        "fromGroup": GROUP,
        "fromUser": USER,
        "memberCount": 8,
        "msgId": 1685074592,
        "newMsgId": 1497474118261484795,
        "self": False,
        "timestamp": 1640772092,
        "toUser": BOT,
        "wId": W_ID,
    },
}
SUCCESS = {"code": "1000", "message": "success", "data": None}


@pytest.mark.parametrize("streaming", ["false", "true"])
async def test_the_readmes_example_is_answered_in_the_group(
    idle_bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator, streaming: str
) -> None:
    """The callback of the README leads to one answer, and to the rows the README describes."""
    gateway.world.add_readme_example()
    await idle_bridge.start(DIFY_STREAMING_ENABLED=streaming)

    status, body = await idle_bridge.post(EXAMPLE)
    sent = await gateway.wait_for_sent(1)
    [message] = await idle_bridge.until_rows("SELECT * FROM messages WHERE state = 'done'")

    assert (status, json.loads(body)) == (200, SUCCESS)
    assert [(one.to, one.w_id) for one in sent] == [(GROUP, W_ID)]
    assert "消息内容" in sent[0].content
    assert [record.facts["query"] for record in dify.questions()] == ["消息内容"]
    assert dify.questions()[0].facts["user"] == USER
    assert dify.questions()[0].facts["mode"] == ("streaming" if streaming == "true" else "blocking")
    assert message["new_msg_id"] == "1497474118261484795"
    assert message["verdict"] == "answered"
    [conversation] = await idle_bridge.rows("SELECT * FROM conversations")
    assert conversation["from_user"] == USER
    assert conversation["group"] == GROUP
    assert conversation["conversation_id"] == message["dify_conversation_id"] != ""
    assert conversation["is_processed"] == conversation["is_sent"] == 1
    [turn] = json.loads(conversation["content"])
    assert (turn["question"], turn["outcome"]) == ("消息内容", "answered")
    assert turn["answer"].split() == sent[0].content.split() or len(sent) > 1


async def test_two_questions_go_on_in_one_dify_conversation(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The second question of a person in a group continues the first one's conversation."""
    group, person = first_group_and_person(gateway)

    gateway.say(group, person, "第一问")
    await gateway.wait_for_sent(1)
    gateway.say(group, person, "第二问")
    await gateway.wait_for_sent(2)

    first, second = dify.questions()
    [session] = await bridge.rows("SELECT * FROM sessions")
    assert not first.facts["conversation_id"]
    assert second.facts["conversation_id"] == session["conversation_id"]


async def test_the_answer_mentions_the_person_by_the_name_in_the_group(
    bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """Once members are known, the first segment carries @群昵称 and ``at``."""
    group, person = first_group_and_person(gateway)
    gateway.say(group, person, "你好")
    await bridge.until_rows(f"SELECT * FROM group_members WHERE wc_id = '{person}'")

    gateway.say(group, person, "再问一次")
    sent = await gateway.wait_for_sent(2)

    name = gateway.world.shown_name(gateway.world.groups[group], person)
    assert sent[1].at == (person,)
    assert sent[1].content.startswith(f"@{name}\u2005")


@ON_EMBEDDED
async def test_a_group_message_marked_as_private_is_answered_in_its_group(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Type 60001 with a group is the group's; without the person's id nobody can be answered."""
    group, person = first_group_and_person(gateway)
    gateway.faults.set("mislabel", 0, times=1)
    gateway.say(group, person, "谁问的?")
    await bridge.until_rows("SELECT 1 FROM messages")

    gateway.faults.set("mislabel", 1, times=1)
    gateway.say(group, person, "食堂今天有面吗")
    [sent] = await gateway.wait_for_sent(1)
    await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'done'")

    assert sent.to == group
    assert [(one.facts["query"], one.facts["user"]) for one in dify.questions()] == [
        ("食堂今天有面吗", person)
    ]
    rows = await bridge.rows("SELECT message_type, group_id, verdict FROM messages ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("60001", group, "no_sender"),
        ("60001", group, "answered"),
    ]


async def test_redis_shows_the_readmes_keys_while_a_message_is_in_work(
    bridge: Bridge, gateway: EcloudSimulator
) -> None:
    """redis-cli sees the queue and the lease, on the embedded engine as on a real server."""
    group, person = first_group_and_person(gateway)
    gateway.say(group, person, "慢一点 [[wait=3]]")
    gateway.say(group, person, "然后这个")
    await bridge.until_rows("SELECT 1 FROM messages WHERE state = 'processing'")
    await bridge.until_rows("SELECT count(*) FROM messages GROUP BY from_user HAVING count(*) = 2")

    queues = redis_cli(bridge, "KEYS", "ecloud_queue:*")
    length = redis_cli(bridge, "LLEN", f"ecloud_queue:{person}")
    leases = redis_cli(bridge, "KEYS", "ecloud_processing:*")
    lease = redis_cli(bridge, "GET", f"ecloud_processing:{person}")

    assert queues == f"ecloud_queue:{person}"
    assert length == "2"
    assert leases == f"ecloud_processing:{person}"
    assert lease.count(":") >= 2
    await gateway.wait_for_sent(2, seconds=60)
    assert redis_cli(bridge, "LLEN", f"ecloud_queue:{person}") == "0"


def redis_cli(bridge: Bridge, *command: str) -> str:
    """What redis-cli prints, as an operator calls it."""
    port = bridge.stores.redis_url.rsplit(":", 1)[1].split("/")[0]
    done = subprocess.run(
        ["redis-cli", "-p", port, *command], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def first_group_and_person(gateway: EcloudSimulator) -> tuple[str, str]:
    """A group of the simulated world and somebody in it who is not our account."""
    group = next(iter(gateway.world.groups.values()))
    own = set(gateway.world.accounts)
    return group.group_id, next(member for member in group.members if member not in own)
