"""Which message a quotation is about, whatever its markup holds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import Ignored, IgnoreReason, Quotation
from app.services.ecloud.callback import parse_callback
from app.services.ecloud.quotation import MAX_MARKUP, Reference, read_reference

BOT = "wxid_bot7788k12"
REFERENCE = f"<refermsg><type>1</type><svrid>71</svrid><chatusr>{BOT}</chatusr></refermsg>"


def markup(inside: str = REFERENCE, title: str = "赞") -> str:
    """A quotation as the gateway passes it on."""
    return f'<?xml version="1.0"?>\n<msg><appmsg><title>{title}</title>{inside}</appmsg></msg>'


def callback(content: Any, **data: Any) -> bytes:
    """A callback with it."""
    own = {
        "content": content,
        "fromGroup": "1@chatroom",
        "fromUser": "wxid_a",
        "newMsgId": 9,
        "self": False,
        "timestamp": 1_767_000_000,
        "toUser": BOT,
        "wId": "w",
    }
    body = {"messageType": "80014", "wcId": BOT, "account": "1", "data": {**own, **data}}
    return json.dumps(body).encode()


def test_the_quoted_message_its_sender_and_the_text_are_read() -> None:
    """Nothing else of it matters."""
    assert read_reference(markup(title="好&amp;赞")) == Reference(
        new_msg_id="71", sender=BOT, title="好&赞"
    )


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "<msg/>",
        markup(""),
        markup(REFERENCE * 2),
        markup(REFERENCE.replace("71", "0")),
        markup(REFERENCE.replace("71", "x")),
        markup(REFERENCE.replace("71", "7" * 21)),
        markup(REFERENCE.replace("<type>", "<svrid>5</svrid><type>")),
        '<!DOCTYPE x [<!ENTITY a "71">]>' + markup(),
        "<!entity a 'b'>" + markup(),
        markup() + " " * MAX_MARKUP,
        markup(f"<![CDATA[{REFERENCE}]]>"),
    ],
)
def test_what_is_not_clearly_one_quotation_is_none(odd: str) -> None:
    """Nobody guesses which answer is meant, and nothing is expanded."""
    assert read_reference(odd) is None


def test_what_a_person_typed_cannot_pass_for_the_quoted_message() -> None:
    """It stands in a section of its own, or escaped."""
    typed = "<refermsg><svrid>99</svrid></refermsg>"

    assert read_reference(markup(title=f"<![CDATA[{typed}]]>")) == Reference(
        new_msg_id="71", sender=BOT, title=""
    )


@given(st.text(alphabet=st.sampled_from("<>![]CDATArefmsgvid/019 \n&;-"), max_size=200))
def test_any_markup_is_read_or_refused(text: str) -> None:
    """Without an error, and in linear time."""
    for one in (text, markup(text), markup(REFERENCE + text)):
        found = read_reference(one)
        assert found is None or found.new_msg_id.isdecimal()


def test_a_quotation_of_ours_is_the_text_and_the_quoted_id() -> None:
    """Whether the text stands beside the markup or in it."""
    for data in ({}, {"title": "赞"}):
        parsed = parse_callback(callback(markup(), **data))

        assert isinstance(parsed, Quotation)
        assert (parsed.message.text, parsed.quoted_id) == ("赞", "71")


@pytest.mark.parametrize(
    ("content", "data", "reason"),
    [
        (markup(REFERENCE.replace(BOT, "wxid_b")), {}, IgnoreReason.UNSUPPORTED_TYPE),
        ("", {}, IgnoreReason.UNSUPPORTED_TYPE),
        ([], {}, IgnoreReason.UNSUPPORTED_TYPE),
        (markup(), {"self": True}, IgnoreReason.OWN_MESSAGE),
        (markup(), {"fromUser": ""}, IgnoreReason.UNSUPPORTED_TYPE),
        (markup(), {"title": {}}, IgnoreReason.UNSUPPORTED_TYPE),
    ],
)
def test_other_quotations_are_what_they_were(
    content: Any, data: dict[str, Any], reason: IgnoreReason
) -> None:
    """People quote one another all the time."""
    parsed = parse_callback(callback(content, **data))

    assert isinstance(parsed, Ignored)
    assert parsed.reason is reason
