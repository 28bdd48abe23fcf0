"""From an answer to the messages that go into the group: cut, streamed, with the mention. Pure."""

from collections.abc import Iterator, Sequence

from app.models.flow import Segment, WcId
from app.services.cutting import Cutter, Rest, finished_part, last_paragraph_end
from app.services.fences import skip_empty_block
from app.services.mass_mentions import calls_everybody, defuse
from app.services.text import clean_nickname, is_blank, join_line_ends

#: What WeChat puts between a mention and the text behind it.
MENTION_END = "\u2005"
#: A running stream is cut when this many characters of finished paragraphs are there ...
JOIN_CHARACTERS = 200
#: ... or this many seconds after the last cut.
JOIN_SECONDS = 8.0

_FENCES = ("```", "~~~")
#: A paragraph is cut before its end when it is longer than a message by so many characters.
_MARGIN = 64


def split_answer(text: str, *, limit: int, reserve: int = 0) -> list[str]:
    """
    Cut an answer into messages.

    The best place that leaves a good filling wins: paragraph, line, sentence, comma or space; an
    emoji or an address is cut only if it is longer than a message. A code block that has to
    be cut is closed and opened again. Only white space at the cuts is lost.

    Args:
        limit: most characters of one piece.
        reserve: characters that the first piece leaves free, for a mention.

    Returns:
        The pieces in order, none of them blank; empty if there is nothing to read.
    """
    cutter = Cutter(text.replace("\r\n", "\n").replace("\r", "\n"))
    return list(_pieces(cutter, limit=limit, reserve=reserve))


def _pieces(cutter: Cutter, *, limit: int, reserve: int) -> Iterator[str]:
    rest: Rest | None = Rest()
    while rest is not None:
        piece, rest = cutter.cut(rest, max(1, limit - reserve))
        if not is_blank(piece):
            reserve = 0
            yield piece


class SegmentStream:
    """
    Cuts an answer while it is still being written.

    Finished paragraphs are collected until they are worth a message; what does not end for longer
    than a message is cut like a whole answer. All pieces together are the text, up to white
    space at the cuts and the marks of code blocks that were cut.
    """

    def __init__(
        self,
        *,
        limit: int,
        reserve: int = 0,
        is_mid_line: bool = False,
        join_characters: int = JOIN_CHARACTERS,
        join_seconds: float = JOIN_SECONDS,
    ) -> None:
        """
        Args:
            limit: most characters of one piece.
            reserve: characters that the very first piece leaves free, for a mention.
            is_mid_line: the text goes on in a line of which the beginning is out.
            join_characters: finished paragraphs are sent from this length on.
            join_seconds: or when the last cut is this long ago.
        """
        self._limit = limit
        self._reserve = reserve
        self._join_characters = join_characters
        self._join_seconds = join_seconds
        self._waiting = ""
        #: Whether the waiting text begins in the middle of a line of the answer.
        self._is_mid_line = is_mid_line
        #: Whether it begins with a code block that was cut and is opened again.
        self._is_reopened = False
        #: How much of the waiting text is finished paragraphs.
        self._finished = 0
        self._last_cut: float | None = None

    @property
    def due_at(self) -> float | None:
        """When ``due`` will have something by the mere passing of time; None: no such moment."""
        if self._last_cut is None or is_blank(self._waiting[: self._finished]):
            return None
        return self._last_cut + self._join_seconds

    def feed(self, delta: str, now: float) -> list[str]:
        """
        Take the next characters of the answer.

        Args:
            now: seconds of any clock that does not go back.

        Returns:
            The pieces that may be sent now; mostly none.
        """
        if self._last_cut is None:
            self._last_cut = now
        held = self._waiting.endswith("\r")
        self._waiting += delta
        if "\r" in delta or held:
            self._waiting = join_line_ends(self._waiting)
        if "\n" in delta or held:
            self._waiting = self._without_empty_block(self._waiting)
            self._finished = last_paragraph_end(self._waiting, is_mid_line=self._is_mid_line)
        return self.due(now)

    def due(self, now: float) -> list[str]:
        """The pieces that may be sent now though nothing new was written."""
        ready = self._waiting[: self._finished]
        is_late = self.due_at is not None and now >= self.due_at
        if len(ready.strip()) >= self._join_characters or (is_late and ready):
            return self._take_finished(now)
        if len(self._waiting) <= self._limit + _MARGIN:
            return []
        if self._waiting[-_MARGIN:].isspace():
            # Nobody reads so much white space; kept, it would be looked at again and again.
            self._waiting = _shorten_blank_end(self._waiting)
            self._finished = min(self._finished, len(self._waiting))
        return self._take_overlong(now)

    def finish(self, tail: str = "") -> list[str]:
        """The last pieces: the answer is whole, with *tail*, which was not fed."""
        text = self._without_empty_block(join_line_ends(self._waiting + tail + "\n"))
        pieces = self._split(text)
        self._clear()
        return pieces

    def break_off(self) -> list[str]:
        """The last pieces of an answer that broke off: what is finished of it, without a torn sentence."""
        text = self._without_empty_block(join_line_ends(self._waiting))
        pieces = self._split(finished_part(text, is_mid_line=self._is_mid_line))
        self._clear()
        return pieces

    def _take_finished(self, now: float) -> list[str]:
        pieces = self._split(self._waiting[: self._finished])
        self._keep(self._waiting[self._finished :], now, is_mid_line=False)
        return pieces

    def _take_overlong(self, now: float) -> list[str]:
        """All but the last piece: more text may still change where that one ends."""
        cutter = Cutter(self._waiting, is_mid_line=self._is_mid_line)
        pieces: list[str] = []
        rest = Rest()
        while cutter.remaining(rest) > self._limit:
            piece, following = cutter.cut(rest, max(1, self._limit - self._reserve))
            if following is None:
                break
            rest = following
            if not is_blank(piece):
                self._reserve = 0
                pieces.append(piece)
        if pieces:
            self._keep(cutter.text_of(rest), now, is_mid_line=cutter.is_mid_line(rest))
            self._is_reopened = rest.fence is not None
        return pieces

    def _without_empty_block(self, text: str) -> str:
        """The text without a block that was opened again for its closing line alone."""
        return skip_empty_block(text) if self._is_reopened else text

    def _split(self, text: str) -> list[str]:
        cutter = Cutter(text, is_mid_line=self._is_mid_line)
        pieces = list(_pieces(cutter, limit=self._limit, reserve=self._reserve))
        self._reserve = 0 if pieces else self._reserve
        return pieces

    def _keep(self, text: str, now: float, *, is_mid_line: bool) -> None:
        self._waiting = text
        self._is_mid_line = is_mid_line
        self._is_reopened = False
        self._finished = last_paragraph_end(self._waiting, is_mid_line=self._is_mid_line)
        self._last_cut = now

    def _clear(self) -> None:
        self._waiting = ""
        self._is_mid_line = False
        self._is_reopened = False
        self._finished = 0


def mention_reserve(name: str) -> int:
    """How many characters the mention of *name* takes in the first segment; 0: nobody is mentioned."""
    mention = _mention(name)
    return len(mention) + 1 if mention else 0


def to_segments(
    pieces: Sequence[str], *, limit: int, start: int = 0, name: str = "", wc_id: WcId | None = None
) -> list[Segment]:
    """
    Number the pieces of an answer; the answer's first one mentions the person who asked.

    No piece calls everybody, whatever the answer says.

    Args:
        limit: most characters of one segment, the mention included. A first piece that leaves
            no room for it is cut once more.
        start: number of the first piece; only number 0 gets the mention.
        name: what stands behind ``@``; nothing to see in it, or everybody: nobody is mentioned.
        wc_id: who is mentioned; None or empty: nobody.
    """
    wanted = [defuse(piece) for piece in pieces if not is_blank(piece)]
    mention = _mention(name)
    # A mention that takes more than half of a message is none that anybody wants to read.
    if start or not wanted or not mention or not wc_id or 2 * len(mention) >= limit:
        return [Segment(seq=start + i, content=piece) for i, piece in enumerate(wanted)]
    room = limit - len(mention) - 1
    if len(wanted[0]) > room:
        wanted[:1] = split_answer(wanted[0], limit=limit, reserve=len(mention) + 1)
    # The marks of a code block count only at the beginning of a line.
    between = "\n" if wanted[0].startswith(_FENCES) else ""
    first = Segment(seq=0, content=mention + between + wanted[0], mention=wc_id)
    return [first, *(Segment(seq=i, content=piece) for i, piece in enumerate(wanted[1:], 1))]


def _mention(name: str) -> str:
    cleaned = clean_nickname(name)
    return f"@{cleaned}{MENTION_END}" if cleaned and not calls_everybody(cleaned) else ""


def _shorten_blank_end(text: str) -> str:
    """A long blank end without most of its white space; lines and paragraphs stay what they are."""
    words = text.rstrip()
    line_ends = text.count("\n", len(words), -_MARGIN)
    return words + "\n" * min(line_ends, 2) + text[-_MARGIN:]
