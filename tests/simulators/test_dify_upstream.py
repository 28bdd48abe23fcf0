"""A real Dify behind the simulated one: tried first, then everything passes through as it is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from simulators.dify import DifySimulator
from simulators.serving import cut

FAKE_KEY, REAL_KEY = "app-fake", "app-real-secret"
QUESTION = {"query": "几点?", "user": "wxid_a", "response_mode": "streaming", "inputs": {}}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def info(_request: web.Request) -> web.Response:
    """What a chat app says of itself."""
    return web.json_response({"name": "真应用", "mode": "chat"})


@asynccontextmanager
async def server(answer: Handler) -> AsyncIterator[str]:
    """Something else that listens; its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield str(site.name)
    finally:
        await runner.cleanup()


class Calls:
    """A client of the simulated Dify."""

    def __init__(self, dify: DifySimulator, http: aiohttp.ClientSession) -> None:
        self.dify = dify
        self.http = http

    async def switch(self, **order: Any) -> Any:
        """What the control path says to an order."""
        async with self.http.post(f"{self.dify.url}/_sim/upstream", json=order) as response:
            assert response.status == 200
            return await response.json()

    def ask(self) -> Any:
        """The response to a question, under way."""
        return self.http.post(
            f"{self.dify.base_url}/chat-messages",
            json=QUESTION,
            headers={"Authorization": f"Bearer {FAKE_KEY}"},
        )


@asynccontextmanager
async def calling() -> AsyncIterator[Calls]:
    """A simulated Dify that may be switched."""
    async with AsyncExitStack() as stack:
        dify = await stack.enter_async_context(DifySimulator.start(api_key=FAKE_KEY))
        yield Calls(dify, await stack.enter_async_context(aiohttp.ClientSession()))


async def test_question_goes_to_the_real_one_with_its_key_and_back_again() -> None:
    """The client's own key stays the fake's; without the switch the fake answers."""
    async with calling() as calls, DifySimulator.start(api_key=REAL_KEY) as real:
        told = await calls.switch(base_url=f"{real.base_url}/", key=REAL_KEY)
        async with calls.ask() as response:
            passed_on = await response.text()
        off = await calls.switch(on=False)
        async with calls.ask() as response:
            await response.read()
        shown = str(calls.dify.recorder.since(0)) + str(told)

    assert told == {
        "simulated": True,
        "on": True,
        "base_url": real.base_url,
        "app": {"name": "群聊助手", "mode": "chat"},
    }
    assert off == {"simulated": True, "on": False}
    assert "message_end" in passed_on
    assert [record.facts["query"] for record in real.questions()] == ["几点?"]
    assert ["query" in record.facts for record in calls.dify.questions()] == [False, True]
    assert REAL_KEY not in shown


async def test_stream_comes_byte_for_byte_and_before_its_end() -> None:
    """Status, type and every piece, also one that cuts a character; the client has it at once."""
    rest = asyncio.Event()
    pieces = ['data: {"a": "几'.encode()[:-1], "几".encode()[-1:] + b'"}\r\n\r\n', b": x\n\n"]
    heard: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/info"):
            return await info(request)
        heard.append(request.headers["Authorization"])
        response = web.StreamResponse(status=203, headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(pieces[0])
        await rest.wait()
        for piece in pieces[1:]:
            await response.write(piece)
        return response

    async with calling() as calls, server(answer) as real:
        await calls.switch(base_url=f"{real}/v1", key=REAL_KEY)
        async with calls.ask() as response:
            first = await response.content.read(len(pieces[0]))
            rest.set()
            whole = first + await response.read()

    assert (response.status, response.content_type) == (203, "text/event-stream")
    assert first == pieces[0]
    assert whole == b"".join(pieces)
    assert heard == [f"Bearer {REAL_KEY}"]


async def test_client_that_leaves_is_gone_for_the_real_one_too() -> None:
    """Nobody goes on writing an answer for nobody."""
    begun, left = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/info"):
            return await info(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return response

    async with calling() as calls, server(answer) as real:
        await calls.switch(base_url=real, key=REAL_KEY)
        async with calls.ask() as response:
            await response.content.readany()
            await begun.wait()
            response.close()
        async with asyncio.timeout(10):
            await left.wait()


async def test_answer_that_breaks_off_breaks_off() -> None:
    """An end that looks whole would be taken for the whole answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/info"):
            return await info(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        cut(request)
        return response

    async with calling() as calls, server(answer) as real:
        await calls.switch(base_url=real, key=REAL_KEY)
        with pytest.raises(aiohttp.ClientPayloadError):
            async with calls.ask() as response:
                await response.read()


async def test_redirect_is_not_followed_and_an_absent_one_is_a_bad_gateway() -> None:
    """The key goes to the address that was typed and to no other."""
    heard: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        heard.append(request.path)
        return await info(request)

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/info"):
            return await info(request)
        raise web.HTTPTemporaryRedirect(other)

    async with calling() as calls, server(elsewhere) as other:
        async with server(answer) as real:
            await calls.switch(base_url=real, key=REAL_KEY)
            async with calls.ask() as response:
                redirected = response.status
        async with calls.ask() as response:
            absent = response.status

    assert (redirected, absent, heard) == (502, 502, [])


async def _unauthorized(_request: web.Request) -> web.Response:
    return web.json_response({"code": "unauthorized"}, status=401)


async def _moved(_request: web.Request) -> web.Response:
    raise web.HTTPFound("https://example.invalid/")


async def _page(_request: web.Request) -> web.Response:
    return web.Response(text="<html>你好</html>", content_type="text/html")


async def _huge(_request: web.Request) -> web.Response:
    return web.json_response({"name": "x" * 100_000})


async def _workflow(_request: web.Request) -> web.Response:
    return web.json_response({"name": "流程", "mode": "workflow"})


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (_unauthorized, "密钥不对"),
        (_moved, "转到别处"),
        (_page, "不是 Dify"),
        (_huge, "不是 Dify"),
        (_workflow, "工作流应用"),
    ],
)
async def test_what_cannot_be_used_is_refused_in_words(answer: Handler, word: str) -> None:
    """And the simulated one goes on answering."""
    async with calling() as calls, server(answer) as real:
        told = await calls.switch(base_url=f"{real}/v1", key=REAL_KEY)
        async with calls.ask() as response:
            still = await response.text()

    assert word in told["refused"]
    assert not told["on"]
    assert "message_end" in still
    assert REAL_KEY not in str(told)


@pytest.mark.parametrize(
    ("base_url", "key", "word"),
    [
        ("ftp://example.com/v1", "app-a", "http(s)"),
        ("http://[::1", "app-a", "http(s)"),
        ("http://127.0.0.1:99999/v1", "app-a", "http(s)"),
        ("http://a:b@127.0.0.1/v1", "app-a", "用户名"),
        ("http://127.0.0.1/v1?x=1", "app-a", "?"),
        ("http://127.0.0.1:1/v1", "app a", "密钥是"),
        ("http://127.0.0.1:1/v1", "app-a\r\nX: y", "密钥是"),
        ("http://127.0.0.1:1/v1", "app-a", "连不上"),
        ("http://no-such-host.invalid/v1", "app-a", "找不到"),
        ("", "", "http(s)"),
    ],
)
async def test_what_was_typed_wrong_is_named(base_url: str, key: str, word: str) -> None:
    """One sentence in Chinese for each."""
    async with calling() as calls:
        told = await calls.switch(base_url=base_url, key=key)

    assert word in told["refused"]
    assert not told["on"]


async def test_no_page_of_a_browser_can_switch_it_itself() -> None:
    """Not even one under the same name: that name may have been pointed here."""
    async with (
        calling() as calls,
        calls.http.post(
            f"{calls.dify.url}/_sim/upstream",
            json={"on": False},
            headers={"Origin": calls.dify.url},
        ) as response,
    ):
        status = response.status

    assert status == 403


async def test_own_address_is_not_taken_for_a_real_one() -> None:
    """It would ask itself for ever."""
    async with calling() as calls:
        told = await calls.switch(base_url=calls.dify.base_url, key=FAKE_KEY)

    assert "HTTP 508" in told["refused"]


async def test_faults_strike_before_the_real_one_is_asked() -> None:
    """So a real app can be tried against a 429 as well."""
    async with calling() as calls, DifySimulator.start(api_key=REAL_KEY) as real:
        await calls.switch(base_url=real.base_url, key=REAL_KEY)
        calls.dify.faults.set("http_429")
        async with calls.ask() as response:
            status = response.status

    assert status == 429
    assert real.questions() == []
