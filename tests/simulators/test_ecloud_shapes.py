"""The shapes in which the simulated gateway's callbacks and answers come by switch."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.models.flow import GroupMessage
from app.services.ecloud.callback import parse_callback
from simulators.ecloud_courier import DELIVERY_LIMIT
from simulators.ecloud_faults import KINDS
from simulators.ecloud_sends import REVOKE_LIMIT
from simulators.ecloud_world import World
from tests.simulators.calling import BOT, GROUP, HONG, MING, Caller, calling

FILE = "https://files.example.com/a"
#: Switch, its value, and what then stands in the callback of a question; None = it is missing.
SHAPES: list[tuple[str, float, dict[str, Any]]] = [
    ("mislabel", 1, {"messageType": "60001", "fromGroup": GROUP}),
    ("native_type", 0, {"messageType": 9, "content": "@小助手\u200542"}),
    ("no_atlist", 0, {"atlist": None}),
    ("odd_atlist", 0, {"atlist": f"{BOT},{HONG}"}),
    ("odd_atlist", 1, {"atlist": None, "atList": [BOT, HONG]}),
    ("ids_as_strings", 0, {"self": "false", "memberCount": "4"}),
    ("strings_as_numbers", 0, {"messageType": 80001}),
    ("odd_room", 0, {"fromGroup": "40000000001@chatRoom"}),
    ("odd_room", 1, {"fromGroup": "40000000001"}),
    ("sender_prefix", 0, {"content": f"{MING}:\n@小助手\u200542"}),
    ("no_self", 0, {"self": None}),
    ("no_new_msg_id", 0, {"newMsgId": None}),
    ("no_new_msg_id", 1, {"newMsgId": 0}),
]


async def question(caller: Caller) -> dict[str, Any]:
    """The callback of a question that mentions the account and somebody else."""
    caller.gateway.say(GROUP, MING, "@小助手\u200542", mention_bot=True, mentions=[BOT, HONG])
    await caller.gateway.courier.idle()
    body: dict[str, Any] = caller.receiver.bodies[-1]
    return body


@pytest.mark.parametrize(("fault", "value", "expected"), SHAPES)
async def test_callback_comes_in_the_shape_that_is_switched_on(
    fault: str, value: float, expected: dict[str, Any]
) -> None:
    """And in the documented one again as soon as it is off."""
    async with calling() as caller:
        usual = await question(caller)
        caller.gateway.faults.set(fault, value, times=1)
        odd = await question(caller)
        after = await question(caller)

    flat = {"messageType": odd["messageType"], **odd["data"]}
    assert {name: flat.get(name) for name in expected} == expected
    assert {"messageType": usual["messageType"], **usual["data"]}.items() >= {
        "messageType": "80001",
        "fromGroup": GROUP,
        "atlist": [BOT, HONG],
        "self": False,
        "memberCount": 4,
    }.items()
    assert [usual["data"].keys(), usual["messageType"]] == [
        after["data"].keys(),
        after["messageType"],
    ]


@pytest.mark.parametrize(("fault", "value"), [one[:2] for one in SHAPES])
async def test_bridge_reads_the_same_question_in_every_shape(fault: str, value: float) -> None:
    """Who, where, and what; whom it mentions if that is said at all."""
    async with calling() as caller:
        await question(caller)
        caller.gateway.faults.set(fault, value)
        await question(caller)
        usual, odd = map(parse_callback, caller.receiver.raw)

    assert isinstance(usual, GroupMessage)
    assert isinstance(odd, GroupMessage)
    mentions = () if fault == "no_atlist" else usual.mentions
    assert (odd.text, odd.mentions) == (usual.text, mentions)
    for name in ("group_id", "from_user", "bot_wc_id", "w_id", "message_type"):
        expected = "60001" if (fault, name) == ("mislabel", "message_type") else None
        assert getattr(odd.origin, name) == (expected or getattr(usual.origin, name))
    assert odd.origin.dedupe_key != usual.origin.dedupe_key


@pytest.mark.parametrize("switched", [False, True])
async def test_older_format_numbers_the_kinds_and_puts_the_sender_before_xml(
    switched: bool,
) -> None:
    """By switch, or because the address was registered with type 1."""
    async with calling(callback_url=None) as caller:
        gateway = caller.gateway
        if switched:
            gateway.callback_url = caller.receiver.url
            gateway.faults.set("native_type")
        else:
            await caller.call("/setHttpCallbackUrl", httpUrl=caller.receiver.url, type=1)
        gateway.say(GROUP, MING, "问")
        for kind in ("image", "video", "voice", "emoji"):
            gateway.acts.send(GROUP, MING, kind)
        gateway.set_online(None, online=False)
        await gateway.courier.idle()
        bodies = [one for one in caller.receiver.bodies if one["messageType"] != "00000"]

    assert sorted(body["messageType"] for body in bodies) == [4, 9, 10, 11, 12, 14]
    xml = [one["data"]["content"] for one in bodies if one["messageType"] in (10, 11, 12, 14)]
    assert all(content.startswith(f"{MING}:\n<") for content in xml)


async def test_registration_of_the_recommended_format_ends_the_older_one() -> None:
    """One address and one format per developer account: the last one counts."""
    async with calling() as caller:
        for number in (1, 2):
            await caller.call("/setHttpCallbackUrl", httpUrl=caller.receiver.url, type=number)
        caller.gateway.say(GROUP, MING, "问")
        await caller.gateway.courier.idle()

    assert [one["messageType"] for one in caller.receiver.bodies] == ["00000", "00000", "80001"]


async def test_one_address_serves_all_accounts_and_a_new_one_replaces_it() -> None:
    """Registered per developer account; the former address gets nothing more."""
    world = World.crowd(groups=1, people=1, accounts=2)
    async with calling(world=world) as caller:
        caller.gateway.say("群1", "群友1-1", "甲")
        await caller.gateway.courier.idle()
        await caller.call("/setHttpCallbackUrl", httpUrl=f"{caller.receiver.url}/none", type=2)
        caller.gateway.say("群1", "群友1-1", "乙")
        await caller.gateway.courier.idle()
        outcomes = [one.outcome for one in caller.gateway.recorder.of("callback")]

    assert {body["wcId"] for body in caller.receiver.bodies} == set(world.accounts)
    assert caller.receiver.texts == ["甲", "甲"]
    assert outcomes == ["http_200"] * 2 + ["http_404"] * 3


def test_limits_are_those_of_the_real_gateway_unless_told_otherwise() -> None:
    """Six seconds for a callback, two minutes for a recall."""
    assert (DELIVERY_LIMIT, REVOKE_LIMIT) == (6.0, 120.0)


@pytest.mark.parametrize(
    ("further", "statuses", "got"),
    [
        (0, [], 1),
        (1, [500], 2),
        (2, [500, 302], 3),
        (2, [500, 503, 500], 3),
        (2, [200], 1),
    ],
)
async def test_callback_that_was_not_taken_comes_again_only_if_switched_on(
    further: int, statuses: list[int], got: int
) -> None:
    """As often as told, until a status of success; with the same bytes."""
    async with calling(retry_seconds=0.01) as caller:
        answers = iter(statuses)
        real = caller.receiver.take

        async def take(request: web.Request) -> web.Response:
            await real(request)
            return web.Response(status=next(answers, 200))

        caller.receiver.answer = take
        if further:
            caller.gateway.faults.set("retry", further)
        caller.gateway.say(GROUP, MING, "问")
        async with asyncio.timeout(10):
            await caller.gateway.courier.idle()

    assert len(caller.receiver.raw) == got
    assert len(set(caller.receiver.raw)) == 1


async def test_callback_that_took_too_long_comes_again_if_switched_on() -> None:
    """Six seconds at the real one."""
    async with calling(delivery_limit=0.1, retry_seconds=0.01) as caller:
        caller.receiver.slow = {GROUP: 1.0}
        caller.gateway.faults.set("retry", 2)
        caller.gateway.say(GROUP, MING, "问")
        await caller.gateway.courier.idle()
        outcomes = [one.outcome for one in caller.gateway.recorder.of("callback")]

    assert outcomes == ["dropped: TimeoutError"] * 3


@pytest.mark.parametrize("path", ["/secondLogin", "/getIPadLoginInfo"])
@pytest.mark.parametrize("is_alone", [False, True], ids=["all logins", "this one"])
async def test_login_can_bring_the_last_messages_again_under_its_wid(
    path: str, is_alone: bool
) -> None:
    """The same newMsgIds; only as many as told, and only if it is switched on, also for this path alone."""
    async with calling() as caller:
        for word in "甲乙丙":
            caller.gateway.say(GROUP, MING, word)
        await caller.call("/secondLogin", wcId=BOT)
        await caller.gateway.courier.idle()
        quiet = len(caller.receiver.bodies)
        caller.gateway.faults.set("replay", 2, endpoints=[path] if is_alone else ())
        body = {"wcId": BOT}
        if path != "/secondLogin":
            code = await caller.call("/iPadLogin", wcId=BOT)
            body = {"wId": code["data"]["wId"]}
        login = (await caller.call(path, **body))["data"]["wId"]
        await caller.gateway.courier.idle()
        data = [one["data"] for one in caller.receiver.bodies]

    assert quiet == 3
    assert [one["content"] for one in data[3:]] == ["乙", "丙"]
    assert [one["newMsgId"] for one in data[3:]] == [one["newMsgId"] for one in data[1:3]]
    assert {one["wId"] for one in data[3:]} == {login}


async def test_login_takes_as_long_as_the_scanning_of_its_code() -> None:
    """The call hangs until then; the device may want a code of its own first."""
    async with calling(login_seconds=0.2) as caller:
        w_id = (await caller.call("/iPadLogin", wcId=BOT))["data"]["wId"]
        caller.gateway.faults.set("verify_code")
        refused = await caller.call("/getIPadLoginInfo", wId=w_id)
        started = asyncio.get_running_loop().time()
        done = await caller.call("/getIPadLoginInfo", wId=w_id, verifyCode="123456")
        seconds = asyncio.get_running_loop().time() - started

    assert (refused["code"], "验证码" in refused["message"]) == ("1001", True)
    assert (done["data"]["wId"], seconds >= 0.2) == (w_id, True)


async def test_unknown_contacts_alone_give_an_empty_list_and_twenty_are_the_most() -> None:
    """No error: nobody is found."""
    async with calling() as caller:
        nobody = await caller.call("/getContact", wId=caller.w_id, wcId="nobody")
        twenty = ",".join([MING] * 20)
        most = await caller.call("/getContact", wId=caller.w_id, wcId=twenty)
        more = await caller.call("/getContact", wId=caller.w_id, wcId=f"{twenty},{MING}")

    assert (nobody["code"], nobody["data"]) == ("1000", [])
    assert (most["code"], more["code"]) == ("1000", "1001")


async def test_answers_can_come_as_a_list_of_one_or_out_of_it() -> None:
    """The tables and the samples of the vendor disagree."""
    async with calling() as caller:
        caller.gateway.faults.set("data_reshaped")
        sent = await caller.send()
        card = await caller.call("/getContact", wId=caller.w_id, wcId=MING)

    assert [list(one) for one in sent["data"]] == [
        ["type", "msgId", "newMsgId", "createTime", "wcId"]
    ]
    assert card["data"]["userName"] == MING


async def test_members_can_have_their_name_misspelt() -> None:
    """As one of the vendor's tables has it."""
    async with calling() as caller:
        caller.gateway.faults.set("nike_name")
        found = await caller.call("/getChatRoomMember", wId=caller.w_id, chatRoomId=GROUP)

    assert [("nickName" in one, one["nikeName"]) for one in found["data"]][1] == (False, "小明")


@pytest.mark.parametrize("nested", [False, True])
async def test_offline_reason_is_none_online_and_a_sentence_or_xml_offline(nested: bool) -> None:
    """An array with one element."""
    async with calling() as caller:
        if nested:
            caller.gateway.faults.set("reason_nested")
        online = await caller.call("/offlineReason", wcId=BOT)
        caller.gateway.set_online(None, online=False)
        offline = await caller.call("/offlineReason", wcId=BOT)

    [reason] = [one["reason"] for one in offline["data"]]
    assert online["data"] == [{"wcId": BOT, "reason": None}]
    assert "重新登录" in reason
    assert (nested and json.loads(reason).startswith("<e>")) is nested


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/getMsgImg", "image"),
        ("/getMsgFile", "file"),
        ("/getMsgEmoji", "emoji"),
        ("/getMsgVoice", "voice"),
    ],
)
async def test_media_may_fail_at_the_first_try_and_then_name_a_place(path: str, kind: str) -> None:
    """The same call again is right; the place gives bytes."""
    async with calling() as caller:
        said = caller.gateway.acts.send(GROUP, HONG, kind)
        caller.gateway.faults.set("media_late", times=1)
        told = {"content": said.text, "fromUser": HONG, **said.extra}
        body = {**told, "wId": caller.w_id, "msgId": said.msg_id}
        first, second = await caller.call(path, **body), await caller.call(path, **body)
        async with caller.http.get(second["data"]["url"]) as response:
            data = await response.read()

    assert (first["code"], second["code"]) == ("1001", "1000")
    assert (response.status, bool(data)) == (200, True)


async def test_large_picture_may_be_missing_while_the_usual_one_is_there() -> None:
    """Type 1 is refused, 0 and none are not."""
    async with calling() as caller:
        caller.gateway.faults.set("no_large_picture")
        said = caller.gateway.acts.send(GROUP, HONG, "image")
        body = {"wId": caller.w_id, "msgId": said.msg_id, "content": said.text}
        sizes: list[dict[str, int]] = [{"type": 1}, {"type": 0}, {}]
        codes = [(await caller.call("/getMsgImg", **body, **one))["code"] for one in sizes]

    assert codes == ["1001", "1000", "1000"]


async def test_film_is_under_way_first_and_there_at_the_next_look() -> None:
    """A number, type 0 without a place, then type 1 with one."""
    async with calling() as caller:
        said = caller.gateway.acts.send(GROUP, HONG, "video")
        body = {"wId": caller.w_id, "msgId": said.msg_id, "content": said.text}
        number = (await caller.call("/asynGetMsgVideo", **body))["data"]["id"]
        looks = [(await caller.call("/getMsgVideoRes", id=number))["data"] for _ in range(2)]

    assert [(one["id"], one["type"], bool(one["url"])) for one in looks] == [
        (number, 0, False),
        (number, 1, True),
    ]


async def test_each_account_downloads_by_the_number_it_got_itself() -> None:
    """msgIds are each account's own; another's is nothing."""
    world = World.crowd(groups=1, people=1, accounts=2)
    async with calling(world=world) as caller:
        caller.gateway.acts.send("群1", "群友1-1", "image")
        await caller.gateway.courier.idle()
        own, crossed = [], []
        first, second = caller.receiver.bodies
        for mine, other in ((first, second), (second, first)):
            data = mine["data"]
            body = {"wId": data["wId"], "content": data["content"]}
            own.append(await caller.call("/getMsgImg", **body, msgId=data["msgId"]))
            crossed.append(await caller.call("/getMsgImg", **body, msgId=other["data"]["msgId"]))

    assert [one["code"] for one in own] == ["1000", "1000"]
    assert [one["code"] for one in crossed] == ["1001", "1001"]


@pytest.mark.parametrize("own", [False, True])
async def test_accounts_can_get_server_ids_of_their_own(own: bool) -> None:
    """By switch; the same ones when it comes again."""
    world = World.crowd(groups=1, people=1, accounts=2)
    async with calling(world=world) as caller:
        if own:
            caller.gateway.faults.set("ids_per_account")
        caller.gateway.say("群1", "群友1-1", "甲")
        caller.gateway.speech.replay(1)
        await caller.gateway.courier.idle()
        ids = [one["data"]["newMsgId"] for one in caller.receiver.bodies]

    assert (len(ids), len(set(ids))) == (4, 2 if own else 1)


async def test_a_film_too_is_where_the_gateway_says_that_its_files_are() -> None:
    """At its second look, as everything that is kept."""
    async with calling() as caller:
        said = caller.gateway.acts.send(GROUP, MING, "video")
        caller.gateway.media.place = FILE
        body = {"wId": caller.w_id, "msgId": said.msg_id, "content": said.text}
        film = (await caller.call("/asynGetMsgVideo", **body))["data"]["id"]
        looks = [(await caller.call("/getMsgVideoRes", id=film))["data"] for _ in range(2)]

    assert [one["url"] for one in looks] == [None, FILE]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/sendText", {"content": "好"}, "80001"),
        ("/sendImage2", {"content": FILE}, "80002"),
        ("/sendVideo", {"path": FILE, "thumbPath": FILE}, "80003"),
        ("/sendVoice", {"content": FILE, "length": 1800}, "80004"),
        ("/sendNameCard", {"nameCardId": MING}, "80005"),
        (
            "/sendUrl",
            {"title": "题", "url": FILE, "description": "述", "thumbUrl": FILE},
            "80007",
        ),
        ("/sendFile", {"path": FILE, "fileName": "a"}, "80009"),
    ],
)
async def test_echo_of_a_send_has_its_type_and_the_ids_of_the_answer(
    path: str, body: dict[str, Any], code: str
) -> None:
    """From the account, into the group, self=true; of what is no text there is XML."""
    async with calling() as caller:
        caller.gateway.faults.set("echo")
        sent = (await caller.call(path, wId=caller.w_id, wcId=GROUP, **body))["data"]
        await caller.gateway.courier.idle()
        [echo] = caller.receiver.bodies

    data = echo["data"]
    assert (echo["messageType"], data["self"]) == (code, True)
    assert (data["fromUser"], data["toUser"], data["fromGroup"]) == (BOT, GROUP, GROUP)
    assert (data["msgId"], data["newMsgId"]) == (sent["msgId"], sent["newMsgId"])
    assert data["timestamp"] == sent["createTime"]
    assert data["content"].startswith("<?xml") is (code != "80001")


async def test_throttle_counts_each_account_by_itself_within_its_last_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other account may still send, and the first one as soon as the minute is over."""
    world = World.crowd(groups=1, people=1, accounts=2)
    [room], (one, two) = world.groups, world.accounts.values()
    async with calling(world=world) as caller:
        caller.gateway.faults.set("throttle", 1)
        to = {"wcId": room, "content": "x"}
        codes = [
            (await caller.call("/sendText", wId=account.w_id, **to))["code"]
            for account in (one, one, two)
        ]
        monkeypatch.setattr("simulators.ecloud_sends.MINUTE", 0.05)
        await asyncio.sleep(0.1)
        later = await caller.call("/sendText", wId=one.w_id, **to)

    assert (codes, later["code"]) == (["1000", "1001", "1000"], "1000")


async def test_gaps_are_counted_by_endpoint_and_by_account() -> None:
    """Tests of the pacing assert on them; a program of its own reads them over HTTP."""
    world = World.crowd(groups=1, people=1, accounts=2)
    [room], accounts = world.groups, list(world.accounts.values())
    async with calling(world=world) as caller:
        for account in (accounts[0], accounts[1], accounts[0]):
            await caller.call("/sendText", wId=account.w_id, wcId=room, content="x")
            await asyncio.sleep(0.05)
        await caller.call("/queryLoginWx")
        gaps = caller.gateway.gaps
        texts, first = gaps("/sendText"), gaps("/sendText", accounts[0].wc_id)
        second = gaps("/send*", accounts[1].wc_id)
        url = f"{caller.gateway.url}/_sim/gaps"
        async with caller.http.get(url, params={"wcId": accounts[0].wc_id}) as response:
            shown = await response.json()

    assert (texts.calls, first.calls, second.calls, texts.in_a_minute) == (3, 2, 1, 3)
    assert 0.05 <= (texts.least or 0) <= (texts.mean or 0) <= (texts.most or 0)
    assert first.least == first.most
    assert (first.least or 0) >= 0.1
    assert (second.least, second.mean, second.most) == (None, None, None)
    assert shown["/sendText"] == first.as_json()
    assert shown["/queryLoginWx"]["calls"] == 0


def test_every_switch_is_named_in_a_test() -> None:
    """A fault that nobody tries may do nothing."""
    folder = Path(__file__).parent
    texts = "".join(path.read_text("utf-8") for path in folder.glob("test_ecloud*.py"))

    assert [one for one in KINDS if f'"{one}"' not in texts] == []
