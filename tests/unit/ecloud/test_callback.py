"""Callbacks of the gateway: every sample, every tolerance, and whatever else bytes can be."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import GroupMessage, Ignored, IgnoreReason, SegmentKind, echo_text
from app.services.ecloud.callback import parse_callback
from app.services.ecloud.wire import TYPE_KINDS

SAMPLES = {
    path.stem: path.read_bytes()
    for path in sorted((Path(__file__).parents[2] / "samples" / "ecloud").glob("*.json"))
}
BOT = "wxid_qiaobot7788k12"
PERSON = "wxid_lanlan5521m22"
GROUP = "48123450077@chatroom"

QUESTIONS = {
    "readme_example": "消息内容",
    "group_text": "周三的培训改到哪间会议室?",
    "group_text_mention": "@小桥\u2005打印机在几楼",
    "group_text_mention_everybody": "@所有人\u2005下午四点消防演习",
    "replay_after_login": "@小桥\u2005打印机在几楼",
    "mislabelled_group_text": "食堂今天有面吗",
    "native_group_text": "收到请回复",
    "group_quote": "三楼还是四楼?",
    "other_with_quote": "三楼还是四楼?",
}
VERDICTS = {
    "test_push": IgnoreReason.TEST_PUSH,
    "own_group_text": IgnoreReason.OWN_MESSAGE,
    "group_image": IgnoreReason.UNSUPPORTED_TYPE,
    "group_voice": IgnoreReason.UNSUPPORTED_TYPE,
    "group_video": IgnoreReason.UNSUPPORTED_TYPE,
    "group_file_announced": IgnoreReason.UNSUPPORTED_TYPE,
    "group_file_finished": IgnoreReason.UNSUPPORTED_TYPE,
    "group_link": IgnoreReason.UNSUPPORTED_TYPE,
    "group_emoji": IgnoreReason.UNSUPPORTED_TYPE,
    "group_recall": IgnoreReason.RECALL,
    "group_pat": IgnoreReason.PAT,
    "group_name_card": IgnoreReason.UNSUPPORTED_TYPE,
    "group_mini_program": IgnoreReason.UNSUPPORTED_TYPE,
    "group_record": IgnoreReason.UNSUPPORTED_TYPE,
    "group_location": IgnoreReason.UNSUPPORTED_TYPE,
    "group_music": IgnoreReason.UNSUPPORTED_TYPE,
    "group_transfer": IgnoreReason.UNSUPPORTED_TYPE,
    "member_invited": IgnoreReason.CONTROL_EVENT,
    "member_joined_by_code": IgnoreReason.CONTROL_EVENT,
    "group_renamed": IgnoreReason.CONTROL_EVENT,
    "group_dissolved": IgnoreReason.CONTROL_EVENT,
    "left_group": IgnoreReason.CONTROL_EVENT,
    "group_info_changed": IgnoreReason.CONTROL_EVENT,
    "offline": IgnoreReason.CONTROL_EVENT,
    "mislabelled_room_as_sender": IgnoreReason.NO_SENDER,
    "private_text": IgnoreReason.NOT_GROUP,
    "unknown_type_strings_for_numbers": IgnoreReason.UNKNOWN_TYPE,
}


def sample(name: str = "group_text", **changes: Any) -> dict[str, Any]:
    """A sample as objects; *changes* go into its data, ``...`` removes a field."""
    payload: dict[str, Any] = json.loads(SAMPLES[name])
    payload["data"].update(changes)
    payload["data"] = {key: value for key, value in payload["data"].items() if value is not ...}
    return payload


def parse(payload: Any) -> GroupMessage | Ignored:
    return parse_callback(json.dumps(payload, ensure_ascii=False).encode())


def parse_text(payload: Any) -> GroupMessage:
    parsed = parse(payload)
    assert isinstance(parsed, GroupMessage), parsed
    return parsed


def parse_ignored(payload: Any) -> Ignored:
    parsed = parse(payload)
    assert isinstance(parsed, Ignored), parsed
    return parsed


def test_every_sample_has_its_expected_verdict() -> None:
    """No sample lies in the folder without saying what must become of it."""
    assert set(SAMPLES) == set(QUESTIONS) | set(VERDICTS) | {"group_quote"}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_group_text_is_read_whole(name: str) -> None:
    """Text, group, sender, bot and ids arrive as they were sent."""
    payload = json.loads(SAMPLES[name])
    data = payload["data"]

    message = parse_callback(SAMPLES[name])

    assert isinstance(message, GroupMessage)
    assert message.text == QUESTIONS[name]
    origin = message.origin
    assert origin.bot_wc_id == payload["wcId"]
    assert origin.account == payload["account"]
    assert origin.from_user == data["fromUser"]
    assert origin.group_id == data["fromGroup"]
    assert origin.w_id == data["wId"]
    assert origin.msg_id == str(data["msgId"])
    assert origin.new_msg_id == str(data["newMsgId"])
    assert origin.timestamp == data["timestamp"]
    assert not origin.is_own


@pytest.mark.parametrize("name", VERDICTS)
def test_what_is_no_group_text_is_ignored_for_its_reason(name: str) -> None:
    """Everything but a person's text in a group gets the reason of its kind."""
    ignored = parse_callback(SAMPLES[name])

    assert isinstance(ignored, Ignored)
    assert ignored.reason is VERDICTS[name]


def test_the_readmes_example_is_a_question() -> None:
    """The example of the README is read with its 64-bit id exact to the last digit."""
    message = parse_callback(SAMPLES["readme_example"])

    assert isinstance(message, GroupMessage)
    assert message.origin.new_msg_id == "1497474118261484795"
    assert message.origin.dedupe_key == "1497474118261484795"
    assert message.origin.message_type == "80001"


def test_a_replay_after_a_new_login_has_the_same_key_and_another_login() -> None:
    """The gateway replays history after a login; only the wId differs."""
    first = parse_callback(SAMPLES["group_text_mention"])
    again = parse_callback(SAMPLES["replay_after_login"])

    assert first.origin.dedupe_key == again.origin.dedupe_key
    assert first.origin.w_id != again.origin.w_id


def test_an_own_text_keeps_its_words_for_matching_the_echo() -> None:
    """What our account wrote settles what we do not know to have sent."""
    ignored = parse_callback(SAMPLES["own_group_text"])

    assert isinstance(ignored, Ignored)
    assert ignored.text == "这个我来说明"
    assert ignored.origin.is_own
    assert ignored.origin.group_id == GROUP


def test_an_ignored_message_keeps_no_text() -> None:
    """Only own texts are kept; a private text is nobody's business."""
    ignored = parse_ignored(sample("private_text"))

    assert ignored.text == ""
    assert ignored.detail == ""
    assert ignored.origin.from_user == PERSON


def test_an_ignored_image_still_says_where_it_came_from() -> None:
    """Accounts are tracked by all callbacks, not only by answered ones."""
    ignored = parse_callback(SAMPLES["group_image"])

    assert (ignored.origin.bot_wc_id, ignored.origin.group_id) == (BOT, GROUP)
    assert ignored.origin.w_id
    assert ignored.origin.timestamp


def test_news_about_a_group_name_the_group() -> None:
    """Such events carry the group's id as userName."""
    assert parse_callback(SAMPLES["group_info_changed"]).origin.group_id == GROUP


def test_ids_as_strings_are_the_same_ids() -> None:
    """Numbers may come as strings, exact beyond 2^53."""
    origin = parse_callback(SAMPLES["unknown_type_strings_for_numbers"]).origin

    assert origin.new_msg_id == "9007199254740995"
    assert origin.msg_id == "1904417799"
    assert origin.timestamp == 1767000777


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**31])
def test_large_ids_are_exact(number: int) -> None:
    """No id ever passes through a float."""
    assert parse_text(sample(newMsgId=number)).origin.new_msg_id == str(number)


@pytest.mark.parametrize("value", [0, "0", "", None, ..., "000"])
def test_a_missing_new_msg_id_falls_back_to_the_other_ids(value: Any) -> None:
    """Zero stands for "none" on the wire."""
    origin = parse_text(sample(newMsgId=value)).origin

    assert origin.new_msg_id == ""
    assert origin.dedupe_key == f"{origin.msg_id}:{origin.timestamp}:{PERSON}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("newMsgId", 5.0e18),
        ("newMsgId", True),
        ("newMsgId", -(2**63) - 1),
        ("newMsgId", "--5"),
        ("newMsgId", "12a"),
        ("newMsgId", "٣٤"),
        ("newMsgId", [1]),
        ("newMsgId", 10**33),
        ("msgId", 1.5),
        ("timestamp", True),
        ("timestamp", {}),
        ("timestamp", 10**15),
        ("timestamp", -1),
        ("timestamp", -1.0),
        ("timestamp", "1.7.6"),
        ("fromUser", "wxid_a\nDEL ecloud"),
        ("fromUser", "wxid a"),
        ("fromUser", "wxid_\u200b"),
        ("fromUser", "w" * 129),
        ("fromUser", ["wxid_a"]),
        ("fromUser", 1.5),
        ("fromUser", 10**200),
        ("fromGroup", {"id": GROUP}),
        ("fromGroup", "12\r@chatroom"),
        ("self", "maybe"),
        ("self", 2),
        ("self", []),
        ("content", True),
        ("content", ["text"]),
        ("content", {}),
        ("atlist", 7),
        ("atlist", {"0": BOT}),
    ],
)
def test_an_odd_field_is_named_and_nothing_is_answered(field: str, value: Any) -> None:
    """What cannot be meant is refused rather than guessed, and the operator sees which field."""
    ignored = parse_ignored(sample(**{field: value}))

    assert ignored.reason is IgnoreReason.BAD_SHAPE
    assert ignored.detail == f"data.{field}"
    assert ignored.origin.bot_wc_id == BOT


def test_an_odd_wc_id_is_named() -> None:
    """The envelope's own fields are checked like those of its data."""
    ignored = parse_ignored(sample() | {"wcId": "w" * 129})

    assert (ignored.reason, ignored.detail) == (IgnoreReason.BAD_SHAPE, "wcId")


@pytest.mark.parametrize("value", [True, 1.5, [BOT], {}, "w" * 200, "a b", "a\x00b"])
@pytest.mark.parametrize(("field", "read"), [("toUser", None), ("wId", "w_id")])
def test_an_odd_receiver_or_login_costs_no_question(
    field: str, read: str | None, value: Any
) -> None:
    """The answer goes to fromGroup, under the wId that other callbacks or the gateway name."""
    origin = parse_text(sample(**{field: value})).origin

    assert (origin.bot_wc_id, origin.group_id) == (BOT, GROUP)
    assert read is None or getattr(origin, read) == ""


def test_an_odd_account_costs_no_question() -> None:
    """It is only written down for the operator."""
    assert parse_text(sample() | {"account": "1" * 65}).origin.account == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [(42, "42"), (0, "0"), (-7, "-7"), (3.5, "3.5"), (int("7" * 4300), "7" * 4300)],
)
def test_a_number_as_content_is_the_text_that_was_typed(value: Any, expected: str) -> None:
    """Numbers and strings stand for one another, also where somebody typed a number."""
    assert parse_text(sample(content=value)).text == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1, 2**64 - 1), (-(2**63), 2**63), ("-5", 2**64 - 5), ("-0", "")],
)
def test_an_id_below_zero_is_the_same_64_bits_without_a_sign(value: Any, expected: Any) -> None:
    """A server id beyond 2^63 comes as a negative number out of a signed type."""
    assert parse_text(sample(newMsgId=value)).origin.new_msg_id == str(expected)


@pytest.mark.parametrize("body", ["[]", '"text"', "null", "7", "true"])
def test_a_body_that_is_no_object_is_a_bad_shape(body: str) -> None:
    """Valid JSON of another kind is not the gateway's."""
    ignored = parse_callback(body.encode())

    assert isinstance(ignored, Ignored)
    assert (ignored.reason, ignored.detail) == (IgnoreReason.BAD_SHAPE, "body")


@pytest.mark.parametrize("data", [None, [], "x", 1, False])
def test_data_that_is_no_object_is_a_bad_shape(data: Any) -> None:
    """Without data there is nothing to read."""
    ignored = parse_ignored(sample() | {"data": data})

    assert (ignored.reason, ignored.detail) == (IgnoreReason.BAD_SHAPE, "data")


@pytest.mark.parametrize("data", [None, [], "", {}, {"fromUser": 1.5}])
def test_the_test_push_is_recognised_whatever_its_data_is(data: Any) -> None:
    """Its other fields are documented nowhere."""
    ignored = parse_ignored({"messageType": "00000", "data": data})

    assert ignored.reason is IgnoreReason.TEST_PUSH


@pytest.mark.parametrize(
    "value", [None, True, 80001.0, [], {}, "", "text", -1, 10**20, "8" * 9, "٨٠٠٠١", "80 001"]
)
def test_an_odd_message_type_is_a_bad_shape(value: Any) -> None:
    """A type is an integer or a string of a few digits."""
    ignored = parse_ignored(sample() | {"messageType": value})

    assert (ignored.reason, ignored.detail) == (IgnoreReason.BAD_SHAPE, "messageType")


@pytest.mark.parametrize("value", ["80001", 80001, " 80001 ", 9, "9"])
def test_the_type_of_a_group_text_comes_in_several_spellings(value: Any) -> None:
    """Strings, integers and the older small integers mean the same."""
    assert parse_text(sample() | {"messageType": value}).origin.message_type == "80001"


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        (0, IgnoreReason.CONTROL_EVENT),
        (4, IgnoreReason.CONTROL_EVENT),
        (10, IgnoreReason.UNSUPPORTED_TYPE),
        (12, IgnoreReason.UNSUPPORTED_TYPE),
        (14, IgnoreReason.UNSUPPORTED_TYPE),
        (18, IgnoreReason.UNKNOWN_TYPE),
        (777, IgnoreReason.UNKNOWN_TYPE),
    ],
)
def test_older_types_are_translated(native: int, reason: IgnoreReason) -> None:
    """The older numbering has its counterparts; what has none is unknown."""
    assert parse_ignored(sample() | {"messageType": native}).reason is reason


@pytest.mark.parametrize("native", [5, 6, 13])
def test_older_private_types_with_a_group_belong_to_the_group(native: int) -> None:
    """The group decides, not the number."""
    with_group = parse(sample() | {"messageType": native})
    without = parse_ignored(sample(fromGroup=...) | {"messageType": native})

    assert not (isinstance(with_group, Ignored) and with_group.reason is IgnoreReason.NOT_GROUP)
    assert without.reason is IgnoreReason.NOT_GROUP


@pytest.mark.parametrize("code", sorted(TYPE_KINDS))
def test_every_known_type_gets_a_verdict_of_its_own(code: str) -> None:
    """No code of the table is unknown to the parser."""
    parsed = parse(sample() | {"messageType": code})

    assert not (isinstance(parsed, Ignored) and parsed.reason is IgnoreReason.UNKNOWN_TYPE)


@pytest.mark.parametrize("value", [True, "true", "True", "TRUE", 1, "1"])
def test_own_messages_are_recognised_in_every_spelling(value: Any) -> None:
    """Answering ourselves would never end."""
    assert parse_ignored(sample(self=value)).reason is IgnoreReason.OWN_MESSAGE


@pytest.mark.parametrize("value", [False, "false", "False", 0, "0", "", None, ...])
def test_other_messages_are_recognised_in_every_spelling(value: Any) -> None:
    """A missing flag means: not ours."""
    assert not parse_text(sample(self=value)).origin.is_own


def test_a_message_from_the_account_itself_is_own_without_the_flag() -> None:
    """The flag is missing on some types."""
    ignored = parse_ignored(sample(fromUser=BOT, self=...))

    assert ignored.reason is IgnoreReason.OWN_MESSAGE
    assert ignored.origin.is_own


def test_an_own_message_in_swapped_fields_is_own() -> None:
    """Belt and braces: the room as sender does not make it somebody else's."""
    assert parse_ignored(sample(fromUser=GROUP, self=True)).reason is IgnoreReason.OWN_MESSAGE


def test_an_own_image_is_own() -> None:
    """Own comes before unsupported."""
    assert parse_ignored(sample("group_image", self=True)).reason is IgnoreReason.OWN_MESSAGE


def test_a_picture_or_a_file_can_be_asked_for_later() -> None:
    """By its id and its XML as they came; of a file the name is known."""
    body = sample("group_file_finished")
    picture = parse_ignored(sample("group_image")).file
    file = parse_ignored(body).file

    assert picture is not None
    assert picture.is_image
    assert picture.content == sample("group_image")["data"]["content"]
    assert file is not None
    assert not file.is_image
    assert file.name.endswith(".xlsx")
    assert file.msg_id == str(body["data"]["msgId"])


@pytest.mark.parametrize(
    "changes",
    [
        {"content": ...},
        {"content": ""},
        {"content": "x" * 20_000},
        {"msgId": ...},
        {"fromUser": ...},
        {"self": True},
    ],
)
def test_what_lacks_something_for_that_is_only_ignored(changes: dict[str, Any]) -> None:
    """As before."""
    assert parse_ignored(sample("group_image", **changes)).file is None


@pytest.mark.parametrize("name", ["group_video", "group_voice", "group_file_announced"])
def test_other_things_are_not_asked_for(name: str) -> None:
    """A file not before it is all there."""
    assert parse_ignored(sample(name)).file is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [("80002", SegmentKind.IMAGE), ("80009", SegmentKind.FILE), ("80008", None), ("80006", None)],
)
def test_what_was_sent_is_known_by_its_kind(code: str, kind: SegmentKind | None) -> None:
    """A file is told twice, and counts when it is all there; others' pictures are no echo."""
    expected = "" if kind is None else echo_text(kind, "https://files.example.com/a")
    own = parse(sample("group_image", self=True) | {"messageType": code})
    other = parse(sample("group_image") | {"messageType": code})

    assert isinstance(own, Ignored)
    assert isinstance(other, Ignored)
    assert (own.text, other.text) == (expected, "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"atlist": [BOT, PERSON]}, (BOT, PERSON)),
        ({"atList": [BOT]}, (BOT,)),
        ({"atlist": f"{BOT},{PERSON}"}, (BOT, PERSON)),
        ({"atlist": f"{BOT}, {PERSON},"}, (BOT, PERSON)),
        ({"atlist": f'["{BOT}","{PERSON}"]'}, (BOT, PERSON)),
        ({"atlist": ""}, ()),
        ({"atlist": None}, ()),
        ({"atlist": None, "atList": [BOT]}, (BOT,)),
        ({"atlist": []}, ()),
        ({"atlist": [BOT, None, 5, "a b", BOT]}, (BOT,)),
        ({}, ()),
    ],
)
def test_mentions_come_in_several_shapes(
    changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """List, string with commas, null, absent and the other spelling of the name."""
    assert parse_text(sample(**changes)).mentions == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("48123450077@chatRoom", GROUP),
        ("48123450077@CHATROOM", GROUP),
        ("48123450077", GROUP),
        (48123450077, GROUP),
    ],
)
def test_a_group_has_one_spelling_inside(value: Any, expected: str) -> None:
    """The suffix comes in several cases, and not at all."""
    assert parse_text(sample(fromGroup=value)).origin.group_id == expected


@pytest.mark.parametrize("code", ["80001", "60001"])
def test_a_group_that_stands_in_to_user_is_found(code: str) -> None:
    """Without fromGroup the other ids say that it is a group."""
    payload = sample(fromGroup=..., toUser="48123450077@chatRoom") | {"messageType": code}

    assert parse_text(payload).origin.group_id == GROUP


def test_a_group_text_without_a_group_cannot_be_answered() -> None:
    """There is nowhere to send an answer to."""
    ignored = parse_ignored(sample(fromGroup=...))

    assert (ignored.reason, ignored.detail) == (IgnoreReason.BAD_SHAPE, "data.fromGroup")


@pytest.mark.parametrize("value", [..., None, "", GROUP])
def test_a_text_without_a_person_has_no_sender(value: Any) -> None:
    """Nobody's queue could take it."""
    ignored = parse_ignored(sample(fromUser=value))

    assert ignored.reason is IgnoreReason.NO_SENDER
    assert ignored.origin.from_user == ""


def test_a_missing_bot_is_read_from_the_receiver() -> None:
    """For incoming messages the receiver is our account."""
    payload = sample()
    del payload["wcId"]

    assert parse_text(payload).origin.bot_wc_id == BOT


@pytest.mark.parametrize(
    ("name", "envelope", "data", "names_login", "proves"),
    [
        ("readme_example", {}, {}, True, True),
        ("group_text", {}, {}, True, True),
        ("private_text", {}, {}, True, True),
        ("own_group_text", {}, {}, True, True),
        ("mislabelled_room_as_sender", {}, {}, True, True),
        ("native_group_text", {}, {}, True, True),
        # Not addressed to the account that the envelope names.
        ("group_text", {}, {"toUser": ...}, True, False),
        ("group_text", {}, {"toUser": PERSON}, True, False),
        ("group_text", {}, {"toUser": "w" * 200}, True, False),
        ("group_text", {"wcId": PERSON}, {}, True, False),
        ("group_text", {}, {"fromUser": ...}, True, False),
        # Own, and from somebody else; not own, and from itself.
        ("own_group_text", {}, {"fromUser": PERSON}, True, False),
        ("group_text", {}, {"fromUser": BOT}, True, False),
        # No text, no login, no account of the envelope's own, no message.
        ("group_image", {}, {}, True, False),
        ("group_text", {}, {"wId": ...}, False, False),
        ("group_text", {"wcId": ""}, {}, False, False),
        ("offline", {}, {"toUser": BOT, "fromUser": PERSON}, False, False),
        ("group_info_changed", {}, {}, False, False),
        ("unknown_type_strings_for_numbers", {}, {"toUser": BOT}, False, False),
    ],
)
def test_what_a_callback_says_about_accounts_depends_on_its_own_agreement(
    name: str,
    envelope: dict[str, Any],
    data: dict[str, Any],
    names_login: bool,
    proves: bool,
) -> None:
    """Envelope, receiver and login of a text agree: ours. A message names the login in force."""
    origin = parse(sample(name, **data) | envelope).origin

    assert (origin.names_login, origin.proves_account) == (names_login, proves)


def test_a_text_that_names_no_bot_is_a_bad_shape() -> None:
    """No account could answer it."""
    payload = sample(toUser=...)
    del payload["wcId"]
    ignored = parse_ignored(payload)

    assert (ignored.reason, ignored.detail) == (IgnoreReason.BAD_SHAPE, "wcId")


@pytest.mark.parametrize("value", [None, ..., "", "  \n", "\u200b\u2005", f"{PERSON}:\n"])
def test_nothing_to_read_is_no_text(value: Any) -> None:
    """Null, absent, blank, invisible, or only the sender's prefix."""
    assert parse_ignored(sample(content=value)).reason is IgnoreReason.NO_TEXT


def test_the_senders_prefix_is_taken_off() -> None:
    """The older format puts the sender before the text."""
    assert parse_text(sample(content=f"{PERSON}:\n几点下班")).text == "几点下班"


def test_another_persons_prefix_stays() -> None:
    """It is what the sender typed."""
    assert parse_text(sample(content="wxid_x:\n几点下班")).text == "wxid_x:\n几点下班"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"timestamp": ..., "createTime": 1767000001}, 1767000001),
        ({"timestamp": "1767000001"}, 1767000001),
        ({"timestamp": 1767000001123}, 1767000001),
        ({"timestamp": 1767000001.0}, 1767000001),
        ({"timestamp": "1767000001.0"}, 1767000001),
        ({"timestamp": 0.0, "createTime": 1767000001}, 1767000001),
        ({"timestamp": None}, 0),
        ({"timestamp": 0}, 0),
    ],
)
def test_the_time_comes_in_several_shapes(changes: dict[str, Any], expected: int) -> None:
    """Seconds, also as a string, as createTime or in milliseconds; 0 if nothing is said."""
    assert parse_text(sample(**changes)).origin.timestamp == expected


@pytest.mark.parametrize(
    ("notice", "content", "expected"),
    [
        ("兰兰 : 几点了", "几点了", "兰兰"),
        ("a : b : 几点了", "几点了", "a : b"),
        ("兰兰在群聊中@了你", "@小桥\u2005几点了", "兰兰"),
        ("兰兰 : 在群聊中@了你", "在群聊中@了你", "兰兰"),
        ("兰兰 : 几点…", "几点了呀", "兰兰"),
        ("兰兰 : 他在群聊中@了你…", "他在群聊中@了你没有", "兰兰"),
        ("  兰\u202e兰\n : 几点了", "几点了", "兰兰"),
        ("没有分隔", "几点了", ""),
        ("", "几点了", ""),
        (None, "几点了", ""),
        ("\u200b : 几点了", "几点了", ""),
    ],
)
def test_the_senders_name_is_read_from_the_notice(
    notice: str | None, content: str, expected: str
) -> None:
    """The notification text is the one place that names strangers."""
    message = parse_text(sample(pushContent=notice, content=content))

    assert message.sender_name == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b'{"messageType":"80001"} trailing',
        b'{"messageType":"80001","data":{"content":"\\ud83d"}}',
        b'{"messageType":"80001","data":{"content":"\\udc00x"}}',
        b'{"messageType":"80001","data":{"content":"\xed\xa0\xbd"}}',
        b'{"messageType":"80001","data":{"timestamp":NaN}}',
        b'{"messageType":"80001","data":{"timestamp":-Infinity}}',
        b'{"messageType":"80001","data":{"newMsgId":' + b"7" * 5000 + b"}}",
        b'{"messageType":"80001","messageType":"00000"}',
        b'{"messageType":"80001","data":{"self":true,"self":false}}',
        b'\xef\xbb\xbf\xef\xbb\xbf{"messageType":"00000"}',
        '{"messageType":"00000"}'.encode("utf-16"),
        '{"messageType":"00000","x":"ä"}'.encode("latin-1"),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\x00\xff\xfe",
    ],
)
def test_broken_json_is_a_verdict_not_an_exception(raw: bytes) -> None:
    """Whatever is not strict JSON in UTF-8 is kept as such."""
    ignored = parse_callback(raw)

    assert isinstance(ignored, Ignored)
    assert ignored.reason is IgnoreReason.BAD_JSON
    assert 0 < len(ignored.detail) <= 200


def test_a_byte_order_mark_is_no_part_of_the_body() -> None:
    """Some serialisers put one in front of UTF-8."""
    message = parse_callback(b"\xef\xbb\xbf" + SAMPLES["group_text"])

    assert message == parse_callback(SAMPLES["group_text"])


@pytest.mark.parametrize("person", ["25984983012345678@openim", "old-style_id-9", "a0001"])
def test_a_sender_of_another_kind_is_a_person(person: str) -> None:
    """WeCom users and old ids have no ``wxid_`` in front."""
    assert parse_text(sample(fromUser=person)).origin.from_user == person


def test_an_article_of_an_official_account_is_no_group_message() -> None:
    """Type 90001 carries a link's XML and no group."""
    ignored = parse_ignored(
        {
            "account": "18600007788",
            "messageType": "90001",
            "wcId": BOT,
            "data": {
                "content": "<msg><appmsg><title>周报</title><type>5</type></appmsg></msg>",
                "fromUser": "gh_0123456789ab",
                "newMsgId": 5081726354409182740,
                "pushContent": "[链接]周报",
                "timestamp": 1767000800,
                "toUser": BOT,
            },
        }
    )

    assert (ignored.reason, ignored.origin.group_id) == (IgnoreReason.NOT_GROUP, "")
    assert ignored.origin.dedupe_key == "5081726354409182740"


def test_leaving_a_group_is_news_about_that_group() -> None:
    """Type 85015 has userName and wId and nothing else."""
    ignored = parse_ignored(
        {"messageType": "85015", "wcId": BOT, "data": {"userName": GROUP, "wId": "w1"}}
    )

    assert (ignored.reason, ignored.origin.group_id) == (IgnoreReason.CONTROL_EVENT, GROUP)
    assert ignored.origin.dedupe_key == ""


@pytest.mark.parametrize(
    "build",
    [
        lambda size: b"[" * size,
        lambda size: b"1" * size,
        lambda size: b'{"a":"' + b"\\u0041" * (size // 6) + b'"}',
        lambda size: b"{" + b",".join(b'"%d":1' % i for i in range(size // 10)) + b"}",
        lambda size: b"[" + b",".join([b"7" * 4000] * (size // 4001)) + b"]",
        lambda size: json.dumps(sample(content="@" * size, atlist="," * 10)).encode(),
        lambda size: json.dumps(sample(atlist="a," * (size // 2))).encode(),
        lambda size: json.dumps(sample(content="好", pushContent=" : " * (size // 3))).encode(),
        lambda size: json.dumps(sample(fromUser="w" * size)).encode(),
    ],
)
def test_a_mebibyte_of_malice_is_read_in_a_moment(build: Callable[[int], bytes]) -> None:
    """Nothing in the parser grows faster than the body."""
    raw = build(1024 * 1024)
    started = time.process_time()
    parse_callback(raw)

    assert time.process_time() - started < 1


ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.lists(st.one_of(st.none(), st.text(max_size=5), st.integers()), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.sampled_from([GROUP, PERSON, BOT, "notify@all", "@chatroom", 2**64, "1e5", "true"]),
)


def _fields() -> list[tuple[str, str | None, str]]:
    """(sample, None or "data", field) of every field of every sample."""
    found: list[tuple[str, str | None, str]] = []
    for name, raw in SAMPLES.items():
        payload = json.loads(raw)
        found += [(name, None, field) for field in payload]
        found += [(name, "data", field) for field in payload["data"]]
    return found


def _assert_one_verdict(parsed: object) -> None:
    assert isinstance(parsed, GroupMessage | Ignored)
    if isinstance(parsed, GroupMessage):
        origin = parsed.origin
        assert origin.bot_wc_id
        assert origin.from_user
        assert origin.group_id
        assert not origin.is_own
        assert parsed.text.strip()
        ids = (origin.bot_wc_id, origin.from_user, origin.group_id, origin.w_id, origin.dedupe_key)
        assert all(part.isprintable() and len(part) <= 191 for part in ids)


@pytest.mark.parametrize(("name", "part", "field"), _fields())
def test_any_field_may_be_missing_or_doubled(name: str, part: str | None, field: str) -> None:
    """One field less is one verdict; one field twice is broken JSON."""
    payload = json.loads(SAMPLES[name])
    target = payload[part] if part else payload
    value = target.pop(field)
    _assert_one_verdict(parse(payload))

    target[field] = value
    target["doubled"] = value
    text = json.dumps(payload).replace('"doubled"', json.dumps(field))
    doubled = parse_callback(text.encode())

    assert isinstance(doubled, Ignored)
    assert doubled.reason is IgnoreReason.BAD_JSON


@given(where=st.sampled_from(_fields()), value=ODD_VALUES)
def test_any_field_may_be_of_any_type(where: tuple[str, str | None, str], value: Any) -> None:
    """Another type is never an exception and always exactly one verdict."""
    name, part, field = where
    payload = json.loads(SAMPLES[name])
    (payload[part] if part else payload)[field] = value

    _assert_one_verdict(parse(payload))


@given(st.binary(max_size=200))
def test_any_bytes_get_a_verdict(raw: bytes) -> None:
    """No bytes are an exception."""
    _assert_one_verdict(parse_callback(raw))


@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_damaged_samples_get_a_verdict(name: str, place: int, damage: bytes) -> None:
    """Bytes that were overwritten on the way are never an exception."""
    raw = bytearray(SAMPLES[name])
    place %= len(raw)
    raw[place : place + len(damage)] = damage

    _assert_one_verdict(parse_callback(bytes(raw)))
