"""The bridge's figures minute by minute, as far as they cannot be told later: what waited, and for how long."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.console import StatsMinute
from app.services.figures import Figures
from app.services.store import Store, upsert_rows

MINUTE: Final = 60
#: Minutes that are kept.
KEPT: Final = 1440
WAITING, OLDEST, DEAD = "waiting", "oldest", "dead"


async def keep_figures(store: Store, figures: Figures, now: datetime) -> None:
    """
    Write down the figures of this minute; what was written in it before is replaced.

    Raises:
        StoreUnavailable: nothing is written.
    """
    minute = minute_of(now)
    values = {
        WAITING: figures.waiting,
        OLDEST: round(figures.oldest_age(now)),
        DEAD: figures.dead,
    }
    rows = [
        {"minute": minute, "name": name, "value": value} for name, value in sorted(values.items())
    ]

    async def work(connection: AsyncConnection) -> None:
        statement = upsert_rows(connection, StatsMinute, key=["minute", "name"], changes=["value"])
        await connection.execute(statement, rows)
        old = StatsMinute.minute.between(0, minute - KEPT)
        await connection.execute(delete(StatsMinute).where(old))

    await store.transact(work)


async def read_minutes(
    connection: AsyncConnection, *, now: datetime, minutes: int
) -> Mapping[str, list[int | None]]:
    """By name the values of the last minutes, the oldest first; None: nobody wrote one down."""
    first = minute_of(now) - minutes + 1
    found = await connection.execute(
        select(StatsMinute.minute, StatsMinute.name, StatsMinute.value).where(
            StatsMinute.minute >= first, StatsMinute.name.in_((WAITING, OLDEST, DEAD))
        )
    )
    values = {(row.name, row.minute): int(row.value) for row in found}
    return {
        name: [values.get((name, first + number)) for number in range(minutes)]
        for name in (WAITING, OLDEST, DEAD)
    }


def minute_of(moment: datetime) -> int:
    """Minutes since 1970 (pure)."""
    return int(moment.timestamp()) // MINUTE
