"""Answers as messages: where they are cut, how a stream is cut, who is mentioned."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import WcId
from app.services.fences import find_fences
from app.services.segments import (
    SegmentStream,
    mention_reserve,
    split_answer,
    to_segments,
)
from app.services.text import is_blank, is_inside_cluster

PERSON = WcId("wxid_person")
FAMILY = "👨‍👩‍👧‍👦"


def squeeze(text: str) -> str:
    """The text without what cutting may take or add: white space and marks of code blocks."""
    lines = re.split(r"\r\n|\r|\n", text)
    kept = [line for line in lines if not re.match(r"\s*(```|~~~)\w*\s*$", line)]
    return strip_all("".join(kept))


def strip_all(text: str) -> str:
    """The text without white space and without joiners, which alone make a blank piece."""
    return "".join(text.split()).replace("\u200d", "")


def stream(text: str, sizes: list[int], *, limit: int, seconds: float = 0.1) -> list[str]:
    """All pieces of a text that is fed in parts of the given sizes, over and over."""
    cutter = SegmentStream(limit=limit)
    return write(cutter, text, sizes, seconds=seconds) + cutter.finish()


def write(cutter: SegmentStream, text: str, sizes: list[int], *, seconds: float = 0.1) -> list[str]:
    """The pieces that a text gives while it is fed in parts of the given sizes."""
    pieces: list[str] = []
    place, turn, now = 0, 0, 100.0
    while place < len(text):
        size = sizes[turn % len(sizes)]
        pieces += cutter.feed(text[place : place + size], now)
        pieces += cutter.due(now + seconds / 2)
        place, turn, now = place + size, turn + 1, now + seconds
    return pieces


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("一句话。", 10, ["一句话。"]),
        ("", 10, []),
        (" \n\u200b ", 10, []),
        ("第一段甲乙\n\n第二段丙丁", 8, ["第一段甲乙", "第二段丙丁"]),
        ("一行。还有\n二行。三句\n\n四段", 12, ["一行。还有\n二行。三句", "四段"]),
        ("一行。还有\n二行。三句甲", 8, ["一行。还有", "二行。三句甲"]),
        ("第一句。第二句！第三句", 9, ["第一句。第二句！", "第三句"]),
        ("他说：“走吧。”然后走了", 9, ["他说：“走吧。”", "然后走了"]),
        ("真的吗？！当然……好", 6, ["真的吗？！", "当然……好"]),
        ("It works. Then it stops. Why", 12, ["It works.", "Then it", "stops. Why"]),
        ("甲乙丙，丁戊己庚辛", 6, ["甲乙丙，", "丁戊己庚辛"]),
        ("alpha beta gamma", 11, ["alpha beta", "gamma"]),
        ("1,000,000 yen", 9, ["1,000,000", "yen"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("满八个字一二三四\n\n下一段", 8, ["满八个字一二三四", "下一段"]),
    ],
)
def test_the_best_place_to_cut_wins(text: str, limit: int, expected: list[str]) -> None:
    """Paragraph before line before sentence before comma and space before a hard cut."""
    assert split_answer(text, limit=limit) == expected


def test_a_heading_alone_is_no_message_if_more_fits() -> None:
    """A badly filled piece is taken only where nothing better is left."""
    text = "好的\n\n" + "一二三四五六七八九。" * 5

    assert split_answer(text, limit=40)[0] == "好的\n\n" + "一二三四五六七八九。" * 3


@pytest.mark.parametrize(
    "cluster", [FAMILY, "👍🏽", "🇨🇳", "e\u0301", "1\ufe0f\u20e3", "\ud83d\ude00"]
)
@pytest.mark.parametrize("before", range(9))
def test_an_emoji_is_never_torn(cluster: str, before: int) -> None:
    """Wherever the limit falls, what a reader sees as one character stays whole."""
    pieces = split_answer("字" * before + cluster * 4, limit=9)

    assert "".join(pieces) == "字" * before + cluster * 4
    assert all(
        piece.replace("字", "").count(cluster) * len(cluster) == len(piece.lstrip("字"))
        for piece in pieces
    )


def test_an_address_is_never_torn_if_it_fits() -> None:
    """Half an address is of no use to anybody."""
    url = "https://example.invalid/a?b=1,2;c=3!d"
    text = f"请看这里的说明{url}，谢谢"

    pieces = split_answer(text, limit=42)

    assert pieces == ["请看这里的说明", f"{url}，谢谢"]


def test_an_address_longer_than_a_message_is_cut() -> None:
    """The limit is the gateway's; nothing is lost."""
    url = "https://example.invalid/" + "a" * 100

    pieces = split_answer(f"见 {url} 完", limit=50)

    assert all(len(piece) <= 50 for piece in pieces)
    assert strip_all("".join(pieces)) == f"见{url}完"


def test_a_code_block_that_fits_stays_whole() -> None:
    """The cut goes before the block rather than into it."""
    code = "```python\n" + "print(1)\n\n" * 8 + "```"
    text = f"先看这个例子，它只有几行。\n{code}\n完"

    pieces = split_answer(text, limit=100)

    assert pieces == ["先看这个例子，它只有几行。", f"{code}\n完"]


def test_a_code_block_that_must_be_cut_is_closed_and_opened_again() -> None:
    """Each message shows its part as code, with the indentation it had."""
    lines = [f"    value_{i} = {i}" for i in range(20)]
    text = "```python\n" + "\n".join(lines) + "\n```"

    pieces = split_answer(text, limit=120)

    assert len(pieces) > 2
    assert all(piece.startswith("```python\n") and piece.endswith("\n```") for piece in pieces)
    assert all(len(piece) <= 120 for piece in pieces)
    inner = [line for piece in pieces for line in piece.split("\n")[1:-1]]
    assert inner == lines


def test_a_cut_right_before_the_closing_line_makes_no_empty_block() -> None:
    """The closing line is not sent as a block of its own."""
    text = "```\n" + "x" * 90 + "\n```\n" + "之后的文字" * 20

    pieces = split_answer(text, limit=100)

    assert pieces[0] == "```\n" + "x" * 90 + "\n```"
    assert "```" not in "".join(pieces[1:])


def test_a_closing_line_that_does_not_fit_is_replaced_by_ours() -> None:
    """Longer than what opened the block: it makes no block of its own behind the cut."""
    text = "```\n" + "x" * 90 + "\n   ``````\n" + "之后的文字" * 20

    pieces = split_answer(text, limit=100)

    assert pieces[0] == "```\n" + "x" * 90 + "\n```"
    assert "```" not in "".join(pieces[1:])


def test_three_marks_within_a_line_are_no_code_block() -> None:
    """Only a line of its own opens one."""
    text = "行内 ```code``` 与更多" + "字" * 200

    assert sum(piece.count("```") for piece in split_answer(text, limit=100)) == 2


def test_room_is_left_in_the_first_piece_only() -> None:
    """The mention needs it there."""
    pieces = split_answer("字" * 30, limit=10, reserve=4)

    assert [len(piece) for piece in pieces] == [6, 10, 10, 4]


TEXTS = st.text(
    st.one_of(
        st.sampled_from("字句。！？，、 \n\nab.!?;,:'\"”）\r\t\u2005\u3000"),
        st.sampled_from([FAMILY, "🇨🇳", "🏽", "\u0301", "\u200d", "\ufe0f", "1"]).map(
            lambda c: c[0]
        ),
    ),
    max_size=300,
)
PARTS = st.lists(
    st.one_of(
        TEXTS,
        st.sampled_from(
            [
                FAMILY,
                "🇨🇳🇯🇵",
                "\n\n",
                "\n```python\n",
                "\n```\n",
                "\n~~~\n",
                "\n    缩进的一行代码 x = 1\n",
                " https://example.invalid/path?x=1,2 ",
                "一段完整的话，说得不长也不短。\n\n",
            ]
        ),
    ),
    max_size=25,
).map("".join)


@given(PARTS, st.one_of(st.integers(1, 40), st.integers(84, 300)), st.integers(0, 20))
def test_no_piece_is_too_long_or_blank_and_nothing_is_lost(
    text: str, limit: int, reserve: int
) -> None:
    """For any text and limit."""
    pieces = split_answer(text, limit=limit, reserve=reserve)

    assert all(len(piece) <= limit for piece in pieces)
    assert not any(is_blank(piece) for piece in pieces)
    if pieces:
        assert len(pieces[0]) <= max(1, limit - reserve)
    # Short messages have no room for the marks of a cut code block: there none are added.
    seen = squeeze if limit > 40 else strip_all
    assert seen("\n".join(pieces)) == seen(text)


@given(TEXTS, st.integers(12, 60))
def test_no_cut_tears_a_cluster(text: str, limit: int) -> None:
    """Each piece stands in the text between two clusters, unless a cluster is too long."""
    place = 0
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for piece in split_answer(text, limit=limit):
        place = text.index(piece, place)
        for edge in (place, place + len(piece)):
            run = text[max(0, edge - limit) : edge + 1]
            if not all(is_inside_cluster(run, i) or i == 0 for i in range(1, len(run))):
                torn = is_inside_cluster(text, edge) and not _is_within_long_cluster(
                    text, edge, limit
                )
                assert not torn or text[edge - 1].isspace() or text[edge].isspace()
        place += len(piece)


def _is_within_long_cluster(text: str, edge: int, limit: int) -> bool:
    start = edge
    while start > 0 and is_inside_cluster(text, start):
        start -= 1
    end = edge
    while end < len(text) and is_inside_cluster(text, end):
        end += 1
    return end - start > limit // 2


@given(PARTS, st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(84, 300))
def test_a_stream_gives_the_whole_text_in_pieces(text: str, sizes: list[int], limit: int) -> None:
    """However it is fed: the pieces together are the text, none too long, none blank."""
    pieces = stream(text, sizes, limit=limit)

    assert all(len(piece) <= limit and not is_blank(piece) for piece in pieces)
    assert squeeze("\n".join(pieces)) == squeeze("\n".join(split_answer(text, limit=limit)))


LINES = (
    st.lists(
        st.sampled_from(["x = 1", "    value = 'a b'", "字" * 30, "\n", " " * 90 + "y"]),
        min_size=1,
        max_size=12,
    )
    .map("\n".join)
    .filter(str.strip)
)
CODE = st.builds(
    "{0}{1}\n{2}{3}\n{0}\n".format,
    st.sampled_from(["```", "~~~"]),
    st.sampled_from(["", "python"]),
    # A few blank lines behind the opening one, or more than a message holds.
    st.one_of(st.integers(0, 4), st.integers(70, 320)).map("\n".__mul__),
    LINES,
)
CODE_TEXTS = st.lists(
    st.one_of(CODE, st.sampled_from(["一段话。\n", "字" * 70 + "\n", "word " * 20 + "\n", "\n\n"])),
    min_size=1,
    max_size=5,
).map("".join)


def shows_only_marks(piece: str) -> bool:
    """Whether a piece has a code block with nothing in it."""
    return any(is_blank(piece[fence.inner_start : fence.inner_end]) for fence in find_fences(piece))


@given(CODE_TEXTS, st.integers(104, 300), st.integers(0, 20))
def test_no_cut_makes_an_empty_code_block(text: str, limit: int, reserve: int) -> None:
    """The line that opens a block goes with at least a part of it, and the closing one, too."""
    pieces = split_answer(text, limit=limit, reserve=reserve)

    assert not [piece for piece in pieces if shows_only_marks(piece)]
    assert squeeze("\n".join(pieces)) == squeeze(text)


@given(CODE_TEXTS, st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(84, 300))
def test_no_cut_of_a_stream_makes_an_empty_code_block(
    text: str, sizes: list[int], limit: int
) -> None:
    """Nor where the rest of the block is written only after the cut."""
    pieces = stream(text, sizes, limit=limit)

    assert not [piece for piece in pieces if shows_only_marks(piece)]
    assert squeeze("\n".join(pieces)) == squeeze(text)


@pytest.mark.parametrize("opening", ["```python", "```python title=x", "```python  "])
@pytest.mark.parametrize("blank", ["\n", "\n\n\n", "\n" * 120])
def test_an_opening_line_is_not_sent_without_its_code(opening: str, blank: str) -> None:
    """Blank lines behind it are nothing to read."""
    text = "字" * 75 + "\n" + opening + blank + "x" * 90 + "\n```"

    pieces = split_answer(text, limit=100)

    assert pieces[0] == "字" * 75
    assert "".join(pieces).count("x") == 90 + opening.count("x")
    assert not [piece for piece in pieces if shows_only_marks(piece) and "title" not in piece]


def test_a_text_that_begins_like_a_code_block_is_not_lost() -> None:
    """A line longer than a message behind three marks: only its first word is repeated."""
    words = " ".join(f"word{number}" for number in range(80))

    pieces = split_answer(f"``` {words}\n\n{words}\n```", limit=100)

    inner = "".join(piece.removeprefix("```word0\n").removesuffix("\n```") for piece in pieces)
    assert strip_all(inner) == strip_all(f"```{words}{words}")


def test_a_block_that_ends_right_behind_a_cut_is_not_opened_again() -> None:
    """Only half of its closing line was there when the stream was cut."""
    code = "x" * 80
    cutter = SegmentStream(limit=100)
    pieces = cutter.feed(f"```python\n{code}\n{code}" + "\n" * 10 + "``", 0.0)
    pieces += cutter.feed("`\n\n之后", 1.0) + cutter.finish()

    assert pieces == [f"```python\n{code}\n```"] * 2 + ["之后"]


def test_a_stream_waits_until_finished_paragraphs_are_worth_a_message() -> None:
    """Below 200 characters nothing is sent; the paragraph being written stays behind."""
    cutter = SegmentStream(limit=1500)

    assert cutter.feed("甲" * 120 + "\n\n", 0.0) == []
    assert cutter.feed("乙" * 120, 1.0) == []
    assert cutter.feed("\n\n丙", 2.0) == ["甲" * 120 + "\n\n" + "乙" * 120]
    assert cutter.finish() == ["丙"]


def test_a_stream_sends_a_short_paragraph_when_it_has_waited_long_enough() -> None:
    """Eight seconds after the last cut a finished paragraph goes out by the mere time."""
    cutter = SegmentStream(limit=1500)
    cutter.feed("先说结论。", 10.0)
    assert cutter.due_at is None

    assert cutter.feed("\n\n然后", 11.0) == []
    assert cutter.due_at == 18.0
    assert cutter.due(17.9) == []
    assert cutter.due(18.0) == ["先说结论。"]
    assert cutter.due_at is None
    assert cutter.feed("是理由。\n\n", 19.0) == []
    assert cutter.due_at == 26.0
    assert cutter.finish() == ["然后是理由。"]


def test_an_unfinished_paragraph_is_not_sent_by_time() -> None:
    """A sentence in the middle would be torn."""
    cutter = SegmentStream(limit=1500)
    cutter.feed("还没有写完", 0.0)

    assert cutter.due(100.0) == []
    assert cutter.feed("的话", 200.0) == []


def test_a_paragraph_longer_than_a_message_is_cut_while_it_is_written() -> None:
    """Nobody waits for the end of an endless paragraph."""
    cutter = SegmentStream(limit=100)
    pieces = cutter.feed("一二三四五六七八九。" * 17, 0.0)

    assert pieces == ["一二三四五六七八九。" * 10]
    assert cutter.finish() == ["一二三四五六七八九。" * 7]


def test_words_that_arrive_in_parts_are_not_torn_or_joined() -> None:
    """A space at the end of a part is kept."""
    text = ("alpha beta gamma delta " * 40).strip()
    pieces = stream(text, [6], limit=100)

    assert " ".join(pieces) == text


def test_an_open_code_block_is_no_finished_paragraph() -> None:
    """Blank lines within code are no ends of paragraphs."""
    cutter = SegmentStream(limit=1500)
    code = "```\n" + "line\n\n" * 60

    assert cutter.feed(code, 0.0) == []
    assert cutter.feed("```\n\n", 0.0) == [code + "```"]


def test_marks_within_a_line_open_no_code_block_after_a_cut() -> None:
    """The text behind a cut begins in the middle of a line, and the stream remembers it."""
    cutter = SegmentStream(limit=100)
    pieces = cutter.feed("字" * 99 + "。``` 不是代码" + "字" * 80, 0.0)
    pieces += cutter.feed("字" * 150, 1.0) + cutter.finish()

    assert [piece.count("```") for piece in pieces] == [0, 1, 0, 0, 0]


def test_line_ends_split_over_two_parts_are_one() -> None:
    """CR at the end of one part and LF at the beginning of the next."""
    cutter = SegmentStream(limit=1500)
    pieces = cutter.feed("一" * 200 + "\r", 0.0) + cutter.feed("\n", 0.0)

    assert pieces == []
    assert cutter.feed("\r", 0.0) + cutter.feed("\n二", 0.0) == ["一" * 200]
    assert cutter.finish() == ["二"]


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("一句。二句写到一", "一句。"),
        ("一段。\n\n二段，写到一", "一段。"),
        ("一句。“二句！”", "一句。“二句！”"),
        ("It works. It is", "It works."),
        ("It works.", "It works."),
        ("见 https://example.invalid/a.b?c=1 里", ""),
        ("- 苹果\n- 香蕉\n- 橘", "- 苹果\n- 香蕉"),
        ("还没有写完", ""),
        ("", ""),
        (" \n ", ""),
        ("看：\n```py\na = 1; b\nc = ", "看：\n```py\na = 1; b\n```"),
        ("看：\n```py\na = ", "看："),
        ("看：\n```py\n\n", "看："),
        ("```py\na = 1\n```", "```py\na = 1\n```"),
        ("```py\na = 1\n```\n接着", "```py\na = 1\n```"),
        ("完了。\r", "完了。"),
    ],
)
def test_a_stream_that_broke_off_gives_what_is_finished(text: str, finished: str) -> None:
    """Sentences, lines, paragraphs; an open code block is closed; a torn half is left out."""
    cutter = SegmentStream(limit=1500)
    cutter.feed(text, 0.0)

    assert cutter.break_off() == ([finished] if finished else [])
    assert cutter.finish() == []


@given(
    st.one_of(PARTS, CODE_TEXTS),
    st.lists(st.integers(1, 60), min_size=1, max_size=5),
    st.integers(84, 300),
    st.integers(0, 1000),
)
def test_a_stream_that_broke_off_gives_a_beginning_of_the_text(
    text: str, sizes: list[int], limit: int, end: int
) -> None:
    """Wherever it broke off: no piece too long or blank, nothing torn in or said twice."""
    text = text[:end]
    cutter = SegmentStream(limit=limit)
    pieces = write(cutter, text, sizes) + cutter.break_off()

    assert all(len(piece) <= limit and not is_blank(piece) for piece in pieces)
    assert squeeze(text).startswith(squeeze("\n".join(pieces)))


@given(TEXTS, st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(84, 300))
def test_a_stream_that_broke_off_behind_a_sentence_gives_everything(
    text: str, sizes: list[int], limit: int
) -> None:
    """Then nothing is torn."""
    cutter = SegmentStream(limit=limit)
    pieces = write(cutter, f"{text}\n\n完。", sizes) + cutter.break_off()

    assert squeeze("\n".join(pieces)) == squeeze(f"{text}\n\n完。")


def test_a_stream_leaves_room_in_its_first_piece_only() -> None:
    """The mention stands in the first message of the answer."""
    cutter = SegmentStream(limit=100, reserve=30)
    pieces = cutter.feed("字" * 400, 0.0) + cutter.finish()

    assert [len(piece) for piece in pieces] == [70, 100, 100, 100, 30]


@pytest.mark.parametrize("part", [" ", "\n", "a\n\n", "```\na\n\n", "🇨🇳", "\u0301", "http://a"])
def test_a_stream_of_noise_costs_no_more_than_it_is_long(part: str) -> None:
    """A model that repeats itself does not stop the process."""
    started = time.process_time()
    stream(part * (8_000 // len(part)), [1], limit=1500)

    assert time.process_time() - started < 3


def test_the_first_segment_mentions_the_person() -> None:
    """In the text and for the call; the others carry nothing."""
    first, second = to_segments(["你好。", "再见。"], limit=100, name="兰兰", wc_id=PERSON)

    assert (first.seq, first.content, first.mention) == (0, "@兰兰\u2005你好。", PERSON)
    assert (second.seq, second.content, second.mention) == (1, "再见。", "")


@pytest.mark.parametrize(
    ("name", "wc_id"), [("", PERSON), ("\u200b \n", PERSON), ("兰兰", None), ("兰兰", WcId(""))]
)
def test_without_name_or_id_nobody_is_mentioned(name: str, wc_id: WcId | None) -> None:
    """A mention in the text alone, or in the call alone, has no effect."""
    segments = to_segments(["你好。"], limit=100, name=name, wc_id=wc_id)

    assert [(segment.content, segment.mention) for segment in segments] == [("你好。", "")]


def test_later_pieces_of_a_stream_are_numbered_on_without_a_mention() -> None:
    """Only the answer's very first segment calls the person."""
    segments = to_segments(["三", " ", "四"], limit=100, start=2, name="兰兰", wc_id=PERSON)

    assert [(segment.seq, segment.content) for segment in segments] == [(2, "三"), (3, "四")]
    assert not any(segment.mention for segment in segments)


def test_code_behind_a_mention_begins_in_a_line_of_its_own() -> None:
    """The marks count only there."""
    (segment,) = to_segments(["```\nx\n```"], limit=100, name="兰兰", wc_id=PERSON)

    assert segment.content == "@兰兰\u2005\n```\nx\n```"


def test_reserved_room_is_enough_for_the_mention() -> None:
    """Pieces that left it are not cut again."""
    pieces = split_answer("字" * 250, limit=100, reserve=mention_reserve("兰 兰"))
    segments = to_segments(pieces, limit=100, name="兰 兰", wc_id=PERSON)

    assert len(segments) == len(pieces)
    assert all(len(segment.content) <= 100 for segment in segments)
    assert mention_reserve(" ") == 0


@given(
    st.lists(st.text(max_size=120), max_size=4),
    st.text(max_size=90),
    st.integers(1, 150),
    st.integers(0, 3),
)
def test_segments_are_numbered_and_fit_and_are_never_blank(
    pieces: list[str], name: str, limit: int, start: int
) -> None:
    """For any pieces, name and limit."""
    fitting = [piece[:limit] for piece in pieces]
    segments = to_segments(fitting, limit=limit, start=start, name=name, wc_id=PERSON)

    assert [segment.seq for segment in segments] == list(range(start, start + len(segments)))
    assert all(len(segment.content) <= limit for segment in segments)
    assert not any(is_blank(segment.content) for segment in segments)
    assert all(not segment.mention for segment in segments[1:])
    if segments and segments[0].mention:
        assert segments[0].content.startswith("@")
