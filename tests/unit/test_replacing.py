"""A text that replaces another one: what stands, and where it goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import WcId
from app.services.replacing import Continuation, continuation, piece_of, text_of
from app.services.segments import SegmentStream, split_answer, to_segments
from tests.unit.test_segments import PARTS, squeeze, strip_all

PERSON = WcId("wxid_person")


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        ("一段。\n\n二段。", ["一段。"], Continuation(1, "二段。")),
        ("一段。 二段。", ["一段。"], Continuation(1, " 二段。", is_mid_line=True)),
        ("一段。\r\n二段。", ["一段。"], Continuation(1, "二段。")),
        ("一段。\n\n二段。", ["一 段。", "二段。"], Continuation(2, "", is_mid_line=True)),
        ("一段。\n\n二段。", ["一段。", "三段。"], Continuation(1, "二段。")),
        ("一段。", ["一段。\n\n二段。"], Continuation(0, "一段。")),
        ("换一个话题。", ["一段。"], Continuation(0, "换一个话题。")),
        ("一段。", [], Continuation(0, "一段。")),
        ("", ["一段。"], Continuation(0, "")),
        ("好👍🏽。", ["好👍"], Continuation(0, "好👍🏽。")),
        ("字\u200d", ["字\u200d"], Continuation(1, "", is_mid_line=True)),
        (
            "\u200b\n\u200b一段。二段。",
            ["\u200b一段。"],
            Continuation(1, "二段。", is_mid_line=True),
        ),
    ],
)
def test_a_text_goes_on_behind_the_pieces_that_begin_it(
    text: str, pieces: list[str], expected: Continuation
) -> None:
    """White space makes no difference; half a piece or half an emoji is none."""
    assert continuation(text, pieces) == expected


@pytest.mark.parametrize(
    ("pieces", "rest"),
    [
        (["看：\n```py\na = 1\n```"], "```py\n    b = 2\n```\n完"),
        (["看：\n```py\na = 1\n```", "```py\n    b = 2\n```"], "\n完"),
        (["看："], "```py\na = 1\n    b = 2\n```\n完"),
    ],
)
def test_a_code_block_that_was_cut_is_opened_again(pieces: list[str], rest: str) -> None:
    """The marks that cutting added are not in the new text."""
    found = continuation("看：\n```py\na = 1\n    b = 2\n```\n完", pieces)

    assert (found.kept, found.rest) == (len(pieces), rest)


@given(PARTS, st.integers(84, 300), st.integers(0, 20), st.integers(0, 8))
def test_the_same_text_again_adds_what_is_missing_and_no_more(
    text: str, limit: int, reserve: int, out: int
) -> None:
    """However many of its pieces are out."""
    pieces = split_answer(text, limit=limit, reserve=reserve)[:out]

    kept, rest, _ = continuation(text, pieces)

    assert kept == len(pieces)
    said = [*pieces, *split_answer(rest, limit=limit)]
    assert squeeze("\n".join(said)) == squeeze(text)


@given(PARTS, st.integers(0, 400), st.lists(st.integers(1, 60), min_size=1, max_size=5), st.data())
def test_a_stream_that_is_replaced_by_its_own_text_says_everything_once(
    text: str, place: int, sizes: list[int], data: st.DataObject
) -> None:
    """Wherever it is replaced, by as much as was written or by the whole."""
    limit = data.draw(st.integers(84, 300))
    cutter, pieces, now, at = SegmentStream(limit=limit), [], 0.0, 0
    while at < min(place, len(text)):
        size = sizes[at % len(sizes)]
        pieces += cutter.feed(text[at : at + size], now)
        at, now = at + size, now + 1
    until = data.draw(st.sampled_from([at, len(text)]))
    kept, rest, is_mid_line = continuation(text[:until], pieces)
    cutter = SegmentStream(limit=limit, is_mid_line=is_mid_line)

    assert kept == len(pieces)
    pieces += cutter.feed(rest, now) + cutter.feed(text[until:], now) + cutter.finish()
    assert squeeze("\n".join(pieces)) == squeeze(text)


@given(PARTS, PARTS, st.integers(40, 300))
def test_what_stands_and_what_follows_are_the_new_text(old: str, new: str, limit: int) -> None:
    """Whatever it replaces: nothing of it is lost or said twice."""
    pieces = split_answer(old, limit=limit)

    kept, rest, _ = continuation(new, pieces)

    assert squeeze("\n".join([*pieces[:kept], rest])) == squeeze(new)
    assert kept or rest == new.replace("\r\n", "\n").replace("\r", "\n") or new.endswith("\r")


def test_what_a_group_reads_is_told_without_the_mention() -> None:
    """As the journal shows it."""
    segments = to_segments(["```\nx\n```", "再见。"], limit=100, name="兰兰", wc_id=PERSON)

    assert [piece_of(segment) for segment in segments] == ["```\nx\n```", "再见。"]
    assert text_of(segments) == "```\nx\n```\n再见。"
    assert text_of(to_segments(["没有人。"], limit=100)) == "没有人。"
    assert strip_all(text_of([])) == ""
