"""
Keeps Redis, the index, in step with SQL, the truth.

A new or wiped Redis has no epoch: it is rebuilt before anything is claimed. After that the sweep
puts in what is missing, for whatever reason: Redis was away, a failover lost the last second,
the spill file was replayed.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import ColumnElement, func, or_, select, update

from app.models.flow import MessageId, WcId
from app.models.message import UNFINISHED, Message, MessageState
from app.services.errors import ServiceError
from app.services.inbox import Inbox
from app.services.queue.leases import Leases
from app.services.queue.protocol import Enqueued, Entry, MessageQueue
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.batches import batches
from app.utils.clock import Clock
from app.utils.loops import stopped_within

LOOK_SECONDS = 1.0
SWEEP_SECONDS = 5.0
#: Younger rows may be on their way into the queue right now.
SWEEP_AGE = timedelta(seconds=3)
FULL_PASS_SECONDS = 60.0
#: Rows of one look, users whose lists are asked for at once, and rows of one update: none of them
#: holds up a callback for long.
PAGE = 4_000
USERS_AT_ONCE = 500
MARK_AT_ONCE = 500
REBUILD_LOCK_SECONDS = 30.0
TASK_LEASE_SECONDS = 30.0


class IndexKeeper:
    """Epoch, rebuild, sweep and repair."""

    def __init__(
        self,
        *,
        store: Store,
        queue: MessageQueue,
        inbox: Inbox,
        leases: Leases,
        clock: Clock,
    ) -> None:
        self._store = store
        self._queue = queue
        self._inbox = inbox
        self._clock = clock
        self._sweeping = leases.task("sweep", seconds=TASK_LEASE_SECONDS)
        self._next_sweep = 0.0
        self._next_full_pass = 0.0
        self._epoch: str | None = None
        #: Both last until a rebuild succeeded: one that failed halfway is gone on with.
        self._rebuild_owner = secrets.token_hex(8)
        self._process_died = False
        self._looking = asyncio.Lock()
        self._is_leaving = False

    async def start(self, *, process_died: bool) -> None:
        """
        Bring the index up before the listener opens.

        Args:
            process_died: whatever was in work died with the only process there is (embedded).

        Raises:
            QueueUnavailable, StoreUnavailable: ``run`` goes on trying.
        """
        self._process_died = process_died
        await self._look()

    def leave(self) -> None:
        """The process ends: what takes long is given up soon, and no rebuild is begun."""
        self._is_leaving = True

    async def run(self, stop: asyncio.Event) -> None:
        """Keep looking until stopped."""
        while not stop.is_set():
            try:
                await self._look()
                await self._upkeep()
            except ServiceError as error:
                logger.warning("index.later", error=error)
            await stopped_within(stop, LOOK_SECONDS)
        await self._sweeping.free()

    async def _look(self) -> None:
        async with self._looking:
            epoch = await self._queue.epoch()
            if epoch is None and not self._is_leaving:
                await self._rebuild()
                epoch = await self._queue.epoch()
            if epoch is not None:
                self._process_died = False
            if epoch != self._epoch:
                self._epoch = epoch
                self._inbox.use_epoch(epoch)

    async def _rebuild(self) -> None:
        owner = self._rebuild_owner
        if not await self._queue.begin_rebuild(owner, seconds=REBUILD_LOCK_SECONDS):
            return
        logger.info("index.rebuilding")
        epoch = secrets.token_hex(8)
        count = 0
        async for rows in self._pages(Message.state.in_(UNFINISHED)):
            await self._restore(rows, epoch=epoch, process_died=self._process_died)
            count += len(rows)
            if self._is_leaving:
                logger.info("index.left", messages=count)
                await self._queue.leave_rebuild(owner)
                return
            if not await self._queue.begin_rebuild(owner, seconds=REBUILD_LOCK_SECONDS):
                return
        if await self._queue.finish_rebuild(owner, epoch):
            logger.info("index.rebuilt", messages=count, epoch=epoch)

    async def _upkeep(self) -> None:
        """The sweep and the slow full pass, by one process at a time."""
        now = self._clock.monotonic()
        if self._epoch is None or now < self._next_sweep or not await self._sweeping.hold():
            return
        self._next_sweep = now + SWEEP_SECONDS
        unfinished = Message.state.in_(UNFINISHED)
        is_old = Message.received_at < utc_now() - SWEEP_AGE
        # What was deleted is missing now.
        is_full = await self._queue.heal() > 0 or now >= self._next_full_pass
        if is_full:
            repaired = await self._queue.repair()
            if repaired:
                logger.warning("index.repaired", users=repaired)
        missing = or_(Message.queued_epoch.is_(None), Message.queued_epoch != self._epoch)
        await self._put_in(unfinished & missing & is_old, name="index.swept")
        if is_full:
            await self._put_in_lost(unfinished & is_old)
            self._next_full_pass = now + FULL_PASS_SECONDS

    async def _put_in_lost(self, waits: ColumnElement[bool]) -> None:
        """
        Put in again what Redis lost though the rows say that it was queued.

        Looked at are users with fewer messages in Redis than in SQL. Where other entries hide a loss,
        a claim of that user finds it, or the list gets shorter.
        """
        async with self._store.read() as connection:
            found = await connection.execute(
                select(Message.from_user, func.count()).where(waits).group_by(Message.from_user)
            )
            counts = [(WcId(user), count) for user, count in found]
        for some in batches(counts, USERS_AT_ONCE):
            depths = await self._queue.depths([user for user, _ in some])
            short = [
                user for (user, count), depth in zip(some, depths, strict=True) if depth < count
            ]
            if short:
                await self._put_in(waits & Message.from_user.in_(short), name="")

    async def _put_in(self, condition: ColumnElement[bool], *, name: str) -> None:
        count = 0
        async for rows in self._pages(condition):
            await self._restore(rows, epoch=self._epoch or "", process_died=False)
            count += len(rows)
            if self._is_leaving:
                break
            await self._sweeping.hold()
        if count and name:
            logger.info(name, messages=count)

    async def _pages(self, condition: ColumnElement[bool]) -> AsyncIterator[list[Any]]:
        """Rows in the order of receipt, a page at a time."""
        last = 0
        while True:
            async with self._store.read() as connection:
                found = await connection.execute(
                    select(
                        Message.id,
                        Message.from_user,
                        Message.bot_wc_id,
                        Message.dedupe_key,
                        Message.state,
                        Message.attempts,
                        Message.crashes,
                        Message.sole_crashes,
                        Message.runs_alone,
                        Message.queued_epoch,
                        Message.replayed_at,
                    )
                    .where(condition, Message.id > last)
                    .order_by(Message.id)
                    .limit(PAGE)
                )
                rows = list(found.all())
            if not rows:
                return
            yield rows
            last = rows[-1].id

    async def _restore(self, rows: list[Any], *, epoch: str, process_died: bool) -> None:
        results = await self._queue.restore(
            [_entry(row, process_died=process_died) for row in rows]
        )
        moved = [
            row.id
            for row, result in zip(rows, results, strict=True)
            if result is not Enqueued.FAILED and row.queued_epoch != epoch
        ]
        for some in batches(moved, MARK_AT_ONCE):
            async with self._store.write() as connection:
                await connection.execute(
                    update(Message)
                    .where(Message.id.in_(some))
                    .values(queued_epoch=epoch, queued_at=utc_now())
                )


def _entry(row: Any, *, process_died: bool) -> Entry:
    """A row as the queue needs it; what was in work when its process died counts one crash more."""
    died = process_died and row.state == MessageState.PROCESSING
    return Entry(
        user=WcId(row.from_user),
        message_id=MessageId(row.id),
        bot_wc_id=WcId(row.bot_wc_id),
        dedupe_key=row.dedupe_key,
        crashes=row.crashes + int(died),
        sole_crashes=row.sole_crashes + int(died and row.runs_alone),
        attempts=row.attempts,
        # It is in no index yet: what one counts of it is from before it was given up.
        is_replayed=row.replayed_at is not None and row.queued_epoch is None,
    )


async def replay_spill(inbox: Inbox, stop: asyncio.Event) -> None:
    """Bring the spill file to SQL as soon as SQL is back, until stopped."""
    while not stop.is_set():
        try:
            await inbox.replay()
        except ServiceError as error:
            logger.debug("spill.later", error=error)
        await stopped_within(stop, LOOK_SECONDS)
