"""White space where thinking was taken out of a text. Pure; the rules stand in ``thinking``."""

from app.services.dify.wire import TextDelta

_PARAGRAPH = 2


class Seam:
    """The white space at the end of the visible text, where a block may be, or was, taken out."""

    def __init__(self) -> None:
        self._has_text = False
        #: Of the white space at the end: any of it is told; its line ends that are told.
        self._is_begun = False
        self._told_ends = 0
        #: A block was here, and these line ends are not told but count.
        self._is_cut = False
        self._owed_ends = 0
        self._waiting: list[TextDelta] = []

    def add(self, piece: TextDelta) -> list[TextDelta]:
        """What can be told when *piece* is visible."""
        rest = piece.text.lstrip()
        self._wait(piece, piece.text[: len(piece.text) - len(rest)])
        if not rest:
            return self._early()
        body = rest.rstrip()
        told = [*self._mended(piece), _part(piece, body)]
        self._has_text, self._is_begun, self._is_cut = True, False, False
        self._told_ends = self._owed_ends = 0
        self._waiting = []
        self._wait(piece, rest[len(body) :])
        return told + self._early()

    def cut(self) -> None:
        """A block stood here."""
        self._is_cut = True
        self._owed_ends += sum(one.text.count("\n") for one in self._waiting)
        self._waiting = []

    def end(self) -> list[TextDelta]:
        """What waits and stays if nothing visible follows."""
        if self._is_cut:
            return []
        told, self._waiting = self._waiting, []
        return told

    def _mended(self, piece: TextDelta) -> list[TextDelta]:
        """The white space before *piece*, with which visible text goes on."""
        if not self._is_cut:
            return self._waiting
        blank = "".join(one.text for one in self._waiting)
        _, newline, indent = blank.rpartition("\n")
        counted = self._owed_ends + blank.count("\n")
        ends = min(counted, _PARAGRAPH - self._told_ends) if self._has_text else 0
        if not newline and (self._is_begun or ends or not self._has_text):
            indent = ""
        text = "\n" * ends + indent
        return [_part(piece, text)] if text else []

    def _wait(self, piece: TextDelta, blank: str) -> None:
        if blank:
            self._waiting.append(_part(piece, blank))

    def _early(self) -> list[TextDelta]:
        """White space behind visible text, up to its second line end: that much stays in any case."""
        ends = _PARAGRAPH - self._told_ends
        if not self._waiting or not self._has_text or self._is_cut or not ends:
            return []
        # While so few are told nothing else waits.
        [piece] = self._waiting
        lines = piece.text.split("\n", ends)
        rest = lines[-1] if len(lines) > ends else ""
        self._told_ends += len(lines) - 1
        self._is_begun = True
        self._waiting = [_part(piece, rest)] if rest else []
        return [_part(piece, piece.text[: len(piece.text) - len(rest)])]


def _part(piece: TextDelta, text: str) -> TextDelta:
    return piece if text == piece.text else TextDelta(text=text, is_agent=piece.is_agent)
