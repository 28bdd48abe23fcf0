"""Pictures and files of answers on their way into the group."""

import json
from typing import Any

import pytest

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import Inside, StartInside
from tests.fixtures.sending import calls, echo, hurry

FILES = "https://files.example.com"
SIGN = "timestamp=1&nonce=2&sign=x"
PNG = f"/files/tools/a.png?{SIGN}"
PDF = f"/files/tools/b.pdf?{SIGN}"
SEGMENTS = "SELECT kind, content, state FROM segments ORDER BY id"


def got(gateway: EcloudSimulator) -> list[tuple[str, str]]:
    """What the group has, without the mention."""
    return [(one.kind, one.content.split("\u2005")[-1]) for one in gateway.sent]


async def journal(bridge: Inside) -> list[dict[str, Any]]:
    """The turns that are kept."""
    [row] = await bridge.rows("SELECT content FROM conversations")
    found: list[dict[str, Any]] = json.loads(row["content"])
    return found


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
async def test_pictures_and_files_follow_the_text(
    inside: StartInside, gateway: EcloudSimulator, mode: str
) -> None:
    """By the address under which the gateway can fetch them; the journal names them."""
    environment = {
        "DIFY_STREAMING_ENABLED": str(mode == "streaming").lower(),
        "DIFY_FILES_URL": FILES,
    }
    async with inside(**environment) as bridge:
        await bridge.hear(f"一 [[text=见图:\\n\\n![图]({PNG})\\n\\n和[报告]({PDF})。]]")
        [message] = await bridge.until_settled(1)
        [turn] = await journal(bridge)

    assert message["verdict"] == "answered"
    assert got(gateway) == [
        ("text", "见图:\n\n和报告。"),
        ("image", FILES + PNG),
        ("file", FILES + PDF),
    ]
    assert calls(gateway, "/sendImage2") == 1
    [sent] = gateway.recorder.of("request", "/sendFile")
    assert sent.facts["body"]["fileName"] == "b.pdf"
    assert turn["answer"] == "见图:\n\n和报告。\n[图片:图]\n[文件:b.pdf]"


async def test_what_a_tool_made_is_sent_once_and_by_the_call_of_the_settings(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """An answer of a picture alone is an answer."""
    async with inside(
        DIFY_STREAMING_ENABLED="true", DIFY_FILES_URL=FILES, ECLOUD_IMAGE_ENDPOINT="sendImage"
    ) as bridge:
        await bridge.hear(f"一 [[empty]] [[tool_file={PNG}]] [[file={PNG}]]")
        [message] = await bridge.until_settled(1)

    assert message["verdict"] == "answered"
    assert got(gateway) == [("image", FILES + PNG)]
    assert calls(gateway, "/sendImage") == 1


async def test_a_dify_that_the_gateway_cannot_reach_gives_links(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, log_lines: list[str]
) -> None:
    """In a message of their own, and the operator is told; the signature stays out of the log."""
    async with inside(DIFY_STREAMING_ENABLED="true") as bridge:
        await bridge.hear(f"一 [[text=看![图]({PNG})]]")
        await bridge.until_settled(1)

    origin = dify.base_url.removesuffix("/v1")
    assert got(gateway) == [("text", "看"), ("text", f"[图片:图] ({origin}{PNG})")]
    [line] = [line for line in log_lines if "reply.files_as_links" in line]
    assert "private_host" in line
    assert "sign" not in line


async def test_pictures_of_other_hosts_are_sent_if_these_are_allowed(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """Others stay in the text as they are."""
    text = "![一](https://img.example.com/a.png)\\n![二](https://x.net/b.png)"
    async with inside(DIFY_MEDIA_HOSTS='["img.example.com"]') as bridge:
        await bridge.hear(f"一 [[text={text}]]")
        await bridge.until_settled(1)

    assert got(gateway) == [
        ("text", "![二](https://x.net/b.png)"),
        ("image", "https://img.example.com/a.png"),
    ]


async def test_a_picture_of_which_nobody_knows_whether_it_was_sent_is_known_by_its_echo(
    inside: StartInside, gateway: EcloudSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no text; that it is a picture of ours in that group is enough."""
    hurry(monkeypatch)
    monkeypatch.setattr("app.workers.undecided.ECHO_SECONDS", 20.0)
    gateway.faults.set("sent_but_timeout", 5, endpoints=["/sendImage2"], times=1)
    async with inside(DIFY_FILES_URL=FILES, ECLOUD_TIMEOUT="0.4") as bridge:
        await bridge.hear(f"一 [[text=![一]({PNG})![二]({PNG.replace('a.png', 'c.png')})]]")
        await gateway.wait_for_sent(1)
        [sent] = gateway.sent
        await bridge.take(echo(bridge, sent, sent.bot))
        await bridge.until_settled(1)
        segments = await bridge.rows("SELECT state, tries, new_msg_id FROM segments ORDER BY id")

    assert [(one["state"], one["tries"]) for one in segments] == [("sent", 1), ("sent", 1)]
    assert segments[0]["new_msg_id"] == str(sent.new_msg_id)
    assert [url.partition("?")[0] for _, url in got(gateway)] == [
        f"{FILES}/files/tools/a.png",
        f"{FILES}/files/tools/c.png",
    ]
