"""
The inbox: a callback becomes durable, exactly once, and a question gets into the queue.

SQL is asked first and decides; Redis only makes it fast. While SQL cannot take rows, they go to
the spill file. Only when both fail does ``accept`` raise.
"""

import asyncio
from collections.abc import Callable

from loguru import logger

from app.models.flow import (
    Accepted,
    Decision,
    Duplicate,
    Left,
    MessageId,
    Noted,
    Receipt,
    Refused,
    RefuseReason,
)
from app.services.errors import StoreUnavailable
from app.services.inbox_queue import InboxQueue, Waiting
from app.services.inbox_rows import InboxRow, make_row
from app.services.inbox_table import InboxTable, Standing
from app.services.queue.protocol import MessageQueue
from app.services.room import Bounds, Room
from app.services.spill import Spill
from app.services.spill_replay import SpillReplay
from app.services.stages import Stages, utc_now
from app.services.store import Store
from app.services.twins import SharedIds, Yielded
from app.utils.clock import Clock
from app.utils.ids import IdMaker

#: Most rows of one insert.
BATCH = 500
#: For so long a refused callback makes the process not ready; then it may be tried again.
REFUSING_SECONDS = 10.0


class Inbox:
    """Takes decisions in, in the order of their arrival."""

    def __init__(
        self,
        *,
        store: Store,
        queue: MessageQueue,
        spill: Spill,
        stages: Stages,
        ids: IdMaker,
        clock: Clock,
        bounds: Callable[[], Bounds],
        keep_ignored_text: bool,
    ) -> None:
        self._table = InboxTable(store)
        self._spill = spill
        self._ids = ids
        self._clock = clock
        self._replay = SpillReplay(
            store=store, table=self._table, spill=spill, queue=queue, ids=ids
        )
        self._room = Room(store=store, clock=clock, bounds=bounds)
        self._queue = InboxQueue(
            store=store, queue=queue, stages=stages, clock=clock, bounds=bounds, room=self._room
        )
        self._keep_ignored_text = keep_ignored_text
        self._waiting: list[Waiting] = []
        self._flusher: asyncio.Task[None] | None = None
        #: When both stores refused last, with no success since.
        self._refused_at: float | None = None

    @property
    def is_refusing(self) -> bool:
        """Whether callbacks were refused just now: neither SQL nor the disk took them."""
        since = self._refused_at
        return since is not None and self._clock.monotonic() - since < REFUSING_SECONDS

    @property
    def shared_ids(self) -> SharedIds:
        """Which accounts of ours this process saw to get messages under one id."""
        return self._table.shared_ids

    @property
    def spilled(self) -> int:
        """Callbacks that only the spill file has."""
        return self._spill.pending

    async def accept(self, decision: Decision, raw: bytes, *, seconds: float = 4.0) -> Receipt:
        """
        Make one callback durable; a question is queued as well.

        Callbacks that arrive while a commit is under way share the next one; a lone one never waits.

        Args:
            seconds: longest wait. A question that is durable by then is accepted, also if the queue
                has not answered yet; one that nobody has begun with is withdrawn.

        Raises:
            StoreUnavailable: neither SQL nor the spill file could take it in time.
        """
        row = make_row(
            decision,
            raw,
            message_id=MessageId(self._ids.next()),
            received_at=utc_now(),
            keep_ignored_text=self._keep_ignored_text,
        )
        waiting = Waiting(row=row)
        self._waiting.append(waiting)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="inbox-flush")
        done, _ = await asyncio.wait({waiting.receipt}, timeout=seconds)
        if done:
            return waiting.receipt.result()
        return self._late(waiting, seconds)

    def _late(self, waiting: Waiting, seconds: float) -> Receipt:
        if waiting.is_durable:
            return Accepted(message_id=waiting.row.message_id)
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        raise StoreUnavailable(f"no store took the callback within {seconds:g} s")

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await self._take(batch)
                self._refused_at = None
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
                self._refused_at = self._clock.monotonic()
                refusal = _refusal(error)
                for waiting in batch:
                    if not waiting.is_durable:
                        waiting.fail(refusal)

    async def _take(self, batch: list[Waiting]) -> None:
        # While lines of ours wait for SQL or are on their way there, newer ones queue up behind them.
        if not self._spill.pending:
            try:
                return await self._take_by_sql(batch)
            except StoreUnavailable as error:
                logger.warning("inbox.sql_away", rows=len(batch), error=error)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not lose what the disk can keep
                logger.opt(exception=error).error("inbox.sql_failed", rows=len(batch))
        # What SQL has meanwhile is taken; a row of which that is unknown keeps its id, and the
        # replay finds it there.
        left = [waiting for waiting in batch if not waiting.is_durable]
        if left:
            await self._take_by_spill(left)
        return None

    async def _take_by_sql(self, batch: list[Waiting]) -> None:
        """Insert rows; each is on its way as soon as SQL has it, whatever becomes of the others."""
        by_id = {waiting.row.message_id: waiting for waiting in batch}
        await self._table.insert_in_time(
            [waiting.row for waiting in batch],
            lambda standing: self._take_standing(by_id, standing),
        )
        for waiting in [waiting for waiting in batch if not waiting.is_durable]:
            # Its id was another message's.
            waiting.row = waiting.row.with_id(MessageId(self._ids.next()))
            await self._take_by_sql([waiting])

    def _take_standing(self, by_id: dict[MessageId, Waiting], standing: Standing) -> None:
        fresh = []
        for message_id, stands_as in standing.items():
            waiting = by_id[message_id]
            waiting.is_durable = stands_as is not None
            if stands_as is None:
                continue
            if isinstance(stands_as, Yielded):
                waiting.settle(Left(message_id=message_id, answered_as=stands_as.to))
            elif stands_as != message_id:
                waiting.settle(Duplicate(message_id=stands_as))
            elif waiting.row.is_question:
                fresh.append(waiting)
            else:
                waiting.settle(Noted(message_id=message_id))
        self._queue.put_in_order(fresh, is_in_sql=True)

    async def _take_by_spill(self, batch: list[Waiting]) -> None:
        questions = [waiting for waiting in batch if waiting.row.is_question]
        refused = self._room.refusals_on_disk(
            [waiting.row for waiting in questions], pending=self._spill.pending
        )
        for waiting in questions:
            if reason := refused.get(waiting.row.message_id):
                waiting.row = waiting.row.refused(reason)
        await self._spill.append([waiting.row.to_record() for waiting in batch])
        for waiting in batch:
            waiting.is_durable = True
            waiting.settle(_receipt(waiting.row, refused.get(waiting.row.message_id)))
        taken = [waiting for waiting in questions if waiting.row.is_question]
        self._queue.put_in_order(taken, is_in_sql=False)

    def use_epoch(self, epoch: str | None) -> None:
        """Tell which epoch of the index rows are queued in from now on."""
        self._queue.epoch = epoch

    def adopt_orphans(self) -> None:
        """Take over spill files of dead processes; ``replay`` brings them to SQL."""
        adopted = self._spill.adopt()
        if adopted:
            logger.info("spill.adopted", files=adopted)

    async def replay(self) -> int:
        """
        Bring the spill files to SQL; returns how many lines it has now.

        Raises:
            StoreUnavailable: SQL is still away; nothing is lost, the files are kept.
        """
        return await self._replay.run()


def _receipt(row: InboxRow, refused: RefuseReason | None) -> Receipt:
    """What became of a row on the disk."""
    if refused is not None:
        return Refused(message_id=row.message_id, reason=refused)
    return (Accepted if row.is_question else Noted)(message_id=row.message_id)


def _refusal(error: Exception) -> StoreUnavailable:
    """What the caller hears when neither store took a row; a fault of ours is logged as such."""
    if isinstance(error, StoreUnavailable):
        return error
    logger.opt(exception=error).error("inbox.spill_failed")
    return StoreUnavailable(f"spill: {type(error).__name__}")
