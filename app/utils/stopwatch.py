"""How long somebody else took: only the time in which we waited for them counts."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from typing_extensions import override

from app.utils.clock import Clock

T = TypeVar("T")


class Stopwatch:
    """Adds up the time of its blocks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time of this block counts, however it ends."""
        started = self._clock.monotonic()
        try:
            yield
        finally:
            self.seconds += self._clock.monotonic() - started


class Timed(AsyncIterator[T], Generic[T]):
    """
    The same items; the watch runs while one is waited for.

    Args:
        on_first: is told the watch's seconds when the first item has come.
    """

    def __init__(
        self,
        items: AsyncIterator[T],
        watch: Stopwatch,
        *,
        on_first: Callable[[float], None] | None = None,
    ) -> None:
        self._items = items
        self._watch = watch
        self._on_first = on_first

    @override
    async def __anext__(self) -> T:
        with self._watch.running():
            item = await anext(self._items)
        if self._on_first is not None:
            self._on_first(self._watch.seconds)
            self._on_first = None
        return item
