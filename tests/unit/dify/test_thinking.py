"""Thinking of models is taken out of answers, the same from a whole text and from any pieces of it."""

import re
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from app.models.flow import Usage
from app.services.dify import think_scanner, think_tags, think_window
from app.services.dify.assembly import Assembly
from app.services.dify.parsing import parse_frame
from app.services.dify.sse import SseDecoder
from app.services.dify.think_tags import MAX_TAG
from app.services.dify.thinking import THINKING, ThinkFilter, without_thinking
from app.services.dify.wire import (
    ChatEvent,
    Ended,
    Failed,
    Frame,
    Paused,
    Ping,
    Started,
    TextDelta,
    TextReplaced,
    Unknown,
    WorkflowFinished,
)
from tests.unit.dify import captures

#: As Dify 0.15 writes it.
DETAILS = (
    '<details style="color:gray;background-color: #f8f8f8;padding: 8px;border-radius: 4px;" open> '
    "<summary> Thinking... </summary>"
)
QUOTED = "<details><summary>引用</summary>\n一、二\n</details>"

CASES = [
    ("", ""),
    (" \n a \n ", " \n a \n "),
    ("1 < 2 > 0, <b>x</b>, a<think", "1 < 2 > 0, <b>x</b>, a<think"),
    ("<thinker>a</thinker> <thin k>", "<thinker>a</thinker> <thin k>"),
    ("&lt;think&gt;a", "&lt;think&gt;a"),
    # Tags.
    ("<think>\n想\n</think>\n\n答", "答"),
    ("<THINK >想</Think\n>答", "答"),
    ('<think class="x" a=1>想</think foo>答', "答"),
    ("<thinking>想</thinking>答", "答"),
    ("<think>想</thinking>答", "答"),
    ("<think>想<think>想</think>想</think>答", "答"),
    ("<think>想</think>答<think>想</think>案", "答案"),
    ("<think/>答<think />案", "答案"),
    ("<think>想<think/></think>答", "答"),
    ("<think>想 < 2 </thin> <b></think>答", "答"),
    # No end, no beginning.
    ("<think>想", ""),
    ("答<think>想</think", "答"),
    ("<think>想<think>想</think>想", ""),
    ("想</think>\n\n答", "答"),
    ("\n\n想", "\n\n想"),
    ("想</think>想</think>答", "答"),
    ("</think>答", "答"),
    ("想。\n```py\na\n```\n</think>答", "答"),
    ("<think>想</think>答</think>案", "案"),
    # Details.
    (f"{DETAILS}\n想\n</details>\n\n答", "答"),
    ("<details><summary>Thinking</summary>想</details>答", "答"),
    ("<DETAILS open>\n<summary >thinking …</summary >想</details>答", "答"),
    (QUOTED, QUOTED),
    ("<details/><summary>Thinking</summary>a", "<details/><summary>Thinking</summary>a"),
    (
        "<details><summary>Thinking of you</summary>a</details>",
        "<details><summary>Thinking of you</summary>a</details>",
    ),
    (f"{DETAILS}想{QUOTED}想</details>答", "答"),
    (f"{DETAILS}想</details>答\n\n{QUOTED}", f"答\n\n{QUOTED}"),
    (f"{DETAILS}写</details>再想</details>\n答", "答"),
    (f"{DETAILS}想</think>想</details>答", "答"),
    ("<think>想</details>想</think>答", "答"),
    ("一</details>二", "一</details>二"),
    (f"{DETAILS}想", ""),
    (f"<details>{DETAILS}想</details>答</details>", "<details>答</details>"),
    # Code.
    ("写 `<think>` 和 `</think>`。", "写 `<think>` 和 `</think>`。"),
    ("`` ` <think> ``", "`` ` <think> ``"),
    ("`` ` <think> `", "`` ` <think> `"),
    ("一个 ` <think>想</think>答", "一个 ` 答"),
    ("一个 ` <think>想\n</think>` 答", "一个 ` ` 答"),
    ("`` ` <think>想\n</think>答", "`` ` 答"),
    ("`a` <think>想</think>答", "`a` 答"),
    ("```\n<think>\n```\n答", "```\n<think>\n```\n答"),
    ("```\n<think>\n```\n<think>想", "```\n<think>\n```\n"),
    ("~~~\n<think>\n```\n</think>\n~~~~ \n<think>想", "~~~\n<think>\n```\n</think>\n~~~~ \n"),
    ("````\n```\n<think>", "````\n```\n<think>"),
    ("```\na ```\n<think>\n```\n答", "```\na ```\n<think>\n```\n答"),
    ("1.\n     ```\n     <think>\n     ```\n<think>想", "1.\n     ```\n     <think>\n     ```\n"),
    ("a ```\n<think>想", "a ```\n"),
    ("a ~~~\n<think>想", "a ~~~\n"),
    ("~ <think>想", "~ "),
    ("```<think>``` <think>想", "```<think>``` "),
    ("<think>```\n</think>答", "答"),
    ("<think>`</think>`答", "`答"),
    ("<think>想</think>```\n<think>\n```", "```\n<think>\n```"),
    ("一 <think>想\n</think>```\n<think>想", "一 ```\n"),
    ("想</think>~~~\n<think>", "~~~\n<think>"),
    # White space.
    ("\n <think>想</think>\n\n", ""),
    ("\n<think>想</think>\n\n  * 一\n", "  * 一\n"),
    ("<think>想</think> 答", "答"),
    ("<think>想</think>\n\n<think>想</think> 答", "答"),
    ("一。\n\n\n<think>想</think>\n\n二", "一。\n\n二"),
    ("一。<think>想</think>\n\n\n二", "一。\n\n二"),
    ("一。\n<think>想</think>\n二", "一。\n\n二"),
    ("一。\n<think>想</think> 二", "一。\n二"),
    ("一。\n \n \n<think>想</think>二", "一。\n \n二"),
    ("一。\r\n<think>想</think>\r\n    二", "一。\r\n\n    二"),
    ("a <think>想</think> b", "a b"),
    ("a<think>想</think> b", "a b"),
    ("a<think>想</think>\n<think>想</think> b", "a\nb"),
    ("答\n<think>想</think>\n\n", "答\n"),
    ("答\n\n\n<think>想", "答\n\n"),
    ("一\n\n\n二<think>想</think>", "一\n\n\n二"),
]
ENDS: list[ChatEvent] = [
    Ended(usage=Usage(total_tokens=1)),
    Failed(code="x"),
    Paused(),
    WorkflowFinished(status="succeeded"),
    WorkflowFinished(status="failed"),
]


def text(value: str, *, is_agent: bool = False) -> TextDelta:
    """A piece."""
    return TextDelta(text=value, is_agent=is_agent)


def tell(*events: ChatEvent) -> list[ChatEvent]:
    """What a new filter makes of them."""
    one = ThinkFilter()
    return [told for event in events for told in one.feed(event)]


def fold(events: Iterable[ChatEvent]) -> str:
    """The text of a reader who appends and replaces."""
    value = ""
    for event in events:
        if isinstance(event, TextDelta):
            value += event.text
        elif isinstance(event, TextReplaced):
            value = event.text
    return value


def streamed(pieces: Iterable[str]) -> str:
    """What a reader has at the end of a stream of these deltas."""
    return fold(tell(*(text(piece) for piece in pieces), Ended()))


@pytest.mark.parametrize(("whole", "visible"), CASES)
def test_answers_lose_their_thinking_and_nothing_else(whole: str, visible: str) -> None:
    """As one text, character by character, and cut once at each place."""
    assert without_thinking(whole) == visible
    assert streamed(whole) == visible
    for place in range(len(whole)):
        assert streamed([whole[:place], whole[place:]]) == visible


@pytest.mark.parametrize("length", [MAX_TAG - 1, MAX_TAG, MAX_TAG + 1])
def test_tag_is_a_tag_up_to_its_longest_length(length: int) -> None:
    """However it comes in."""
    whole = f"答<think {'a' * (length - len('<think >'))}>想"
    visible = "答" if length <= MAX_TAG else whole

    assert without_thinking(whole) == visible
    assert streamed(whole) == visible


# What the properties are checked against: a plain reading of the rules, slow, of whole texts only.

THINK = re.compile(r"<(/?)think(?:ing)?((?:[\s/][^<>]*)?)>", re.IGNORECASE)
ANY_DETAILS = re.compile(r"<(/?)details((?:[\s/][^<>]*)?)>", re.IGNORECASE)
SUMMARY = re.compile(r"\s*<summary(?:[\s/][^<>]*)?>\s*thinking[\s.…]*</summary\s*>", re.IGNORECASE)
OPEN_FENCE = re.compile(r"(`{3,})[^`\n]*(?:\n|\Z)|(~{3,})[^\n]*(?:\n|\Z)")


def plainly(whole: str) -> str:
    """``without_thinking`` by looking ahead and back as far as need be."""
    parts, place, details, had_details = [""], 0, 0, False
    while place < len(whole):
        is_line_start = not "".join(parts).rpartition("\n")[2].strip(" \t")
        code_end = code_at(whole, place, is_line_start=is_line_start)
        think, any_details = THINK.match(whole, place), ANY_DETAILS.match(whole, place)
        summary = any_details and SUMMARY.match(whole, any_details.end())
        end = code_end or place + 1
        if think and not think[1]:
            parts.append("")
            end = think.end() if is_empty(think) else block_end(THINK, whole, think.end())
        elif think:
            parts, details, end = ["", ""], 0, think.end()
        elif any_details and summary and not any_details[1] and not is_empty(any_details):
            parts.append("")
            had_details, end = True, block_end(ANY_DETAILS, whole, summary.end())
        elif any_details and any_details[1] and not details and had_details:
            parts, end = ["", ""], any_details.end()
        else:
            if any_details and not is_empty(any_details):
                details = max(0, details - 1) if any_details[1] else details + 1
            end = any_details.end() if any_details else end
            parts[-1] += whole[place:end]
        place = end
    return mended(parts)


def is_empty(tag: re.Match[str]) -> bool:
    """It opens and closes."""
    return not tag[1] and tag[2].endswith("/")


def block_end(tags: re.Pattern[str], whole: str, place: int) -> int:
    """Behind the tag that closes the block in which *place* is."""
    depth = 1
    for tag in tags.finditer(whole, place):
        depth += 0 if is_empty(tag) else -1 if tag[1] else 1
        if not depth:
            return tag.end()
    return len(whole)


def code_at(whole: str, place: int, *, is_line_start: bool) -> int:
    """Behind the code, or the mere backticks, at *place*; 0: there are none."""
    fence = OPEN_FENCE.match(whole, place) if is_line_start else None
    if fence:
        mark = fence[1] or fence[2]
        close = re.compile(rf"^[ \t]*{mark}{mark[0]}*[^\S\n]*(?:\n|\Z)", re.MULTILINE)
        closed = close.search(whole, fence.end())
        return closed.end() if closed else len(whole)
    run = re.compile("`+").match(whole, place)
    if not run:
        return 0
    line = whole[: (whole.find("\n", place) + 1) or len(whole)]
    others = re.compile("`+").finditer(line, run.end())
    return next((other.end() for other in others if len(other[0]) == len(run[0])), run.end())


def mended(parts: Sequence[str]) -> str:
    """Visible parts without the blocks between them."""
    out, white = "", [""]
    for number, part in enumerate(parts):
        if number:
            white.append("")
        body = part.strip()
        white[-1] += part[: len(part) - len(part.lstrip())] if body else part
        if body:
            out += seam(out, white) + body
            white = [part[len(part.rstrip()) :]]
    if len(white) == 1:
        return out + white[0]
    return out and out + paragraph(white[0])


def seam(out: str, white: Sequence[str]) -> str:
    """The white space between *out* and more text, if there were blocks between its elements."""
    if len(white) == 1:
        return white[0]
    indent = white[-1].rpartition("\n")[2] if "\n" in white[-1] else ""
    ends = sum(one.count("\n") for one in white)
    if not out:
        return indent
    if not ends:
        return white[0] or white[-1]
    before = paragraph(white[0])
    return before + "\n" * (min(ends, 2) - before.count("\n")) + indent


def paragraph(white: str) -> str:
    """Up to the second line end."""
    lines = white.split("\n")
    return "\n".join([*lines[:2], ""]) if len(lines) > 2 else white


PIECES = st.sampled_from(
    [
        *(
            "<",
            "</",
            "/",
            ">",
            " >",
            "/>",
            "think",
            "THINK",
            "ing",
            "Thinking",
            "<think>",
            "</think>",
        ),
        *(
            "<thinking>",
            "</thinking >",
            "<think a=1>",
            "<think/>",
            "<details",
            "<details>",
            "</details>",
        ),
        *("<details open>", DETAILS, "<summary>", "</summary>", "<summary> Thinking... </summary>"),
        *("`", "``", "```", "````", "~", "~~~", "~~~~", "\n", "\n\n", " ", "    ", "\r\n", "\t"),
        *(".", "…", "a", "汉", "。", "\u3000", "\n```\n", "\n~~~\n"),
    ]
)
TEXTS = st.lists(PIECES, max_size=20).map("".join)
#: Tags that matter more often than those that are cut up.
TAGGED = st.lists(
    st.sampled_from(
        [
            *("<think>", "</think>", DETAILS, "<details>", "</details>", "<think/>"),
            *("`", "``", "```", "~~~", "\n", "\n\n", " ", "一", "二", "a"),
        ]
    ),
    max_size=20,
).map("".join)
WHOLES = TEXTS | TAGGED


@given(whole=WHOLES, data=st.data())
def test_stream_tells_the_same_as_the_whole_text_however_cut(
    whole: str, data: st.DataObject
) -> None:
    """Up to and with each kind of end."""
    places = data.draw(st.lists(st.integers(0, len(whole)), max_size=12).map(sorted))
    pieces = [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]
    deltas = [text(piece, is_agent=data.draw(st.booleans())) for piece in pieces]
    end = data.draw(st.sampled_from(ENDS))

    told = tell(*deltas, end)

    assert fold(told) == without_thinking(whole)
    assert told[-1] == end
    assert streamed(whole) == without_thinking(whole)


@given(whole=WHOLES)
def test_whole_text_is_read_by_the_plain_rules(whole: str) -> None:
    """An independent reading comes to the same."""
    assert without_thinking(whole) == plainly(whole)


@given(whole=WHOLES)
def test_text_without_a_tag_is_not_touched(whole: str) -> None:
    """Nor is any text that once went through and had none left."""
    harmless = re.sub(r"(?i)think", "thank", whole)

    assert without_thinking(harmless) == harmless
    assert streamed(harmless) == harmless


SAID = st.text("一二三。", min_size=1, max_size=5)
THOUGHT = st.lists(
    st.sampled_from(["想", "\n", "```\n", "`", "~~~", "<b>", "</thin", "\n\n"]), max_size=8
).map("".join)


@st.composite
def blocks(draw: st.DrawFn) -> str:
    """One whole block of thinking, perhaps with another in it."""
    opener, closer = draw(st.sampled_from([("<think>", "</think>"), (DETAILS, "</details>")]))
    inner = draw(st.just("") | blocks())
    return f"{opener}{draw(THOUGHT)}{inner}{draw(THOUGHT)}{closer}"


@given(
    parts=st.lists(st.tuples(SAID, blocks()), max_size=4),
    cut=st.sampled_from(["", "<think>", DETAILS]),
    lone=st.booleans(),
    size=st.integers(1, 40),
)
def test_all_that_is_said_and_no_thought_is_told(
    parts: list[tuple[str, str]], cut: str, lone: bool, size: int
) -> None:
    """Wherever the blocks are, if the last one has no end or the first one no beginning."""
    whole = (
        "想</think>" * lone
        + "".join(said + block for said, block in parts)
        + cut
        + "想" * bool(cut)
    )
    said = "".join(said for said, _ in parts)

    told = streamed(whole[at : at + size] for at in range(0, len(whole), size))

    assert told == said


@given(
    pieces=st.lists(st.tuples(PIECES, st.sampled_from("甲乙"), st.booleans()), max_size=20),
    end=st.sampled_from(ENDS),
)
def test_text_keeps_the_flag_of_its_delta(
    pieces: list[tuple[str, str, bool]], end: ChatEvent
) -> None:
    """However long it was held back."""
    deltas = [
        text(mark.replace("甲乙"[is_agent], "") + piece, is_agent=is_agent)
        for piece, mark, is_agent in pieces
    ]

    for one in tell(*deltas, end):
        if isinstance(one, TextDelta):
            assert "甲乙"[one.is_agent] not in one.text
            assert one.text


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([Started(conversation_id="c"), Ping(), Unknown(name="x")], None),
        ([text("一。"), text("二"), Ended()], None),
        ([text("一 \n\n"), text("二", is_agent=True), Ended()], None),
        ([text(""), Ended()], [Ended()]),
        # Held back, and let go.
        ([text("a <"), text("b")], [text("a "), text("<b")]),
        ([text("一 <thin"), Ping(), Ended()], [text("一 "), Ping(), text("<thin"), Ended()]),
        ([text("\n"), text("\n"), text("一")], [text("\n\n一")]),
        ([text("\n"), Failed()], [text("\n"), Failed()]),
        ([text("一\n\n"), text("\n"), text("二")], [text("一\n\n"), text("\n二")]),
        (
            [text("看 `a`", is_agent=True), text(" 吧\n好")],
            [text("看 ", is_agent=True), text("`a`", is_agent=True), text(" 吧\n好")],
        ),
        # Taken back.
        (
            [text("想"), text("想</think>\n"), text("答")],
            [text("想"), TextReplaced(text="", reason=THINKING), text("答")],
        ),
        ([text("想</think>答")], [text("答")]),
        ([text("\n"), text("</think>答")], [text("答")]),
        (
            [text("想"), text("</think>答</think>案</think>")],
            [text("想"), TextReplaced(text="", reason=THINKING)],
        ),
        # Replaced by Dify.
        (
            [text("一<think>想"), TextReplaced(text="二", reason="r"), text("三")],
            [text("一"), TextReplaced(text="二", reason="r"), text("三")],
        ),
        (
            [text("`"), TextReplaced(text="<think>想</think>\n二<thin"), text("k>想</think>三")],
            [TextReplaced(text="二"), text("三")],
        ),
        (
            [text("一"), TextReplaced(text="想</think>二"), text("</think>三")],
            [
                text("一"),
                TextReplaced(text="二"),
                TextReplaced(text="", reason=THINKING),
                text("三"),
            ],
        ),
        # Behind the end.
        ([text("<think>想"), Ended(), text("想</think>答")], [Ended(), text("答")]),
    ],
)
def test_events_are_passed_on_held_back_and_taken_back(
    events: list[ChatEvent], told: list[ChatEvent] | None
) -> None:
    """None: as they are."""
    assert tell(*events) == (events if told is None else told)


FINISHED = WorkflowFinished(status="succeeded", answer="<think>想</think>\n\n答", error="e")
CLEAN = WorkflowFinished(status="succeeded", answer="答", error="e")


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([FINISHED], [text("答"), CLEAN]),
        ([text("<think>想</think>\n"), CLEAN], [text("答"), CLEAN]),
        ([text("<think>想"), Ended(), CLEAN], [Ended(), text("答"), CLEAN]),
        ([text("\n "), FINISHED], [text("答"), CLEAN]),
        ([text("一"), FINISHED], [text("一"), CLEAN]),
        ([text("`一"), FINISHED], [text("`一"), CLEAN]),
        (
            [text("想"), text("</think>"), CLEAN],
            [text("想"), TextReplaced(text="", reason=THINKING), text("答"), CLEAN],
        ),
        ([text("一"), TextReplaced(text=""), CLEAN], [text("一"), TextReplaced(text=""), CLEAN]),
        ([FINISHED, FINISHED], [text("答"), CLEAN, CLEAN]),
        (
            [WorkflowFinished(status="succeeded", answer="<think>想")],
            [WorkflowFinished(status="succeeded")],
        ),
        (
            [text("<think>想"), WorkflowFinished(status="stopped", answer="半")],
            [WorkflowFinished(status="stopped", answer="半")],
        ),
        ([Paused(form="想</think>选？"), Paused()], [text("选？"), Paused(form="选？"), Paused()]),
        ([text("一"), Paused(form="选？")], [text("一"), Paused(form="选？")]),
    ],
)
def test_answer_of_the_run_is_told_if_the_stream_showed_nothing(
    events: list[ChatEvent], told: list[ChatEvent]
) -> None:
    """Once, without its thinking, and not in the place of what Dify took back."""
    assert tell(*events) == told


def test_stream_that_breaks_off_gives_what_was_held_back() -> None:
    """There is no event that says so."""
    one = ThinkFilter()
    told = [*one.feed(text("一 `b` <thin")), *one.finish(), *one.finish()]

    assert told == [text("一 "), text("`b` <thin")]


EVENTS = st.one_of(
    TAGGED.map(text),
    st.builds(TextReplaced, text=TAGGED, reason=st.sampled_from(["", "output_moderation"])),
    st.builds(WorkflowFinished, status=st.sampled_from(["succeeded", "failed"]), answer=TAGGED),
    st.builds(Paused, form=TAGGED),
    st.sampled_from([Ended(), Failed(code="x")]),
)


@given(events=st.lists(EVENTS, max_size=8))
def test_answer_put_together_behind_the_filter_is_the_text_of_a_reader(
    events: list[ChatEvent],
) -> None:
    """And nothing is told of it that is not in it."""
    heard, one, answer = Assembly(), ThinkFilter(), Assembly()
    told: list[ChatEvent] = []
    for event in events:
        for passed in heard.feed(Frame(event=event)):
            told += one.feed(passed)
    for event in told:
        answer.feed(Frame(event=event))

    assert answer.text.strip() == fold(told).strip()
    assert answer.is_failed == heard.is_failed
    assert answer.is_complete == heard.is_complete


def recorded(name: str) -> list[ChatEvent]:
    """The events of a recorded stream."""
    decoder = SseDecoder()
    return [parse_frame(event).event for event in decoder.feed(captures.load(name).plain_body)]


STREAMS = [name for name in captures.names() if captures.load(name).is_stream]
THINKING_STREAMS = [name for name in STREAMS if "think" in name]


@pytest.mark.parametrize("name", THINKING_STREAMS)
def test_recorded_thinking_is_not_in_the_answer(name: str) -> None:
    """As it came, and cut into characters."""
    events = recorded(name)
    cut: list[ChatEvent] = []
    for event in events:
        cut += map(text, event.text) if isinstance(event, TextDelta) else [event]
    answer = "第0段，你好world 第1段，你好world 第2段，你好world "

    assert "想" in fold(events)
    assert fold(tell(*events)) == fold(tell(*cut)) == answer
    for told in tell(*events):
        assert not isinstance(told, WorkflowFinished) or told.answer == answer


def test_both_recorded_dialects_are_tested() -> None:
    """The one of before and the one of after release 1."""
    assert [name.split("/")[0] for name in THINKING_STREAMS] == ["0.15.3", "1.13.0"]


@pytest.mark.parametrize("name", sorted({*STREAMS} - {*THINKING_STREAMS}))
def test_recorded_streams_without_thinking_are_not_touched(name: str) -> None:
    """Neither their text nor any other event."""
    events = recorded(name)
    told = tell(*events)

    assert fold(told) == fold(events)
    others = [one for one in events if not isinstance(one, TextDelta)]
    assert [one for one in told if not isinstance(one, TextDelta)] == others


#: Texts that a careless reader would look at again and again.
LONG = {
    "prose": "好，" * 5_000,
    "lines": "好。\n\n" * 2_500,
    "thoughts": "<think>" + "想<" * 5_000,
    "half tags": "<think " * 1_500,
    "half names": "<thin" * 2_000,
    "half summaries": "<details><summary> thinking" * 400,
    "blocks": "<think>想</think>\n " * 600,
    "blanks": "\n" * 10_000,
    "blanks behind text": "a" + " \n" * 5_000,
    "blanks behind a block": "a<think/>" + " \n" * 5_000,
    "backtick": "`" + "好" * 10_000,
    "backticks": "`" * 10_000,
    "code": "`a` " * 2_500,
    "runs": "".join("`" * number + " " for number in range(1, 140)),
    "tildes": "~" * 10_000,
    "tildes in a line": "a" + " ~" * 5_000,
    "code block": "```\n" + "a\n" * 5_000,
    "line of a code block": "```\n" + "`" * 10_000,
    "lone closers": "a</think>" * 1_100,
    "blocks in one line": "`" + "<think>`</think>``" * 600,
}


class Work:
    """Counts the characters that are looked at, at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.characters = 0
        work = self

        class Text(str):
            __slots__ = ()

            @override
            def find(self, *args: Any) -> int:
                found = super().find(*args)
                work.characters += (found if found >= 0 else len(self)) - args[1] + 1
                return found

        class Window(think_window.Window):
            def __init__(self, deltas: Iterable[TextDelta], *, is_end: bool) -> None:
                super().__init__(deltas, is_end=is_end)
                self.text = Text(self.text)
                work.characters += len(self.text)

        monkeypatch.setattr(think_scanner, "Window", Window)
        for module in (think_scanner, think_tags, think_window):
            for name, value in list(vars(module).items()):
                if isinstance(value, re.Pattern):
                    monkeypatch.setattr(module, name, self._counting(value))

    def _counting(self, pattern: re.Pattern[str]) -> Any:
        def search(text: str, start: int = 0) -> re.Match[str] | None:
            found = pattern.search(text, start)
            self.characters += (found.end() if found else len(text)) - start
            return found

        def other(name: str) -> Callable[..., Any]:
            def look(text: str, start: int, end: int | None = None) -> Any:
                stop = len(text) if end is None else min(end, len(text))
                self.characters += stop - start
                return getattr(pattern, name)(text, start, stop)

            return look

        names = ("match", "fullmatch", "finditer")
        return SimpleNamespace(search=search, **{name: other(name) for name in names})


@pytest.mark.parametrize("name", LONG)
def test_each_character_is_looked_at_a_bounded_number_of_times(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as a tag may wait for its end, whether they come one by one or at once."""
    work = Work(monkeypatch)
    whole = LONG[name] + "<"

    told = streamed(whole)
    one_by_one, work.characters = work.characters, 0

    assert told == without_thinking(whole)
    assert 0 < one_by_one <= 2 * MAX_TAG * len(whole)
    assert 0 < work.characters <= 2 * MAX_TAG * len(whole)
