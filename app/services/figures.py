"""Counts over the whole bridge, out of SQL: what waits, since when, and what became of the rest."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.message import UNFINISHED, Message, MessageState
from app.models.segment import OPEN_STATES, SegmentRow
from app.services.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """The bridge at one moment."""

    waiting: int
    #: When the message that waits longest was received, or replayed.
    oldest_since: datetime | None
    dead: int
    open_segments: int
    #: Id of the newest message; 0: there is none.
    newest: int = 0

    def oldest_age(self, now: datetime) -> float:
        """Seconds the oldest waiting message has waited; 0: nothing waits."""
        if self.oldest_since is None:
            return 0.0
        return max(0.0, (now - self.oldest_since).total_seconds())


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """Every callback ever kept, by what became of it: received = verdicts + duplicates + waiting."""

    received: int
    waiting: int
    duplicates: int
    #: Rows by verdict; ``answered`` and the like, or the reason why not.
    verdicts: dict[str, int]


async def read_figures(store: Store) -> Figures:
    """
    Count; by index, so that a million old rows cost nothing.

    Raises:
        StoreUnavailable: the database is away.
    """
    async with store.read() as connection:
        waiting, oldest = (
            await connection.execute(
                select(func.count(), func.min(Message.id)).where(Message.state.in_(UNFINISHED))
            )
        ).one()
        oldest_since = await _oldest_since(connection, oldest)
        dead = await connection.scalar(
            select(func.count()).where(Message.state == MessageState.DEAD)
        )
        unsent = await connection.scalar(
            select(func.count()).where(SegmentRow.state.in_(OPEN_STATES))
        )
        newest = await connection.scalar(select(func.max(Message.id)))
    return Figures(
        waiting=waiting,
        oldest_since=oldest_since,
        dead=dead or 0,
        open_segments=unsent or 0,
        newest=newest or 0,
    )


async def _oldest_since(connection: AsyncConnection, oldest: int | None) -> datetime | None:
    """Since when something waits; only while a replayed message is in front all rows are read."""
    row = (
        await connection.execute(
            select(Message.received_at, Message.replayed_at).where(Message.id == oldest)
        )
    ).first()
    if row is None or row.replayed_at is None:
        return None if row is None else row.received_at
    since = func.min(func.coalesce(Message.replayed_at, Message.received_at))
    return await connection.scalar(select(since).where(Message.state.in_(UNFINISHED)))


async def read_ledger(store: Store) -> Ledger:
    """
    The sum over all rows kept.

    Raises:
        StoreUnavailable: the database is away.
    """
    async with store.read() as connection:
        rows = await connection.execute(
            select(
                Message.state, Message.verdict, func.count(), func.sum(Message.deliveries)
            ).group_by(Message.state, Message.verdict)
        )
        verdicts: dict[str, int] = {}
        waiting = deliveries = total = 0
        for state, verdict, count, delivered in rows:
            total += count
            deliveries += int(delivered or 0)
            if state in UNFINISHED:
                waiting += count
            else:
                verdicts[verdict] = verdicts.get(verdict, 0) + count
    return Ledger(
        received=deliveries, waiting=waiting, duplicates=deliveries - total, verdicts=verdicts
    )
