"""
Looking contacts up anew on request: they are marked as due, and the keeper gets to them in its own pace.

All that is marked bears the same moment, so that what is left of a refresh can be counted, by whichever
replica, and taken back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from redis.asyncio import Redis
from sqlalchemy import ColumnElement, func, select, update

from app.models.contact import CONTACTS
from app.services.audit import Audit, Deed
from app.services.queue.keys import Keys
from app.services.queue.scripts import translated
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.batches import batches

#: Contacts of one refresh: at 30 look-ups a minute this takes ten minutes at least.
MOST: Final = 5000
#: Rows of one statement.
BATCH: Final = 200
KEPT_SECONDS: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_C = CONTACTS.c


@dataclass(frozen=True, kw_only=True, slots=True)
class Refresh:
    """One refresh."""

    #: What those that are still to be looked up are marked with.
    mark: datetime
    total: int
    left: int
    is_cancelled: bool = False

    @property
    def done(self) -> int:
        """Contacts that were looked up, or could not be."""
        return max(0, self.total - self.left)

    @property
    def is_running(self) -> bool:
        """Somebody is still to be looked up."""
        return self.left > 0 and not self.is_cancelled


class RefreshDesk:
    """Starts refreshes and knows of the last one."""

    def __init__(self, store: Store, redis: Redis, audit: Audit) -> None:
        self._store = store
        self._redis = redis
        self._audit = audit
        self._key = Keys().refresh

    async def start(self, conditions: Sequence[ColumnElement[bool]], *, by: Deed) -> Refresh | None:
        """
        Have the chosen contacts looked up, those not looked up for longest first; None: there are none.

        One that goes on already is not disturbed: it is what is returned.

        Raises:
            StoreUnavailable, QueueUnavailable: some may be marked.
        """
        last = await self.last()
        if last is not None and last.is_running:
            return last
        idle = select(_C.id).where(_C.next_fetch_at.is_(None), *conditions)
        async with self._store.read() as connection:
            found = await connection.scalars(idle.order_by(_C.fetched_at, _C.id).limit(MOST))
            ids = list(found)
        if not ids:
            return None
        await self._audit.note(by)
        mark = utc_now()
        await self._tell(mark, len(ids))
        for some in batches(ids, BATCH):
            # Unless somebody else wanted it meanwhile.
            marked = update(CONTACTS).where(_C.id.in_(some), _C.next_fetch_at.is_(None))
            await self._store.change(marked.values(next_fetch_at=mark), {})
        return Refresh(mark=mark, total=len(ids), left=len(ids))

    async def last(self) -> Refresh | None:
        """
        The last refresh and how far it is; None: there was none for a day.

        Raises:
            StoreUnavailable, QueueUnavailable: nobody knows.
        """
        async with translated(self._redis):
            kept = await self._redis.get(self._key)
        if kept is None:
            return None
        told = orjson.loads(kept)
        mark = _EPOCH + timedelta(microseconds=told["mark"])
        if told["skipped"] is not None:
            return Refresh(mark=mark, total=told["total"], left=told["skipped"], is_cancelled=True)
        is_left = _C.next_fetch_at == mark
        async with self._store.read() as connection:
            left = await connection.scalar(select(func.count()).where(is_left))
        return Refresh(mark=mark, total=told["total"], left=left or 0)

    async def cancel(self, *, by: Deed) -> None:
        """
        Leave those alone that were not looked up yet.

        Raises:
            StoreUnavailable, QueueUnavailable: it goes on.
        """
        last = await self.last()
        if last is None or not last.is_running:
            return
        await self._audit.note(by)
        unmarked = update(CONTACTS).where(_C.next_fetch_at == last.mark).values(next_fetch_at=None)
        count = await self._store.change(unmarked, {})
        await self._tell(last.mark, last.total, skipped=count)

    async def _tell(self, mark: datetime, total: int, *, skipped: int | None = None) -> None:
        """
        Write down what there is to know of it beside the marks.

        Args:
            skipped: contacts that were left alone when it was cancelled; None: it was not.
        """
        microseconds = (mark - _EPOCH) // timedelta(microseconds=1)
        told: dict[str, Any] = {"mark": microseconds, "total": total, "skipped": skipped}
        async with translated(self._redis):
            await self._redis.set(self._key, orjson.dumps(told), ex=KEPT_SECONDS)
