"""
Every sample of a callback with every part of it removed, retyped and doubled: one verdict, no exception.

A part is a field of the JSON however deep, and an element or an attribute of the XML in its content.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import (
    Decision,
    GroupMessage,
    Ignored,
    IgnoreReason,
    MessageId,
    Question,
)
from app.services.decide import GroupRules, decide
from app.services.ecloud.callback import parse_callback
from app.services.inbox_rows import make_row
from tests.unit.ecloud.mutations import (
    ODD,
    doubled,
    elements,
    parent_of,
    parsed_xml,
    places,
    removed,
    retyped,
    variants,
    written,
    xml_text,
    xml_variants,
)

FOLDER = Path(__file__).parents[2] / "samples" / "ecloud"
SAMPLES = {path.stem: json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))}
WITH_XML = [name for name, one in SAMPLES.items() if "<" in str(one["data"].get("content"))]

_USUAL = "content fromGroup fromUser msgId newMsgId self timestamp toUser wId"
_ROOM = "addContactScene bitMask chatRoomNotify chatRoomOwner chatRoomStatus description nickName"
_COMPOUND = f"{_USUAL} msgType"
#: What the gateway is known to post, as its reference lists it: the type, and the fields of the data.
KNOWN: Mapping[str, tuple[str | int, str]] = {
    "test_push": ("00000", ""),
    "group_text": ("80001", f"{_USUAL} memberCount pushContent"),
    "group_text_mention": ("80001", f"{_USUAL} atlist memberCount pushContent"),
    "group_text_mention_everybody": ("80001", f"{_USUAL} atlist memberCount"),
    "own_group_text": ("80001", f"{_USUAL} memberCount"),
    "replay_after_login": ("80001", f"{_USUAL} atlist memberCount"),
    "group_image": ("80002", f"{_USUAL} img"),
    "group_voice": ("80004", f"{_USUAL} bufId length voiceLength"),
    "group_video": ("80003", _USUAL),
    "group_file_announced": ("80008", _COMPOUND),
    "group_file_finished": ("80009", _COMPOUND),
    "group_link": ("80007", f"{_COMPOUND} des pushContent title url"),
    "group_quote": ("80014", f"{_COMPOUND} title"),
    "group_emoji": ("80006", f"{_USUAL} length md5 url"),
    "group_recall": ("80018", _COMPOUND),
    "group_pat": ("80019", _COMPOUND),
    "member_invited": ("85008", _COMPOUND),
    "group_info_changed": (
        "85001",
        f"{_ROOM} smallHeadImgUrl userName wId",
    ),
    "offline": ("30000", "wId"),
    "mislabelled_room_as_sender": ("60001", _USUAL.replace("fromGroup ", "")),
    "native_group_text": (9, _USUAL),
    "unknown_type_strings_for_numbers": (
        "80777",
        f"{_USUAL.replace('toUser ', '')} somethingNew",
    ),
}

VERDICTS = {"answered", *IgnoreReason}
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def xml_of(name: str) -> str:
    """The content of a sample."""
    return str(SAMPLES[name]["data"]["content"])


def verdict_of(raw: bytes) -> str:
    """The one verdict of a callback, from its bytes to its row."""
    parsed = parse_callback(raw)
    if isinstance(parsed, Ignored):
        decision: Decision = parsed
    else:
        _assert_can_be_answered(parsed)
        decision = decide(parsed, GroupRules(), own_accounts=(), now=0.0)
    row = make_row(
        decision,
        raw,
        message_id=MessageId(1),
        received_at=datetime.now(UTC),
        keep_ignored_text=True,
    )
    return "answered" if isinstance(decision, Question) else str(row.columns["verdict"])


def _assert_can_be_answered(message: GroupMessage) -> None:
    origin = message.origin
    assert not origin.is_own
    assert message.text.strip()
    assert all((origin.bot_wc_id, origin.from_user, origin.group_id))
    ids = (origin.bot_wc_id, origin.from_user, origin.group_id, origin.w_id, origin.dedupe_key)
    assert all(part.isprintable() and len(part) <= 191 for part in ids)


def test_every_shape_that_the_gateway_is_known_to_post_is_a_sample() -> None:
    """Type and fields as the reference lists them; further samples are of later findings."""
    shapes = {name: (one["messageType"], set(one["data"])) for name, one in SAMPLES.items()}
    wanted = {name: (code, set(fields.split())) for name, (code, fields) in KNOWN.items()}

    assert {name: shapes.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("name", SAMPLES)
def test_every_field_removed_retyped_or_doubled_leaves_one_verdict(name: str) -> None:
    """However deep it is, and whatever stands in its place."""
    seen = [verdict_of(written(one).encode()) for one in variants(SAMPLES[name])]

    # Account, type, wcId and data at least; a field twice is no JSON.
    assert len(seen) >= 4 * 23
    assert set(seen) <= VERDICTS
    assert IgnoreReason.BAD_JSON in seen


@pytest.mark.parametrize("name", WITH_XML)
def test_every_part_of_the_xml_removed_retyped_or_doubled_leaves_one_verdict(name: str) -> None:
    """The inside of a message is as odd as its outside; the verdict stays one of its kind or a bad shape."""
    usual = verdict_of(json.dumps(SAMPLES[name]).encode())
    seen = []
    for xml in xml_variants(xml_of(name)):
        payload = retyped(SAMPLES[name], ("data", "content"), xml)
        seen.append(verdict_of(json.dumps(payload).encode()))

    assert len(seen) > 5
    allowed = {usual, IgnoreReason.BAD_SHAPE, IgnoreReason.NO_TEXT, IgnoreReason.UNSUPPORTED_TYPE}
    assert set(seen) <= allowed


@given(st.data())
def test_several_parts_at_once_of_any_value_leave_one_verdict(data: st.DataObject) -> None:
    """Up to four of them, one after the other, each removed, retyped or doubled."""
    payload: Any = SAMPLES[data.draw(st.sampled_from(sorted(SAMPLES)))]
    for _ in range(data.draw(st.integers(1, 3))):
        if not (found := list(places(payload))):
            break
        place = data.draw(st.sampled_from(found))
        odd = data.draw(st.just(...) | ANY_JSON)
        payload = removed(payload, place) if odd is ... else retyped(payload, place, odd)
    for place in data.draw(st.lists(st.sampled_from([*places(payload), ()]), max_size=1)):
        payload = doubled(payload, place, data.draw(ANY_JSON)) if place else payload

    assert verdict_of(written(payload).encode()) in VERDICTS


@given(st.sampled_from(WITH_XML), st.data())
def test_several_parts_of_the_xml_at_once_leave_one_verdict(name: str, data: st.DataObject) -> None:
    """Elements go, come twice, or hold any text; attributes are anything."""
    root = parsed_xml(xml_of(name))
    texts = st.text(max_size=20) | st.integers().map(str)
    for _ in range(data.draw(st.integers(1, 4))):
        if not (found := elements(root)):
            break
        one = found[data.draw(st.integers(0, len(found) - 1))]
        match data.draw(st.sampled_from(["remove", "double", "text", "attribute"])):
            case "remove":
                parent_of(root, one).remove(one)
            case "double":
                parent_of(root, one).append(deepcopy(one))
            case "text":
                one.text = data.draw(texts)
            case _:
                key = data.draw(st.sampled_from([*one.attrib, "type"]))
                one.set(key, data.draw(texts))
    payload = retyped(SAMPLES[name], ("data", "content"), xml_text(root))

    assert verdict_of(json.dumps(payload).encode("utf-8", "replace")) in VERDICTS
