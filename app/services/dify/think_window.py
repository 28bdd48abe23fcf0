"""The part of a text of which it is not decided yet what is thinking. Pure."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from app.services.dify.wire import TextDelta

_TICKS = re.compile(r"`+")


class Window:
    """The undecided text: how far it is read, and which delta each character came from."""

    def __init__(self, deltas: Iterable[TextDelta], *, is_end: bool) -> None:
        self.is_end = is_end
        self.pos = 0
        #: Where the text of each flag ends.
        self._flags: list[tuple[int, bool]] = []
        texts: list[str] = []
        end = 0
        for is_agent, group in groupby(deltas, key=lambda delta: delta.is_agent):
            texts.append("".join(delta.text for delta in group))
            end += len(texts[-1])
            self._flags.append((end, is_agent))
        self._flags.reverse()
        self.text = "".join(texts)
        self._line_end = 0
        #: By the place of a run of backticks in the line: behind the next one that is as long.
        self._spans: dict[int, int] = {}

    def read(self, end: int) -> Iterator[TextDelta]:
        """Go on to *end*; what is passed."""
        while self.pos < end:
            until, is_agent = self._flags[-1]
            stop = min(until, end)
            if stop > self.pos:
                yield TextDelta(text=self.text[self.pos : stop], is_agent=is_agent)
                self.pos = stop
            if until < end:
                self._flags.pop()

    def line_end(self) -> int | None:
        """Behind the line in which the place is; None: the line goes on."""
        if self._line_end <= self.pos:
            self._line_end = self.text.find("\n", self.pos) + 1
            self._spans = {}
        if not self._line_end and self.is_end:
            self._line_end = len(self.text)
        return self._line_end or None

    def span_end(self, line_end: int) -> int:
        """Behind the inline code that begins at the place, or else behind its run of backticks."""
        if self.pos not in self._spans:
            nearest: dict[int, int] = {}
            for run in reversed(list(_TICKS.finditer(self.text, self.pos, line_end))):
                length = run.end() - run.start()
                self._spans[run.start()] = nearest.get(length, run.end())
                nearest[length] = run.end()
        return self._spans[self.pos]
