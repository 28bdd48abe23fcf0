"""Rows of the inbox into SQL: many at once, new told from duplicate, an odd one alone."""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from loguru import logger
from sqlalchemy import Select, and_, insert, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId
from app.models.message import MESSAGES, Message
from app.services.errors import StoreUnavailable
from app.services.inbox_rows import InboxRow
from app.services.store import Store
from app.services.twin_rows import known_copies
from app.services.twins import Copies, SharedIds, Yielded

#: Longest wait for SQL before the spill file is used; the gateway gives up after 6 s in all.
SQL_SECONDS = 2.0

Standing = dict[MessageId, MessageId | Yielded | None]
"""
For each row's id the id under which the message stands: its own (new), another one (a duplicate
delivery), ``Yielded`` (kept, but another account's copy of it is answered), or None (the id itself
was taken by another message: take a new one).
"""

#: Looks and inserts of one batch, while others insert the same between the two.
RACE_TRIES = 20


_INSERT = insert(MESSAGES)
#: The row's fault, not the connection's: its neighbours may be fine.
_ROW_ERRORS = (DBAPIError, ValueError, OverflowError)


class RowRefused(StoreUnavailable):
    """The database is there but will never take this row, whatever its texts."""

    code = "row_refused"


class InboxTable:
    """Inserts rows of callbacks."""

    def __init__(self, store: Store, *, seconds: float = SQL_SECONDS) -> None:
        self._store = store
        self._seconds = seconds
        self.shared_ids = SharedIds()
        self._given_up: set[asyncio.Task[Standing]] = set()

    async def insert(self, rows: Sequence[InboxRow]) -> Standing:
        """
        Insert rows, if possible in one commit; one that the database refuses takes no others with it.

        Raises:
            RowRefused: one row cannot be kept in any shape; the others are in.
            StoreUnavailable: SQL is away or too slow; it is unknown what was written.
        """
        standing: Standing = {}
        await self._insert(rows, standing.update, until=math.inf)
        return standing

    async def insert_in_time(
        self, rows: Sequence[InboxRow], report: Callable[[Standing], None]
    ) -> None:
        """
        Insert rows within the bound in all, for callers that wait.

        Args:
            report: hears of rows as soon as they are durable.

        Raises:
            RowRefused, StoreUnavailable: as ``insert``, of the rows that were not reported.
        """
        await self._insert(rows, report, until=_now() + self._seconds)

    async def _insert(
        self, rows: Sequence[InboxRow], report: Callable[[Standing], None], *, until: float
    ) -> None:
        try:
            return report(await self._commit(rows, until))
        except _ROW_ERRORS as error:
            if len(rows) == 1:
                return report(await self._insert_escaped(rows[0], error, until))
        refused: RowRefused | None = None
        for row in rows:
            try:
                await self._insert([row], report, until=until)
            except RowRefused as error:
                refused = error
        if refused is not None:
            raise refused
        return None

    async def _insert_escaped(self, row: InboxRow, error: Exception, until: float) -> Standing:
        logger.error("inbox.row_escaped", message_id=row.message_id, error=_name_of(error))
        try:
            return await self._commit([row.escaped()], until)
        except _ROW_ERRORS as again:
            raise RowRefused(f"database refuses the row: {_name_of(again)}") from again

    async def _commit(self, rows: Sequence[InboxRow], until: float) -> Standing:
        seconds = min(self._seconds, until - _now())
        if seconds <= 0:
            raise StoreUnavailable("database: too slow row by row")
        committing = asyncio.create_task(self._insert_all(rows))
        done, _ = await asyncio.wait({committing}, timeout=seconds)
        if done:
            return committing.result()
        # Not awaited: a driver that waits for the disk or for a dead server cannot be interrupted.
        committing.cancel()
        self._given_up.add(committing)
        committing.add_done_callback(self._notice_end)
        raise StoreUnavailable(f"database: no commit within {seconds:.1f} s")

    async def _insert_all(self, rows: Sequence[InboxRow]) -> Standing:
        """At once, as nearly always everything is new; else each is looked up."""
        try:
            await self._store.change(_INSERT, [row.columns for row in rows])
        except IntegrityError:
            return await self._insert_missing(rows)
        return {row.message_id: row.message_id for row in rows}

    async def _insert_missing(self, rows: Sequence[InboxRow]) -> Standing:
        for left in reversed(range(RACE_TRIES)):
            try:
                return await self._store.transact(
                    lambda connection: insert_rows(connection, rows, self.shared_ids)
                )
            except IntegrityError:
                # Another process was faster between the look and the insert.
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _notice_end(self, late: "asyncio.Task[Standing]") -> None:
        self._given_up.discard(late)
        if not late.cancelled():
            logger.debug("inbox.late_commit", error=repr(late.exception()))


async def insert_rows(
    connection: AsyncConnection, rows: Sequence[InboxRow], shared_ids: SharedIds
) -> Standing:
    """
    Look which of these rows are there, and insert the others.

    No ``INSERT IGNORE``: it would cut text short and not say which row was the duplicate. No ``ON
    DUPLICATE KEY`` either: MySQL would take another copy of a message for a second delivery.

    Raises:
        IntegrityError: somebody was faster since; to be called again, on a new transaction.
    """
    found = await connection.execute(standing_of(rows))
    known = {(bot, key): MessageId(id_) for bot, key, id_ in found}
    ids = [row.message_id for row in rows]
    taken = set(await connection.scalars(select(Message.id).where(Message.id.in_(ids))))
    copies = await known_copies(
        connection, [row.twin_keys for row in rows if row.is_question], shared_ids
    )
    standing: Standing = {}
    new: list[InboxRow] = []
    delivered: Counter[MessageId] = Counter()
    for row in rows:
        key = (row.bot_wc_id, row.dedupe_key)
        stands_as = known.get(key)
        if stands_as is not None:
            # One that was there already under its own id (the commit was carried out although it
            # seemed to fail) is no delivery.
            delivered[stands_as] += stands_as != row.message_id
            standing[row.message_id] = stands_as
        elif row.message_id in taken:
            standing[row.message_id] = None
        else:
            known[key] = row.message_id
            row, standing[row.message_id] = _settled(row, copies)  # noqa: PLW2901 - the same one
            new.append(row)
    if new:
        await connection.execute(_INSERT, [row.columns for row in new])
    await _count_deliveries(connection, delivered)
    return standing


def _settled(row: InboxRow, copies: Copies) -> tuple[InboxRow, "MessageId | Yielded"]:
    """A new row as it is written, and how it stands (pure)."""
    if not row.is_question:
        return row, row.message_id
    outcome = copies.settle(row.message_id, row.bot_wc_id, row.twin_keys)
    stands_as = outcome if isinstance(outcome, Yielded) else row.message_id
    return row.settled(outcome), stands_as


async def _count_deliveries(connection: AsyncConnection, delivered: "Counter[MessageId]") -> None:
    """A second delivery counts on the row of the first one."""
    for times in sorted(set(delivered.values()) - {0}):
        ids = [message_id for message_id, count in delivered.items() if count == times]
        await connection.execute(
            update(MESSAGES)
            .where(MESSAGES.c.id.in_(ids))
            .values(deliveries=MESSAGES.c.deliveries + times)
        )


def standing_of(rows: Sequence[InboxRow]) -> Select[str, str, int]:
    """
    Asks under which ids the messages of these rows stand.

    One term per account: SQLite reads the whole table for a list of pairs.
    """
    keys: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        keys[row.bot_wc_id].append(row.dedupe_key)
    are_known = (
        and_(Message.bot_wc_id == bot, Message.dedupe_key.in_(wanted))
        for bot, wanted in keys.items()
    )
    return select(Message.bot_wc_id, Message.dedupe_key, Message.id).where(or_(*are_known))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _name_of(error: Exception) -> str:
    return type(error.orig if isinstance(error, DBAPIError) else error).__name__
