"""Brings the lines of the spill files to SQL, oldest first, as soon as SQL is back."""

from itertools import islice
from typing import Any

from loguru import logger

from app.models.flow import MessageId, WcId
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.inbox_rows import InboxRow, row_from_record
from app.services.inbox_table import InboxTable, RowRefused
from app.services.queue.protocol import MessageQueue
from app.services.spill import Spill, SpillFile
from app.services.store import Store
from app.utils.ids import IdMaker

BATCH = 200


class SpillReplay:
    """Replays; a file goes only when every line of it is in SQL."""

    def __init__(
        self,
        *,
        store: Store,
        table: InboxTable,
        spill: Spill,
        queue: MessageQueue,
        ids: IdMaker,
    ) -> None:
        self._store = store
        self._table = table
        self._spill = spill
        self._queue = queue
        self._ids = ids
        #: Duplicates that Redis could not be told of yet.
        self._leftovers: list[InboxRow] = []

    async def run(self) -> int:
        """
        Replay all files; returns how many lines SQL has now.

        Raises:
            StoreUnavailable: SQL is still away; nothing is lost, the files are kept.
        """
        await self._forget_leftovers()
        if not self._spill.pending:
            return 0
        await self._store.ping()
        try:
            replayed = 0
            # What arrives meanwhile queues up in a new file: nobody is overtaken.
            while (file := await self._spill.take()) is not None:
                replayed += await self._replay(file)
            return replayed
        finally:
            await self._forget_leftovers()

    async def _replay(self, file: SpillFile) -> int:
        count = odd = 0
        try:
            records = file.records()
            while batch := list(islice(records, BATCH)):
                rows = [row for record in batch if (row := _row_of(record)) is not None]
                taken = await self._replay_batch(rows)
                count += taken
                odd += len(batch) - taken
            self._spill.finish(file, odd=bool(odd))
        except OSError as error:
            self._spill.give_back(file)
            raise StoreUnavailable(f"spill: {error}") from error
        except BaseException:
            self._spill.give_back(file)
            raise
        logger.info("spill.replayed", file=file.path.name, rows=count, odd=odd)
        return count

    async def _replay_batch(self, rows: list[InboxRow]) -> int:
        """Insert a batch; returns how many SQL took."""
        if not rows:
            return 0
        try:
            standing = await self._table.insert(rows)
        except RowRefused as error:
            if len(rows) > 1:
                return sum([await self._replay_batch([row]) for row in rows])
            logger.error("spill.row_refused", message_id=rows[0].message_id, error=error)
            # Nobody will ever answer it: its user's queue must not wait for it.
            self._leftovers.append(rows[0])
            return 0
        for row in rows:
            stands_as = standing[row.message_id]
            if stands_as is None:
                await self._table.insert([row.with_id(MessageId(self._ids.next()))])
            if stands_as != row.message_id:
                # Delivered twice while SQL was away, or by another account, too: the other copy
                # stands, this one leaves the queue.
                self._leftovers.append(row)
        return len(rows)

    async def _forget_leftovers(self) -> None:
        while self._leftovers:
            row = self._leftovers[-1]
            user, bot = WcId(row.from_user), WcId(row.bot_wc_id)
            try:
                await self._queue.forget(user, row.message_id, bot, row.dedupe_key)
            except QueueUnavailable as error:
                logger.debug("spill.forget_later", rows=len(self._leftovers), error=error)
                return
            self._leftovers.pop()


def _row_of(record: dict[str, Any] | None) -> InboxRow | None:
    if record is None:
        return None
    try:
        return row_from_record(record)
    except (KeyError, ValueError, TypeError) as error:
        logger.error("spill.odd_line", error=repr(error))
        return None
