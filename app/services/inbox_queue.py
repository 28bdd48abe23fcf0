"""
Durable questions on their way into the queue, in the order of their arrival.

The queue is asked beside the next commit, not before it. What it does not take now the sweep puts
in; only a bound that is reached refuses a question. While the queue cannot say, SQL is counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from loguru import logger
from sqlalchemy import update

from app.models.flow import Accepted, Receipt, Refused, RefuseReason, WcId
from app.models.message import Message, MessageState
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.inbox_rows import InboxRow
from app.services.inbox_table import SQL_SECONDS
from app.services.queue.protocol import Enqueued, Entry, MessageQueue
from app.services.room import Bounds, Refusals, Room
from app.services.stages import Stages, utc_now
from app.services.store import Store
from app.utils.clock import Clock

#: Longest wait for Redis; what it does not take the sweep puts in.
REDIS_SECONDS = 1.0
#: After a failure Redis is left alone for so long.
REDIS_PAUSE_SECONDS = 1.0


@dataclass(eq=False, kw_only=True, slots=True)
class Waiting:
    """A callback that waits for its receipt."""

    row: InboxRow
    #: Done when the row is durable and, if SQL has it, the queue said whether a bound is reached.
    receipt: asyncio.Future[Receipt] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    #: Whatever else is asked, a store has it: the gateway may hear 200.
    is_durable: bool = False

    def settle(self, receipt: Receipt) -> None:
        if not self.receipt.done():
            self.receipt.set_result(receipt)

    def fail(self, error: Exception) -> None:
        if not self.receipt.done():
            self.receipt.set_exception(error)


class InboxQueue:
    """Puts questions into the queue, and refuses those beyond a bound."""

    def __init__(
        self,
        *,
        store: Store,
        queue: MessageQueue,
        stages: Stages,
        clock: Clock,
        bounds: Callable[[], Bounds],
        room: Room,
    ) -> None:
        self._store = store
        self._queue = queue
        self._stages = stages
        self._clock = clock
        self._bounds = bounds
        self._room = room
        self._redis_away_until = 0.0
        #: In order; whether SQL has spoken.
        self._to_enqueue: deque[tuple[list[Waiting], bool]] = deque()
        self._enqueuer: asyncio.Task[None] | None = None
        #: Epoch of the index this process last saw; written to the rows it queued.
        self.epoch: str | None = None

    def put_in_order(self, questions: list[Waiting], *, is_in_sql: bool) -> None:
        """Take questions over; each is settled when the queue, if SQL has it, said whether there is room."""
        if questions:
            self._to_enqueue.append((questions, is_in_sql))
        if self._to_enqueue and (self._enqueuer is None or self._enqueuer.done()):
            self._enqueuer = asyncio.create_task(self._enqueue_all(), name="inbox-enqueue")

    async def _enqueue_all(self) -> None:
        while self._to_enqueue:
            questions, is_in_sql = self._to_enqueue.popleft()
            if is_in_sql:
                await self._enqueue(questions)
            else:
                # SQL has not spoken yet: a known id in Redis is all there is to go by. Bounds are not
                # for these: what is accepted is swept in.
                await self._ask_queue([one.row for one in questions], trusts_seen=True)

    async def _enqueue(self, questions: Sequence[Waiting]) -> None:
        """Put rows of SQL into the queue: accepted whatever Redis says, except at a bound."""
        results = await self._ask_queue([one.row for one in questions], trusts_seen=False)
        unsaid = [one.row for one, said in zip(questions, results, strict=True) if said in _UNSAID]
        by_count = await self._count(unsaid)
        refused: dict[RefuseReason, list[Waiting]] = {}
        for waiting, result in zip(questions, results, strict=True):
            message_id = waiting.row.message_id
            if reason := _REFUSALS.get(result) or by_count.get(message_id):
                refused.setdefault(reason, []).append(waiting)
                continue
            if result is Enqueued.ADDED:
                self._stages.note(message_id, queued_epoch=self.epoch, queued_at=utc_now())
            waiting.settle(Accepted(message_id=message_id))
        for reason, refused_ones in refused.items():
            await self._refuse(refused_ones, reason)

    async def _count(self, rows: Sequence[InboxRow]) -> Refusals:
        """Which of these the bounds leave out, by SQL: the queue did not say."""
        if not rows:
            return {}
        try:
            async with asyncio.timeout(SQL_SECONDS):
                return await self._room.refusals(rows)
        except (StoreUnavailable, TimeoutError) as error:
            # More is kept than was to be.
            logger.warning("inbox.room_unknown", rows=len(rows), error=repr(error))
            return {}

    async def _ask_queue(self, rows: Sequence[InboxRow], *, trusts_seen: bool) -> list[Enqueued]:
        later = [Enqueued.REBUILDING] * len(rows)
        if not rows or self._clock.monotonic() < self._redis_away_until:
            return later
        bounds = self._bounds()
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                return await self._queue.enqueue(
                    [entry_of(row) for row in rows],
                    user_bound=bounds.per_user,
                    all_bound=bounds.in_all,
                    trusts_seen=trusts_seen,
                )
        except (QueueUnavailable, TimeoutError) as error:
            # The sweep puts them in as soon as Redis is back; callbacks must not wait for it.
            logger.warning("inbox.redis_away", rows=len(rows), error=repr(error))
            self._redis_away_until = self._clock.monotonic() + REDIS_PAUSE_SECONDS
            return later

    async def _refuse(self, refused: Sequence[Waiting], reason: RefuseReason) -> None:
        message_ids = [waiting.row.message_id for waiting in refused]
        values = {"state": MessageState.REFUSED, "verdict": reason, "done_at": utc_now()}
        try:
            async with asyncio.timeout(SQL_SECONDS), self._store.write() as connection:
                await connection.execute(
                    update(Message)
                    .where(Message.id.in_(message_ids), Message.state == MessageState.RECEIVED)
                    .values(**values)
                )
        except (StoreUnavailable, TimeoutError) as error:
            # They stay received: the sweep queues them later. More is kept than was to be.
            logger.warning("inbox.refusal_not_written", rows=len(message_ids), error=repr(error))
            for waiting in refused:
                waiting.settle(Accepted(message_id=waiting.row.message_id))
        for waiting in refused:
            waiting.settle(Refused(message_id=waiting.row.message_id, reason=reason))


#: Then nobody has looked whether there is room.
_UNSAID = frozenset({Enqueued.REBUILDING, Enqueued.FAILED})
_REFUSALS = {
    Enqueued.USER_FULL: RefuseReason.USER_QUEUE_FULL,
    Enqueued.ALL_FULL: RefuseReason.TOO_MANY_WAITING,
}


def entry_of(row: InboxRow) -> Entry:
    """A row as the queue needs it."""
    return Entry(
        user=WcId(row.from_user),
        message_id=row.message_id,
        bot_wc_id=WcId(row.bot_wc_id),
        dedupe_key=row.dedupe_key,
    )
