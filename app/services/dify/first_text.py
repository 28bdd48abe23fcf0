"""When an answer's first text comes: what the group waits for."""

from collections.abc import AsyncIterator, Callable

from typing_extensions import override

from app.services.dify.wire import ChatEvent, TextDelta


class FirstText(AsyncIterator[ChatEvent]):
    """
    The same events.

    Args:
        notice: is called once, when the first one with text has come.
    """

    def __init__(self, events: AsyncIterator[ChatEvent], notice: Callable[[], None]) -> None:
        self._events = events
        self._notice: Callable[[], None] | None = notice

    @override
    async def __anext__(self) -> ChatEvent:
        event = await anext(self._events)
        if self._notice is not None and isinstance(event, TextDelta) and event.text:
            self._notice()
            self._notice = None
        return event
