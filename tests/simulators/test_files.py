"""Files in the answers of the simulated Dify, and addresses that the simulated gateway fetches."""

from typing import Any

import pytest

from tests.simulators.calling import GROUP, calling
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
