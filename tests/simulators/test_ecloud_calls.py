"""Wrong calls of the simulated gateway are refused as the real one would, on every endpoint."""

from collections.abc import Mapping
from typing import Any

import pytest

from simulators.ecloud import EcloudSimulator
from simulators.ecloud_parameters import FLAG, LIST, MOST_LONG, NUMBER, PARAMETERS, TEXT, Parameter
from simulators.ecloud_sends import MOST_LETTERS
from simulators.ecloud_world import World
from tests.simulators.calling import BOT, GROUP, HONG, MING, WANG, Caller, calling

FILE = "https://files.example.com/a"
#: Of which type a value is not, by the type that the parameter has.
WRONG: Mapping[str, tuple[Any, ...]] = {
    TEXT: (5, 1.5, True, ["x"], {"a": "x"}),
    NUMBER: ("5", 1.5, True, [5], {"a": 5}, MOST_LONG + 1),
    FLAG: ("true", 1, [True]),
    LIST: ("x", 5, {"a": 1}, [5], [""]),
}
NEEDED = [(path, one.name) for path, all_of in PARAMETERS.items() for one in all_of if one.needed]
TYPED = [(path, one) for path, all_of in PARAMETERS.items() for one in all_of]
WITH_LOGIN = [
    path
    for path, all_of in PARAMETERS.items()
    if "wId" in {one.name for one in all_of} and path not in {"/isOnline", "/getIPadLoginInfo"}
]
SENDS = [path for path in PARAMETERS if path.startswith("/send")]
ROOMS = [path for path in PARAMETERS if path.startswith("/getChatRoom")]
#: What each call needs beside what ``right`` finds out.
BODIES: Mapping[str, dict[str, Any]] = {
    "/member/login": {"account": "13900000001", "password": "x"},
    "/iPadLogin": {"wcId": BOT, "deviceType": "ipad", "proxy": 1},
    "/getIPadLoginInfo": {"autoCheck": False, "verifyCode": ""},
    "/secondLogin": {"wcId": BOT},
    "/member/offline": {"account": "13900000001", "wcIds": [BOT]},
    "/offlineReason": {"wcId": BOT},
    "/setHttpCallbackUrl": {"httpUrl": "http://bridge.example/cb", "type": 2},
    "/sendText": {"content": "@老王 好", "at": WANG},
    "/sendImage": {"content": FILE},
    "/sendImage2": {"content": FILE},
    "/sendFile": {"path": FILE, "fileName": "a"},
    "/sendVoice": {"content": FILE, "length": 1800},
    "/sendVideo": {"path": FILE, "thumbPath": FILE},
    "/sendUrl": {"title": "题", "url": FILE, "description": "述", "thumbUrl": FILE},
    "/sendNameCard": {"nameCardId": MING},
    "/getContact": {"wcId": MING},
    "/getChatRoomMember": {"chatRoomId": GROUP},
    "/getChatRoomMemberInfo": {"chatRoomId": GROUP, "userList": WANG},
    "/getChatRoomInfo": {"chatRoomId": GROUP},
    "/getMsgImg": {"type": 0},
}
MEDIA = {
    "/getMsgImg": "image",
    "/getMsgFile": "file",
    "/getMsgEmoji": "emoji",
    "/asynGetMsgVideo": "video",
    "/getMsgVideoRes": "video",
    "/getMsgVoice": "voice",
}


async def right(caller: Caller, path: str) -> dict[str, Any]:
    """A body with which the call is carried out."""
    names = {one.name for one in PARAMETERS[path]}
    body: dict[str, Any] = {"wId": caller.w_id} if "wId" in names else {}
    if path in SENDS:
        body["wcId"] = GROUP
    if path == "/getIPadLoginInfo":
        body["wId"] = (await caller.call("/iPadLogin", wcId=BOT))["data"]["wId"]
    elif path == "/revokeMsg":
        data = (await caller.send())["data"]
        body |= {name: data[name] for name in ("msgId", "newMsgId", "createTime", "wcId")}
    elif path in MEDIA:
        said = caller.gateway.acts.send(GROUP, HONG, MEDIA[path])
        body |= {"msgId": said.msg_id, "content": said.text, "fromUser": HONG, **said.extra}
        if path == "/getMsgVideoRes":
            film = {name: body[name] for name in ("msgId", "content")}
            body |= (await caller.call("/asynGetMsgVideo", wId=caller.w_id, **film))["data"]
    body |= BODIES.get(path, {})
    return {name: value for name, value in body.items() if name in names}


def is_refusal(envelope: dict[str, Any]) -> bool:
    """HTTP 200 has been seen to by the caller; the rest of what a failure is."""
    has_sentence = any("\u4e00" <= letter <= "\u9fff" for letter in envelope["message"])
    return (envelope["code"], envelope["data"], has_sentence) == ("1001", None, True)


def test_every_endpoint_says_what_it_wants() -> None:
    """And nothing is said of an endpoint that is not there."""
    assert set(EcloudSimulator()._endpoints) == set(PARAMETERS)


@pytest.mark.parametrize("path", PARAMETERS)
async def test_right_call_is_carried_out(path: str) -> None:
    """Without it, the refusals below would say nothing."""
    async with calling() as caller:
        envelope = await caller.call(path, **await right(caller, path))

    assert (envelope["code"], list(envelope)) == ("1000", ["code", "message", "data"])


@pytest.mark.parametrize(("path", "name"), NEEDED)
async def test_call_without_a_needed_parameter_is_refused_by_its_name(path: str, name: str) -> None:
    """Missing, null or empty."""
    async with calling() as caller:
        body = await right(caller, path)
        sent = len(caller.gateway.sent)
        lacking = {one: value for one, value in body.items() if one != name}
        found = [await caller.call(path, **lacking)]
        found += [await caller.call(path, **{**body, name: nothing}) for nothing in (None, "")]

    assert all(is_refusal(envelope) and name in envelope["message"] for envelope in found)
    assert len(caller.gateway.sent) == sent


@pytest.mark.parametrize(
    ("path", "parameter"), TYPED, ids=[f"{path}-{one.name}" for path, one in TYPED]
)
async def test_parameter_of_another_type_is_refused_by_its_name(
    path: str, parameter: Parameter
) -> None:
    """Also one that may be missing; a number in a text is no number."""
    async with calling() as caller:
        body = await right(caller, path)
        sent = len(caller.gateway.sent)
        found = [
            await caller.call(path, **{**body, parameter.name: wrong})
            for wrong in WRONG[parameter.kind]
        ]

    assert all(is_refusal(one) and parameter.name in one["message"] for one in found)
    assert len(caller.gateway.sent) == sent


@pytest.mark.parametrize("path", WITH_LOGIN)
async def test_login_that_is_no_more_never_was_or_is_offline_is_refused(path: str) -> None:
    """The wId of before the last login, an invented one, and one of an account that is logged out."""
    async with calling() as caller:
        body = await right(caller, path)
        never = await caller.call(path, **{**body, "wId": "0b9f7d5e"})
        caller.gateway.rotate()
        former = await caller.call(path, **body)
        caller.gateway.set_online(None, online=False)
        offline = await caller.call(path, **{**body, "wId": caller.w_id})

    assert all(is_refusal(envelope) for envelope in (never, former, offline))


@pytest.mark.parametrize("path", PARAMETERS)
@pytest.mark.parametrize("value", ["", "Bearer sim-authorization"])
async def test_every_call_but_the_first_wants_the_raw_authorization(path: str, value: str) -> None:
    """A Bearer in front is wrong; only /member/login gives one out and wants none."""
    async with calling() as caller:
        body = await right(caller, path)
        caller.http.headers["Authorization"] = value
        envelope = await caller.call(path, **body)

    assert is_refusal(envelope) is (path != "/member/login")


@pytest.mark.parametrize("path", PARAMETERS)
async def test_other_methods_than_post_are_no_call(path: str) -> None:
    """HTTP 405, as a web server says it; nothing is done."""
    async with calling() as caller:
        body, statuses = await right(caller, path), []
        online = caller.gateway.world.first_account().online
        for method in ("GET", "PUT", "DELETE"):
            async with caller.http.request(
                method, f"{caller.gateway.url}{path}", json=body
            ) as response:
                statuses.append(response.status)

        assert caller.gateway.world.first_account().online is online
    assert statuses == [405] * 3


@pytest.mark.parametrize(
    ("content_type", "raw", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"wId=1", 415),
        ("application/json", b"{", 400),
        ("application/json", b"[]", 400),
        ("application/json", b'"x"', 400),
        ("application/json; charset=utf-8", b"{}", 200),
        ("application/json", b"null", 200),
        ("application/json", b"", 200),
        ("text/plain", b"", 200),
    ],
)
async def test_body_is_a_json_object_or_for_want_of_parameters_nothing(
    content_type: str, raw: bytes, status: int
) -> None:
    """What has no parameters is called with {}, null or an empty body; form fields are no JSON."""
    async with (
        calling() as caller,
        caller.http.post(
            f"{caller.gateway.url}/queryLoginWx", data=raw, headers={"Content-Type": content_type}
        ) as response,
    ):
        assert response.status == status


@pytest.mark.parametrize("path", SENDS)
@pytest.mark.parametrize("receiver", ["40000000009@chatroom", "nobody", WANG])
async def test_nothing_is_sent_to_unknown_groups_or_strangers(path: str, receiver: str) -> None:
    """Neither a group in which the account is not, nor a person who is no friend."""
    async with calling() as caller:
        envelope = await caller.call(path, **{**await right(caller, path), "wcId": receiver})

        assert is_refusal(envelope)
        assert caller.gateway.sent == []


@pytest.mark.parametrize("path", [*SENDS, *ROOMS])
async def test_login_of_another_account_reaches_only_that_ones_groups(path: str) -> None:
    """Two accounts, a group of the second alone: the first one's wId is refused, the second's not."""
    world = World.playground()
    second = world.add_account("wxid_second0000b22", "二号")
    room = world.add_group("40000000002@chatroom", "别的群", [MING, WANG])
    del room.members[BOT]
    async with calling(world=world) as caller:
        body = await right(caller, path)
        body["chatRoomId" if path in ROOMS else "wcId"] = room.group_id
        first = await caller.call(path, **body)
        own = await caller.call(path, **{**body, "wId": second.w_id})

    assert is_refusal(first)
    assert own["code"] == "1000"


async def test_text_over_the_limit_is_not_sent() -> None:
    """One character more than the limit is refused, the limit itself is sent."""
    async with calling() as caller:
        fits = await caller.send("长" * MOST_LETTERS)
        refused = await caller.send("长" * (MOST_LETTERS + 1))

        assert (fits["code"], is_refusal(refused)) == ("1000", True)
        assert len(caller.gateway.sent) == 1


@pytest.mark.parametrize(
    ("content", "at", "effective"),
    [
        ("@老王（财务）\u2005好", WANG, True),
        ("@小明 @老王 好", f"{MING},{WANG}", True),
        ("@小明@老王 好", f"{MING},{WANG}", True),
        ("@小明 好", f"{MING},{WANG}", False),
        ("小明@ 好", MING, False),
        ("@小明 好", "nobody", False),
        ("@所有人 好", "notify@all", False),
    ],
)
async def test_at_marks_only_whom_the_text_names(content: str, at: str, effective: bool) -> None:
    """By either name; nobody who is not there, and everybody only for the owner."""
    async with calling() as caller:
        await caller.send(content, at=at)
        [message] = caller.gateway.sent

    assert message.at_effective is effective


async def test_owner_may_mark_everybody_and_other_names_of_the_field_mark_nobody() -> None:
    """`ats` is another product's."""
    async with calling() as caller:
        caller.gateway.world.groups[GROUP].owner = BOT
        await caller.send("@所有人 好", at="notify@all")
        await caller.send("@小明 好", ats=MING)
        everybody, other = caller.gateway.sent

    assert (everybody.at_effective, other.at, other.at_effective) == (True, (), False)


@pytest.mark.parametrize("name", ["msgId", "newMsgId", "createTime", "wcId"])
async def test_recall_wants_every_figure_of_the_answer_right(name: str) -> None:
    """Another message, another time, another group."""
    async with calling() as caller:
        caller.gateway.world.add_group("40000000002@chatroom", "别的群", [MING])
        body = await right(caller, "/revokeMsg")
        other = "40000000002@chatroom" if name == "wcId" else body[name] + 1
        envelope = await caller.call("/revokeMsg", **{**body, name: other})

        assert is_refusal(envelope)
        assert caller.gateway.revoked == set()


async def test_account_cannot_take_back_what_another_one_sent() -> None:
    """Only its own."""
    world = World.crowd(groups=1, people=1, accounts=2)
    [room] = world.groups
    async with calling(world=world) as caller:
        to = {"wId": caller.w_id, "wcId": room}
        data = (await caller.call("/sendText", **to, content="答"))["data"]
        ids = {name: data[name] for name in ("msgId", "newMsgId", "createTime", "wcId")}
        other = list(world.accounts.values())[1].w_id
        refused = await caller.call("/revokeMsg", **ids, wId=other)
        done = await caller.call("/revokeMsg", **ids, wId=caller.w_id)

    assert (is_refusal(refused), done["code"]) == (True, "1000")


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("/member/login", {"account": "13900000002"}),
        ("/iPadLogin", {"wcId": "nobody"}),
        ("/iPadLogin", {"deviceType": "windows"}),
        ("/iPadLogin", {"proxy": 24}),
        ("/secondLogin", {"wcId": "nobody"}),
        ("/member/offline", {"account": "13900000002"}),
        ("/setHttpCallbackUrl", {"httpUrl": "bridge.example/cb"}),
        ("/setHttpCallbackUrl", {"httpUrl": "ftp://bridge.example/cb"}),
        ("/setHttpCallbackUrl", {"type": 3}),
        ("/sendVoice", {"length": 0}),
        ("/getMsgImg", {"type": 2}),
        ("/getMsgImg", {"content": "<msg/>"}),
        ("/getMsgVoice", {"bufId": "1"}),
        ("/getMsgVoice", {"fromUser": MING}),
        ("/getMsgFile", {"msgId": 1}),
        ("/getMsgVideoRes", {"id": "1"}),
        ("/getChatRoomMemberInfo", {"userList": "nobody"}),
    ],
)
async def test_value_that_means_nothing_is_refused_and_nothing_is_done(
    path: str, wrong: dict[str, Any]
) -> None:
    """Of the right type, and yet of nobody."""
    async with calling() as caller:
        before = (caller.w_id, caller.gateway.callback_url)
        envelope = await caller.call(path, **{**await right(caller, path), **wrong})

        assert is_refusal(envelope)
        assert (caller.w_id, caller.gateway.callback_url) == before
        assert caller.gateway.world.first_account().online
