"""The simulated gateway over real HTTP: its endpoints, envelope, ids, callbacks and control paths."""

import asyncio
import json
import time
from typing import Any

import pytest

from simulators.ecloud_world import World
from tests.simulators.calling import BOT, DONE, GROUP, HONG, MING, WANG, calling


async def test_send_answers_with_ids_no_double_can_hold() -> None:
    """msgId, 64-bit newMsgId, createTime in seconds, the receiver; and the message is kept."""
    async with calling() as caller:
        envelope = await caller.send("你好")
        sent = caller.gateway.sent

    data = envelope["data"]
    assert (envelope["code"], envelope["message"]) == ("1000", "发送成功")
    assert int(float(data["newMsgId"])) != data["newMsgId"] > 2**53
    assert abs(data["createTime"] - time.time()) < 5
    assert (data["type"], data["wcId"]) == (1, GROUP)
    assert [(one.content, one.to, one.bot, one.new_msg_id) for one in sent] == [
        ("你好", GROUP, BOT, data["newMsgId"])
    ]


async def test_thousand_ids_differ_and_none_survives_a_double() -> None:
    """newMsgIds never repeat and stay below 2^63; msgIds grow, and lie between 2^31 and 2^32."""
    world = World.playground(seed=3)
    ids = [world.new_ids() for _ in range(1000)]

    assert len({new for _, new in ids}) == 1000
    assert all(int(float(new)) != new and new < 2**63 for _, new in ids)
    assert [old for old, _ in ids] == sorted({old for old, _ in ids})
    assert all(2**31 < old < 2**32 for old, _ in ids)


@pytest.mark.parametrize(
    ("content", "at", "effective"),
    [("@老王 好", WANG, True), ("好", WANG, False), ("好", None, False)],
)
async def test_at_works_only_with_an_at_sign_in_the_text(
    content: str, at: str | None, effective: bool
) -> None:
    """`at` without @ in the text marks nobody."""
    async with calling() as caller:
        await caller.send(content, **({"at": at} if at else {}))
        message = caller.gateway.sent[0]

    assert (message.at, message.at_effective) == ((at,) if at else (), effective)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sendText", {"wId": "stale", "wcId": GROUP, "content": "x"}),
        ("/sendText", {"wcId": GROUP, "content": "x"}),
        ("/sendText", {"wId": "now", "wcId": "1@chatroom", "content": "x"}),
        ("/sendText", {"wId": "now", "wcId": WANG, "content": "x"}),
        ("/sendText", {"wId": "now", "wcId": GROUP, "content": ""}),
        ("/getContact", {"wId": "now", "wcId": ",".join(f"a{i}" for i in range(21))}),
        ("/getChatRoomMember", {"wId": "now", "chatRoomId": "1@chatroom"}),
        (
            "/getChatRoomMemberInfo",
            {"wId": "now", "chatRoomId": GROUP, "userList": f"{MING},{HONG}"},
        ),
        ("/revokeMsg", {"wId": "now", "wcId": GROUP, "msgId": 1, "newMsgId": 2, "createTime": 3}),
        ("/member/login", {"account": "13900000001", "password": ""}),
        ("/getIPadLoginInfo", {"wId": "never"}),
    ],
)
async def test_failure_is_code_1001_with_a_sentence(path: str, body: dict[str, Any]) -> None:
    """Every business failure is HTTP 200, code 1001, a Chinese sentence and data null."""
    async with calling() as caller:
        if body.get("wId") == "now":
            body = {**body, "wId": caller.w_id}
        envelope = await caller.call(path, **body)

    assert (envelope["code"], envelope["data"]) == ("1001", None)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in envelope["message"])
    assert caller.gateway.sent == []


@pytest.mark.parametrize("value", ["", "Bearer sim-authorization", "other"])
async def test_authorization_is_compared_raw(value: str) -> None:
    """Only the exact value passes; a Bearer in front is wrong."""
    async with calling() as caller:
        caller.http.headers["Authorization"] = value
        envelope = await caller.send()

    assert envelope["code"] == "1001"


async def test_only_known_paths_and_post_are_served() -> None:
    """GET is 405, an unknown path 404, a body that is no object 400."""
    async with calling() as caller:
        url = caller.gateway.url
        statuses = []
        async with caller.http.get(f"{url}/sendText") as response:
            statuses.append(response.status)
        async with caller.http.post(f"{url}/sendNothing", json={}) as response:
            statuses.append(response.status)
        json_type = {"Content-Type": "application/json"}
        for raw in (b"{", b"[]"):
            async with caller.http.post(f"{url}/sendText", data=raw, headers=json_type) as response:
                statuses.append(response.status)

    assert statuses == [405, 404, 400, 400]


async def test_contacts_leave_out_strangers_and_unknown_ids() -> None:
    """Friends and rooms come in an array; strangers only in part and only by switch."""
    async with calling() as caller:
        wanted = f"{MING},{WANG},nobody,{GROUP}"
        plain = await caller.call("/getContact", wId=caller.w_id, wcId=wanted)
        caller.gateway.faults.set("partial_strangers")
        partial = await caller.call("/getContact", wId=caller.w_id, wcId=wanted)

    assert [one["userName"] for one in plain["data"]] == [MING, GROUP]
    assert [one["nickName"] for one in plain["data"]] == ["小明", "体验群"]
    assert [one["userName"] for one in partial["data"]] == [MING, WANG, GROUP]
    assert "bigHead" not in partial["data"][1]


async def test_rooms_tell_members_display_names_and_strangers() -> None:
    """The member list has display names, the member info works for strangers."""
    async with calling() as caller:
        room = {"wId": caller.w_id, "chatRoomId": GROUP}
        members = await caller.call("/getChatRoomMember", **room)
        info = await caller.call("/getChatRoomMemberInfo", **room, userList=WANG)
        about = await caller.call("/getChatRoomInfo", **room)

    shown = {one["userName"]: (one["nickName"], one["displayName"]) for one in members["data"]}
    assert shown[WANG] == ("老王", "老王（财务）")
    assert shown[MING] == ("小明", "")
    assert [one["nickName"] for one in info["data"]] == ["老王"]
    assert (about["data"][0]["nickName"], about["data"][0]["memberCount"]) == ("体验群", 4)


async def test_revoke_needs_all_ids_and_two_minutes() -> None:
    """A fresh message is taken back once; an old one is refused."""
    async with calling() as caller:
        data = (await caller.send())["data"]
        ids = {name: data[name] for name in ("msgId", "newMsgId", "createTime")}
        order = {"wId": caller.w_id, "wcId": GROUP, **ids}
        first = await caller.call("/revokeMsg", **order)
        revoked = set(caller.gateway.revoked)
        caller.gateway._sends.revoke_limit = -1.0
        late = await caller.call("/revokeMsg", **order)

    assert (first["code"], late["code"]) == ("1000", "1001")
    assert revoked == {data["newMsgId"]}


FILE = "https://files.example.com/a"
SENDINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "voice": ("/sendVoice", {"content": FILE, "length": 1800}),
    "video": ("/sendVideo", {"path": FILE, "thumbPath": FILE}),
    "link": (
        "/sendUrl",
        {"title": "题", "url": "https://x.example.com", "description": "述", "thumbUrl": FILE},
    ),
    "card": ("/sendNameCard", {"nameCardId": MING}),
}


@pytest.mark.parametrize("kind", list(SENDINGS))
async def test_other_kinds_are_sent_and_want_all_that_belongs_to_them(kind: str) -> None:
    """Each answers with ids as a text does; without one of its parameters it is refused."""
    path, body = SENDINGS[kind]
    async with calling() as caller:
        to = {"wId": caller.w_id, "wcId": GROUP}
        data = (await caller.call(path, **to, **body))["data"]
        lacking = [(await caller.call(path, **to, **{**body, name: ""}))["code"] for name in body]
        [sent] = caller.gateway.sent

    assert (sent.kind, sent.new_msg_id, sent.to) == (kind, data["newMsgId"], GROUP)
    assert set(lacking) == {"1001"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sendVoice", {"content": f"{FILE}.mp3", "length": 1800}),
        ("/sendVoice", {"content": "http://127.0.0.1/a", "length": 1800}),
        ("/sendVideo", {"path": FILE, "thumbPath": "http://10.0.0.1/a"}),
        ("/sendNameCard", {"nameCardId": "nobody"}),
    ],
)
async def test_what_the_gateway_cannot_send_is_refused(path: str, body: dict[str, Any]) -> None:
    """No mp3, nothing from inside, nobody's card."""
    async with calling() as caller:
        envelope = await caller.call(path, wId=caller.w_id, wcId=GROUP, **body)

    assert envelope["code"] == "1001"
    assert caller.gateway.sent == []


async def test_login_chain_gives_a_new_login_each_time() -> None:
    """Token, QR code, finished login; then a second login: the former wIds are dead."""
    async with calling() as caller:
        before = caller.w_id
        token = await caller.call("/member/login", account="13900000001", password="x")
        code = await caller.call("/iPadLogin", wcId=BOT, deviceType="ipad")
        login = await caller.call("/getIPadLoginInfo", wId=code["data"]["wId"])
        again = await caller.call("/secondLogin", wcId=BOT)
        online = await caller.call("/queryLoginWx")
        stale = await caller.call("/sendText", wId=before, wcId=GROUP, content="x")

    assert token["data"]["Authorization"] == caller.gateway.authorization
    assert (login["data"]["wcId"], login["data"]["status"]) == (BOT, 3)
    assert len({before, login["data"]["wId"], again["data"]["wId"]}) == 3
    assert online["data"] == [{"wcId": BOT, "wId": again["data"]["wId"]}]
    assert stale["code"] == "1001"


async def test_second_login_can_hide_its_failure() -> None:
    """By switch: code 1000 outside, 1001 inside."""
    async with calling() as caller:
        caller.gateway.faults.set("nested_failure")
        envelope = await caller.call("/secondLogin", wcId=BOT)

    assert (envelope["code"], envelope["data"]["code"]) == ("1000", "1001")


async def test_offline_account_is_told_by_every_path() -> None:
    """Logged out: the notice, both shapes of isOnline, the reason, no sends, no callbacks."""
    async with calling() as caller:
        w_id = caller.w_id
        await caller.call("/member/offline", account="13900000001", wcIds=[BOT])
        caller.gateway.say("体验群", "小明", "在吗")
        await caller.gateway.courier.idle()
        shape = await caller.call("/isOnline", wId=w_id)
        caller.gateway.faults.set("online_by_code")
        code = await caller.call("/isOnline", wId=w_id)
        reason = await caller.call("/offlineReason", wcId=BOT)
        online = await caller.call("/queryLoginWx")
        send = await caller.send()

    assert [body["messageType"] for body in caller.receiver.bodies] == ["30000"]
    assert (shape["data"], code["code"]) == ({"isOnline": False}, "1001")
    assert reason["data"][0]["reason"] is not None
    assert (online["data"], send["code"]) == ([], "1001")


async def test_registration_of_the_callback_pushes_a_test() -> None:
    """The address is stored, 00000 arrives there; cancelled, nothing arrives."""
    async with calling(callback_url=None) as caller:
        await caller.call("/setHttpCallbackUrl", httpUrl=caller.receiver.url, type=2)
        await caller.gateway.courier.idle()
        stored = await caller.call("/getHttpCallbackUrl")
        await caller.call("/cancelHttpCallbackUrl")
        caller.gateway.say("体验群", "小明", "在吗")
        await caller.gateway.courier.idle()

    assert [body["messageType"] for body in caller.receiver.bodies] == ["00000"]
    assert stored["data"] == {"url": caller.receiver.url}


async def test_callback_of_a_mention_has_the_optimised_shape() -> None:
    """Envelope, both ids, U+2005 after the name, atlist, pushContent, present wId."""
    async with calling() as caller:
        said = caller.gateway.say("体验群", "老王", "报销流程是什么", mention_bot=True)
        await caller.gateway.courier.idle()
        body = caller.receiver.bodies[0]

    data = body["data"]
    assert (body["account"], body["messageType"], body["wcId"]) == ("13900000001", "80001", BOT)
    assert data["content"] == "@小助手\u2005报销流程是什么"
    assert (data["fromGroup"], data["fromUser"], data["toUser"]) == (GROUP, WANG, BOT)
    assert (data["atlist"], data["pushContent"]) == ([BOT], "老王在群聊中@了你")
    assert (data["msgId"], data["newMsgId"]) == (said.msg_id, said.new_msg_id)
    assert (data["self"], data["memberCount"], data["wId"]) == (False, 4, caller.w_id)
    assert abs(data["timestamp"] - time.time()) < 5


async def test_callback_without_a_mention_has_no_atlist() -> None:
    """pushContent is "nickname : text", atlist is absent; a name already there is not doubled."""
    async with calling() as caller:
        caller.gateway.say(GROUP, MING, "几点开会?")
        caller.gateway.say(GROUP, MING, "@小助手 几点", mention_bot=True)
        await caller.gateway.courier.idle()
        plain, mention = (body["data"] for body in caller.receiver.bodies)

    assert "atlist" not in plain
    assert plain["pushContent"] == "小明 : 几点开会?"
    assert (mention["content"], mention["atlist"]) == ("@小助手 几点", [BOT])


@pytest.mark.parametrize("place", [0, 1])
async def test_only_the_mentioned_account_reads_that_it_is_meant(place: int) -> None:
    """pushContent is each account's own: "…在群聊中@了你" for who is in atlist, the text for others."""
    world = World.crowd(groups=1, people=1, accounts=2)
    meant = list(world.accounts)[place]
    async with calling(world=world) as caller:
        caller.gateway.say("群1", "群友1-1", "早", mentions=[meant])
        caller.gateway.rotate(meant, replay=1)
        await caller.gateway.courier.idle()
        notices = {(body["wcId"], body["data"]["pushContent"]) for body in caller.receiver.bodies}

    others = {(bot, "群友1-1 : 早") for bot in world.accounts if bot != meant}
    assert notices == {(meant, "群友1-1在群聊中@了你"), *others}
    assert [body["data"]["atlist"] for body in caller.receiver.bodies] == [[meant]] * 3


async def test_mention_of_a_person_is_an_ordinary_notice_to_the_account() -> None:
    """atlist names the person; the account's phone shows the text."""
    async with calling() as caller:
        caller.gateway.say(GROUP, MING, "@小红 在吗", mentions=[HONG])
        await caller.gateway.courier.idle()
        data = caller.receiver.bodies[0]["data"]

    assert (data["atlist"], data["pushContent"]) == ([HONG], "小明 : @小红 在吗")


async def test_each_account_in_the_group_gets_the_same_server_id() -> None:
    """Two accounts: two callbacks, one newMsgId, each with its own wcId and wId."""
    world = World.crowd(groups=1, people=1, accounts=2)
    async with calling(world=world) as caller:
        caller.gateway.say("群1", "群友1-1", "早")
        await caller.gateway.courier.idle()
        bodies = caller.receiver.bodies

    assert len({body["wcId"] for body in bodies}) == len({body["data"]["wId"] for body in bodies})
    assert len({body["wcId"] for body in bodies}) == 2
    assert len({body["data"]["newMsgId"] for body in bodies}) == 1


async def test_group_keeps_its_order_and_does_not_wait_for_others() -> None:
    """A receiver slow for one group gets that group in order and the other at once."""
    world = World.crowd(groups=2, people=1)
    first, second = world.groups
    async with calling(world=world) as caller:
        caller.receiver.slow = {first: 0.1}
        for number in range(4):
            caller.gateway.say(first, "群友1-1", f"慢{number}")
            caller.gateway.say(second, "群友2-1", f"快{number}")
        await caller.gateway.courier.idle()
        texts = caller.receiver.texts

    assert [text for text in texts if text.startswith("慢")] == [f"慢{n}" for n in range(4)]
    assert [text for text in texts if text.startswith("快")] == [f"快{n}" for n in range(4)]
    assert texts.index("快3") < texts.index("慢3")


async def test_callback_not_taken_in_time_is_dropped_once() -> None:
    """Beyond the limit the gateway gives up, does not repeat, and goes on with the next."""
    async with calling(delivery_limit=0.2) as caller:
        caller.receiver.slow = {GROUP: 1.0}
        caller.gateway.say(GROUP, MING, "甲")
        caller.gateway.say(GROUP, MING, "乙")
        await caller.gateway.courier.idle()
        outcomes = [record.outcome for record in caller.gateway.recorder.of("callback")]

    assert outcomes == ["dropped: TimeoutError"] * 2
    assert caller.receiver.texts == ["甲", "乙"]


async def test_rotation_kills_the_old_login_and_may_replay() -> None:
    """The old wId is refused; replayed callbacks have the old newMsgId and the new wId."""
    async with calling() as caller:
        old = caller.w_id
        caller.gateway.say(GROUP, MING, "甲")
        caller.gateway.say(GROUP, MING, "乙")
        await caller.gateway.courier.idle()
        async with caller.http.post(
            f"{caller.gateway.url}/_sim/rotate", json={"replay": 1}
        ) as response:
            new = (await response.json())["wId"]
        await caller.gateway.courier.idle()
        refused = await caller.call("/sendText", wId=old, wcId=GROUP, content="x")
        accepted = await caller.call("/sendText", wId=new, wcId=GROUP, content="x")

    _, second, again = (body["data"] for body in caller.receiver.bodies)
    assert (refused["code"], accepted["code"]) == ("1001", "1000")
    assert (again["newMsgId"], again["wId"]) == (second["newMsgId"], new)


async def test_raw_callback_is_posted_untouched() -> None:
    """Any bytes and content type reach the receiver; its answer comes back."""
    async with (
        calling() as caller,
        caller.http.post(
            f"{caller.gateway.url}/_sim/callback",
            data=b'{"broken\xff',
            headers={"Content-Type": "text/plain"},
        ) as response,
    ):
        answer = await response.json()

    assert (caller.receiver.raw, caller.receiver.content_types) == (
        [b'{"broken\xff'],
        ["text/plain"],
    )
    assert (answer["status"], json.loads(answer["answer"])) == (200, DONE)


async def test_say_over_http_gives_ids_as_strings() -> None:
    """A browser can speak for a member; ids are digits in strings."""
    async with calling() as caller:
        order = {"group": "体验群", "person": "小红", "text": "你好", "mention_bot": True}
        async with caller.http.post(f"{caller.gateway.url}/_sim/say", json=order) as response:
            answer = await response.json()
        await caller.gateway.courier.idle()

    assert answer["newMsgId"] == str(caller.receiver.bodies[0]["data"]["newMsgId"])
    assert caller.receiver.bodies[0]["data"]["fromUser"] == HONG


async def test_a_member_can_quote_what_an_account_sent() -> None:
    """With the fields of the gateway's own quotations; what people write stands in it escaped."""
    async with calling() as caller:
        await caller.send("<答> & 案")
        [sent] = caller.gateway.sent
        order = {
            "group": "体验群",
            "person": "小红",
            "text": "好&赞",
            "quote": str(sent.new_msg_id),
        }
        async with caller.http.post(f"{caller.gateway.url}/_sim/say", json=order) as response:
            status = response.status
        await caller.gateway.courier.idle()

    [body] = caller.receiver.bodies
    data = body["data"]
    assert (status, body["messageType"], data["title"]) == (200, "80014", "好&赞")
    assert f"<svrid>{sent.new_msg_id}</svrid><fromusr>{GROUP}</fromusr>" in data["content"]
    assert f"<chatusr>{BOT}</chatusr>" in data["content"]
    assert "<content>&lt;答&gt; &amp; 案</content>" in data["content"]


@pytest.mark.parametrize(
    ("path", "order", "status"),
    [
        ("say", {"group": "无此群", "person": "小红", "text": "x"}, 404),
        ("say", {"group": "体验群", "person": "无此人", "text": "x"}, 404),
        ("say", {"group": "体验群", "person": "小红", "text": 5}, 400),
        ("say", {"group": "体验群", "person": "小红", "text": "赞", "quote": "x"}, 400),
        ("say", {"group": "体验群", "person": "小红", "text": "赞", "quote": "1"}, 404),
        ("say", [1], 400),
        ("rotate", {"wcId": "nobody"}, 404),
        ("account", {"online": "yes"}, 400),
        ("faults", {"name": "no_such_fault"}, 400),
        ("faults", {"name": "slow", "value": "much"}, 400),
        ("faults", {"name": "slow", "probability": 2}, 400),
        ("faults", [1], 400),
    ],
)
async def test_wrong_order_is_refused_with_a_reason(path: str, order: Any, status: int) -> None:
    """The control paths tell what is wrong and do nothing."""
    async with (
        calling() as caller,
        caller.http.post(f"{caller.gateway.url}/_sim/{path}", json=order) as response,
    ):
        told = await response.json()

        assert response.status == status
        assert told["error"]
        assert told["detail"]
        assert caller.gateway.faults.as_json()["faults"] == []


async def test_world_shows_groups_members_and_accounts() -> None:
    """What a playground needs to draw the group."""
    async with (
        calling() as caller,
        caller.http.get(f"{caller.gateway.url}/_sim/world") as response,
    ):
        world = await response.json()

    group = world["groups"][0]
    assert (group["groupId"], group["name"]) == (GROUP, "体验群")
    assert [(one["shownName"], one["bot"], one["friend"]) for one in group["members"]] == [
        ("小助手", True, True),
        ("小明", False, True),
        ("小红", False, True),
        ("老王（财务）", False, False),
    ]
    assert world["accounts"][0]["online"] is True


async def test_control_paths_allow_pages_of_this_machine() -> None:
    """A preflight passes, and every answer carries the permission; the gateway's own do not."""
    async with calling() as caller:
        url = caller.gateway.url
        page = {"Origin": "http://127.0.0.1:8765"}
        async with caller.http.options(f"{url}/_sim/say", headers=page) as preflight:
            allowed = preflight.headers.get("Access-Control-Allow-Origin")
            methods = preflight.headers.get("Access-Control-Allow-Methods", "")
        async with caller.http.get(f"{url}/_sim/about", headers=page) as about:
            shown = about.headers.get("Access-Control-Allow-Origin")
        async with caller.http.post(f"{url}/queryLoginWx", json={}, headers=page) as own:
            none = own.headers.get("Access-Control-Allow-Origin")

    assert (preflight.status, allowed, shown, none) == (204, page["Origin"], page["Origin"], None)
    assert "POST" in methods


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost.evil:1", "null", "[", ""]
)
async def test_control_paths_refuse_pages_of_other_hosts(origin: str) -> None:
    """A site that is open in the operator's browser says nothing in the group and reads nothing."""
    async with calling() as caller:
        order = {"group": GROUP, "user": MING, "text": "stranger"}
        headers = {"Origin": origin, "Content-Type": "text/plain"}
        url = f"{caller.gateway.url}/_sim"
        async with caller.http.post(f"{url}/say", data=json.dumps(order), headers=headers) as said:
            pass
        async with caller.http.get(f"{url}/world", headers=headers) as world:
            permission = world.headers.get("Access-Control-Allow-Origin")
        records = caller.gateway.recorder.since(0, 100)

    assert (said.status, world.status, permission) == (403, 403, None)
    assert [one.kind for one in records] == []


async def test_log_tells_requests_sends_and_callbacks_in_order() -> None:
    """`since` pages through one numbered sequence; gaps between calls are measured."""
    async with calling() as caller:
        caller.gateway.say(GROUP, MING, "问")
        await caller.gateway.courier.idle()
        for _ in range(3):
            await caller.send()
        url = f"{caller.gateway.url}/_sim/log"
        async with caller.http.get(url, params={"since": "1", "limit": "2"}) as response:
            page = await response.json()
        gaps = caller.gateway.recorder.gaps("/sendText")

    assert [(one["n"], one["kind"]) for one in page["records"]] == [(2, "request"), (3, "sent")]
    assert (page["next"], page["last"]) == (3, 7)
    assert page["records"][0]["body"]["content"] == "答"
    assert len(gaps) == 2
    assert all(gap >= 0 for gap in gaps)


async def test_log_never_holds_the_authorization() -> None:
    """Requests are recorded without the secret header."""
    async with calling() as caller:
        await caller.send()
        async with caller.http.get(f"{caller.gateway.url}/_sim/log") as response:
            text = await response.text()

    assert caller.gateway.authorization not in text


async def test_wait_for_sent_returns_or_times_out() -> None:
    """Tests wait on the event, not on the clock."""
    async with calling() as caller:
        waiting = asyncio.create_task(caller.gateway.wait_for_sent(1))
        await caller.send("甲")
        sent = await waiting
        with pytest.raises(TimeoutError):
            await caller.gateway.wait_for_sent(2, seconds=0.05)

    assert [message.content for message in sent] == ["甲"]
