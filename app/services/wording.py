"""
What a group reads of Dify's words: without what a model thought on the way, and without marks.

Pictures and files are taken out of the words; they follow by themselves.
"""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from typing_extensions import override

from app.models.flow import Answer
from app.services.dify.files import in_order
from app.services.dify.thinking import ThinkFilter, without_thinking
from app.services.dify.wire import (
    ChatEvent,
    Ended,
    Failed,
    Paused,
    TextDelta,
    TextReplaced,
    WorkflowFinished,
)
from app.services.errors import DifyError
from app.services.media import MediaRules
from app.services.pictures import MediaFilter, without_media
from app.services.plain_stream import PlainStream
from app.services.plain_text import PlainText

#: Longest answer that is turned as a whole, in characters: it takes a second then, in which nothing
#: else goes on. Streams are turned paragraph by paragraph.
MAX_PLAIN = 100_000


class EventFilter(Protocol):
    """Events of one answer in, events as they are read out."""

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """What *event* lets be read."""
        ...

    def finish(self) -> list[ChatEvent]:
        """What is left when no event comes any more."""
        ...


@dataclass(frozen=True, slots=True)
class Wording:
    """How answers are read, by the settings."""

    strips_thinking: bool = True
    plain: PlainText = field(default_factory=PlainText)
    media: MediaRules = field(default_factory=MediaRules)

    def of(self, answer: Answer, *, is_plain: bool) -> Answer:
        """A whole answer as it is read."""
        text = without_thinking(answer.text) if self.strips_thinking else answer.text
        text, found = without_media(text, self.media)
        files = in_order([*found, *self.media.settle_all(answer.files)])
        is_turned = is_plain and len(text) <= MAX_PLAIN
        return replace(answer, text=self.plain.of(text) if is_turned else text, files=files)

    def events(
        self, events: AsyncIterator[ChatEvent], *, is_plain: bool
    ) -> AsyncIterator[ChatEvent]:
        """The events of an answer as they are read; folded they are the same as the whole one."""
        if self.strips_thinking:
            events = _Filtered(events, ThinkFilter())
        events = _Filtered(events, MediaFilter(self.media))
        return _Filtered(events, PlainFilter(self.plain)) if is_plain else events


class PlainFilter:
    """Turns Markdown into plain text, paragraph by paragraph."""

    def __init__(self, plain: PlainText) -> None:
        self._plain = plain
        self._stream = PlainStream(plain)
        self._is_agent = False
        #: There is a text, so that nobody takes the run's output for it.
        self._has_text = False

    def feed(self, event: ChatEvent) -> list[ChatEvent]:
        """What *event* lets be read."""
        match event:
            case TextDelta():
                self._is_agent = event.is_agent
                return self._delta(self._stream.feed(event.text))
            case TextReplaced():
                self._stream = PlainStream(self._plain)
                self._has_text = True
                return [replace(event, text=self._stream.feed(event.text))]
            case WorkflowFinished():
                return [*self.finish(), replace(event, answer=self._instead(event.answer))]
            case Paused():
                return [*self.finish(), replace(event, form=self._instead(event.form))]
            case Ended() | Failed():
                return [*self.finish(), event]
            case _:
                return [event]

    def finish(self) -> list[ChatEvent]:
        """What is left when no event comes any more."""
        return self._delta(self._stream.finish())

    def _instead(self, text: str) -> str:
        """What is told if nothing else was: turned only then, for a long one takes its time."""
        return text if self._has_text else self._plain.of(text)

    def _delta(self, text: str) -> list[ChatEvent]:
        self._has_text = self._has_text or bool(text)
        return [TextDelta(text=text, is_agent=self._is_agent)] if text else []


class _Filtered(AsyncIterator[ChatEvent]):
    """What was held back comes before the end, and before a failure, too."""

    def __init__(self, events: AsyncIterator[ChatEvent], one: EventFilter) -> None:
        self._events = events
        self._filter = one
        self._ready: deque[ChatEvent] = deque()
        self._end: Exception | None = None

    @override
    async def __anext__(self) -> ChatEvent:
        while not self._ready:
            if self._end is not None:
                raise self._end
            try:
                self._ready.extend(self._filter.feed(await anext(self._events)))
            except (DifyError, StopAsyncIteration) as end:
                self._end = end
                self._ready.extend(self._filter.finish())
        return self._ready.popleft()
