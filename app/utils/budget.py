"""The time that one piece of work may take: begun late, ended early, and kept though a cancellation is lost."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from typing_extensions import override

T = TypeVar("T")


class Budget:
    """
    ``async with``: the block is cancelled when its time is over, and ``TimeoutError`` raised behind it.

    Without limit until ``begin``. ``asyncio.wait_for`` of Python 3.11, which libraries use, loses a
    cancellation that comes in the moment in which it is done; so who goes on for long looks, too.
    """

    def __init__(self) -> None:
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._timeout.__aexit__(kind, error, trace)

    @property
    def is_spent(self) -> bool:
        """The time is over."""
        return self._timeout.expired()

    def begin(self, seconds: float) -> None:
        """From now on so many seconds."""
        if not self.is_spent:
            self._timeout.reschedule(asyncio.get_running_loop().time() + seconds)

    def end(self) -> None:
        """What follows takes as long as it takes."""
        if not self.is_spent:
            self._timeout.reschedule(None)

    def check(self) -> None:
        """
        Raises:
            CancelledError: the time is over, as the block should have heard already.
        """
        if self.is_spent:
            raise asyncio.CancelledError

    def bounded(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """The same items, as long as there is time."""
        return _Bounded(items, self)


class _Bounded(AsyncIterator[T], Generic[T]):
    def __init__(self, items: AsyncIterator[T], budget: Budget) -> None:
        self._items = items
        self._budget = budget

    @override
    async def __anext__(self) -> T:
        self._budget.check()
        return await anext(self._items)
