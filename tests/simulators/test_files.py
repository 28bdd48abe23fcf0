"""Files in the answers of the simulated Dify, and addresses that the simulated gateway fetches."""

import io
from typing import Any

import aiohttp
import pytest

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
