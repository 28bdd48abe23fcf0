"""What members speak on its way to a question."""

import asyncio
import json
import sys
import wave
from io import BytesIO
from typing import Any

import pytest

from app.api.views import merged_looks
from app.models.flow import MessageId, WcId
from app.services.erasure import erase
from app.services.errors import StoreUnavailable
from app.services.letters import ReplayOptions
from app.services.replay import Replay
from app.services.silk import RATE
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_callbacks import group_callback
from simulators.ecloud_kinds import voice
from simulators.ecloud_speech import Said
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.integration.test_app_choices import until_found

SORRY = "抱歉,没听清。"
ON = {"DIFY_VOICE": "true", "MESSAGE_PROCESSING_RETRY_DELAY": "0.1"}
ROWS = "SELECT * FROM messages ORDER BY id"


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the calls for recordings."""
    monkeypatch.setattr("app.services.enclosing.RETRY_PAUSE", 0.05)
    monkeypatch.setattr("app.services.enclosing.CALL_GAP", 0.05)


def hears(dify: DifySimulator, text: str | None) -> None:
    """From now on every recording says this; None: the app has no model for it."""
    dify.set_app(dify.api_key, {"speech": text})


async def speak(
    bridge: Inside, kept: bytes | None = None, *, person: str = "小明", timestamp: int | None = None
) -> Said:
    """Somebody speaks; *kept* is what the gateway has of it instead of the usual."""
    gateway, sending = bridge.gateway, voice()
    said = gateway.say(
        "体验群",
        person,
        sending.content,
        message_type=sending.message_type,
        extra=sending.extra,
    )
    if kept is not None:
        gateway.media.kept[str(said.msg_id)] = kept
    body = group_callback(
        gateway.world,
        next(iter(gateway.world.accounts.values())),
        gateway.speech.find_group("体验群"),
        from_user=said.person,
        content=sending.content,
        ids=(said.msg_id, said.new_msg_id),
        timestamp=said.timestamp if timestamp is None else timestamp,
        message_type=sending.message_type,
        extra=sending.extra,
    )
    await bridge.take(json.dumps(body).encode())
    return said


def asked(dify: DifySimulator) -> list[str]:
    """The questions so far."""
    return [question.facts["query"] for question in dify.questions()]


def sent(gateway: EcloudSimulator) -> list[str]:
    """What the group read."""
    return [one.content.partition("\u2005")[2] or one.content for one in gateway.sent]


async def test_what_is_spoken_is_asked_before_what_is_written_behind_it(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Fetched by the callback's own words, decoded, heard once; the row says what was asked."""
    hears(dify, "几点开门 [[text=九点]]")
    async with inside(**ON) as bridge:
        said = await speak(bridge)
        await bridge.hear("那几点关门 [[text=六点]]")
        first, _ = await bridge.until_settled(2)

    assert asked(dify) == ["几点开门 [[text=九点]]", "那几点关门 [[text=六点]]"]
    assert sent(gateway) == ["九点", "六点"]
    assert (first["verdict"], first["text"], first["question"]) == (
        "answered",
        "几点开门 [[text=九点]]",
        "几点开门 [[text=九点]]",
    )
    [call] = gateway.recorder.of("request", "/getMsgVoice")
    assert call.facts["body"]["fromUser"] == said.person
    [heard] = dify.hearing.heard
    assert (heard.name, heard.mime, heard.user) == ("voice.wav", "audio/wav", said.person)
    with wave.open(BytesIO(heard.data)) as sound:
        shape = (sound.getnchannels(), sound.getsampwidth(), sound.getframerate())
        assert (shape, sound.getnframes()) == ((1, 2, RATE), RATE * 60 // 1000)


@INSIDE_EMBEDDED
@pytest.mark.parametrize("way", ["setting", "mention", "app"])
async def test_where_nobody_hears_it_is_what_it_was(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, way: str
) -> None:
    """By the settings, since nobody can mention the bot in it, or since the app has no model for it."""
    hears(dify, None if way == "app" else "几点开门")
    variables = {"setting": {"DIFY_VOICE": "false"}, "mention": {"GROUPS_TRIGGER": "mention"}}
    async with inside(**{**ON, **variables.get(way, {})}) as bridge:
        await speak(bridge)
        [row] = await bridge.until_rows("SELECT * FROM messages WHERE state = 'ignored'")

    assert (row["verdict"], row["text"], row["question"]) == ("unsupported_type", None, None)
    assert not gateway.recorder.of("request", "/getMsgVoice")
    assert not dify.questions()


@INSIDE_EMBEDDED
@pytest.mark.parametrize(
    ("text", "verdict", "question"),
    [
        ("小助手几点开门 [[text=九点]]", "answered", "几点开门 [[text=九点]]"),
        ("今天好冷", "no_prefix", None),
        (" \n", "no_prefix", None),
        ("小助手", "no_text", None),
    ],
)
async def test_what_was_heard_is_judged_as_if_it_had_been_written(
    inside: StartInside,
    gateway: EcloudSimulator,
    dify: DifySimulator,
    text: str,
    verdict: str,
    question: str | None,
) -> None:
    """What is no question leaves nothing but its verdict, and the person's next message goes on."""
    hears(dify, text)
    rules = {"GROUPS_TRIGGER": "prefix", "GROUPS_PREFIXES": '["小助手"]'}
    async with inside(**ON, **rules) as bridge:
        await speak(bridge)
        await bridge.hear("小助手在吗 [[text=在]]")
        await bridge.until_settled(1 if question is None else 2)
        first, second = await bridge.rows(ROWS)

    assert (first["verdict"], first["question"]) == (verdict, question)
    assert (first["text"] is None, first["state"]) == (
        question is None,
        "ignored" if question is None else "done",
    )
    assert second["verdict"] == "answered"
    assert sent(gateway)[-1] == "在"
    assert len(dify.hearing.heard) == 1


@INSIDE_EMBEDDED
async def test_an_empty_text_is_no_question(inside: StartInside, dify: DifySimulator) -> None:
    """Where everything is one."""
    hears(dify, "  ")
    async with inside(**ON) as bridge:
        await speak(bridge)
        [row] = await bridge.until_rows("SELECT * FROM messages WHERE state = 'ignored'")

    assert row["verdict"] == "no_text"
    assert not dify.questions()


@INSIDE_EMBEDDED
@pytest.mark.parametrize(
    ("kept", "code"),
    [
        (b"<html>expired</html>", "voice_unreadable"),
        (b"\x02#!SILK_V3" + b"\x05\x00" + bytes(5) * 2, "voice_unreadable"),
        (b"\x02#!SILK_V3" + (b"\x01\x00\x00" * 5000), "voice_unreadable"),
        (b"#!AMR" + bytes(3 * 1024 * 1024), "voice_unreadable"),
    ],
)
async def test_what_is_no_recording_ends_with_the_sentence(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator, kept: bytes, code: str
) -> None:
    """It is not tried again: neither a page, a broken one, a very long one, nor a very large one."""
    hears(dify, "几点开门")
    if b"\x05\x00" in kept:
        pytest.importorskip("pysilk")
    async with inside(**ON, MESSAGE_PROCESSING_FAILURE_REPLY=SORRY) as bridge:
        await speak(bridge, kept)
        [row] = await bridge.until_settled(1)

    assert (row["verdict"], row["attempts"]) == (f"failed:{code}", 0)
    assert sent(gateway) == [SORRY]
    assert not dify.hearing.heard


@INSIDE_EMBEDDED
@pytest.mark.parametrize(
    ("mark", "mime"),
    [(b"#!AMR\n", "audio/amr"), (b"ID3\x04", "audio/mp3"), (b"RIFF0000WAVEfmt ", "audio/wav")],
)
async def test_what_dify_takes_is_given_as_it_is(
    inside: StartInside, dify: DifySimulator, mark: bytes, mime: str
) -> None:
    """By its first bytes."""
    hears(dify, "几点开门")
    async with inside(**ON) as bridge:
        await speak(bridge, mark + bytes(100))
        await bridge.until_settled(1)

    [heard] = dify.hearing.heard
    assert (heard.mime, heard.data) == (mime, mark + bytes(100))


async def test_what_is_away_for_a_moment_is_tried_again_and_heard_once(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The gateway has it later, Dify's ear fails, then its answer: three tries, one text."""
    hears(dify, "几点开门 [[text=九点]]")
    gateway.faults.set("media_late", times=1)
    dify.faults.set("http_500", endpoints=["/v1/audio-to-text"], times=1)
    async with inside(**ON) as bridge:
        dify.faults.set("http_500", endpoints=["/v1/chat-messages"], times=1)
        await speak(bridge)
        [row] = await bridge.until_settled(1)

    assert (row["verdict"], row["attempts"]) == ("answered", 2)
    assert sent(gateway) == ["九点"]
    assert len(dify.hearing.heard) == 1


@INSIDE_EMBEDDED
async def test_what_the_gateway_never_gives_ends_and_can_be_replayed(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The dead letter still knows where the recording was; later it is heard and answered."""
    hears(dify, "几点开门 [[text=九点]]")
    gateway.faults.set("media_late")
    async with inside(**ON, MESSAGE_PROCESSING_MAX_RETRY_COUNT="1") as bridge:
        await speak(bridge)
        [dead] = await bridge.until_settled(1)
        gateway.faults.clear()
        replay = Replay(bridge.runtime.store, ReplayOptions())
        await replay.one(MessageId(dead["id"]))
        [row] = await bridge.until_rows("SELECT * FROM messages WHERE state = 'done'")

    assert (dead["verdict"], dead["attempts"]) == ("failed:voice_not_fetched", 1)
    assert (row["verdict"], row["question"]) == ("answered", "几点开门 [[text=九点]]")
    assert sent(gateway) == ["九点"]


@INSIDE_EMBEDDED
async def test_while_the_gateway_is_away_nothing_is_counted(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """However often it is tried."""
    hears(dify, "几点开门 [[text=九点]]")
    gateway.faults.set("http_500", endpoints=["/getMsgVoice"], times=9)
    async with inside(**ON, MESSAGE_PROCESSING_MAX_RETRY_COUNT="0") as bridge:
        await speak(bridge)
        [row] = await bridge.until_settled(1)

    assert (row["verdict"], row["attempts"]) == ("answered", 0)


@INSIDE_EMBEDDED
@pytest.mark.parametrize(
    ("fault", "verdict"),
    [("http_415", "failed:dify_voice_refused"), ("http_401", "failed:dify_rejected")],
)
async def test_what_dify_refuses_to_hear_is_not_tried_again(
    inside: StartInside, dify: DifySimulator, fault: str, verdict: str
) -> None:
    """Whether it is the recording or the key."""
    hears(dify, "几点开门")
    async with inside(**ON) as bridge:
        refused(dify, fault)
        await speak(bridge)
        [row] = await bridge.until_settled(1)

    assert (row["verdict"], row["attempts"]) == (verdict, 0)


def refused(dify: DifySimulator, fault: str) -> None:
    """As Dify does, by a status or since it does not know the kind."""
    if fault == "http_415":
        dify.hearing.extensions = ("mp3",)
    else:
        dify.apps.clear()


@INSIDE_EMBEDDED
async def test_without_the_decoder_it_ends_with_its_own_verdict(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some platforms have no wheel of it."""
    monkeypatch.setitem(sys.modules, "pysilk", None)
    hears(dify, "几点开门")
    async with inside(**ON) as bridge:
        await speak(bridge)
        [row] = await bridge.until_settled(1)

    assert row["verdict"] == "failed:voice_no_decoder"


async def test_one_that_is_taken_back_is_not_heard_nor_answered(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """While it waits."""
    hears(dify, "几点开门")
    async with inside(**ON, works=False) as bridge:
        said = await speak(bridge)
        await recall(bridge, said)
        await bridge.runtime.recalls.flush()
    async with inside(**ON) as bridge:
        await bridge.hear("在吗 [[text=在]]")
        await bridge.until_settled(1)
        first, *_ = await bridge.rows(ROWS)

    assert (first["state"], first["verdict"], first["text"]) == ("ignored", "recalled", None)
    assert not dify.hearing.heard
    assert sent(gateway) == ["在"]


@INSIDE_EMBEDDED
async def test_one_whose_speaker_was_erased_is_not_heard(
    inside: StartInside, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Nothing in its row leads to the recording any more."""
    hears(dify, "几点开门")
    async with inside(**ON, works=False) as bridge:
        said = await speak(bridge)
        await erase(bridge.runtime.store, WcId(said.person))
        [row] = await bridge.rows(ROWS)
    async with inside(**ON) as bridge:
        await bridge.hear("在吗 [[text=在]]", person="小红")
        await bridge.until_settled(1)

    assert (row["text"], row["question"], row["raw"], row["state"]) == (None, None, None, "ignored")
    assert not dify.hearing.heard
    assert sent(gateway) == ["在"]


@INSIDE_EMBEDDED
async def test_where_only_fresh_messages_may_come_one_without_a_time_is_turned_away(
    inside: StartInside, dify: DifySimulator
) -> None:
    """As a text is."""
    hears(dify, "几点开门")
    async with inside(**ON, ECLOUD_CALLBACK_WINDOW="60", works=False) as bridge:
        await speak(bridge, timestamp=0)
        assert await bridge.rows(ROWS) == []
        await speak(bridge)
        assert len(await bridge.rows(ROWS)) == 1


@INSIDE_EMBEDDED
@pytest.mark.parametrize("code", ["dify_deaf", "voice_no_decoder"])
async def test_what_is_missing_for_it_is_said_at_start(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Only where the settings want it."""
    if code == "dify_deaf":
        hears(dify, None)
    else:
        hears(dify, "几点开门")
        monkeypatch.setitem(sys.modules, "pysilk", None)
    async with inside(DIFY_VOICE="true") as bridge:
        text = await until_found(bridge, code)
    async with inside() as bridge, asyncio.timeout(20):
        while "default" not in (looks := bridge.runtime.app_inspection.looks):
            await asyncio.sleep(0.02)

    assert "dify.voice" in text
    assert merged_looks(looks, "apps").findings == ()


async def recall(bridge: Inside, said: Said) -> None:
    """Whoever spoke takes it back."""
    gateway = bridge.gateway
    taken: Any = gateway.acts.recall("体验群", "小明", said)
    body = group_callback(
        gateway.world,
        next(iter(gateway.world.accounts.values())),
        gateway.speech.find_group("体验群"),
        from_user=taken.person,
        content=taken.text,
        ids=(taken.msg_id, taken.new_msg_id),
        timestamp=taken.timestamp,
        message_type=taken.message_type,
        extra=taken.extra,
    )
    await bridge.take(json.dumps(body).encode())


@INSIDE_EMBEDDED
async def test_one_that_only_the_disk_could_take_is_heard_later(
    inside: StartInside, dify: DifySimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of the spill file has all that is needed."""
    hears(dify, "几点开门 [[text=九点]]")
    async with inside(**ON) as bridge:
        with monkeypatch.context() as away:
            away.setattr(bridge.runtime.inbox._table, "insert_in_time", refuse)
            await speak(bridge)
            assert bridge.runtime.inbox.spilled == 1
        [row] = await bridge.until_settled(1)

    assert (row["verdict"], row["question"]) == ("answered", "几点开门 [[text=九点]]")


async def refuse(*_: object) -> None:
    """As a database that is away."""
    raise StoreUnavailable("away")
