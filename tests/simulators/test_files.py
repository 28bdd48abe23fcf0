"""Files in the answers of the simulated Dify, and addresses that the simulated gateway fetches."""

import io
from typing import Any

import aiohttp
import pytest

from simulators import ecloud_kinds
from simulators.ecloud_media import PNG as PNG_BYTES
from tests.simulators.calling import GROUP, MING, calling
from tests.simulators.captures import frames
from tests.simulators.test_dify import asking

PNG = "/files/tools/a.png?timestamp=1&nonce=2&sign=x"
TOOL = f"[[text=好]] [[tool_file={PNG}]]"


@pytest.mark.parametrize("release", ["0.15.3", "1.13.0"])
@pytest.mark.parametrize("kind", ["chat", "agent", "chatflow"])
async def test_a_file_of_a_tool_is_told_before_the_end_and_kept(kind: str, release: str) -> None:
    """As the assistant's."""
    async with asking(kind=kind, release=release) as asker:
        _, body = await asker.ask(TOOL)
        events = frames(body)
        [told] = [frame for frame in events if frame["event"] == "message_file"]
        conversation = str(told["conversation_id"])
        _, page = await asker.get("/messages", user="u", conversation_id=conversation)

    assert (told["type"], told["belongs_to"], told["url"]) == ("image", "assistant", PNG)
    assert [one["url"] for one in page["data"][0]["message_files"]] == [PNG]
    assert events[-1]["event"] in {"message_end", "workflow_finished"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sendImage2", {"content": "http://127.0.0.1/a.png"}),
        ("/sendImage2", {"content": "/files/a.png"}),
        ("/sendImage", {"content": "http://api:5001/a.png"}),
        ("/sendFile", {"path": "http://10.0.0.1/a.pdf", "fileName": "a.pdf"}),
        ("/sendFile", {"path": "https://example.com/a.pdf"}),
    ],
)
async def test_what_the_gateway_cannot_fetch_it_refuses(path: str, body: dict[str, Any]) -> None:
    """It stands somewhere on the internet; and a file has a name."""
    async with calling() as caller:
        envelope = await caller.call(path, wId=caller.w_id, wcId=GROUP, **body)

        assert envelope["code"] == "1001"
        assert not caller.gateway.sent


IMAGE = "<msg><img aeskey='00' length='51361' /></msg>"


async def test_a_picture_is_told_where_it_is_and_served() -> None:
    """By its own id and XML; the first time it may not be there yet."""
    async with calling() as caller:
        said = caller.gateway.say(GROUP, MING, IMAGE, message_type="80002")
        asked = {"wId": caller.w_id, "msgId": said.msg_id, "content": IMAGE, "type": 0}
        caller.gateway.faults.set("media_late", times=1)
        late = await caller.call("/getMsgImg", **asked)
        found = await caller.call("/getMsgImg", **asked)
        wrong = await caller.call("/getMsgImg", **{**asked, "content": "<msg/>"})
        other = await caller.call("/getMsgFile", **asked)
        async with caller.http.get(found["data"]["url"]) as response:
            body = await response.read()

    assert [one["code"] for one in (late, found, wrong, other)] == ["1001", "1000", "1001", "1001"]
    assert body == PNG_BYTES


async def test_a_file_is_taken_for_its_user_s_question_only() -> None:
    """201 with its id; a question that names another's is refused."""
    async with asking() as asker:
        url = f"{asker.dify.base_url}/files/upload"
        form = aiohttp.FormData({"user": "u"})
        form.add_field("file", io.BytesIO(PNG_BYTES), filename="a.png", content_type="image/png")
        async with asker.http.post(url, data=form) as response:
            status, told = response.status, await response.json()
        async with asker.http.post(url, data=aiohttp.FormData({"user": "u"})) as response:
            without = (response.status, (await response.json())["code"])
        file = {
            "type": "image",
            "transfer_method": "local_file",
            "upload_file_id": told["id"],
        }
        own, _ = await asker.ask("好", files=[file])
        others, body = await asker.ask("好", user="v", files=[file])

    assert (status, told["name"], told["size"], told["extension"]) == (
        201,
        "a.png",
        len(PNG_BYTES),
        "png",
    )
    assert without == (400, "no_file_uploaded")
    assert (own, others) == (200, 400)
    assert b"Invalid upload file" in body


async def test_a_file_too_large_or_without_a_kind_is_refused() -> None:
    """By the codes of the documentation."""
    cases = [("a.pdf", 16 * 2**20, 413, "file_too_large"), ("a", 1, 415, "unsupported_file_type")]
    async with asking() as asker:
        for name, size, status, code in cases:
            form = aiohttp.FormData({"user": "u"})
            form.add_field("file", io.BytesIO(bytes(size)), filename=name)
            url = f"{asker.dify.base_url}/files/upload"
            async with asker.http.post(url, data=form) as response:
                assert (response.status, (await response.json())["code"]) == (status, code)


VOICE = ecloud_kinds.voice()


async def test_a_recording_is_told_where_it_is_by_what_its_callback_says() -> None:
    """As silk; anything else said of it is refused."""
    async with calling() as caller:
        said = caller.gateway.acts.send(GROUP, MING, "voice")
        asked = {
            "wId": caller.w_id,
            "msgId": said.msg_id,
            "length": VOICE.extra["length"],
            "bufId": VOICE.extra["bufId"],
            "fromUser": said.person,
        }
        envelope = await caller.call("/getMsgVoice", **asked)
        wrong = [
            await caller.call("/getMsgVoice", **{**asked, name: "1"})
            for name in ("msgId", "length", "bufId", "fromUser")
        ]
        async with aiohttp.ClientSession() as http, http.get(envelope["data"]["url"]) as response:
            data = await response.read()

    assert data.startswith(b"\x02#!SILK_V3")
    assert [one["code"] for one in wrong] == ["1001"] * 4


@pytest.mark.parametrize(
    ("speech", "form", "status", "code"),
    [
        ("你好", ("a.wav", "audio/wav", 9), 200, ""),
        ("你好", ("a.silk", "audio/silk", 9), 415, "unsupported_audio_type"),
        ("你好", ("a.mp3", "audio/mpeg3", 9), 415, "unsupported_audio_type"),
        ("你好", ("a.wav", "audio/wav", 31 * 2**20), 413, "audio_too_large"),
        ("你好", None, 400, "no_audio_uploaded"),
        (None, ("a.wav", "audio/wav", 9), 400, "invalid_param"),
    ],
)
async def test_a_recording_is_heard_as_the_app_says_if_its_kind_is_taken(
    speech: str | None, form: tuple[str, str, int] | None, status: int, code: str
) -> None:
    """By what the request calls it."""
    async with asking() as asker:
        asker.dify.set_app(asker.dify.api_key, {"speech": speech})
        data = aiohttp.FormData({"user": "u"}, default_to_multipart=True)
        if form is not None:
            name, mime, size = form
            data.add_field("file", io.BytesIO(bytes(size)), filename=name, content_type=mime)
        async with asker.http.post(f"{asker.dify.base_url}/audio-to-text", data=data) as response:
            told = await response.json()
        _, parameters = await asker.get("/parameters")

    assert (response.status, told.get("code", "")) == (status, code)
    assert told.get("text") == (speech if status == 200 else None)
    assert parameters["speech_to_text"]["enabled"] is (speech is not None)
