"""An answer calls nobody but the person who asked."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.models.flow import WcId
from app.services.mass_mentions import HARMLESS_AT, calls_everybody, defuse
from app.services.replacing import continuation
from app.services.segments import split_answer, to_segments
from app.services.text import is_blank

PERSON = WcId("wxid_person")


@pytest.mark.parametrize(
    "text",
    [
        "@所有人",
        "请看:@所有人 今晚维护",
        "＠所有人",
        "@all",
        "@All 注意",
        "@ALL。",
        "@all.",
        "notify@all",
        "@\u200b所有人",
        "@全体成员",
        "@everyone!",
        "＠all",
    ],
)
def test_a_call_to_everybody_loses_its_sign(text: str) -> None:
    """It reads the same and calls nobody."""
    harmless = defuse(text)

    assert not {"@", "＠"} & set(harmless)
    assert harmless.replace(HARMLESS_AT, "@") == text.replace("＠", "@")


@pytest.mark.parametrize(
    "text",
    ["@小红 你好", "me@all.com", "@allen", "@all_hands", "a@b.cn", "所有人", "@ 张三", "@所有的人"],
)
def test_other_words_stay_as_they_are(text: str) -> None:
    """Addresses, names and longer words."""
    assert defuse(text) == text


PIECES = ["@所有人", "＠all", "@all", "@", "所有", "人", ".", " ", "\n", "\u200b", "甲乙丙丁"]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=40).map("".join)


@given(TEXTS)
def test_a_defused_text_is_as_long_and_stays_as_it_is(text: str) -> None:
    """So that a piece keeps its bound, and twice is as good as once."""
    harmless = defuse(text)

    assert len(harmless) == len(text)
    assert defuse(harmless) == harmless


@given(TEXTS, st.integers(8, 40))
@example("\u200b @所有人@所有人", 8)
@example("\u200b \u200b@所有人@所有人", 8)
@example("@所有人@所有人\u200b@所有人", 8)
def test_what_is_out_is_found_again_in_the_text_it_was_cut_from(text: str, limit: int) -> None:
    """A stream that broke off goes on behind its pieces, calls to everybody in them or not."""
    pieces = split_answer(text, limit=limit)
    segments = to_segments(pieces, limit=limit)

    found = continuation(text, [one.content for one in segments])

    assert found.kept == len(segments)
    assert is_blank(found.rest)
    assert all(len(one.content) <= limit for one in segments)


@pytest.mark.parametrize("name", ["所有人", "all", "张三@所有人", "ALL"])
def test_whoever_is_called_everybody_is_not_mentioned(name: str) -> None:
    """A nickname must not make the bot call the group."""
    [segment] = to_segments(["好"], limit=100, name=name, wc_id=PERSON)

    assert calls_everybody(name)
    assert (segment.content, segment.mention) == ("好", "")


def test_a_person_is_mentioned_by_the_name_the_group_sees() -> None:
    """And nobody else, though the answer has an @ in it."""
    [segment] = to_segments(["@小红 说的对"], limit=100, name="小明（财务）", wc_id=PERSON)

    assert segment.content == "@小明（财务）\u2005@小红 说的对"
    assert segment.mention == PERSON
