"""
Clearing somebody's queue: each waiting message gets its verdict in SQL, then leaves the index.

What a worker has in hand stays. A cleared message is a dead letter: it can be replayed.
"""

from typing import Final

from loguru import logger
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId, WcId
from app.models.message import MESSAGES, UNFINISHED, MessageState
from app.services.audit import Deed, note_deed
from app.services.conversations import refresh_flags
from app.services.errors import QueueUnavailable
from app.services.queue.protocol import MessageQueue
from app.services.stages import utc_now
from app.services.store import Store

CLEARED: Final = "failed:cleared"
#: Messages of one transaction.
BATCH: Final = 200

_M = MESSAGES.c


class Clearing:
    """Clears queues of single users."""

    def __init__(self, store: Store, queue: MessageQueue) -> None:
        self._store = store
        self._queue = queue

    async def clear(self, user: WcId, *, spared: MessageId | None, by: Deed) -> int:
        """
        Give every waiting message of *user* up; how many there were.

        Args:
            spared: what a worker has in hand.

        Raises:
            StoreUnavailable: some may have been cleared; those that were are in the audit.
        """
        count = 0
        while True:
            rows = await self._clear_some(user, spared, by)
            count += len(rows)
            for row in rows:
                await self._forget(user, row)
            if len(rows) < BATCH:
                logger.warning("queue.cleared", user=user, messages=count)
                return count

    async def _clear_some(
        self, user: WcId, spared: MessageId | None, by: Deed
    ) -> list[tuple[int, str, str, int | None]]:
        waiting = (
            select(_M.id, _M.bot_wc_id, _M.dedupe_key, _M.journal_id)
            .where(_M.from_user == user, _M.state.in_(UNFINISHED), _M.id != (spared or 0))
            .order_by(_M.id)
            .limit(BATCH)
            .with_for_update()
        )

        async def work(connection: AsyncConnection) -> list[tuple[int, str, str, int | None]]:
            rows = [tuple(row) for row in await connection.execute(waiting)]
            ids = [row[0] for row in rows]
            if ids:
                given_up = {"state": MessageState.DEAD, "verdict": CLEARED, "done_at": utc_now()}
                changed = update(MESSAGES).where(_M.id.in_(ids)).values(**given_up)
                await connection.execute(changed)
                await refresh_flags(connection, {row[3] for row in rows if row[3] is not None})
                await note_deed(connection, by.about(",".join(map(str, ids))))
            return rows

        return await self._store.transact(work)

    async def _forget(self, user: WcId, row: tuple[int, str, str, int | None]) -> None:
        """Out of the index; while Redis is away it falls out when its turn comes."""
        try:
            await self._queue.forget(user, MessageId(row[0]), WcId(row[1]), row[2])
        except QueueUnavailable as error:
            logger.warning("queue.cleared_later", error=error)
