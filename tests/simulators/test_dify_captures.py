"""What the simulated Dify sends is what real servers sent, byte by byte but for ids and times."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from simulators.dify import DifySimulator
from tests.simulators.captures import HEADERS, Exchange, frames, normalised, recorded

OLD, NEW = "0.15.3", "1.13.0"


async def exchange(dify: DifySimulator, request: dict[str, Any], key: str = "") -> Exchange:
    """Post a recorded request (never naming a conversation, to save the wait)."""
    headers = {"Authorization": f"Bearer {key or dify.api_key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(
            f"{dify.base_url}/chat-messages", json={"auto_generate_name": False, **request}
        ) as response,
    ):
        return Exchange(
            request=request,
            status=response.status,
            headers={name.title(): value for name, value in response.headers.items()},
            body=await response.read(),
        )


@pytest.mark.parametrize(
    ("release", "kind", "name"),
    [
        (OLD, "chat", "chat__streaming"),
        (OLD, "chat", "chat__blocking"),
        (OLD, "chat", "chat__think_streaming"),
        (OLD, "chatflow", "chatflow_llm__streaming"),
        (OLD, "chatflow", "chatflow_llm__blocking"),
        (OLD, "agent", "agent_chat__tool_streaming"),
        (OLD, "agent", "agent_chat__blocking"),
        (OLD, "chat", "err__empty_query"),
        (OLD, "chat", "err__unknown_conversation_streaming"),
        (NEW, "chat", "chat__streaming"),
        (NEW, "chat", "chat__blocking"),
        (NEW, "chatflow", "chatflow_llm__streaming"),
        (NEW, "chatflow", "chatflow_llm__think_streaming"),
        (NEW, "chatflow", "chatflow_llm__unicode_line_separators_streaming"),
        (NEW, "agent", "agent_chat__tool_streaming"),
        (NEW, "chat", "err__unknown_conversation_blocking"),
    ],
)
async def test_answer_equals_the_recording(release: str, kind: str, name: str) -> None:
    """Status, headers, and every byte of the body but ids and times are those of the recording."""
    real = recorded(release, name)
    async with DifySimulator.start(release=release, kind=kind) as dify:
        ours = await exchange(dify, real.request)

    assert ours.status == real.status
    assert {name: ours.headers.get(name) for name in HEADERS} == {
        name: real.headers.get(name) for name in HEADERS
    }
    assert normalised(ours.body).split("\n\n") == normalised(real.body).split("\n\n")


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_wrong_key_equals_the_recording(release: str) -> None:
    """A wrong key gives the recorded 401."""
    real = recorded(release, "err__bad_key")
    async with DifySimulator.start(release=release) as dify:
        ours = await exchange(dify, real.request, key="app-wrong")

    assert (ours.status, ours.body) == (real.status, real.body)
    assert ours.headers.get("Www-Authenticate") == real.headers.get("Www-Authenticate")


@pytest.mark.parametrize(
    ("release", "name"),
    [
        (OLD, "limit__max_active_requests_1_blocking"),
        (NEW, "limit__max_active_requests_1_streaming"),
    ],
)
async def test_concurrency_limit_equals_the_recording(release: str, name: str) -> None:
    """A second request beyond the app's limit gives the recorded 400."""
    real = recorded(release, name)
    async with DifySimulator.start(release=release, max_active=1) as dify:
        first = asyncio.create_task(
            exchange(dify, {**real.request, "query": "[[wait=60]]", "response_mode": "blocking"})
        )
        await dify.recorder.until(lambda: dify.concurrency.active == 1)
        ours = await exchange(dify, real.request)
        first.cancel()

    assert (ours.status, normalised(ours.body)) == (400, normalised(real.body))


@pytest.mark.parametrize("release", [OLD, NEW])
async def test_failed_chatflow_ends_like_the_recording(release: str) -> None:
    """The frames that tell of a failed run are those of the recording, in its order."""
    real = recorded(release, "chatflow_node_fails__streaming")
    async with DifySimulator.start(release=release, kind="chatflow") as dify:
        ours = await exchange(dify, {**real.request, "query": "[[error=0]]"})

    def ending(body: bytes) -> list[tuple[str, list[str], str]]:
        return [
            (frame["event"], list(frame), frame.get("data", {}).get("status", ""))
            for frame in frames(body)
            if frame["event"] in {"workflow_finished", "error"}
        ]

    assert ending(ours.body) == ending(real.body)
    finished = next(one for one in frames(ours.body) if one["event"] == "workflow_finished")
    original = next(one for one in frames(real.body) if one["event"] == "workflow_finished")
    assert list(finished["data"]) == list(original["data"])
    assert finished["data"]["outputs"] == original["data"]["outputs"]
    assert finished["data"]["exceptions_count"] == original["data"]["exceptions_count"]


@pytest.mark.parametrize(
    ("release", "kind", "name"),
    [
        (OLD, "chat", "chat_moderated__output_streaming"),
        (NEW, "chatflow", "chatflow_moderated__output_streaming"),
    ],
)
async def test_replaced_answer_ends_like_the_recording(release: str, kind: str, name: str) -> None:
    """`message_replace` comes as often, with the same fields, and the same end follows."""
    real = recorded(release, name)
    async with DifySimulator.start(release=release, kind=kind) as dify:
        ours = await exchange(dify, {**real.request, "query": "[[n=3]] [[replace=内容已被替换]]"})

    def ending(body: bytes) -> list[tuple[str, list[str], Any, Any]]:
        return [
            (frame["event"], list(frame), frame.get("answer"), frame.get("reason"))
            for frame in frames(body)
            if frame["event"] in {"message_replace", "message_end", "workflow_finished"}
        ]

    assert ending(ours.body) == ending(real.body)


async def test_unknown_path_equals_the_recording() -> None:
    """A wrong path gives the recorded HTML page."""
    real = recorded(NEW, "err__unknown_path")
    async with (
        DifySimulator.start() as dify,
        aiohttp.ClientSession() as http,
        http.post(f"{dify.base_url}/chat-message", json={"inputs": {}}) as response,
    ):
        body = await response.read()

        assert (response.status, body) == (404, real.body)
        assert response.headers["Content-Type"] == real.headers["Content-Type"]


@pytest.mark.parametrize("path", ["info", "parameters"])
async def test_description_has_the_fields_of_the_recording(path: str) -> None:
    """/info and /parameters have the recorded fields in the recorded order."""
    real = recorded(OLD, path)
    async with (
        DifySimulator.start(release=OLD) as dify,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {dify.api_key}"}) as http,
        http.get(f"{dify.base_url}/{path}", params={"user": "u"}) as response,
    ):
        ours = await response.json()

    assert _shape(ours) == _shape(json.loads(real.body))


async def test_each_frame_is_one_chunk_and_headers_come_with_the_first() -> None:
    """On the socket a frame is a chunk, the ping too, as in the raw recording."""
    real = recorded(NEW, "chatflow_llm__streaming_raw_chunked")
    async with DifySimulator.start(kind="chatflow") as dify:
        reader, writer = await asyncio.open_connection(dify.host, dify.port)
        body = b'{"inputs":{},"query":"[[n=4]]","user":"u","response_mode":"streaming"'
        body += b',"auto_generate_name":false}'
        writer.write(
            b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nAuthorization: Bearer " + dify.api_key.encode()
            + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )  # fmt: skip
        raw = await reader.read()
        writer.close()
        await writer.wait_closed()

    ours = _chunks(raw.partition(b"\r\n\r\n")[2])
    assert [chunk[:12] for chunk in ours] == [chunk[:12] for chunk in _chunks(real.body)]
    assert all(chunk.endswith(b"\n\n") and chunk.count(b"\n\n") == 1 for chunk in ours)


async def test_silent_stream_sends_nothing_until_the_first_ping() -> None:
    """A chat app's headers come only with the first ping or frame."""
    real = recorded(OLD, "chat__slow_25s_pings_streaming")
    async with DifySimulator.start(release=OLD, ping_seconds=0.2) as dify:
        started = asyncio.get_running_loop().time()
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {dify.api_key}"}) as http,
            http.post(
                f"{dify.base_url}/chat-messages", json={**real.request, "query": "[[wait=0.5]]x"}
            ) as response,
        ):
            headers_after = asyncio.get_running_loop().time() - started
            body = await response.read()

    assert headers_after >= 0.2
    assert body.startswith(b"event: ping\n\nevent: ping\n\ndata: ")
    assert real.body.startswith(b"event: ping\n\nevent: ping\n\ndata: ")


@pytest.mark.parametrize(
    ("mode", "conversation"),
    [("blocking", None), ("streaming", "00000000-0000-4000-8000-000000000000")],
)
async def test_new_chatflow_pings_and_falls_silent(mode: str, conversation: str | None) -> None:
    """Blocking, or an unknown conversation: one ping, silence, a clean end, never an answer."""
    real = recorded(NEW, "chatflow_llm__blocking")
    async with DifySimulator.start(kind="chatflow", idle_seconds=0.2) as dify:
        ours = await exchange(
            dify, {**real.request, "response_mode": mode, "conversation_id": conversation}
        )

    assert (ours.status, ours.body.strip()) == (real.status, real.body.strip())
    assert ours.headers["Content-Type"] == real.headers["Content-Type"]


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [(name, _shape(one)) for name, one in value.items()]
    return type(value).__name__


def _chunks(raw: bytes) -> list[bytes]:
    found: list[bytes] = []
    while raw:
        size, _, rest = raw.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        found.append(rest[:length])
        raw = rest[length:].removeprefix(b"\r\n")
    return found
