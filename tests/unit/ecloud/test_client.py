"""The client against real servers on this machine: what goes out, what comes back, what breaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.models.flow import MemberFile, SentMessage, WcId
from app.services.ecloud.cards import CardKind
from app.services.ecloud.client import MAX_ANSWER, EcloudClient, EcloudLogin, Link
from app.services.errors import (
    EcloudError,
    EcloudProtocolError,
    EcloudRefused,
    EcloudThrottled,
    EcloudUnauthorized,
    EcloudUnavailable,
    EcloudUndecided,
)

SECRET = "eyJhbGciOi.secret-value"
GROUP = WcId("48123450077@chatroom")
PERSON = WcId("wxid_lanlan5521m22")

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeGateway:
    """Answers every path with one reply and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], Any]] = []
        self.reply: Reply = self.give({"code": "1000", "message": "成功", "data": None})
        self.base_url = ""

    @staticmethod
    def give(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
        async def reply(_: web.Request) -> web.Response:
            text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
            return web.Response(text=text, status=status, headers=headers)

        return reply

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.method == "POST"
        self.calls.append((request.path, dict(request.headers), await request.json()))
        return await self.reply(request)

    def answer(self, data: Any, *, code: Any = "1000", message: str = "处理成功") -> None:
        self.reply = self.give({"code": code, "message": message, "data": data})


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    fake = FakeGateway()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def client(gateway: FakeGateway, http: aiohttp.ClientSession) -> EcloudClient:
    return make_client(http, gateway.base_url + "/")


def make_client(
    http: aiohttp.ClientSession, base_url: str, *, timeout: float = 5.0
) -> EcloudClient:
    login = EcloudLogin(name="主账号", base_url=base_url, authorization=SECRET)
    return EcloudClient(http, login, timeout)


async def test_a_text_goes_out_as_the_gateway_wants_it(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """JSON by POST with the raw Authorization; the receipt's ids come back exact."""
    gateway.answer(
        {"type": 1, "msgId": 2562652205, "newMsgId": 9223372036854775807, "createTime": 1767000009}
    )

    sent = await client.send_text(
        w_id="w-1", group_id=GROUP, text="@兰兰\u2005在三楼👍", at=[PERSON, WcId("wxid_b")]
    )

    path, headers, body = gateway.calls[0]
    assert path == "/sendText"
    assert headers["Authorization"] == SECRET
    assert headers["Content-Type"].startswith("application/json")
    assert body == {
        "wId": "w-1",
        "wcId": GROUP,
        "content": "@兰兰\u2005在三楼👍",
        "at": f"{PERSON},wxid_b",
    }
    assert (sent.msg_id, sent.new_msg_id) == ("2562652205", "9223372036854775807")
    assert sent.created_at == 1767000009


async def test_nobody_mentioned_means_no_at(gateway: FakeGateway, client: EcloudClient) -> None:
    """The field is left out, and a receipt without ids is one."""
    sent = await client.send_text(w_id="w-1", group_id=GROUP, text="半个\ud83d字符")

    assert "at" not in gateway.calls[0][2]
    assert gateway.calls[0][2]["content"] == "半个?字符"
    assert (sent.msg_id, sent.new_msg_id, sent.created_at) == ("", "", 0)


async def test_a_picture_and_a_file_go_out_by_their_address(
    gateway: FakeGateway, client: EcloudClient, http: aiohttp.ClientSession
) -> None:
    """Each by its own call; the one for pictures is told by the settings."""
    url = "https://files.example.com/a.png?sign=x"
    await client.send_image(w_id="w-1", group_id=GROUP, url=url)
    await client.send_file(w_id="w-1", group_id=GROUP, url=url, name="图.png")
    login = EcloudLogin(
        name="旧", base_url=gateway.base_url, authorization=SECRET, image_endpoint="sendImage"
    )
    await EcloudClient(http, login, 5).send_image(w_id="w-1", group_id=GROUP, url=url)

    to = {"wId": "w-1", "wcId": GROUP}
    assert [(path, body) for path, _, body in gateway.calls] == [
        ("/sendImage2", {**to, "content": url}),
        ("/sendFile", {**to, "path": url, "fileName": "图.png"}),
        ("/sendImage", {**to, "content": url}),
    ]


async def test_other_kinds_go_out_by_their_own_calls(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """A voice, a video, a link, a card; each gives a receipt."""
    gateway.answer({"type": None, "msgId": 11, "newMsgId": 22, "createTime": 33, "wcId": GROUP})
    url, cover = "https://files.example.com/a", "https://files.example.com/c.jpg"
    link = Link(title="题", url=url, description="述", thumb_url=cover)
    to: dict[str, Any] = {"w_id": "w-1", "group_id": GROUP}
    receipts = [
        await client.send_voice(**to, url=url, milliseconds=1800),
        await client.send_video(**to, url=url, cover_url=cover),
        await client.send_link(**to, link=link),
        await client.send_card(**to, wc_id=PERSON),
    ]

    said = {"wId": "w-1", "wcId": GROUP}
    assert [(path, body) for path, _, body in gateway.calls] == [
        ("/sendVoice", {**said, "content": url, "length": 1800}),
        ("/sendVideo", {**said, "path": url, "thumbPath": cover}),
        (
            "/sendUrl",
            {**said, "title": "题", "url": url, "description": "述", "thumbUrl": cover},
        ),
        ("/sendNameCard", {**said, "nameCardId": PERSON}),
    ]
    assert set(receipts) == {SentMessage(msg_id="11", new_msg_id="22", created_at=33)}


async def test_a_message_is_taken_back_by_all_ids_of_its_receipt(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """Ids as numbers, exact beyond a double."""
    sent = SentMessage(msg_id="2562652205", new_msg_id="4482117376572170921", created_at=1641457769)
    await client.revoke(w_id="w-1", group_id=GROUP, sent=sent)
    gateway.answer(None, code="1001", message="撤回失败")
    with pytest.raises(EcloudRefused):
        await client.revoke(w_id="w-1", group_id=GROUP, sent=sent)

    path, headers, body = gateway.calls[0]
    assert (path, headers["Authorization"]) == ("/revokeMsg", SECRET)
    assert body == {
        "wId": "w-1",
        "wcId": GROUP,
        "msgId": 2562652205,
        "newMsgId": 4482117376572170921,
        "createTime": 1641457769,
    }


@pytest.mark.parametrize("has_file", [True, False])
async def test_a_call_with_a_file_may_take_longer(
    gateway: FakeGateway, http: aiohttp.ClientSession, *, has_file: bool
) -> None:
    """The gateway fetches it before it answers."""

    async def fetch(_: web.Request) -> web.Response:
        await asyncio.sleep(0.6)
        return web.Response(text='{"code":"1000","data":null}')

    gateway.reply = fetch
    client = make_client(http, gateway.base_url, timeout=0.3)
    to: dict[str, Any] = {"w_id": "w-1", "group_id": GROUP}

    if has_file:
        await client.send_file(**to, url="https://files.example.com/a", name="a")
        await client.get_file_url(
            w_id="w-1", file=MemberFile(msg_id="1", content="<msg/>", is_image=True)
        )
        return
    with pytest.raises(EcloudUndecided):
        await client.send_text(**to, text="好")
    with pytest.raises(EcloudUndecided):
        await client.revoke(**to, sent=SentMessage(msg_id="1", new_msg_id="2", created_at=3))


async def test_odd_receipts_have_no_ids(gateway: FakeGateway, client: EcloudClient) -> None:
    """A success is a success, whatever its data are."""
    odd: list[Any] = ["ok", [], {"msgId": 1.5, "newMsgId": {}, "createTime": "x"}]
    for data in odd:
        gateway.answer(data)
        sent = await client.send_text(w_id="w", group_id=GROUP, text="好")

        assert (sent.msg_id, sent.new_msg_id, sent.created_at) == ("", "", 0)


async def test_contacts_come_with_all_their_fields(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """Every column of the contacts table has its source."""
    person = {
        "userName": PERSON,
        "nickName": "兰兰",
        "remark": "行政",
        "signature": "在路上",
        "sex": 2,
        "aliasName": "lanlan-88",
        "country": "CN",
        "province": "Zhejiang",
        "city": None,
        "bigHead": "https://example.invalid/b",
        "smallHead": "https://example.invalid/s",
        "labelList": "1,5",
        "v1": "v3_abc@stranger",
        "brandNew": {"x": 1},
    }
    room = {"userName": "48123450077@chatRoom", "nikeName": "三楼行政群", "sex": "x"}
    gateway.answer([person, room, None, {"nickName": "无主"}])

    cards = await client.get_contacts("w-1", [PERSON, GROUP])

    assert gateway.calls[0][0] == "/getContact"
    assert gateway.calls[0][2] == {"wId": "w-1", "wcId": f"{PERSON},{GROUP}"}
    first, second = cards
    assert (first.wc_id, first.kind, first.nick_name) == (PERSON, CardKind.PERSON, "兰兰")
    assert (first.user_name, first.alias, first.remark) == (PERSON, "lanlan-88", "行政")
    assert (first.sex, first.country, first.province, first.city) == (2, "CN", "Zhejiang", "")
    assert (first.signature, first.labels, first.v1) == ("在路上", "1,5", "v3_abc@stranger")
    assert first.big_avatar.endswith("/b")
    assert first.small_avatar.endswith("/s")
    assert first.raw == person
    assert (second.wc_id, second.kind) == (GROUP, CardKind.GROUP)
    assert (second.nick_name, second.sex) == ("三楼行政群", 0)


@pytest.mark.parametrize("data", [None, [], {}, "", [[]], {"userName": "a b"}])
async def test_unknown_contacts_are_left_out(
    gateway: FakeGateway, client: EcloudClient, data: Any
) -> None:
    """Strangers come back as an empty array, or as nothing."""
    gateway.answer(data)

    assert await client.get_contacts("w", [PERSON, GROUP]) == []
    assert await client.get_member_info("w", GROUP, PERSON) is None or data == {"userName": "a b"}


async def test_a_single_contact_may_come_as_an_object_without_id(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """Whose card it is follows from the question."""
    gateway.answer({"nickName": "n" * 1000 + "\0"})
    (card,) = await client.get_contacts("w", [PERSON])

    assert card.wc_id == PERSON
    assert len(card.nick_name) == 255


@pytest.mark.parametrize("count", [0, 21])
async def test_no_more_than_twenty_contacts_are_asked_for(
    client: EcloudClient, gateway: FakeGateway, count: int
) -> None:
    """The gateway's bound is kept before anything goes out."""
    with pytest.raises(ValueError, match="20"):
        await client.get_contacts("w", [WcId(f"wxid_{i}") for i in range(count)])

    assert gateway.calls == []


async def test_members_have_the_name_the_group_sees(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """The display name in the group, else the nickname."""
    gateway.answer(
        [
            {"userName": PERSON, "nickName": "兰兰", "displayName": "三楼兰兰"},
            {"userName": "wxid_b", "nickName": "铁柱", "displayName": "", "smallHeadImgUrl": "s"},
            {"userName": None},
        ]
    )

    first, second = await client.get_members("w", GROUP)

    assert gateway.calls[0][0] == "/getChatRoomMember"
    assert gateway.calls[0][2] == {"wId": "w", "chatRoomId": GROUP}
    assert (first.group_id, first.wc_id, first.shown_name) == (GROUP, PERSON, "三楼兰兰")
    assert (second.shown_name, second.small_avatar) == ("铁柱", "s")


async def test_a_stranger_is_looked_up_through_the_group(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """One member a call."""
    gateway.answer([{"userName": PERSON, "nickName": "兰兰"}])
    card = await client.get_member_info("w", GROUP, PERSON)

    assert card is not None
    assert card.nick_name == "兰兰"
    assert gateway.calls[0][0] == "/getChatRoomMemberInfo"
    assert gateway.calls[0][2] == {"wId": "w", "chatRoomId": GROUP, "userList": PERSON}


async def test_logins_that_are_online_are_listed(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """Entries without one of the two ids say nothing."""
    gateway.answer([{"wcId": "wxid_a", "wId": "w-9"}, {"wcId": "wxid_b"}, {"wId": "w-1"}])

    assert await client.query_logins() == [("wxid_a", "w-9")]
    assert gateway.calls[0][0] == "/queryLoginWx"
    assert gateway.calls[0][2] == {}


@pytest.mark.parametrize(
    ("code", "data", "expected"),
    [
        ("1000", {"isOnline": True}, True),
        ("1000", {"isOnline": False}, False),
        ("1000", {"isOnline": "false"}, False),
        ("1000", None, True),
        ("1000", False, False),
        ("1001", None, False),
    ],
)
async def test_online_is_said_in_two_ways(
    gateway: FakeGateway, client: EcloudClient, code: str, data: Any, *, expected: bool
) -> None:
    """By the code, or by a field."""
    gateway.answer(data, code=code, message="账号状态")

    assert await client.is_online("w-1") is expected


async def test_not_knowing_is_not_offline(gateway: FakeGateway, client: EcloudClient) -> None:
    """A wrong address or a throttle says nothing about the account."""
    gateway.reply = gateway.give("<html>", status=404)
    with pytest.raises(EcloudRefused):
        await client.is_online("w-1")
    gateway.answer(None, code="1001", message="操作频繁")
    with pytest.raises(EcloudThrottled):
        await client.is_online("w-1")


async def test_the_callback_address_is_set_and_cancelled(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """In the optimised format; ping asks for nothing else than an answer."""
    await client.set_callback_url("https://bot.example.invalid/api/v1/callback")
    await client.cancel_callback_url()
    await client.ping()

    assert [(path, body) for path, _, body in gateway.calls] == [
        (
            "/setHttpCallbackUrl",
            {"httpUrl": "https://bot.example.invalid/api/v1/callback", "type": 2},
        ),
        ("/cancelHttpCallbackUrl", {}),
        ("/queryLoginWx", {}),
    ]


async def send(client: EcloudClient) -> None:
    await client.send_text(w_id="w", group_id=GROUP, text="好")


async def test_no_connection_means_that_nothing_was_sent(
    http: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    """Nobody listens: certain, and worth another try."""
    client = make_client(http, f"http://127.0.0.1:{unused_tcp_port}")

    for call in (send(client), client.ping()):
        with pytest.raises(EcloudUnavailable, match="主账号"):
            await call


@pytest.mark.parametrize("base_url", ["", "not a url", "ftp://x.invalid", "http://", "http://[x"])
async def test_a_wrong_address_sends_nothing(http: aiohttp.ClientSession, base_url: str) -> None:
    """The operator's typing error is no undecided message."""
    with pytest.raises(EcloudUnavailable):
        await send(make_client(http, base_url))


async def test_a_connection_that_is_not_made_in_time_is_certain(
    http: aiohttp.ClientSession, gateway: FakeGateway
) -> None:
    """Waiting for a free connection is not yet sending."""
    held = asyncio.Event()
    arrived = asyncio.Event()

    async def hold(_: web.Request) -> web.Response:
        arrived.set()
        await held.wait()
        return web.Response(text='{"code":"1000"}')

    gateway.reply = hold
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as narrow:
        first = asyncio.create_task(make_client(narrow, gateway.base_url).ping())
        await arrived.wait()
        with pytest.raises(EcloudUnavailable):
            await send(make_client(narrow, gateway.base_url, timeout=0.2))
        held.set()
        await first

    assert [path for path, _, _ in gateway.calls] == ["/queryLoginWx"]


async def test_a_time_out_leaves_a_send_undecided(
    gateway: FakeGateway, http: aiohttp.ClientSession
) -> None:
    """The request went out; a look-up is simply repeated."""

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    gateway.reply = hang
    client = make_client(http, gateway.base_url, timeout=0.2)

    with pytest.raises(EcloudUndecided, match="超时"):
        await send(client)
    with pytest.raises(EcloudUnavailable, match="超时"):
        await client.ping()


async def test_a_body_that_hangs_leaves_a_send_undecided(
    gateway: FakeGateway, http: aiohttp.ClientSession
) -> None:
    """Headers alone say neither yes nor no."""

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"code":"1000"')
        await asyncio.sleep(60)
        return response

    gateway.reply = half

    with pytest.raises(EcloudUndecided):
        await send(make_client(http, gateway.base_url, timeout=0.2))


@pytest.mark.parametrize("when", ["before", "within"])
async def test_a_cut_connection_leaves_a_send_undecided_and_is_not_repeated(
    gateway: FakeGateway, client: EcloudClient, when: str
) -> None:
    """The library must not send a second time by itself, on a used connection neither."""
    await client.ping()

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        if when == "within":
            await response.prepare(request)
            await response.write(b'{"code":')
        assert request.transport is not None
        request.transport.close()
        return response

    gateway.reply = cut

    with pytest.raises(EcloudUndecided):
        await send(client)
    assert [path for path, _, _ in gateway.calls] == ["/queryLoginWx", "/sendText"]
    with pytest.raises(EcloudUnavailable):
        await client.ping()


async def test_redirects_are_not_followed(gateway: FakeGateway, client: EcloudClient) -> None:
    """The secret goes to the configured address only."""
    gateway.reply = gateway.give("", status=307, headers={"Location": gateway.base_url + "/x"})

    with pytest.raises(EcloudRefused):
        await send(client)
    assert [path for path, _, _ in gateway.calls] == ["/sendText"]


async def test_an_answer_beyond_the_bound_is_not_read(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """A server that never stops does not fill the memory."""
    gateway.reply = gateway.give("x" * (MAX_ANSWER + 1))

    with pytest.raises(EcloudProtocolError):
        await client.ping()
    with pytest.raises(EcloudUndecided):
        await send(client)


@pytest.mark.parametrize(
    ("status", "body", "on_send", "on_look_up"),
    [
        (500, "x", EcloudUndecided, EcloudUnavailable),
        (200, "<html>", EcloudUndecided, EcloudProtocolError),
        (401, "", EcloudUnauthorized, EcloudUnauthorized),
        (200, '{"code":"1001","message":"失败"}', EcloudRefused, EcloudRefused),
        (200, '{"code":"1001","msg":"触发风控"}', EcloudThrottled, EcloudThrottled),
    ],
)
async def test_answers_become_the_errors_of_their_kind(
    gateway: FakeGateway,
    client: EcloudClient,
    status: int,
    body: str,
    on_send: type[EcloudError],
    on_look_up: type[EcloudError],
) -> None:
    """With the login's name and the call in the sentence."""
    gateway.reply = gateway.give(body, status=status, headers={"Retry-After": "12"})

    with pytest.raises(on_send, match="主账号 /sendText"):
        await send(client)
    with pytest.raises(on_look_up, match="主账号 /queryLoginWx"):
        await client.ping()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("12", 12.0),
        ("1000000", 1_000_000.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("Wed, 21 Oct", None),
        ("-1", None),
    ],
)
async def test_the_delay_a_peer_asks_for_is_passed_on(
    gateway: FakeGateway, client: EcloudClient, header: str, expected: float | None
) -> None:
    """In seconds, also where it is a date; other forms are as good as none."""
    gateway.reply = gateway.give("", status=429, headers={"Retry-After": header})

    with pytest.raises(EcloudThrottled) as caught:
        await send(client)
    assert caught.value.retry_after == expected


async def test_the_secret_is_in_no_error_and_in_no_repr(
    gateway: FakeGateway, client: EcloudClient
) -> None:
    """Also if the gateway repeats it."""
    gateway.answer(None, code=SECRET[:16], message=f"bad token {SECRET}")

    with pytest.raises(EcloudRefused) as caught:
        await send(client)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert SECRET not in repr(client.login)
    assert SECRET not in repr(client)


@pytest.mark.parametrize("value", ["a\nb", "密钥", "a\x00"])
def test_a_secret_that_fits_into_no_header_is_refused_without_being_shown(value: str) -> None:
    """The sentence names the setting and the login only."""
    with pytest.raises(ValueError, match=r"ecloud\.authorization（副账号）") as caught:
        EcloudLogin(name="副账号", base_url="http://x.invalid", authorization=value)
    assert value not in str(caught.value)


async def test_a_cancelled_call_stays_cancelled(gateway: FakeGateway, client: EcloudClient) -> None:
    """Stopping is no error of the gateway."""
    arrived = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        arrived.set()
        await asyncio.sleep(60)
        return web.Response()

    gateway.reply = hang
    task = asyncio.create_task(send(client))
    await arrived.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
