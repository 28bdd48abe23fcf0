"""Cards: whose they are, and what is kept of them."""

from typing import Any

import pytest

from app.services.ecloud.cards import ContactCard

GROUP = "48123450077@chatroom"
PERSON = "wxid_lanlan5521m22"
EMPTY = {"nickName": None, "remark": "", "sex": 0, "bigHead": None, "smallHead": "", "v1": None}


@pytest.mark.parametrize(
    ("asked", "values", "is_known"),
    [
        (PERSON, {"userName": PERSON, "nickName": "兰兰"}, True),
        (PERSON, {"nickName": "兰兰"}, True),
        (PERSON, {"userName": PERSON, "remark": "行政", "v1": "v1_x", "smallHead": "s"}, False),
        (GROUP, {"userName": GROUP, "nickName": "三楼"}, True),
        (GROUP, {"userName": GROUP}, True),
        (GROUP, {"userName": None, "nickName": "三楼"}, True),
        (GROUP, {"remark": "三楼"}, True),
        (GROUP, {"smallHeadImgUrl": "http://x/s"}, True),
        (GROUP, {"bigHead": "http://x/b"}, True),
        (GROUP, {"v1": GROUP}, True),
        (GROUP, {"userName": None, "chatRoomStatus": 0}, False),
    ],
)
def test_a_person_is_known_by_a_name_and_a_group_by_any_sign(
    asked: str, values: dict[str, Any], is_known: bool
) -> None:
    """Groups need no name; but an answer with nothing in it is about nobody."""
    card = ContactCard.from_wire({**EMPTY, **values}, asked=asked)

    assert card is not None
    assert (card.wc_id, card.is_known) == (asked, is_known)


def nested(levels: int, *, by: str = "object") -> Any:
    """So many objects or arrays within one another."""
    value: Any = 1
    for _ in range(levels):
        value = {"in": value} if by == "object" else [value]
    return value


def depth_of(value: Any) -> int:
    """How many objects and arrays lie within one another."""
    if not isinstance(value, dict | list):
        return 0
    items = value.values() if isinstance(value, dict) else value
    return 1 + max((depth_of(item) for item in items), default=0)


@pytest.mark.parametrize("by", ["object", "array"])
@pytest.mark.parametrize("levels", [30, 31, 190])
def test_what_lies_too_deep_for_a_database_is_left_out(by: str, levels: int) -> None:
    """The rest of the card is kept as it came."""
    values = {
        "userName": PERSON,
        "nickName": "兰兰",
        "deep": nested(levels, by=by),
        "n": [{"a": 1}],
    }

    card = ContactCard.from_wire(values)

    assert card is not None
    assert card.nick_name == "兰兰"
    assert card.raw["n"] == [{"a": 1}]
    assert depth_of(card.raw) == 30


@pytest.mark.parametrize("by", ["object", "array"])
def test_a_card_that_is_not_too_deep_is_kept_whole(by: str) -> None:
    """To the last level."""
    values = {"userName": PERSON, "deep": nested(29, by=by), "empty": [{}, []]}

    card = ContactCard.from_wire(values)

    assert card is not None
    assert card.raw == values
