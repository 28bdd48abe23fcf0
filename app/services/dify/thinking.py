"""
Takes the thinking of reasoning models out of answers, whole ones and such as still come in. Pure.

What is thinking:

- From ``<think>`` to ``</think>``; ``<thinking>`` and ``</thinking>`` are the same tags. Case does
  not matter, white space and attributes behind the name are let pass, ``<think/>`` is an empty block.
- From ``<details …> <summary> Thinking… </summary>``, as Dify 0.15 rewrites ``<think>``, to
  ``</details>``. Any other ``<details>`` is the author's and stays.
- Blocks nest, each kind in itself. A block that never closes reaches to the end of the text.
- What stands before a closing tag of the first kind that closes nothing; if it was told already it is
  taken back. The same before a ``</details>`` that closes nothing behind a block of the second kind:
  the thoughts had one in them, and the block seemed to end there.

What is not, outside a block; inside one nothing hides a tag:

- A tag in a code block between lines of at least three backticks or tildes, however far they are
  indented; one that never closes reaches to the end of the text.
- A tag in inline code: between two runs of equally many backticks in one line. Other runs are text.
- Half a tag at the end of the text, or one longer than ``MAX_TAG`` characters.

So a line waits for its end from its first backtick on, as do one that begins with a tilde and each
line of a code block. A line goes on behind a block of thinking as if that was not there.

White space where a block was (a *seam*; several blocks with nothing but white space in between are
one):

- At the beginning of the text it goes, but for the indentation of the first line that is left. A
  blank or a line end before the first visible character therefore waits for what follows.
- Between two visible parts as many line ends stay as there were, two at most, and the
  indentation of the line behind. Without a line end: what stood before the block, or else behind it.
- At the end what stood behind the block goes.

Where nothing is taken out the text stays as it is, byte for byte.
"""

from dataclasses import replace
from itertools import groupby

from app.services.dify.think_scanner import ThinkScanner
from app.services.dify.wire import (
    BAD_ENDS,
    ChatEvent,
    Ended,
    Failed,
    Paused,
    TextDelta,
    TextReplaced,
    WorkflowFinished,
)
from app.services.text import is_blank

#: ``TextReplaced.reason`` of text that is taken back because it was thinking.
THINKING = "thinking"


def without_thinking(text: str) -> str:
    """A whole answer without its thinking."""
    if "<" not in text:
        return text
    scanner = ThinkScanner()
    scanner.read(TextDelta(text=text))
    scanner.end()
    return "".join(piece.text for piece in scanner.take())


class ThinkFilter:
    """
    The same for one stream: maps its events to those that a reader of the answer should see.

    The emitted text, appended and replaced, is ``without_thinking`` of the incoming one as soon as
    the stream's end is fed; until then the end of it may be missing, and nothing of a block is
    in it but what a closing tag takes back later.
    """

    def __init__(self) -> None:
        self._scanner = ThinkScanner()
        #: What a reader has: any text; any that can be seen; one that Dify put in the place of its own.
        self._is_told = False
        self._is_seen = False
        self._is_replaced = False

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """
        What *event* means for a reader.

        If the stream had nothing to see and was not replaced, the answer of the run that ended, or
        the question of one that waits, is told as text before the end (``Assembly`` would not: it
        counts thinking and blanks as text).
        """
        match event:
            case TextDelta():
                return self._form(event) if event.is_form else self._read(event)
            case TextReplaced():
                return [self._replaced(event)]
            case Ended() | Failed():
                return [*self.finish(), event]
            case Paused():
                form = without_thinking(event.form)
                return [*self._fill_in(form), replace(event, form=form)]
            case WorkflowFinished():
                answer = without_thinking(event.answer)
                filled = self.finish() if event.status in BAD_ENDS else self._fill_in(answer)
                return [*filled, replace(event, answer=answer)]
            case _:
                return [event]

    def finish(self) -> list[ChatEvent]:
        """The text is over: what was only held back, for a stream that breaks off as well."""
        self._scanner.end()
        return self._news()

    def _news(self) -> list[ChatEvent]:
        news: list[ChatEvent] = []
        if self._scanner.is_taken_back and self._is_told:
            news.append(TextReplaced(text="", reason=THINKING))
            self._is_told = self._is_seen = False
        pieces = self._scanner.take()
        for is_agent, group in groupby(pieces, key=lambda piece: piece.is_agent):
            text = "".join(piece.text for piece in group)
            self._note(text)
            news.append(TextDelta(text=text, is_agent=is_agent))
        return news

    def _replaced(self, event: TextReplaced) -> TextReplaced:
        self._scanner = ThinkScanner()
        self._scanner.read(TextDelta(text=event.text))
        text = "".join(piece.text for piece in self._scanner.take())
        self._is_told = self._is_seen = False
        self._is_replaced = True
        self._note(text)
        return replace(event, text=text)

    def _read(self, event: TextDelta) -> list[ChatEvent]:
        self._scanner.read(event)
        return self._news()

    def _form(self, event: TextDelta) -> list[ChatEvent]:
        """A form is never a thought, even behind one without an end."""
        news = self.finish()
        self._scanner = ThinkScanner()
        text = without_thinking(event.text)
        text = text if self._is_seen else text.lstrip("\n")
        self._note(text)
        return [*news, replace(event, text=text)]

    def _fill_in(self, text: str) -> list[ChatEvent]:
        news = self.finish()
        if self._is_seen or self._is_replaced or is_blank(text):
            return news
        self._note(text)
        return [*(one for one in news if isinstance(one, TextReplaced)), TextDelta(text=text)]

    def _note(self, text: str) -> None:
        self._is_told = self._is_told or bool(text)
        self._is_seen = self._is_seen or not is_blank(text)
