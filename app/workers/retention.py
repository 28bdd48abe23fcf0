"""Removes what has grown old, in small batches with long rests, so that nothing waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from loguru import logger
from sqlalchemy import Delete, Select, Table, Update, bindparam, delete, select

from app.models.conversation import CONVERSATIONS
from app.services.errors import ServiceError
from app.services.queue.leases import Leases
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.clock import Clock
from app.utils.ids import EPOCH_MS, id_at
from app.utils.loops import stopped_within
from app.workers.retention_rules import Ages, Rule, make_rules, offers

__all__ = ["Ages", "Retention"]

T = TypeVar("T")

EVERY_SECONDS = 600.0
LEASE_SECONDS = 900.0
#: Rows of one transaction. An SQLite file has one writer, and rows may be of some bytes or of some hundred
#: thousand: how many are taken follows from how long the last ones took.
LEAST_ROWS = 20
MOST_ROWS = 200
LONG_SECONDS = 0.1
#: After each statement a rest of so many times as long as it took, at least so long after a change:
#: a database that is slow because it is busy is left alone most of the time.
REST_TIMES = 2.0
REST_SECONDS = 0.05
#: Ids of six hours: what one look may have to read.
WINDOW = id_at(EPOCH_MS / 1000 + 6 * 3600)
#: So often the walk goes back to the oldest row that had no outcome when it was passed.
ANEW_SECONDS = 86_400.0

#: Rests for some seconds; False: end now, the rest follows another time.
Rest = Callable[[float], Awaitable[bool]]

_C = CONVERSATIONS.c
_JOURNAL_PAGE = (
    select(_C.id, _C.created_at, _C.updated_at, _C.is_processed)
    .where(_C.id > bindparam("last"))
    .order_by(_C.id)
    .limit(bindparam("limit"))
)


class _Ended(Exception):
    """No further step."""


async def _sleep(seconds: float) -> bool:
    await asyncio.sleep(seconds)
    return True


class Retention:
    """The periodic removal."""

    def __init__(self, *, store: Store, leases: Leases, ages: Ages, clock: Clock) -> None:
        self._store = store
        self._ages = ages
        self._clock = clock
        self._rules = make_rules(ages)
        #: By rule, the id up to which all is done.
        self._done: dict[str, int] = {}
        #: By rule, the oldest id that was passed without an outcome.
        self._passed: dict[str, int] = {}
        self._anew_at = 0.0
        self._lease = leases.task("retention", seconds=LEASE_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Remove every ten minutes until stopped; a stop ends it after the statement in work."""

        async def rest(seconds: float) -> bool:
            # A long removal outlives one lease.
            return not await stopped_within(stop, seconds) and await self._lease.hold()

        while not stop.is_set():
            try:
                if await self._lease.hold():
                    await self.remove_old(rest)
            except ServiceError as error:
                logger.warning("retention.later", error=error)
            await stopped_within(stop, EVERY_SECONDS)
        await self._lease.free()

    async def remove_old(self, rest: Rest = _sleep) -> int:
        """
        Remove all that is too old now; returns how many rows were touched.

        Raises:
            StoreUnavailable, QueueUnavailable: the rest follows the next time.
        """
        walk = _Walk(self._store, self._clock, rest)
        now = utc_now()
        if now.timestamp() >= self._anew_at:
            self._anew_at = now.timestamp() + ANEW_SECONDS
            self._done |= self._passed
            self._passed.clear()
        try:
            for rule in self._rules:
                await self._apply(walk, rule, id_at((now - rule.age).timestamp()))
            for table, age in offers(self._ages):
                await _remove_offers(walk, table, now - age)
            await _remove_turns(walk, now - self._ages.text)
        except _Ended:
            logger.info("retention.interrupted", rows=walk.touched)
        else:
            if walk.touched:
                logger.info("retention.removed", rows=walk.touched)
        return walk.touched

    async def _apply(self, walk: "_Walk", rule: Rule, bound: int) -> None:
        """Walk over the old ids, some hours at a time, from where the last walk ended."""
        start = self._done.get(rule.name)
        if start is None:
            [start] = await walk.read(rule.first(0))
        if start is None or start >= bound:
            return
        [first_open] = await walk.read(rule.first_open(bound))
        if first_open is not None:
            self._passed[rule.name] = min(first_open, self._passed.get(rule.name, first_open))
        while start < bound:
            end = min(start + WINDOW, bound)
            has_found = await _apply_window(walk, rule, start, end)
            start = self._done[rule.name] = end
            if not has_found and start < bound:
                # Perhaps months without a row.
                [following] = await walk.read(rule.first(start))
                start = bound if following is None else following
        self._done[rule.name] = bound


async def _apply_window(walk: "_Walk", rule: Rule, start: int, end: int) -> bool:
    """Whether there was anything to do."""
    has_found = False
    while ids := await walk.read(rule.page(start, end, limit := walk.rows_at_once)):
        has_found = True
        await walk.write(rule.change(sorted(set(ids))), rows=len(ids))
        if len(ids) < limit:
            break
        # What was changed is not read again; what was deleted is not there again.
        start = ids[-1]
    return has_found


async def _remove_offers(walk: "_Walk", table: Table, before: datetime) -> None:
    """By their own time: an answer may come long after its question, behind what was walked over."""
    is_old = table.c.offered_at < before
    while True:
        limit = walk.rows_at_once
        page = select(table.c.id).where(is_old).order_by(table.c.offered_at).limit(limit)
        ids = await walk.read(page)
        if ids:
            # Its row may have been offered anew meanwhile.
            await walk.write(delete(table).where(table.c.id.in_(ids), is_old), rows=len(ids))
        if len(ids) < limit:
            return


async def _remove_turns(walk: "_Walk", before: datetime) -> None:
    """Journal rows in the order they were made, until one is young."""
    last = 0
    while True:
        limit = walk.rows_at_once
        page = await walk.rows(_JOURNAL_PAGE, {"last": last, "limit": limit})
        old = [row for row in page if row.created_at < before]
        ids = [row.id for row in old if row.updated_at < before and row.is_processed]
        if ids:
            mine = _C.id.in_(ids) & (_C.updated_at < before) & _C.is_processed
            await walk.write(delete(CONVERSATIONS).where(mine), rows=len(ids))
        if len(old) < limit:
            return
        last = old[-1].id


class _Walk:
    """One removal: statement by statement, each followed by a rest."""

    def __init__(self, store: Store, clock: Clock, rest: Rest) -> None:
        self._store = store
        self._clock = clock
        self._rest = rest
        self.touched = 0
        self.rows_at_once = LEAST_ROWS

    async def read(self, statement: Select[int]) -> list[Any]:
        """The first column of what is found."""
        return [row[0] for row in await self.rows(statement, {})]

    async def rows(self, statement: Select[Any], values: dict[str, Any]) -> list[Any]:
        async def work() -> list[Any]:
            async with self._store.read() as connection:
                return list(await connection.execute(statement, values))

        return await self._step(work, least=0.0)

    async def write(self, statement: Update | Delete, *, rows: int) -> None:
        """One short transaction; a deadlock is tried again."""

        async def work() -> None:
            started = self._clock.monotonic()
            await self._store.transact(lambda connection: connection.execute(statement))
            is_long = self._clock.monotonic() - started > LONG_SECONDS
            fitting = self.rows_at_once // 2 if is_long else self.rows_at_once * 2
            self.rows_at_once = min(max(fitting, LEAST_ROWS), MOST_ROWS)
            self.touched += rows

        await self._step(work, least=REST_SECONDS)

    async def _step(self, work: Callable[[], Awaitable[T]], *, least: float) -> T:
        started = self._clock.monotonic()
        result = await work()
        took = self._clock.monotonic() - started
        if not await self._rest(max(least, took * REST_TIMES)):
            raise _Ended
        return result
