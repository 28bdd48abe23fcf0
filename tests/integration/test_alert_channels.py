"""Each channel against a receiver that answers as the real one does: over HTTP and SMTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web

from app.channels import make_channels
from app.services.alerts.channel import Channel, try_to_send
from app.services.alerts.conditions import Condition, Severity, Topic
from app.services.alerts.ledger import Event, Notice, trial_notice
from app.services.alerts.mail import Mail, Mailbox, Security
from app.services.alerts.message import Message, Sender, compose, fitting
from app.services.alerts.posting import MAX_ANSWER
from app.services.errors import AlertRefused, AlertUndelivered
from app.utils.clock import SystemClock
from app.utils.http_client import make_http_client
from config import load_settings
from tests.fixtures.receivers import (
    DINGTALK_SECRET,
    DINGTALK_TOKEN,
    FEISHU_HOOK,
    FEISHU_SECRET,
    WECOM_KEY,
    Mailman,
    Robots,
)

SENDER = Sender(name="体验店", host="bridge-1", zone=ZoneInfo("Asia/Shanghai"))
ROBOTS = ("wecom", "dingtalk", "feishu", "webhook")
SECRETS = (WECOM_KEY, DINGTALK_TOKEN, DINGTALK_SECRET, FEISHU_HOOK, FEISHU_SECRET)


def notice(text: str = "微信号 wxid_a 不在线。") -> Notice:
    """An account that went offline and is told of half a minute later."""
    condition = Condition(
        topic=Topic.ACCOUNTS,
        key="account:wxid_a",
        code="account_offline",
        title="微信号离线",
        text=text,
        advice="请重新登录。",
    )
    return Notice(event=Event.FIRING, condition=condition, since=1_769_817_600, at=1_769_817_630)


MESSAGE = compose([notice()], SENDER)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """As the process has it."""
    async with make_http_client() as client:
        yield client


def channels(http: aiohttp.ClientSession, **variables: str) -> dict[str, Channel]:
    """Those that the settings name."""
    settings = load_settings(environ=variables, env_file=None, config_file=None).settings
    return {one.name: one for one in make_channels(settings.alerts, http, SystemClock())}


async def test_every_robot_takes_what_it_is_told(
    http: aiohttp.ClientSession, robots: Robots
) -> None:
    """With signature and all; what, since when, what to do, and who says so."""
    found = channels(http, **robots.variables)
    errors = [await try_to_send(one, MESSAGE) for one in found.values()]

    assert errors == [None] * 4
    assert [one.channel for one in robots.told] == list(ROBOTS)
    for one in robots.told:
        assert one.text.splitlines() == [
            "【告警】微信号离线",
            "服务:体验店(bridge-1)",
            "情况:微信号 wxid_a 不在线。",
            "从何时起:2026-01-31 08:00:00+08:00(已 30 秒)",
            "怎么办:请重新登录。",
        ]
    [fact] = robots.told[-1].body["notices"]
    assert (fact["event"], fact["key"], fact["code"]) == (
        "firing",
        "account:wxid_a",
        "account_offline",
    )


@pytest.mark.parametrize(
    ("changes", "channel", "code"),
    [
        ({"ALERTS_WECOM_URL": "/cgi-bin/webhook/send?key=wrong"}, "wecom", "93000"),
        ({"ALERTS_DINGTALK_URL": "/robot/send?access_token=wrong"}, "dingtalk", "300005"),
        ({"ALERTS_DINGTALK_SECRET": "SECwrong"}, "dingtalk", "310000"),
        ({"ALERTS_DINGTALK_SECRET": ""}, "dingtalk", "310000"),
        ({"ALERTS_FEISHU_URL": "/open-apis/bot/v2/hook/wrong"}, "feishu", "19001"),
        ({"ALERTS_FEISHU_SECRET": "wrong"}, "feishu", "19021"),
        ({"ALERTS_WEBHOOK_SECRET": "wrong"}, "webhook", "403"),
    ],
)
async def test_a_robot_that_says_no_with_200_is_not_taken_for_yes(
    http: aiohttp.ClientSession,
    robots: Robots,
    changes: dict[str, str],
    channel: str,
    code: str,
) -> None:
    """The error has its code and no secret."""
    whole = {
        name: robots.url(value) if value.startswith("/") else value
        for name, value in changes.items()
    }
    error = await try_to_send(channels(http, **{**robots.variables, **whole})[channel], MESSAGE)

    assert isinstance(error, AlertRefused)
    assert error.peer_code == code
    assert not any(secret in str(error) for secret in SECRETS)
    assert robots.told == []


@pytest.mark.parametrize(
    ("channel", "answer", "seconds"),
    [
        ("wecom", {"errcode": 45009, "errmsg": "api freq out of limit"}, 60),
        (
            "dingtalk",
            {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"},
            600,
        ),
        ("feishu", {"code": 11232, "msg": "frequency limited"}, 60),
    ],
)
async def test_a_robot_that_is_told_too_much_is_left_alone_for_as_long_as_it_needs(
    http: aiohttp.ClientSession,
    robots: Robots,
    channel: str,
    answer: dict[str, object],
    seconds: int,
) -> None:
    """Else it would be silent for ten minutes more."""

    async def limit(_: web.Request) -> web.Response:
        return web.json_response(answer)

    robots.answers[channel] = limit
    error = await try_to_send(channels(http, **robots.variables)[channel], MESSAGE)

    assert isinstance(error, AlertRefused)
    assert error.retry_after == seconds


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _page(_: web.Request) -> web.Response:
    return web.Response(text="<html>login</html>", content_type="text/html")


async def _much(_: web.Request) -> web.Response:
    return web.Response(body=b"[" * (4 * MAX_ANSWER))


async def _redirect(request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": str(request.url)})


async def _broken(_: web.Request) -> web.Response:
    return web.Response(status=502, text="bad gateway")


@pytest.mark.parametrize("channel", ["wecom", "dingtalk", "feishu"])
@pytest.mark.parametrize("answer", [_page, _much, _redirect, _broken])
async def test_an_answer_that_is_none_of_a_robots_is_no_yes(
    http: aiohttp.ClientSession, robots: Robots, channel: str, answer: Answer
) -> None:
    """A login page, a flood, a redirect, which is not followed, and a broken proxy."""
    robots.answers[channel] = answer
    error = await try_to_send(channels(http, **robots.variables)[channel], MESSAGE)

    assert isinstance(error, AlertRefused | AlertUndelivered)
    assert robots.asked == {channel: 1}
    assert not any(secret in str(error) for secret in SECRETS)


async def test_a_robot_that_nobody_answers_for_is_named_without_its_address(
    http: aiohttp.ClientSession, robots: Robots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens; and one that never answers is not waited for."""
    url = f"http://127.0.0.1:9/cgi-bin/webhook/send?key={WECOM_KEY}"
    away = await try_to_send(channels(http, ALERTS_WECOM_URL=url)["wecom"], MESSAGE)
    waiting = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await waiting.wait()
        return web.Response()

    robots.answers["wecom"] = hang
    monkeypatch.setattr("app.services.alerts.channel.WHOLE_SECONDS", 0.2)
    slow = await try_to_send(channels(http, **robots.variables)["wecom"], MESSAGE)
    waiting.set()

    for error in (away, slow):
        assert isinstance(error, AlertUndelivered)
        assert WECOM_KEY not in repr(error)
        assert error.__cause__ is None


async def test_a_long_message_is_cut_where_the_robot_ends(
    http: aiohttp.ClientSession, robots: Robots
) -> None:
    """Many causes at once; never in the middle of a character."""
    message = compose([notice("很长" * 400)] * 30, SENDER)
    found = channels(http, **robots.variables)
    errors = [await try_to_send(found[name], message) for name in ROBOTS]

    assert errors == [None] * 4
    sizes = {one.channel: len(one.text.encode()) for one in robots.told}
    assert 2040 <= sizes["wecom"] <= 2048
    assert robots.texts("wecom")[0].endswith("…")
    assert sizes["webhook"] > 20_000


async def test_an_id_cannot_steer_the_readers_screen_or_a_letters_head() -> None:
    """Ids come out of callbacks, which can be forged."""
    message = compose([notice("号 wxid\r\nBcc: x@y\u202e")], SENDER)

    assert "\\r\\nBcc: x@y\\u202e" in message.text
    assert "\r" not in message.text


# Mail -------------------------------------------------------------------------------------------


def mail(mailman: Mailman, security: Security) -> Mail:
    """To two receivers through the local server, whose certificate is trusted."""
    mailbox = Mailbox(
        host="127.0.0.1",
        port=mailman.port,
        security=security,
        user="bot@example.com",
        secret="mail-password",
        sender="bot@example.com",
        receivers=("ops@example.com", "boss@example.com"),
    )
    return Mail(
        "mail",
        mailbox,
        seconds=5,
        make_context=lambda: ssl.create_default_context(cafile=str(mailman.certificate)),
    )


@pytest.mark.parametrize("security", list(Security))
async def test_a_letter_arrives_as_securely_as_was_asked_for(
    mailman: Mailman, security: Security
) -> None:
    """Logged in, to both, with subject and text as they were written."""
    mailman.is_tls = security is Security.TLS
    async with mailman.running():
        error = await try_to_send(mail(mailman, security), MESSAGE)

    assert error is None
    [letter], [encrypted] = mailman.letters, mailman.was_encrypted
    assert encrypted == (security is not Security.PLAIN)
    assert letter["Subject"] == "【告警】微信号离线 - 体验店"
    assert letter["From"] == "bot@example.com"
    assert mailman.receivers == [["ops@example.com", "boss@example.com"]]
    assert letter.get_content().splitlines() == MESSAGE.text.splitlines()
    assert mailman.logins == ["\0bot@example.com\0mail-password"]


async def test_a_server_without_starttls_is_not_given_the_password(mailman: Mailman) -> None:
    """Never less than was asked for."""
    mailman.offers_starttls = False
    async with mailman.running():
        error = await try_to_send(mail(mailman, Security.STARTTLS), MESSAGE)

    assert isinstance(error, AlertRefused)
    assert (mailman.logins, mailman.letters) == ([], [])


async def test_a_server_that_nobody_vouches_for_is_not_given_the_password(mailman: Mailman) -> None:
    """Its certificate is its own."""
    unsafe = mail(mailman, Security.STARTTLS)
    unsafe._make_context = ssl.create_default_context
    async with mailman.running():
        error = await try_to_send(unsafe, MESSAGE)

    assert isinstance(error, AlertUndelivered)
    assert mailman.logins == []


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("AUTH", "535 5.7.8 bad credentials mail-password"),
        ("MAIL", "451 later"),
        ("RCPT", "550 no such user"),
        ("DATA", "554 spam"),
    ],
)
async def test_a_server_that_says_no_is_told_without_the_password(
    mailman: Mailman, word: str, answer: str
) -> None:
    """At whichever step."""
    mailman.answers[word] = answer
    async with mailman.running():
        error = await try_to_send(mail(mailman, Security.PLAIN), MESSAGE)

    assert isinstance(error, AlertRefused)
    assert "mail-password" not in repr(error)
    assert error.__cause__ is None
    assert mailman.letters == []


async def test_a_mail_server_that_is_away_is_tried_later(mailman: Mailman) -> None:
    """Nobody listens."""
    assert isinstance(await try_to_send(mail(mailman, Security.PLAIN), MESSAGE), AlertUndelivered)


def test_a_message_takes_as_many_notices_as_fit_and_at_least_one() -> None:
    """The others are told in the next one, whole."""
    notices = [notice("很长" * 60)] * 9
    some = fitting(notices, SENDER, 2048)

    assert 1 < len(some) < 9
    assert len(compose(some, SENDER).text.encode()) <= 2048
    assert len(compose(notices[: len(some) + 1], SENDER).text.encode()) > 2048
    assert len(fitting(notices, SENDER, 10)) == 1
    assert len(fitting(notices, SENDER, 1_000_000)) == 9


def test_what_cannot_wait_says_so() -> None:
    """While it lasts; its end is as any other's."""
    found = notice()
    urgent = replace(found, condition=replace(found.condition, severity=Severity.URGENT))
    ended = replace(urgent, event=Event.RECOVERED)

    assert compose([urgent], SENDER).title == "【紧急告警】微信号离线"
    assert compose([ended], SENDER).title == "【告警恢复】微信号离线"
    assert compose([urgent], SENDER).notices[0]["severity"] == "urgent"


def test_several_notices_are_one_message() -> None:
    """With how many in its title, and each in its own paragraph."""
    message: Message = compose([notice(), trial_notice(1_769_817_600)], SENDER)

    assert message.title == "【告警】微信号离线 等 2 件"
    assert [part.splitlines()[0] for part in message.text.split("\n\n")] == [
        "【告警】微信号离线",
        "【告警测试】测试",
    ]
