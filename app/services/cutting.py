"""Where a text may be cut: the tables behind ``segments.split_answer``. Pure."""

import re
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from app.services.fences import ROOM_FOR_FENCES, Fence, find_fences
from app.services.text import is_blank, is_inside_cluster


class Level(IntEnum):
    """How good a place is; smaller is better."""

    PARAGRAPH = 0
    LINE = 1
    SENTENCE = 2
    WORD = 3


class Place(NamedTuple):
    """A place to cut: the piece ends at *end*, the next one begins at *begin*."""

    end: int
    begin: int
    level: Level


@dataclass(frozen=True, kw_only=True, slots=True)
class Rest:
    """What is still to be cut: from *begin*, inside *fence* if that was cut."""

    begin: int = 0
    fence: Fence | None = None

    @property
    def prefix(self) -> str:
        """What the next piece begins with."""
        return self.fence.opener + "\n" if self.fence else ""


#: A piece should be filled at least to this part (a quarter), if a place allows it.
_FILLING = 4
#: Added to a place's level: a badly filled piece is worse than any level, a cut code block worse.
_BADLY_FILLED = 4
_IN_FENCE = 8

_PLACES = re.compile(
    r"""
    (?P<space> \s+ )
    | (?P<sentence>
        (?: [。！？…；]+ | [!?;]+ (?! [A-Za-z0-9_=/&.] ) | (?<= [^\W\d] ) \.+ (?= \s ) )
        [”’」』】）》)\]}"']*
      )
    | (?P<word> [，、：] | , (?! \d ) )
    """,
    re.VERBOSE,
)
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[!-~]+")
_PARAGRAPH_GAP = re.compile(r"\n\s*\n")
_BLANK = re.compile(r"\s*")


class Cutter:
    """One text with its places to cut, its addresses and its code blocks."""

    def __init__(self, text: str, *, is_mid_line: bool = False) -> None:
        """
        Args:
            text: line ends are LF.
            is_mid_line: the text goes on in a line that was begun before it.
        """
        self._text = text
        self._length = len(text.rstrip())
        self._is_mid_line = is_mid_line
        self._fences = find_fences(text, is_mid_line=is_mid_line)
        self._fence_starts = [fence.start for fence in self._fences]
        self._urls = [match.span() for match in _URL.finditer(text)]
        self._url_starts = [start for start, _ in self._urls]
        self._places = self._find_places()
        self._ends = [place.end for place in self._places]

    def cut(self, rest: Rest, limit: int) -> tuple[str, Rest | None]:
        """
        Take the next piece of at most *limit* characters.

        Returns:
            The piece, which may be blank, and what remains; None: nothing.
        """
        begin = rest.begin if rest.fence else _skip_blank(self._text, rest.begin)
        prefix = rest.prefix
        if len(prefix) + self._length - begin <= limit:
            remaining = self._text[begin : self._length]
            return (prefix + remaining if remaining else ""), None
        place = self._best_place(begin, limit, prefix) or self._any_place(begin, limit, prefix)
        fence = self._fence_to_close(place.end, limit)
        if fence is None:
            return self._piece(prefix, begin, place.end), Rest(begin=place.begin)
        is_bare = self._is_bare(fence, begin, place.end)
        if is_bare and begin < fence.start:
            return self._piece(prefix, begin, fence.start), Rest(begin=fence.start)
        following = self._behind(place.begin, fence)
        if is_bare and self._text[begin : place.end].strip() == fence.opener:
            return "", following
        return self._piece(prefix, begin, place.end, "\n" + fence.closer), following

    def remaining(self, rest: Rest) -> int:
        """Characters that are still to be cut."""
        return len(rest.prefix) + self._length - rest.begin

    def text_of(self, rest: Rest) -> str:
        """What is still to be cut, as a text of its own."""
        return rest.prefix + self._text[rest.begin :]

    def is_mid_line(self, rest: Rest) -> bool:
        """Whether ``text_of`` begins in the middle of a line."""
        if rest.fence is not None:
            return False
        if rest.begin == 0:
            return self._is_mid_line
        return self._text[rest.begin - 1] != "\n"

    def finished_part(self) -> str:
        """As the function of that name; the text's last character stands for the missing rest."""
        for place in reversed(self._places):
            fence = self._fence_at(place.end)
            if place.level >= Level.WORD:
                continue
            if fence is None:
                return self._text[: place.end]
            if fence.inner_end <= self._length:
                return self._text[: fence.end]
            if place.level <= Level.LINE and not self._is_bare(fence, 0, place.end):
                return self._text[: place.end] + "\n" + fence.closer
        return ""

    def _piece(self, prefix: str, begin: int, end: int, suffix: str = "") -> str:
        """The text between two places with what stands around it; empty if there is nothing."""
        body = self._text[begin:end].rstrip()
        return prefix + body + suffix if body else ""

    def _behind(self, begin: int, fence: Fence) -> Rest:
        """What remains from *begin* on: behind the block if only its closing line is left of it."""
        is_closed = fence.inner_end <= len(self._text)
        if is_closed and is_blank(self._text[begin : fence.inner_end]):
            return Rest(begin=fence.end)
        return Rest(begin=begin, fence=fence)

    def _is_bare(self, fence: Fence, begin: int, end: int) -> bool:
        """Whether a piece between two places would show nothing of what is in the block."""
        return is_blank(self._text[max(begin, fence.inner_start) : end])

    def _best_place(self, begin: int, limit: int, prefix: str) -> Place | None:
        room = limit - len(prefix)
        first = bisect_right(self._ends, begin)
        last = bisect_right(self._ends, begin + room)
        best: Place | None = None
        best_rank = 0
        for place in reversed(self._places[first:last]):
            rank = int(place.level)
            fence = self._fence_to_close(place.end, limit)
            if fence is not None:
                is_too_long = place.end - begin + len(fence.closer) + 1 > room
                if is_too_long or self._is_bare(fence, begin, place.end):
                    continue
                rank += _IN_FENCE
            if (place.end - begin) * _FILLING < room:
                rank += _BADLY_FILLED
            if best is None or rank < best_rank:
                best, best_rank = place, rank
        return best

    def _any_place(self, begin: int, limit: int, prefix: str) -> Place:
        """Where to cut what has no place: at the limit, or before it if an emoji stands there."""
        end = begin + limit - len(prefix)
        fence = self._fence_to_close(end, limit)
        if fence is not None:
            shorter = end - len(fence.closer) - 1
            if shorter > max(begin, fence.inner_start):
                end = shorter
        whole = end
        while whole > begin and self._is_protected(whole, begin):
            address = self._url_start(whole)
            whole = whole - 1 if address is None else address
        if whole <= begin:
            whole = end
            while whole > begin and is_inside_cluster(self._text, whole, start=begin):
                whole -= 1
        end = whole if whole > begin else max(end, begin + 1)
        return Place(end, end, Level.WORD)

    def _is_protected(self, index: int, begin: int) -> bool:
        return self._url_start(index) is not None or is_inside_cluster(
            self._text, index, start=begin
        )

    def _url_start(self, index: int) -> int | None:
        """Where the address begins that a cut at *index* would tear."""
        found = bisect_left(self._url_starts, index) - 1
        if found < 0 or index >= self._urls[found][1]:
            return None
        return self._urls[found][0]

    def _fence_at(self, index: int) -> Fence | None:
        """The code block that a cut at *index* would tear."""
        found = bisect_left(self._fence_starts, index) - 1
        if found < 0 or index >= self._fences[found].end:
            return None
        return self._fences[found]

    def _fence_to_close(self, index: int, limit: int) -> Fence | None:
        return self._fence_at(index) if limit >= ROOM_FOR_FENCES else None

    def _find_places(self) -> list[Place]:
        return [
            place
            for place in (_place(match) for match in _PLACES.finditer(self._text))
            if self._url_start(place.end) is None
            and not is_inside_cluster(self._text, place.end)
            and not is_inside_cluster(self._text, place.begin)
        ]


def finished_part(text: str, *, is_mid_line: bool = False) -> str:
    """
    What is whole of a text that broke off: up to its last finished sentence or line.

    A code block that is still open ends with its last finished line.
    """
    return Cutter(text + " ", is_mid_line=is_mid_line).finished_part()


def last_paragraph_end(text: str, *, is_mid_line: bool = False) -> int:
    """Where the text behind its last finished paragraph begins; 0: none is finished."""
    fences = deque(find_fences(text, is_mid_line=is_mid_line))
    end = 0
    for gap in _PARAGRAPH_GAP.finditer(text):
        while fences and fences[0].end <= gap.start():
            fences.popleft()
        if not fences or gap.start() < fences[0].start:
            end = gap.end()
    return end


def _skip_blank(text: str, begin: int) -> int:
    match = _BLANK.match(text, begin)
    return match.end() if match else begin


def _place(match: re.Match[str]) -> Place:
    if match.lastgroup == "sentence":
        return Place(match.end(), match.end(), Level.SENTENCE)
    if match.lastgroup == "word":
        return Place(match.end(), match.end(), Level.WORD)
    lines = match[0].count("\n")
    if lines == 0:
        return Place(match.start(), match.end(), Level.WORD)
    # The next line keeps its indentation: in code it means something.
    begin = match.start() + match[0].rindex("\n") + 1
    return Place(match.start(), begin, Level.PARAGRAPH if lines > 1 else Level.LINE)
