"""The last hour minute by minute, for the small lines of the tiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.console.reading.traffic import Column, percentile
from app.models.message import MESSAGES, MessageState
from app.services.minute_figures import DEAD, OLDEST, WAITING, read_minutes
from app.utils.ids import id_at

MINUTES: Final = 60
#: Answers of which the time to the first text is looked at, the newest.
SAMPLES: Final = 2000
SECOND_MS: Final = 1000

_M = MESSAGES.c
Line = list[float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class LastHour:
    """One value a minute, the oldest first; None: there is none."""

    received: Line
    #: From 0 to 1.
    answered: Line
    #: Milliseconds to the first text, p95.
    first: Line
    waiting: Line
    #: Seconds.
    oldest: Line
    dead: Line


async def read_last_hour(
    connection: AsyncConnection, columns: Sequence[Column], *, now: datetime
) -> LastHour:
    """
    What the tiles show of the last 60 minutes.

    Args:
        columns: what was received in each of them, the oldest first.
    """
    start = columns[0].start.timestamp()
    times = await connection.execute(
        select(_M.received_at, _M.first_text_at)
        .where(
            _M.state == MessageState.DONE,
            _M.id >= id_at(start),
            _M.first_text_at.is_not(None),
        )
        .order_by(_M.id.desc())
        .limit(SAMPLES)
    )
    kept: Mapping[str, Sequence[float | None]] = await read_minutes(
        connection, now=now, minutes=MINUTES
    )
    return LastHour(
        received=[float(column.total) for column in columns],
        answered=[share_of(column) for column in columns],
        first=firsts_of(times.all(), start=start),
        waiting=[*kept[WAITING]],
        oldest=[*kept[OLDEST]],
        dead=[*kept[DEAD]],
    )


def share_of(column: Column) -> float | None:
    """Of what was to be answered and has its outcome; None: there is nothing (pure)."""
    answered, dead = column.counts.get("answered", 0), column.counts.get("dead", 0)
    return answered / (answered + dead) if answered + dead else None


def firsts_of(rows: Sequence[Any], *, start: float) -> Line:
    """
    Per minute the p95 of how long people waited for the first text, in milliseconds (pure).

    Args:
        start: seconds since 1970 of the first minute.
    """
    minutes: list[list[float]] = [[] for _ in range(MINUTES)]
    for row in rows:
        number = int((row.received_at.timestamp() - start) // 60)
        if 0 <= number < MINUTES:
            waited = (row.first_text_at - row.received_at).total_seconds() * SECOND_MS
            minutes[number].append(max(0.0, waited))
    return [percentile(sorted(some), 0.95) for some in minutes]
