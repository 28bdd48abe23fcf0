"""What is out of an answer, and how a text that takes its place goes on behind it. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.models.flow import Segment
from app.services.fences import blank_marks, find_fences
from app.services.mass_mentions import FULL_AT, HARMLESS_AT
from app.services.segments import MENTION_END
from app.services.text import is_blank, is_inside_cluster, join_line_ends

_LINE_GAP = re.compile(r"\s*\n")


class Continuation(NamedTuple):
    """Where a new text goes on behind pieces that are out."""

    #: How many of them it begins with.
    kept: int
    #: What follows those; a code block in which they end is opened again.
    rest: str
    #: Whether the rest begins in the middle of a line.
    is_mid_line: bool = False


def continuation(text: str, pieces: Sequence[str]) -> Continuation:
    """
    Compare a text with pieces of the one it replaces, in order.

    White space does not count, nor do the marks of code blocks: cutting takes the one and adds the
    other. One kind of @ is as good as another.
    """
    text = join_line_ends(text)
    places = _seen(text)
    seen = _compared(text, places)
    kept = count = end = 0
    for piece in pieces:
        wanted = _compared(piece, _seen(piece))
        start = _found(seen, wanted, count)
        if start is None:
            break
        count = start + len(wanted)
        behind = places[count - 1] + 1 if count else 0
        if not text[behind : behind + 1].isspace() and is_inside_cluster(text, behind):
            break
        kept, end = kept + 1, behind
    return _behind(text, end, kept)


def piece_of(segment: Segment) -> str:
    """What a segment says, without the mention in front of it."""
    if not segment.mention:
        return segment.content
    return segment.content.partition(MENTION_END)[2].removeprefix("\n")


def text_of(segments: Iterable[Segment]) -> str:
    """What a group reads of an answer: one line end stands for each cut."""
    return "\n".join(piece_of(segment) for segment in segments)


def _seen(text: str) -> list[int]:
    """The places of the characters that count."""
    return [place for place, char in enumerate(blank_marks(text)) if not char.isspace()]


def _found(seen: str, wanted: str, start: int) -> int | None:
    """Where it stands behind *start*; pieces of which a reader sees nothing were never sent."""
    for at in range(start, len(seen) + 1):
        if seen.startswith(wanted, at):
            return at
        if not is_blank(seen[at : at + 1]):
            break
    return None


def _compared(text: str, places: Iterable[int]) -> str:
    """The characters that count; a call to everybody is in the group with another sign."""
    return "".join(text[place] for place in places).replace(HARMLESS_AT, "@").replace(FULL_AT, "@")


def _behind(text: str, end: int, kept: int) -> Continuation:
    if not end:
        return Continuation(kept, text)
    gap = _LINE_GAP.match(text, end)
    begin = gap.end() if gap else end
    fence = next((one for one in find_fences(text) if one.start < end <= one.inner_end), None)
    if fence is None:
        return Continuation(kept, text[begin:], text[begin - 1] != "\n")
    if is_blank(text[end : fence.inner_end]):
        return Continuation(kept, text[fence.end :], is_mid_line=True)
    return Continuation(kept, f"{fence.opener}\n{text[begin:]}")
