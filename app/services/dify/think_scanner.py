"""Reads a text and tells what of it is no thinking. Pure; the rules stand in ``thinking``."""

import re

from app.services.dify.think_seam import Seam
from app.services.dify.think_tags import HALF, Tag, tag_at
from app.services.dify.think_window import Window
from app.services.dify.wire import TextDelta

_SPECIAL = re.compile(r"[<`~]")
_FENCE = re.compile(r"`{3,}+(?!.*`)|~{3,}+")
_FENCE_END = re.compile(r"[ \t]*+(`++|~++)\s*+")


class ThinkScanner:
    """Reads text piece by piece and tells the visible one; it works on each character a few times."""

    def __init__(self) -> None:
        self._held: list[TextDelta] = []
        #: It is held until its line ends.
        self._is_line_held = False
        self._seam = Seam()
        self._told: list[TextDelta] = []
        #: Everything that was told before ``take`` was thinking.
        self.is_taken_back = False
        self._is_line_start = True
        #: The mark of the open code block.
        self._fence = ""
        #: Blocks of thinking around the place, and their kind.
        self._depth = 0
        self._is_in_details = False
        #: The author's ``<details>`` around the place, and whether there was one with thinking.
        self._author_details = 0
        self._had_details = False

    def read(self, delta: TextDelta) -> None:
        """More text."""
        is_decided = not (self._held or self._depth or self._fence)
        if is_decided and _SPECIAL.search(delta.text) is None:
            self._tell(delta)
            return
        self._held.append(delta)
        if not self._is_line_held or "\n" in delta.text:
            self._go_on(is_end=False)

    def end(self) -> None:
        """There is no more text; what may come in spite of that follows text that is decided."""
        self._go_on(is_end=True)
        self._told += self._seam.end()

    def take(self) -> list[TextDelta]:
        """What is visible, and new since this was called."""
        told, self._told = self._told, []
        self.is_taken_back = False
        return told

    def _go_on(self, *, is_end: bool) -> None:
        window = Window(self._held, is_end=is_end)
        self._is_line_held = False
        while window.pos < len(window.text) and self._step(window):
            pass
        self._held = list(window.read(len(window.text)))

    def _step(self, window: Window) -> bool:
        """Read on a little; False: only more text can tell how."""
        if self._depth:
            return self._think(window)
        if self._fence:
            return self._code_line(window)
        special = _SPECIAL.search(window.text, window.pos)
        self._show(window, special.start() if special else len(window.text))
        if special is None:
            return True
        if special[0] == "<":
            return self._markup(window)
        if special[0] == "`" or self._is_line_start:
            return self._code(window)
        self._show(window, special.end())
        return True

    def _think(self, window: Window) -> bool:
        start = window.text.find("<", window.pos)
        if start < 0:
            window.pos = len(window.text)
            return True
        window.pos = start
        tag = tag_at(window.text, start, is_end=window.is_end)
        if tag is HALF:
            return False
        window.pos = tag.end if tag else start + 1
        if tag and tag.is_details == self._is_in_details and not tag.is_empty:
            self._depth += -1 if tag.is_closing else 1
        return True

    def _code_line(self, window: Window) -> bool:
        end = self._whole_line(window)
        if end is None:
            return False
        mark = _FENCE_END.fullmatch(window.text, window.pos, end)
        if mark is not None and mark[1].startswith(self._fence):
            self._fence = ""
        self._show(window, end)
        return True

    def _code(self, window: Window) -> bool:
        """At a backtick, or at a tilde that begins a line."""
        end = self._whole_line(window)
        if end is None:
            return False
        fence = _FENCE.match(window.text, window.pos, end) if self._is_line_start else None
        if fence is not None:
            self._fence = fence[0]
            self._show(window, end)
        elif window.text[window.pos] == "~":
            self._show(window, window.pos + 1)
        else:
            self._show(window, window.span_end(end))
        return True

    def _whole_line(self, window: Window) -> int | None:
        end = window.line_end()
        self._is_line_held = end is None
        return end

    def _markup(self, window: Window) -> bool:
        """At a ``<`` that no code hides."""
        tag = tag_at(window.text, window.pos, is_end=window.is_end)
        if tag is HALF:
            return False
        if tag is None:
            self._show(window, window.pos + 1)
        elif tag.is_thought:
            self._open(tag)
            window.pos = tag.end
        elif self._is_lone(tag):
            self._take_back()
            window.pos = tag.end
        else:
            if tag.is_details and not tag.is_empty:
                self._author_details = max(0, self._author_details + (-1 if tag.is_closing else 1))
            self._show(window, tag.end)
        return True

    def _open(self, tag: Tag) -> None:
        self._seam.cut()
        if not tag.is_empty:
            self._depth = 1
            self._is_in_details = tag.is_details
            self._had_details = self._had_details or tag.is_details

    def _is_lone(self, tag: Tag) -> bool:
        """The end of thoughts of which nobody saw the beginning."""
        is_known = self._had_details and not self._author_details if tag.is_details else True
        return tag.is_closing and is_known

    def _take_back(self) -> None:
        self._told.clear()
        self.is_taken_back = True
        self._seam = Seam()
        self._seam.cut()
        self._is_line_start = True
        self._author_details = 0

    def _show(self, window: Window, end: int) -> None:
        """Read on to *end*: it is visible."""
        for piece in window.read(end):
            self._tell(piece)

    def _tell(self, piece: TextDelta) -> None:
        _, newline, line = piece.text.rpartition("\n")
        self._is_line_start = (bool(newline) or self._is_line_start) and not line.strip(" \t")
        self._told += self._seam.add(piece)
