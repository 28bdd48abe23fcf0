"""How Dify's words are read: thinking left out, Markdown as plain text, by events or as a whole."""

import itertools
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import Answer
from app.services.dify.assembly import Assembly
from app.services.dify.wire import (
    ChatEvent,
    Ended,
    Frame,
    TextDelta,
    TextReplaced,
    WorkflowFinished,
)
from app.services.errors import DifyUnavailable
from app.services.plain_stream import PlainStream
from app.services.plain_text import PlainText
from app.services.wording import PlainFilter, Wording

PLAIN = PlainText()
THOUGHT = "<think>嗯</think>**三点**"


async def told(events: Sequence[ChatEvent | Exception]) -> AsyncIterator[ChatEvent]:
    for event in events:
        if isinstance(event, Exception):
            raise event
        yield event


async def read(
    events: Sequence[ChatEvent | Exception], *, strips: bool = True, is_plain: bool = False
) -> str:
    """What is read of them."""
    assembly = Assembly()
    wording = Wording(strips, PLAIN)
    try:
        async for event in wording.events(told(events), is_plain=is_plain):
            assembly.feed(Frame(event=event))
    except DifyUnavailable:
        pass
    return assembly.text


@pytest.mark.parametrize(
    ("strips", "is_plain", "text"),
    [
        (True, True, "三点"),
        (True, False, "**三点**"),
        (False, False, THOUGHT),
    ],
)
async def test_each_part_is_by_its_own_setting(strips: bool, is_plain: bool, text: str) -> None:
    """The whole and the stream alike."""
    wording = Wording(strips, PLAIN)
    events: list[ChatEvent | Exception] = [*(TextDelta(text=char) for char in THOUGHT), Ended()]

    assert wording.of(Answer(text=THOUGHT), is_plain=is_plain).text == text
    assert await read(events, strips=strips, is_plain=is_plain) == text


async def test_what_was_held_back_is_read_before_a_failure() -> None:
    """A stream that breaks off: what is finished of it goes out."""
    events: list[ChatEvent | Exception] = [
        TextDelta(text="**一**\n\n二 <t"),
        DifyUnavailable("cut"),
    ]

    assert await read(events, is_plain=True) == "一\n\n二 <t"


async def test_a_replacement_stands_for_everything_and_may_go_on() -> None:
    """Its own marks are turned, too."""
    events: list[ChatEvent | Exception] = [
        TextDelta(text="**旧**\n\n文"),
        TextReplaced(text="**新**\n\n- 项"),
        TextDelta(text="目"),
        Ended(),
    ]

    assert await read(events, is_plain=True) == "新\n\n• 项目"


async def test_the_output_of_a_run_is_read_where_nothing_was_streamed() -> None:
    """By the same rules."""
    end = WorkflowFinished(status="succeeded", answer=THOUGHT)

    assert await read([end, Ended()], is_plain=True) == "三点"


MARKDOWN = st.lists(
    st.sampled_from(
        [
            "# 题\n\n",
            "文 **粗**\n\n",
            "- 一\n- 二\n\n",
            "```\na\n\nb\n```\n\n",
            "1. 甲\n\n2. 乙\n\n",
            "| a | b |\n|-|-|\n| 1 | 2 |\n\n",
            "末",
        ]
    ),
    max_size=8,
).map("".join)


@given(text=MARKDOWN, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_paragraphs_turned_one_by_one_are_the_whole_text_turned(text: str, cuts: list[int]) -> None:
    """Wherever the network cuts; white space apart."""
    stream = PlainStream(PLAIN)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [stream.feed(text[a:b]) for a, b in itertools.pairwise(places)]

    assert "".join([*pieces, stream.finish()]).split() == PLAIN.of(text).split()


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_code_begins_behind_every_end_of_a_line_that_markdown_knows(end: str, cut: int) -> None:
    """Also behind a return alone: what is code in the whole text is code in its paragraphs."""
    text = f"一{end}~~~{end}![](汉字){end}{end}末{end}~~~"
    stream = PlainStream(PLAIN)
    pieces = [stream.feed(text[at : at + cut]) for at in range(0, len(text), cut)]

    told = "".join([*pieces, stream.finish()])

    assert told.split() == PLAIN.of(text).split() == ["一", "![](汉字)", "末"]


def test_a_paragraph_is_out_as_soon_as_the_next_one_begins() -> None:
    """Not before: what is indented belongs to the list in front of it."""
    stream = PlainStream(PLAIN)

    assert stream.feed("**一**\n\n") == ""
    assert stream.feed("二") == "一\n\n"
    assert stream.feed("\n\n-") == "二\n\n"
    assert stream.feed(" 项\n\n    还是项") == ""
    assert stream.finish().split() == ["•", "项", "还是项"]


def test_the_output_of_a_run_is_not_turned_where_its_text_was_streamed() -> None:
    """It may be a megabyte, and nobody reads it."""
    one = PlainFilter(PLAIN)
    one.feed(TextDelta(text="**三点**"))
    end = WorkflowFinished(status="succeeded", answer="**三点**")

    assert one.feed(end) == [TextDelta(text="三点"), end]
