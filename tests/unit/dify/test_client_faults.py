"""The client against slow, broken and hostile servers."""

import asyncio
import json
import socket
import time
from typing import Any

import aiohttp
import pytest

from app.services.dify import transport
from app.services.dify.client import DifyClient
from app.services.dify.responses import StreamingRequired
from app.services.dify.stream import GRACE
from app.services.dify.transport import DifyApp
from app.services.dify.wire import ChatEvent, ChatRequest, Ping, TextDelta
from app.services.errors import (
    DifyAbsent,
    DifyConversationGone,
    DifyError,
    DifyOverloaded,
    DifyProtocolError,
    DifyRejected,
    DifyUnavailable,
)
from app.utils.clock import SystemClock
from tests.fixtures.ports import free_port
from tests.unit.dify.conftest import KEY, ClientMaker, FakeDify, Seen, Wire

QUESTION = ChatRequest(query="你好", user="wxid_a")
KNOWN = ChatRequest(query="你好", user="wxid_a", conversation_id="c1")
#: Seconds: long before any limit that is not under test, even on a busy machine.
SOON = 8.0


async def read(client: DifyClient, request: ChatRequest = QUESTION) -> list[ChatEvent]:
    """All events of a stream."""
    async with client.stream_chat(request) as events:
        return [event async for event in events]


async def failure_of(client: DifyClient, request: ChatRequest = QUESTION) -> DifyError:
    """How a stream fails."""
    with pytest.raises(DifyError) as caught:
        await read(client, request)
    return caught.value


async def read_to_the_failure(
    client: DifyClient, request: ChatRequest = QUESTION
) -> tuple[list[ChatEvent], DifyError]:
    """What was given before the failure, and the failure."""
    seen: list[ChatEvent] = []
    try:
        async with client.stream_chat(request) as events:
            async for event in events:
                seen.append(event)  # noqa: PERF401  a comprehension would lose what came before
    except DifyError as failure:
        return seen, failure
    raise AssertionError("the stream did not fail")


def text_of(events: list[ChatEvent]) -> str:
    """The deltas."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def ping_for_ever(wire: Wire) -> None:
    """Until the client leaves."""
    while True:
        await wire.ping()
        await asyncio.sleep(0.02)


async def test_silence_before_the_head_ends_at_the_first_event_deadline(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """A server whose connections are all taken sends no byte; the conversation is not to blame."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.hang()

    dify.answer(script)

    assert type(await failure_of(make_client(first_event_timeout=0.1), KNOWN)) is DifyUnavailable
    await asyncio.wait_for(dify.is_left.wait(), 5)


async def test_pings_do_not_count_as_the_first_event(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """A run that pings but says nothing is given up; it lives, so the conversation exists."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await ping_for_ever(wire)

    dify.answer(script)
    failure = await failure_of(make_client(first_event_timeout=1.0), KNOWN)

    assert type(failure) is DifyUnavailable
    assert "第一个事件" in str(failure)


@pytest.mark.parametrize("ending", ["deadline", "total", "end"])
@pytest.mark.parametrize(
    ("request_", "kind"), [(KNOWN, DifyConversationGone), (QUESTION, DifyUnavailable)]
)
async def test_stream_with_one_ping_only_puts_the_conversation_in_doubt(
    request_: ChatRequest,
    kind: type[DifyError],
    ending: str,
    dify: FakeDify,
    make_client: ClientMaker,
) -> None:
    """Release 1.13 answers so to an unknown conversation; without one it is plainly unavailable."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.ping()
        if ending == "end":
            await wire.end()
        await wire.hang()

    dify.answer(script)
    limits = {
        "deadline": {"first_event_timeout": 1.0},
        "total": {"streaming_timeout": 1.0},
        "end": {},
    }

    assert type(await failure_of(make_client(**limits[ending]), request_)) is kind


@pytest.mark.parametrize("pings", [1, 3])
async def test_a_run_that_waits_for_a_worker_is_not_held_to_the_gap(
    pings: int, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Release 1.13 pings at once and may then be silent until a worker is free: it is answered."""
    gap = 0.1

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        for _ in range(pings):
            await wire.ping()
            await asyncio.sleep(2 * gap)
        await wire.frame(event="message", answer="a", conversation_id="c1")
        await wire.frame(event="message_end")
        await wire.end()

    dify.answer(script)

    assert text_of(await read(make_client(gap_timeout=gap), KNOWN)) == "a"
    assert len(dify.seen) == 1


async def test_pings_that_stop_before_the_first_event_are_given_until_its_deadline(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The run lived, so the conversation is not to blame; the time is the setting's."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.ping()
        await wire.ping()
        await wire.hang()

    dify.answer(script)
    began = time.monotonic()
    failure = await failure_of(make_client(first_event_timeout=1.0, gap_timeout=0.05), KNOWN)

    assert type(failure) is DifyUnavailable
    assert "第一个事件" in str(failure)
    assert 1.0 <= time.monotonic() - began < SOON


async def test_pings_do_not_extend_the_total(dify: FakeDify, make_client: ClientMaker) -> None:
    """The whole stream has one limit, whatever keeps it alive."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await ping_for_ever(wire)

    dify.answer(script)
    began = time.monotonic()
    failure = await failure_of(make_client(streaming_timeout=1.0))

    assert type(failure) is DifyUnavailable
    assert "总时限" in str(failure)
    assert 1.0 <= time.monotonic() - began < SOON


async def test_silence_between_two_events_ends_at_the_gap(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Dify pings every ten seconds; a silent connection is dead."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await wire.hang()

    dify.answer(script)
    failure = await failure_of(make_client(gap_timeout=0.1), KNOWN)

    assert type(failure) is DifyUnavailable
    assert "没有任何字节" in str(failure)


async def test_reader_that_takes_its_time_meets_no_gap(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """What counts is the server's silence, not ours."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await wire.frame(event="message_end")
        await wire.end()

    dify.answer(script)
    seen = []
    async with make_client(gap_timeout=0.3).stream_chat(QUESTION) as events:
        async for event in events:
            seen.append(event)
            await asyncio.sleep(0.5)

    assert text_of(seen) == "a"


@pytest.mark.parametrize("is_clean", [True, False])
async def test_stream_cut_before_its_end_is_unavailable(
    is_clean: bool, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Half an answer is told as such, after its events were given."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a", conversation_id="c")
        await (wire.end() if is_clean else asyncio.sleep(0.05))
        if not is_clean:
            wire.cut()

    dify.answer(script)
    seen, failure = await read_to_the_failure(make_client(), KNOWN)

    assert text_of(seen) == "a"
    assert type(failure) is DifyUnavailable


@pytest.mark.parametrize(
    "end",
    [
        {"event": "message_end"},
        {"event": "workflow_finished", "data": {"status": "succeeded"}},
        {"event": "workflow_paused", "data": {}},
    ],
)
async def test_socket_that_stays_open_after_the_end_is_left_after_the_grace(
    end: dict[str, Any], dify: FakeDify, make_client: ClientMaker
) -> None:
    """Release 1.13 keeps it open for 300 s after a moderated answer."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await wire.frame(**end)
        await ping_for_ever(wire)

    dify.answer(script)
    began = time.monotonic()
    events = await read(make_client())

    assert text_of(events) == "a"
    assert GRACE <= time.monotonic() - began < SOON
    await asyncio.wait_for(dify.is_left.wait(), 5)


async def test_both_ends_are_enough_at_once(dify: FakeDify, make_client: ClientMaker) -> None:
    """Nothing more is waited for, though the socket stays open."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await wire.frame(event="message_end")
        await wire.frame(event="workflow_finished", data={"status": "succeeded"})
        await wire.hang()

    dify.answer(script)
    began = time.monotonic()

    assert text_of(await read(make_client())) == "a"
    assert time.monotonic() - began < GRACE


async def test_connection_that_breaks_after_the_end_is_no_failure(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """The answer is whole."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await wire.frame(event="message_end")
        await asyncio.sleep(0.05)
        wire.cut()

    dify.answer(script)

    assert text_of(await read(make_client())) == "a"


async def test_finished_stream_leaves_its_connection_for_the_next(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """A new TLS handshake for each question would be waste."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="workflow_finished", data={"status": "succeeded"})
        await wire.frame(event="message_end")
        await wire.end()

    dify.answer(script)
    client = make_client()
    for _ in range(3):
        await read(client)

    assert (len(dify.seen), dify.connections) == (3, 1)


async def test_error_event_in_mid_stream_is_raised_after_the_text(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """By fault, like an HTTP status."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await wire.frame(
            event="error", code="completion_request_error", message="status code 429", status=400
        )
        await wire.hang()

    dify.answer(script)
    seen, failure = await read_to_the_failure(make_client(), QUESTION)

    assert text_of(seen) == "a"
    assert type(failure) is DifyUnavailable
    assert failure.peer_code == "completion_request_error"
    await asyncio.wait_for(dify.is_left.wait(), 5)


async def test_broken_frame_is_a_protocol_error(dify: FakeDify, make_client: ClientMaker) -> None:
    """After the events before it."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.chunk(b'data: {"event":"message","answer":"a"}\n\ndata: {"event\n\n')
        await wire.hang()

    dify.answer(script)
    seen, failure = await read_to_the_failure(make_client(), QUESTION)

    assert text_of(seen) == "a"
    assert type(failure) is DifyProtocolError


async def test_frames_of_several_mebibytes_pass(dify: FakeDify, make_client: ClientMaker) -> None:
    """A node's output may be a document."""
    big = "汉" * (2 * 1024 * 1024)

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="node_finished", data={"outputs": big})
        await wire.frame(event="message", answer=big)
        await wire.frame(event="message_end")
        await wire.end()

    dify.answer(script)

    assert text_of(await read(make_client())) == big


async def test_event_without_end_is_a_protocol_error(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Memory stays bounded."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        while True:
            await wire.chunk(b"data: " + b"x" * 1024 * 1024)

    dify.answer(script)

    assert type(await failure_of(make_client())) is DifyProtocolError


async def test_leaving_the_block_closes_the_connection(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """A reader that has enough goes."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await wire.hang()

    dify.answer(script)
    async with make_client().stream_chat(QUESTION) as events:
        assert text_of([await anext(events)]) == "a"

    await asyncio.wait_for(dify.is_left.wait(), 5)


@pytest.mark.parametrize("is_headed", [True, False])
@pytest.mark.parametrize("mode", ["chat", "stream"])
async def test_cancelled_question_closes_the_connection(
    mode: str, is_headed: bool, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Whether the head is there or not, in both modes."""
    reached = asyncio.Event()

    async def script(_seen: Seen, wire: Wire) -> None:
        if is_headed:
            await wire.open_stream()
            await wire.frame(event="message", answer="a")
        reached.set()
        await wire.hang()

    dify.answer(script)
    client = make_client()
    call = asyncio.create_task(client.chat(QUESTION) if mode == "chat" else read(client))
    await asyncio.wait_for(reached.wait(), 5)
    await asyncio.sleep(0.02)
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(dify.is_left.wait(), 5)


async def test_blocking_call_has_one_limit(dify: FakeDify, make_client: ClientMaker) -> None:
    """Head or body, whichever is late; only the total counts."""

    async def no_head(_seen: Seen, wire: Wire) -> None:
        await wire.hang()

    async def half_a_body(_seen: Seen, wire: Wire) -> None:
        await wire.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"answer":')
        await wire.hang()

    for script in (no_head, half_a_body):
        dify.answer(script)
        began = time.monotonic()
        with pytest.raises(DifyUnavailable, match="时限"):
            await make_client(blocking_timeout=0.1, first_event_timeout=0.01).chat(QUESTION)
        assert 0.1 <= time.monotonic() - began < SOON


async def test_slow_blocking_answer_is_not_held_to_the_first_event_deadline(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """No byte comes before the whole answer."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await asyncio.sleep(0.2)
        await wire.reply("200 OK", b'{"answer":"a"}')

    dify.answer(script)
    client = make_client(first_event_timeout=0.05, gap_timeout=0.05)

    assert (await client.chat(QUESTION)).text == "a"


async def test_streaming_after_a_refusal_keeps_the_total_of_the_call(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """One call, one limit."""

    async def refuse(_seen: Seen, wire: Wire) -> None:
        body = {"code": "invalid_param", "message": "App does not support blocking mode"}
        await wire.reply("400 BAD REQUEST", json.dumps(body).encode())

    async def drip(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await ping_for_ever(wire)

    dify.answer(refuse, drip)
    began = time.monotonic()

    with pytest.raises(DifyUnavailable, match="总时限"):
        await make_client(blocking_timeout=1.0).chat(QUESTION)
    assert time.monotonic() - began < SOON


async def test_empty_blocking_answer_is_a_value(dify: FakeDify, make_client: ClientMaker) -> None:
    """The model said nothing; what to do about it is not decided here."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.reply("200 OK", b'{"answer":"","conversation_id":"c"}')

    dify.answer(script)

    assert (await make_client().chat(QUESTION)).text == ""


async def test_blocking_answer_cut_or_too_long(
    dify: FakeDify, make_client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut may be tried again; a flood is not Dify's protocol."""
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 1000)

    async def cut(_seen: Seen, wire: Wire) -> None:
        await wire.send(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"answer":')
        wire.cut()

    async def flood(_seen: Seen, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            await wire.send(b"x" * 500)

    dify.answer(cut, flood)
    client = make_client()

    with pytest.raises(DifyUnavailable):
        await client.chat(QUESTION)
    with pytest.raises(DifyProtocolError):
        await client.chat(QUESTION)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 X"])
async def test_redirects_are_not_followed(
    status: str, dify: FakeDify, make_client: ClientMaker
) -> None:
    """The message names the other host, and nothing else of the address."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.reply(status, b"", "Location: https://login.example:8443/sso?token=abc")

    dify.answer(script)
    failure = await failure_of(make_client())

    assert type(failure) is DifyRejected
    assert "login.example" in str(failure)
    assert "token" not in str(failure)
    assert len(dify.seen) == 1


async def test_page_of_a_proxy_is_unavailable(dify: FakeDify, make_client: ClientMaker) -> None:
    """502 with a long HTML body, Retry-After passed on."""

    async def script(_seen: Seen, wire: Wire) -> None:
        page = b"<html><title>502 Bad Gateway</title>" + b"<p>x</p>" * 50_000
        await wire.reply("502 Bad Gateway", page, "Retry-After: 3", kind="html")

    dify.answer(script)
    for request in (QUESTION, KNOWN):
        failure = await failure_of(make_client(), request)
        assert type(failure) is DifyAbsent
        assert "502 Bad Gateway" in str(failure)
        assert failure.retry_after == 3


async def test_page_under_200_is_a_protocol_error(dify: FakeDify, make_client: ClientMaker) -> None:
    """A base_url that points at a web page."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.reply("200 OK", b"<title>Dify</title>", kind="html")

    dify.answer(script)
    failure = await failure_of(make_client())

    assert type(failure) is DifyProtocolError
    assert "Dify" in str(failure)


async def test_429_is_overload_with_its_wait(dify: FakeDify, make_client: ClientMaker) -> None:
    """As documented, and from proxies."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.reply("429 X", b'{"code":"too_many_requests"}', "Retry-After: 9")

    dify.answer(script)
    failure = await failure_of(make_client())

    assert type(failure) is DifyOverloaded
    assert failure.retry_after == 9


async def test_answer_that_is_not_http(dify: FakeDify, make_client: ClientMaker) -> None:
    """Another service listens there."""
    dify.answer(b"SSH-2.0-OpenSSH_9.2\r\n")

    failure = await failure_of(make_client())
    assert type(failure) is DifyProtocolError
    assert failure.__context__ is None


def client_of(http: aiohttp.ClientSession, base_url: str) -> DifyClient:
    """A client of any address."""
    app = DifyApp(name="main", base_url=base_url, api_key=KEY, streaming_timeout=5)
    return DifyClient(http, app, SystemClock())


async def test_refused_connection_is_unavailable(http: aiohttp.ClientSession) -> None:
    """Nobody listens: the question did not go out."""
    failure = await failure_of(client_of(http, f"http://127.0.0.1:{free_port()}/v1"), KNOWN)

    assert type(failure) is DifyAbsent
    assert "没有发出" in str(failure)


async def test_host_that_does_not_accept_is_unavailable_after_the_connect_limit(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full backlog: the handshake never ends."""
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        others = [socket.socket() for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(address)
        failure = await failure_of(client_of(http, f"http://127.0.0.1:{address[1]}/v1"))
        for other in others:
            other.close()

    assert type(failure) is DifyAbsent
    assert "没有发出" in str(failure)


@pytest.mark.parametrize(
    "base_url", ["", "dify.example/v1", "ftp://x/v1", "http://", "http://[::1/v1"]
)
async def test_address_that_is_none_is_a_rejection(
    base_url: str, http: aiohttp.ClientSession
) -> None:
    """It names the setting."""
    failure = await failure_of(client_of(http, base_url))

    assert type(failure) is DifyRejected
    assert "base_url" in str(failure)


@pytest.mark.parametrize("key", ["app-secret 1", "app-secret\n", "app-秘密", "\tapp-secret"])
def test_key_that_is_no_header_value_stops_the_start(key: str) -> None:
    """Without showing it."""
    with pytest.raises(ValueError, match="API Key") as caught:
        DifyApp(name="main", base_url="http://x", api_key=key)

    assert "secret" not in str(caught.value)


async def test_key_is_in_no_repr_and_no_error(dify: FakeDify, make_client: ClientMaker) -> None:
    """Nor in anything that hangs on the error."""

    async def echo(seen: Seen, wire: Wire) -> None:
        body = {"code": "unauthorized", "message": seen.headers["authorization"]}
        await wire.reply("401 X", json.dumps(body).encode())

    dify.answer(echo, b"nonsense\r\n\r\n")
    client = make_client()
    echoed = await failure_of(client)
    broken = await failure_of(client)

    for failure in (echoed, broken):
        link: BaseException | None = failure
        while link is not None:
            assert KEY not in repr(link) + str(link)
            link = link.__cause__ or link.__context__
    assert KEY not in repr(client) + repr(client._app)
    assert type(echoed) is DifyRejected


async def test_stop_names_the_task_and_the_user(dify: FakeDify, make_client: ClientMaker) -> None:
    """The user has to be the one who asked."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.reply("200 OK", b'{"result":"success"}')

    dify.answer(script)
    await make_client().stop("t/1", "wxid_a")

    assert dify.seen[0].path == "/v1/chat-messages/t%2F1/stop"
    assert dify.seen[0].json == {"user": "wxid_a"}


@pytest.mark.parametrize(
    ("mode", "version", "must_stream"),
    [
        ("agent-chat", "1.9.0", True),
        ("advanced-chat", "1.13.0", True),
        ("advanced-chat", "1.12.1", False),
        ("chat", "1.13.0", False),
    ],
)
async def test_ping_learns_that_an_app_cannot_block(
    mode: str, version: str, must_stream: bool, dify: FakeDify, make_client: ClientMaker
) -> None:
    """Before the first question is lost on it."""

    async def script(_seen: Seen, wire: Wire) -> None:
        body = json.dumps({"name": "x", "mode": mode}).encode()
        await wire.reply("200 OK", body, f"X-Version: {version}")

    dify.answer(script)
    client = make_client()
    health = await client.ping()

    assert (health.mode, health.version) == (mode, version)
    assert client.must_stream is must_stream


async def test_ping_tells_a_wrong_key(dify: FakeDify, make_client: ClientMaker) -> None:
    """The same classes as a question."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.reply("401 X", b'{"code":"unauthorized","message":"Access token is invalid"}')

    dify.answer(script)

    with pytest.raises(DifyRejected):
        await make_client().ping()


async def test_stray_stream_that_lives_is_not_asked_twice(
    dify: FakeDify, make_client: ClientMaker
) -> None:
    """Only silence makes the client ask again."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.frame(event="message", answer="a")
        await wire.end()

    dify.answer(script)

    with pytest.raises(DifyUnavailable) as caught:
        await make_client().chat(QUESTION)
    assert not isinstance(caught.value, StreamingRequired)
    assert len(dify.seen) == 1


async def test_many_streams_at_once_do_not_mix(dify: FakeDify, make_client: ClientMaker) -> None:
    """Fifty questions over one session, each with its own answer."""

    async def script(seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        for letter in seen.json["query"]:
            await wire.frame(event="message", answer=letter)
            await asyncio.sleep(0)
        await wire.frame(event="message_end")
        await wire.end()

    dify.answer(script)
    client = make_client()
    queries = [f"question {number}" for number in range(50)]
    answers = await asyncio.gather(
        *(read(client, ChatRequest(query=query, user="u")) for query in queries)
    )

    assert [text_of(answer) for answer in answers] == queries


async def test_pings_are_given_to_the_reader(dify: FakeDify, make_client: ClientMaker) -> None:
    """As signs of life."""

    async def script(_seen: Seen, wire: Wire) -> None:
        await wire.open_stream()
        await wire.ping()
        await wire.ping()
        await wire.frame(event="message_end")
        await wire.end()

    dify.answer(script)

    assert [event for event in await read(make_client()) if event == Ping()] == [Ping(), Ping()]
