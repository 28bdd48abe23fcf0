"""
Whether there is room for one more question, for when the queue cannot say: Redis is away or being
rebuilt. What waits is counted in SQL; while that is away, too, by what this process wrote on its disk.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from app.models.flow import MessageId, RefuseReason
from app.models.message import MESSAGES, UNFINISHED
from app.services.inbox_rows import InboxRow
from app.services.store import Store
from app.utils.clock import Clock

#: So long a count of everything is good for; what comes in meanwhile is added.
TOTAL_SECONDS: Final = 5.0

Refusals = dict[MessageId, RefuseReason]

_WAITS = MESSAGES.c.state.in_(UNFINISHED)
_TOTAL = select(func.count()).where(_WAITS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How much may wait."""

    per_user: int
    in_all: int


class Room:
    """Counts what waits, roughly: other processes take questions in at the same time."""

    def __init__(self, *, store: Store, clock: Clock, bounds: Callable[[], Bounds]) -> None:
        self._store = store
        self._clock = clock
        self._bounds = bounds
        self._total = 0
        self._total_until = 0.0
        #: Questions on the disk of this process, by user.
        self._spilled: Counter[str] = Counter()

    async def refusals(self, rows: Sequence[InboxRow]) -> Refusals:
        """
        Those of *rows*, which SQL has by now, that are beyond a bound; the latest are refused first.

        Raises:
            StoreUnavailable: nothing is known.
        """
        waiting = await self._count({row.from_user for row in rows}, len(rows))
        found: Refusals = {}
        for row in reversed(rows):
            reason = self._reason(waiting[row.from_user] - 1, self._total - 1)
            if reason is not None:
                found[row.message_id] = reason
                waiting[row.from_user] -= 1
                self._total -= 1
        return found

    def refusals_on_disk(self, rows: Sequence[InboxRow], *, pending: int) -> Refusals:
        """
        Those of *rows* that are beyond a bound and are to be written on the disk as such.

        Args:
            pending: lines on the disk that SQL does not have yet.
        """
        if not pending:
            self._spilled.clear()
        found: Refusals = {}
        for row in rows:
            reason = self._reason(self._spilled[row.from_user], self._total + pending)
            if reason is not None:
                found[row.message_id] = reason
            else:
                self._spilled[row.from_user] += 1
                pending += 1
        return found

    def _reason(self, of_user: int, in_all: int) -> RefuseReason | None:
        """Why one more has no room beside so many."""
        bounds = self._bounds()
        if of_user >= bounds.per_user:
            return RefuseReason.USER_QUEUE_FULL
        return RefuseReason.TOO_MANY_WAITING if in_all >= bounds.in_all else None

    async def _count(self, users: set[str], new: int) -> dict[str, int]:
        """What waits for these users and, now and then, in all; the new ones included."""
        of_user = MESSAGES.c.from_user
        by_user = select(of_user, func.count()).where(_WAITS, of_user.in_(users)).group_by(of_user)
        is_old = self._clock.monotonic() >= self._total_until
        async with self._store.read() as connection:
            found = await connection.execute(by_user)
            counts = {user: int(count) for user, count in found}
            if is_old:
                self._total = int(await connection.scalar(_TOTAL) or 0)
        if is_old:
            self._total_until = self._clock.monotonic() + TOTAL_SECONDS
        else:
            self._total += new
        return counts
