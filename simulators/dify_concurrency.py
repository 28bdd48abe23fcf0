"""How many questions the simulated Dify answers at a time, in all and of one user."""

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager, nullcontext


class Concurrency:
    """
    Requests under way, in all and by user; a user above 1 at a time is an overlap.

    Args:
        connections: so many are served at once, as by one gunicorn worker of the stock image; whoever
            comes beyond that waits without a byte. 0: as many as come.
    """

    def __init__(self, connections: int = 0) -> None:
        self._connections = asyncio.Semaphore(connections) if connections else None
        self.active = 0
        self.max_active = 0
        self.max_by_user: dict[str, int] = {}
        self.overlaps: list[str] = []
        self._by_user: Counter[str] = Counter()

    def connection(self) -> AbstractAsyncContextManager[None]:
        """One of them, after waiting for it."""
        return self._connections or nullcontext()

    def enter(self, user: str) -> None:
        """A request begins."""
        self.active += 1
        self.max_active = max(self.max_active, self.active)
        self._by_user[user] += 1
        now_of_user = self._by_user[user]
        self.max_by_user[user] = max(self.max_by_user.get(user, 0), now_of_user)
        if now_of_user > 1:
            self.overlaps.append(user)

    def leave(self, user: str) -> None:
        """It ended."""
        self.active -= 1
        self._by_user[user] -= 1
        if not self._by_user[user]:
            del self._by_user[user]
