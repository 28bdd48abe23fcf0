"""Pictures and files of members on their way to Dify."""

import json
from typing import Any

import pytest

from app.console.reading.messages import MessageFilter, read_messages
from app.console.shown import said_in
from app.services import export
from app.services.stages import utc_now
from simulators import ecloud_kinds as kinds
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_callbacks import group_callback
from simulators.ecloud_media import PNG
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside

IMAGE = '<?xml version="1.0"?>\n<msg>\n\t<img aeskey="0011" length="51361" md5="449f" />\n</msg>\n'


def xml_of(name: str) -> str:
    """What the callback of a file says."""
    attach = "<appattach><totallen>20480</totallen><fileext>xlsx</fileext></appattach>"
    return f"<?xml version='1.0'?><msg><appmsg><title>{name}</title>{attach}</appmsg></msg>"


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the calls for files."""
    monkeypatch.setattr("app.services.enclosing.RETRY_PAUSE", 0.05)
    monkeypatch.setattr("app.services.enclosing.CALL_GAP", 0.05)


async def show(bridge: Inside, content: str = IMAGE, *, code: str = "80002", **how: Any) -> str:
    """Somebody sends a picture, or a file; returns its msgId."""
    gateway = bridge.gateway
    person, group = how.get("person", "小明"), how.get("group", "体验群")
    said = gateway.say(group, person, content, message_type=code)
    account = next(iter(gateway.world.accounts.values()))
    body = group_callback(
        gateway.world,
        account,
        gateway.speech.find_group(group),
        from_user=said.person,
        content=content,
        ids=(said.msg_id, said.new_msg_id),
        timestamp=said.timestamp,
        message_type=code,
    )
    await bridge.take(json.dumps(body).encode())
    return str(said.msg_id)


def given(dify: DifySimulator, number: int = -1) -> list[tuple[str, str, bytes]]:
    """The files of a question: as what, by which name, and what is in them."""
    question = dify.questions()[number]
    uploads = [dify.uploads.files[one["upload_file_id"]] for one in question.facts["files"]]
    assert all(one.user == question.facts["user"] for one in uploads)
    kinds = [one["type"] for one in question.facts["files"]]
    return [(kind, one.name, one.data) for kind, one in zip(kinds, uploads, strict=True)]


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
async def test_a_picture_goes_along_with_the_next_question_and_no_later_one(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, mode: str
) -> None:
    """Fetched where the gateway has it, without the gateway's secret, and left with the app."""
    async with inside(DIFY_STREAMING_ENABLED=str(mode == "streaming").lower()) as bridge:
        msg_id = await show(bridge)
        await bridge.hear("这是什么 [[text=猫]]")
        await bridge.until_settled(1)
        await bridge.hear("还有呢 [[text=没有]]")
        await bridge.until_settled(2)
        verdicts = await bridge.rows("SELECT verdict FROM messages ORDER BY id")

    assert [one["verdict"] for one in verdicts] == ["attachment", "answered", "answered"]
    assert given(dify, 0) == [("image", "image.png", PNG)]
    assert given(dify, 1) == []
    [fetched] = gateway.recorder.of("media")
    assert (fetched.name, fetched.facts["Authorization"]) == (msg_id, "")
    [call] = gateway.recorder.of("request", "/getMsgImg")
    assert call.facts["body"]["content"] == IMAGE


@INSIDE_EMBEDDED
@pytest.mark.parametrize("keeps", ["true", "false"])
async def test_a_picture_that_was_taken_back_goes_along_with_nothing(
    inside: StartInside,
    dify: DifySimulator,
    keeps: str,
) -> None:
    """Nor can it be had any more, whatever is kept of what was ignored."""
    async with inside(MESSAGE_PROCESSING_KEEP_IGNORED_TEXT=keeps) as bridge:
        await show(bridge)
        [sent] = await bridge.rows("SELECT msg_id, new_msg_id, group_id FROM messages")
        recall = kinds.recall(
            room=sent["group_id"],
            msg_id=int(sent["msg_id"]),
            new_msg_id=int(sent["new_msg_id"]),
            name="小明",
        )
        body = json.loads(bridge.callback(recall.content, **recall.extra))
        await bridge.take(json.dumps({**body, "messageType": recall.message_type}).encode())
        await bridge.until_rows("SELECT 1 FROM messages WHERE verdict = 'recalled'")
        await bridge.hear("这是什么 [[text=猫]]")
        await bridge.until_settled(1)
        [row] = await bridge.rows("SELECT text FROM messages WHERE verdict = 'recalled'")

    assert given(dify) == []
    assert row["text"] is None


async def test_pictures_outlive_the_process_and_come_in_order(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """What another person sent, or the same in another group, is not among them."""
    async with inside() as bridge:
        await show(bridge, xml_of("周报.xlsx"), code="80009")
        await show(bridge)
        await show(bridge, person="小红")
    async with inside() as bridge:
        gateway.faults.set("media_late", times=1)
        await bridge.hear("比一比 [[text=好]]")
        await bridge.until_settled(1)

    assert [(kind, name) for kind, name, _ in given(dify)] == [
        ("document", "周报.xlsx"),
        ("image", "image.png"),
    ]


@pytest.mark.parametrize(
    ("reason", "content", "code", "fault"),
    [
        ("ecloud_refused", IMAGE, "80002", {"name": "media_late"}),
        ("not_taken", xml_of("a.exe"), "80009", None),
        ("no_picture", IMAGE, "80002", b"<html>expired</html>"),
        ("too_large", IMAGE, "80002", PNG + bytes(10 * 1024 * 1024)),
        ("private_host", IMAGE, "80002", "http://169.254.169.254/latest/meta-data"),
        ("bad_address", IMAGE, "80002", "file:///etc/passwd"),
    ],
)
async def test_what_cannot_be_given_is_left_out_and_the_question_answered(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    log_lines: list[str],
    reason: str,
    content: str,
    code: str,
    fault: Any,
) -> None:
    """The log says why."""
    async with inside() as bridge:
        msg_id = await show(bridge, content, code=code)
        if isinstance(fault, dict):
            gateway.faults.set(**fault)
        elif isinstance(fault, bytes):
            gateway.media.kept[msg_id] = fault
        elif isinstance(fault, str):
            gateway.media.place = fault
        await bridge.hear("这是什么 [[text=不知道]]")
        [message] = await bridge.until_settled(1)

    assert message["verdict"] == "answered"
    assert given(dify) == []
    [line] = [line for line in log_lines if "attachment.left_out" in line]
    assert f"reason={reason} " in line


async def test_what_dify_refuses_is_left_out(
    inside: StartInside, dify: DifySimulator, log_lines: list[str]
) -> None:
    """Its code is the reason."""
    dify.set_app(dify.api_key, {"parameters": {"system_parameters": {"file_size_limit": 50}}})
    async with inside() as bridge:
        msg_id = await show(bridge, xml_of("大.pdf"), code="80009")
        bridge.gateway.media.kept[msg_id] = bytes(16 * 1024 * 1024)
        await bridge.hear("总结 [[text=不行]]")
        await bridge.until_settled(1)

    assert given(dify) == []
    assert any("dify:file_too_large" in line for line in log_lines if "left_out" in line)


async def test_while_dify_fails_the_question_waits_with_its_picture(
    inside: StartInside, dify: DifySimulator
) -> None:
    """An upload that fails inside Dify is a failure of the try, not of the file."""
    dify.faults.set("http_500", endpoints=["/v1/files/upload"], times=1)
    async with inside(MESSAGE_PROCESSING_RETRY_DELAY="0.1") as bridge:
        await show(bridge)
        await bridge.hear("这是什么 [[text=猫]]")
        [message] = await bridge.until_settled(1)

    assert message["verdict"] == "answered"
    assert len(dify.recorder.of("request", "POST /v1/files/upload")) == 2
    assert given(dify) == [("image", "image.png", PNG)]


@pytest.mark.parametrize("way", ["app", "setting"])
async def test_where_nobody_wants_pictures_nothing_is_fetched(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, way: str
) -> None:
    """The app takes none, or the settings say so; then the verdict is what it was."""
    variables = {"MESSAGE_PROCESSING_ATTACHMENT_WAIT": "0"} if way == "setting" else {}
    if way == "app":
        dify.set_app(dify.api_key, {"parameters": {"file_upload": {"enabled": False}}})
    async with inside(**variables) as bridge:
        await show(bridge)
        await bridge.hear("这是什么 [[text=不知道]]")
        await bridge.until_settled(1)
        [picture, _] = await bridge.rows("SELECT verdict, text FROM messages ORDER BY id")

    assert given(dify) == []
    assert not gateway.recorder.of("request", "/getMsgImg")
    assert picture["verdict"] == ("unsupported_type" if way == "setting" else "attachment")


async def test_an_old_picture_is_not_meant(inside: StartInside, dify: DifySimulator) -> None:
    """After the time that is set."""
    async with inside(MESSAGE_PROCESSING_ATTACHMENT_WAIT="1") as bridge:
        await show(bridge)
        await bridge.execute("UPDATE messages SET id = id - 2000 * 4194304")
        await bridge.hear("这是什么 [[text=不知道]]")
        await bridge.until_settled(1)

    assert given(dify) == []


@INSIDE_EMBEDDED
async def test_a_picture_sent_before_a_reply_to_a_form_waits_for_the_next_question(
    inside: StartInside, dify: DifySimulator
) -> None:
    """The form takes none; whoever sends one means something by it."""
    dify.add_app("app-forms", "chatflow")
    settings = {"DIFY_API_KEY": "app-forms", "DIFY_STREAMING_ENABLED": "true"}
    async with inside(**settings) as bridge:
        await bridge.hear("下单 [[form=请确认。]] [[actions=同意|拒绝]] [[after=好]]")
        await bridge.until_settled(1)
        await show(bridge)
        await bridge.hear("1")
        await bridge.until_settled(2)
        await bridge.hear("这是什么 [[text=猫]]")
        await bridge.until_settled(3)
        await bridge.hear("还有呢 [[text=没有]]")
        await bridge.until_settled(4)

    assert given(dify, -2) == [("image", "image.png", PNG)]
    assert given(dify, -1) == []


@INSIDE_EMBEDDED
async def test_the_time_for_a_file_is_not_taken_from_the_try(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is fetched before the question has a place at Dify and before its time runs."""
    monkeypatch.setattr("app.services.enclosing.RETRY_PAUSE", 1.5)
    async with inside(MESSAGE_PROCESSING_QUEUE_TIMEOUT="1") as bridge:
        gateway.faults.set("media_late", times=1)
        await show(bridge)
        await bridge.hear("这是什么 [[text=猫]]")
        [message] = await bridge.until_settled(1)

    assert message["attempts"] == 0
    assert [name for _, name, _ in given(dify)] == ["image.png"]


@INSIDE_EMBEDDED
async def test_what_waits_for_a_question_is_shown_by_name_and_is_nobodys_words(
    inside: StartInside,
) -> None:
    """Neither found by a search for words nor exported as such."""
    async with inside() as bridge:
        await show(bridge, xml_of("周报.xlsx"), code="80009")
        store, now = bridge.runtime.store, utc_now()
        listed = await read_messages(store, MessageFilter(), before=None, now=now)
        found = await read_messages(store, MessageFilter(text="appmsg"), before=None, now=now)
        exported = [one async for one in export.read_messages(store, export.Extent())]

    assert [said_in(row) for row in listed.rows] == ["[文件:周报.xlsx]"]
    assert list(found.rows) == []
    assert [one["text"] for one in exported] == [None]
