"""Code blocks between two lines of marks, as Markdown has them. Pure."""

import re
from dataclasses import dataclass

from app.services.text import is_blank

_LONGEST_MARK = 10
_LONGEST_INFO = 20
#: Messages shorter than this have no room for the marks of a cut code block.
ROOM_FOR_FENCES = 2 * (2 * _LONGEST_MARK + _LONGEST_INFO + 2)

_FENCE_LINE = re.compile(r"^ {0,3}(?P<mark>`{3,}(?=[^`\n]*$)|~{3,})(?P<info>[^\n]*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    """A code block: from its opening line to behind its closing line, or to the text's end."""

    start: int
    end: int
    #: Behind the opening line and before the closing one.
    inner_start: int
    inner_end: int
    #: The line that opens it again, and the one that closes it.
    opener: str
    closer: str


def find_fences(text: str, *, is_mid_line: bool = False) -> list[Fence]:
    """The code blocks of a text; *is_mid_line* as in ``Cutter``."""
    fences: list[Fence] = []
    opening: re.Match[str] | None = None
    for line in _FENCE_LINE.finditer(text):
        if opening is None:
            is_line = line.start() > 0 or not is_mid_line
            opening = line if is_line and len(line["mark"]) <= _LONGEST_MARK else None
        elif line["mark"].startswith(opening["mark"]) and not line["info"].strip():
            fences.append(_fence(opening, line.start(), line.end("mark")))
            opening = None
    if opening is not None:
        end = len(text) + 1
        fences.append(_fence(opening, end, end))
    return fences


def blank_marks(text: str) -> str:
    """A text of the same length with spaces in the place of lines that open and close blocks."""
    return _FENCE_LINE.sub(lambda line: " " * len(line[0]), text)


def skip_empty_block(text: str) -> str:
    """What follows a code block that begins the text, is closed, and has nothing in it; else all."""
    first = next(iter(find_fences(text)), None)
    if first is None or first.start > 0 or "\n" not in text[first.end :]:
        return text
    return text[first.end :] if is_blank(text[first.inner_start : first.inner_end]) else text


def _fence(opening: re.Match[str], inner_end: int, end: int) -> Fence:
    mark = opening["mark"]
    info = opening["info"].split()
    return Fence(
        start=opening.start(),
        end=end,
        inner_start=opening.end() + 1,
        inner_end=inner_end,
        opener=mark + (info[0][:_LONGEST_INFO] if info else ""),
        closer=mark,
    )
