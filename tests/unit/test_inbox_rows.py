"""Rows of the inbox: what is kept of which callback, and the way through a spill file."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import Decision, IgnoreReason, MemberFile, MessageId
from app.models.message import Message
from app.services.inbox_rows import (
    DEDUPLICATED,
    FIRST_BYTES_OF_TOO_LARGE,
    KEEP_RAW,
    RAW_BYTES,
    InboxRow,
    file_of_text,
    make_row,
    row_from_record,
)
from app.services.text import text_digest
from tests.fixtures.callbacks import make_ignored, make_question

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
LARGEST = MessageId((1 << 63) - 1)


def row(decision: Decision, raw: bytes = b"{}", *, keep_ignored_text: bool = False) -> InboxRow:
    return make_row(
        decision,
        raw,
        message_id=LARGEST,
        received_at=NOW,
        keep_ignored_text=keep_ignored_text,
    )


def test_every_column_is_one_of_the_table() -> None:
    """Of questions and of what is ignored."""
    names = set(Message.__table__.c.keys())

    assert row(make_question()).columns.keys() <= names
    assert row(make_ignored()).columns.keys() == row(make_question()).columns.keys()


@pytest.mark.parametrize("reason", list(IgnoreReason))
def test_an_ignored_text_is_kept_only_where_a_setting_says_so(reason: IgnoreReason) -> None:
    """People talk in groups; the bot does not collect it."""
    ignored = make_ignored(reason, text="私事")

    plain = row(ignored, "私事".encode())
    kept = row(ignored, "私事".encode(), keep_ignored_text=True)

    assert plain.columns["text"] is None
    assert (plain.columns["raw"] is None) == (reason not in KEEP_RAW)
    assert (kept.columns["text"], kept.columns["raw"]) == ("私事", "私事")
    assert (plain.columns["state"], plain.columns["verdict"]) == ("ignored", reason)


@pytest.mark.parametrize("reason", list(IgnoreReason))
def test_what_repeats_an_id_is_deduplicated_and_events_are_not(reason: IgnoreReason) -> None:
    """The second "offline" is another event, the second "not mentioned" is the same message."""
    key = row(make_ignored(reason, new_msg_id="77")).dedupe_key

    assert key == ("77" if reason in DEDUPLICATED else f"#{LARGEST}")


@pytest.mark.parametrize(
    ("ids", "key"),
    [
        ({"new_msg_id": "77"}, "77"),
        ({"new_msg_id": "0", "msg_id": "5"}, "5:1767000000:wxid_lanlan5521m22"),
        ({"new_msg_id": "", "msg_id": "5", "timestamp": 0}, f"#{LARGEST}"),
        ({"new_msg_id": "", "msg_id": ""}, f"#{LARGEST}"),
    ],
)
def test_the_key_of_a_question(ids: dict[str, Any], key: str) -> None:
    """newMsgId; else msgId with time and person; else nothing is known to repeat it."""
    assert row(make_question(**ids)).dedupe_key == key


def test_the_echo_of_our_own_message_is_known_by_its_digest() -> None:
    """Without its text."""
    columns = row(make_ignored(IgnoreReason.OWN_MESSAGE, text="六点。")).columns

    assert columns["text_digest"] == text_digest("六点。")
    assert row(make_ignored(IgnoreReason.NO_TEXT, text="六点。")).columns["text_digest"] is None
    assert row(make_ignored(IgnoreReason.OWN_MESSAGE)).columns["text_digest"] is None


def test_raw_callbacks_are_bounded_and_readable() -> None:
    """What is not UTF-8 shows as an escape; a character torn by the bound, too."""
    assert row(make_question(), b"\xff\x00\xe4\xbd\xa0").columns["raw"] == "\\xff\\x00你"
    assert len(row(make_question(), b"x" * 10**6).columns["raw"]) == RAW_BYTES
    large = make_ignored(IgnoreReason.TOO_LARGE)
    assert len(row(large, b"x" * 10**6).columns["raw"]) == FIRST_BYTES_OF_TOO_LARGE


@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    name=st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    raw=st.binary(),
)
def test_a_row_comes_out_of_the_spill_as_it_went_in(text: str, name: str, raw: bytes) -> None:
    """Ids to the last bit, times to the microsecond, every character."""
    before = row(make_question(text, sender_name=name), raw)

    after = row_from_record(orjson.loads(orjson.dumps(before.to_record())))

    assert after == before
    assert after.is_question


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"id": "x", "received_at": "2026"},
        {"id": None, "received_at": "2026-01-01"},
        {"id": "7", "received_at": "yesterday"},
    ],
)
def test_a_line_that_is_not_ours_is_an_error(record: dict[str, Any]) -> None:
    """Whoever replays keeps it aside."""
    with pytest.raises((KeyError, ValueError, TypeError)):
        row_from_record(record)


def test_a_column_of_another_version_is_an_error() -> None:
    """Rather than a row of which a part is missing."""
    record = row(make_question()).to_record() | {"column_of_the_future": 1}

    with pytest.raises(KeyError, match="column_of_the_future"):
        row_from_record(record)


def test_an_escaped_row_fits_every_column() -> None:
    """ASCII, and no text longer than its column; ids and times as they were."""
    odd = make_question("🐼" * 400, sender_name="🐼" * 400, from_user="很长" * 200)

    before = row(odd)
    after = before.escaped()

    for name, value in after.columns.items():
        if isinstance(value, str):
            length = getattr(Message.__table__.c[name].type, "length", None)
            assert value.isascii()
            assert length is None or len(value) <= length, name
    assert after.message_id == before.message_id
    assert after.columns["received_at"] == NOW
    assert after.from_user == after.columns["from_user"]


def test_a_row_under_another_id_is_otherwise_the_same() -> None:
    """The first id was taken by another process."""
    before = row(make_question())
    after = before.with_id(MessageId(8))

    assert (after.message_id, after.columns["id"]) == (8, 8)
    assert after.columns | {"id": LARGEST} == before.columns


def test_a_file_that_waits_is_kept_whatever_the_setting_says() -> None:
    """Not the text of anybody: what the gateway needs to give it out."""
    file = MemberFile(msg_id="1", content="<msg/>", is_image=True)
    ignored = replace(make_ignored(IgnoreReason.ATTACHMENT), file=file)

    assert file_of_text(row(ignored, b"{}").columns["text"]) == file
    assert row(replace(ignored, reason=IgnoreReason.GROUP_OFF), b"{}").columns["text"] is None
