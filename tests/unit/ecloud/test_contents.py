"""What callbacks carry beside plain text: read into values, whatever their XML looks like."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.content import (
    ChatRecord,
    Content,
    Emoji,
    File,
    Image,
    Link,
    Location,
    MiniProgram,
    NameCard,
    Newcomer,
    Pat,
    Quoted,
    Recall,
    RoomChange,
    RoomNews,
    Video,
    Voice,
)
from app.models.flow import GroupMessage, Ignored, IgnoreReason, MessageId, WcId
from app.services.ecloud.callback import parse_callback
from app.services.ecloud.markup import MAX_DEPTH, MAX_ELEMENTS, MAX_MARKUP, read_markup
from app.services.ecloud.wire import TYPE_NAMES
from app.services.inbox_rows import make_row

FOLDER = Path(__file__).parents[2] / "samples" / "ecloud"
SAMPLES = {path.stem: json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))}
BOT = WcId("wxid_qiaobot7788k12")
PERSON = WcId("wxid_lanlan5521m22")
OTHER = WcId("wxid_tiezhu3344m22")


def parse(payload: Any) -> GroupMessage | Ignored:
    return parse_callback(json.dumps(payload).encode())


def sample(name: str, **changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = deepcopy(SAMPLES[name])
    payload["data"].update(changes)
    return payload


def content_of(payload: Any) -> Content | None:
    parsed = parse(payload)
    assert isinstance(parsed, Ignored), parsed
    return parsed.content


def xml_of(name: str) -> str:
    return str(SAMPLES[name]["data"]["content"])


def test_media_are_read_with_what_a_download_needs() -> None:
    """Sizes, keys and ids of the samples; the XML of those whose download wants it."""
    found = {
        name: content_of(SAMPLES[f"group_{name}"])
        for name in ("image", "voice", "video", "file_announced", "file_finished", "emoji")
    }

    assert found["image"] == Image(
        xml=xml_of("group_image"),
        size=40960,
        md5="5ab10000000000000000000000000042",
        aes_key="0f1e2d3c4b5a69780f1e2d3c4b5a6978",
        cdn_url="3057bb",
    )
    voice, video = found["voice"], found["video"]
    assert isinstance(voice, Voice)
    assert voice.size > 0
    assert voice.milliseconds > 0
    assert voice.buffer_id.isdecimal()
    assert isinstance(video, Video)
    assert (video.xml, video.size > 0, video.seconds > 0) == (xml_of("group_video"), True, True)
    announced, finished = found["file_announced"], found["file_finished"]
    assert isinstance(announced, File)
    assert isinstance(finished, File)
    assert (announced.is_there, finished.is_there) == (False, True)
    assert announced.name.endswith(announced.extension)
    assert announced.size > 0
    assert isinstance(found["emoji"], Emoji)
    assert found["emoji"].md5


def test_a_voice_says_the_same_beside_its_xml_and_inside_it() -> None:
    """Any of the three figures may be missing beside it."""
    whole = content_of(SAMPLES["group_voice"])
    payload = deepcopy(SAMPLES["group_voice"])
    for name in ("length", "voiceLength", "bufId"):
        payload["data"].pop(name, None)

    assert content_of(payload) == whole


def test_cards_are_read_by_what_they_show() -> None:
    """Name card, mini program, merged record, place, music and link."""
    assert content_of(SAMPLES["group_name_card"]) == NameCard(wc_id=OTHER, nick_name="铁柱")
    assert content_of(SAMPLES["group_mini_program"]) == MiniProgram(
        title="会议室预订", user_name="gh_0011223344@app", page="pages/index.html?room=3"
    )
    record = content_of(SAMPLES["group_record"])
    assert isinstance(record, ChatRecord)
    assert record.title == "群聊的聊天记录"
    assert content_of(SAMPLES["group_location"]) == Location(
        name="人民广场",
        address="上海市黄浦区人民大道",
        latitude="31.230416",
        longitude="121.473701",
    )
    assert content_of(SAMPLES["group_music"]) == Link(
        title="晨曲", description="某乐队", url="https://example.invalid/song"
    )
    link = content_of(SAMPLES["group_link"])
    assert isinstance(link, Link)
    assert link.url.startswith("https://")


def test_what_is_not_answered_says_of_which_type_it_is() -> None:
    """The operator reads the type beside the verdict."""
    ignored = parse(SAMPLES["group_name_card"])

    assert isinstance(ignored, Ignored)
    assert (ignored.reason, ignored.detail) == (
        IgnoreReason.UNSUPPORTED_TYPE,
        TYPE_NAMES["80005"],
    )


def test_a_recall_says_which_message_by_either_id() -> None:
    """And with neither it is a callback of odd shape, kept for the operator."""
    assert content_of(SAMPLES["group_recall"]) == Recall(
        msg_id="1904417702", new_msg_id="5081726354409182739"
    )
    root = "<sysmsg type='revokemsg'><revokemsg><msgid>7</msgid></revokemsg></sysmsg>"
    assert content_of(sample("group_recall", content=root)) == Recall(msg_id="7")
    odd = parse(sample("group_recall", content="<sysmsg/>"))
    assert isinstance(odd, Ignored)
    assert (odd.reason, odd.detail) == (IgnoreReason.BAD_SHAPE, "data.content")


def test_our_own_account_may_take_back_what_somebody_wrote() -> None:
    """As the owner of the group; what it takes back of its own is nobody's question."""
    own = parse(sample("group_recall", fromUser=BOT, self=True))

    assert isinstance(own, Ignored)
    assert own.reason is IgnoreReason.RECALL
    assert isinstance(own.content, Recall)


def test_a_pat_says_who_patted_whom() -> None:
    """It is no question."""
    assert content_of(SAMPLES["group_pat"]) == Pat(sender=PERSON, patted=BOT)


def test_news_of_a_group_say_what_changed() -> None:
    """The name where it is said, newcomers where their ids are."""
    assert content_of(SAMPLES["group_info_changed"]) == RoomNews(
        change=RoomChange.INFORMATION, name=SAMPLES["group_info_changed"]["data"]["nickName"]
    )
    assert content_of(SAMPLES["member_invited"]) == RoomNews(change=RoomChange.MEMBERS)
    assert content_of(SAMPLES["member_joined_by_code"]) == RoomNews(
        change=RoomChange.MEMBERS, newcomers=(Newcomer(wc_id=OTHER, nick_name="铁柱"),)
    )
    assert content_of(SAMPLES["group_renamed"]) == RoomNews(change=RoomChange.INFORMATION)
    assert content_of(SAMPLES["group_dissolved"]) == RoomNews(change=RoomChange.DISSOLVED)
    assert content_of(SAMPLES["left_group"]) == RoomNews(change=RoomChange.LEFT)


def test_a_quote_says_what_it_is_about() -> None:
    """Its id, its sender by id, and its text."""
    message = parse(SAMPLES["group_quote"])

    assert isinstance(message, GroupMessage)
    assert message.quoted == Quoted(
        new_msg_id="7120034455667788990",
        sender=BOT,
        sender_name="小桥",
        text="打印机在茶水间旁边",
        is_text=True,
        timestamp=1767000020,
    )


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("3", "<msg><img/></msg>", "[图片]"),
        ("34", "", "[语音]"),
        (
            "49",
            "<msg><appmsg><title>周报.xlsx</title><type>6</type></appmsg></msg>",
            "[文件] 周报.xlsx",
        ),
        ("49", "<msg><appmsg><title>再问</title><type>57</type></appmsg></msg>", "再问"),
        ("49", "not xml", "[卡片]"),
        ("10000", "", "[卡片]"),
        ("1", f"{BOT}:\n在三楼", "在三楼"),
    ],
)
def test_a_quote_of_another_kind_has_a_word_for_it(kind: str, content: str, text: str) -> None:
    """Nobody reads XML in a question."""
    escaped = content.replace("&", "&amp;").replace("<", "&lt;")
    xml = (
        f"<msg><appmsg><title>?</title><type>57</type><refermsg><type>{kind}</type>"
        f"<chatusr>{BOT}</chatusr><content>{escaped}</content></refermsg></appmsg></msg>"
    )

    message = parse(sample("group_quote", content=xml))

    assert isinstance(message, GroupMessage)
    assert message.quoted is not None
    assert (message.quoted.text, message.quoted.is_text) == (text, kind == "1")


def test_a_quote_whose_xml_cannot_be_read_is_the_text_that_was_typed() -> None:
    """What was typed stands beside it; without that nothing is left to ask."""
    typed = parse(sample("group_quote", content="<msg"))
    nothing = parse(sample("group_quote", content="<msg", title=""))

    assert isinstance(typed, GroupMessage)
    assert (typed.text, typed.quoted) == ("三楼还是四楼?", None)
    assert isinstance(nothing, Ignored)
    assert nothing.reason is IgnoreReason.NO_TEXT


def test_the_room_is_never_the_sender_of_what_is_quoted() -> None:
    """In a group the room stands where elsewhere the sender does."""
    xml = xml_of("group_quote").replace(f"<chatusr>{BOT}</chatusr>", "")

    message = parse(sample("group_quote", content=xml))

    assert isinstance(message, GroupMessage)
    assert message.quoted is not None
    assert message.quoted.sender == ""


def test_a_private_quote_is_not_a_groups() -> None:
    """And with a group's id in it the label is wrong, not the group."""
    private = sample("group_quote")
    private["messageType"] = "60014"
    assert isinstance(parse(private), GroupMessage)
    del private["data"]["fromGroup"]
    ignored = parse(private)
    assert isinstance(ignored, Ignored)
    assert ignored.reason is IgnoreReason.NOT_GROUP


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>'
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>'


@pytest.mark.parametrize(
    "xml",
    [
        BOMB,
        OUTSIDE,
        "<!DOCTYPE a><a/>",
        "<a>&unknown;</a>",
        "<a>" * (MAX_DEPTH + 1) + "</a>" * (MAX_DEPTH + 1),
        "<a>" + "<b/>" * MAX_ELEMENTS + "</a>",
        "<a>" + " " * MAX_MARKUP + "</a>",
        "<a>\ud800</a>",
        "<a>\x00</a>",
        "<a",
        "",
        "plain",
    ],
)
def test_xml_that_no_message_has_is_none(xml: str) -> None:
    """Entities, depth, size and half characters: refused before anything grows."""
    assert read_markup(xml) is None


def test_an_encoding_that_the_xml_claims_does_not_matter() -> None:
    """It came as JSON: the characters are known."""
    root = read_markup('<?xml version="1.0" encoding="gbk"?><a>你好</a>')

    assert root is not None
    assert root.text == "你好"


def test_a_sender_in_front_of_the_xml_is_skipped() -> None:
    """As older versions of the gateway have it."""
    prefixed = f"{PERSON}:\n{xml_of('group_image')}"

    image = content_of(sample("group_image", content=prefixed))

    assert isinstance(image, Image)
    assert image.size > 0


def verdict_of(raw: bytes) -> str:
    """The one verdict that a callback has, as its row keeps it."""
    parsed = parse_callback(raw)
    if isinstance(parsed, GroupMessage):
        return "message"
    row = make_row(
        parsed,
        raw,
        message_id=MessageId(1),
        received_at=datetime.now(UTC),
        keep_ignored_text=True,
    )
    return str(row.columns["verdict"])


KNOWN = {"message", *IgnoreReason}


@given(st.sampled_from(sorted(SAMPLES)), st.text() | st.from_regex(r"(<[a-z]{1,3}( a='x')?/?>|x)*"))
def test_any_content_leaves_one_verdict(name: str, content: str) -> None:
    """Texts and half documents."""
    assert verdict_of(json.dumps(sample(name, content=content)).encode()) in KNOWN


def test_the_parser_itself_expands_what_the_bounds_refuse() -> None:
    """The bomb is one: without the bound it would go off."""
    grown: list[str] = []
    parser = expat.ParserCreate()
    parser.CharacterDataHandler = grown.append
    parser.Parse(BOMB.encode(), True)

    assert len("".join(grown)) == 200
