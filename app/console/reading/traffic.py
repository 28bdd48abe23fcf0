"""
Messages over time and how long answers took: out of SQL, by the index on (state, id, verdict), in a bounded range.

An id holds the time of receipt, so counting per minute reads no row but the index's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.message import COUNTED_BY, MESSAGES, MessageState
from app.utils.ids import EPOCH_MS, LOW_BITS, id_at

#: Answers of which the times are looked at, the newest.
SAMPLES: Final = 500
SECOND_MS: Final = 1000

_M = MESSAGES.c


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A range that one may look at, and the width of one column."""

    seconds: int
    width: int


SPANS: Final[Mapping[str, Span]] = {
    "15m": Span(seconds=900, width=15),
    "1h": Span(seconds=3600, width=60),
    "24h": Span(seconds=86_400, width=1800),
    "7d": Span(seconds=604_800, width=10_800),
}
DEFAULT_SPAN: Final = "1h"

#: Series from below, and the states that it counts.
SERIES: Final[Mapping[str, tuple[MessageState, ...]]] = {
    "answered": (MessageState.ANSWERED, MessageState.DONE),
    "waiting": (MessageState.RECEIVED, MessageState.PROCESSING),
    "dead": (MessageState.DEAD, MessageState.REFUSED),
    "ignored": (MessageState.IGNORED, MessageState.RATING, MessageState.COMMAND),
}
_SERIES_OF: Final = {state: name for name, states in SERIES.items() for state in states}


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """What was received in one stretch of time."""

    start: datetime
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.counts.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """How long people waited, in milliseconds; None: nobody did."""

    first_p50: float | None
    first_p95: float | None
    whole_p50: float | None
    whole_p95: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """One look at a range."""

    columns: Sequence[Column]
    latency: Latency

    def sum_of(self, *names: str) -> int:
        """How many of these series were received in the range."""
        return sum(column.counts.get(name, 0) for column in self.columns for name in names)

    @property
    def total(self) -> int:
        """How many were received in the range."""
        return sum(column.total for column in self.columns)

    @property
    def answered_share(self) -> float | None:
        """Of those that were to be answered and have their outcome; None: there are none."""
        answered, dead = self.sum_of("answered"), self.sum_of("dead")
        return answered / (answered + dead) if answered + dead else None


async def read_traffic(connection: AsyncConnection, span: Span, *, now: datetime) -> Traffic:
    """What was received in the range up to now."""
    first = first_bucket(now, span)
    since = id_at(EPOCH_MS / SECOND_MS + first * span.width)
    # Whole numbers only: what divides into decimals takes three times as long.
    divided = "/" if connection.dialect.name == "sqlite" else "DIV"
    bucket = _M.id.op(divided)((span.width * SECOND_MS) << LOW_BITS)
    counts = (
        select(_M.state, bucket.label("bucket"), func.count())
        .where(_M.state.in_(list(_SERIES_OF)), _M.id >= since)
        .group_by(_M.state, bucket)
    )
    # Left to itself MariaDB reads the whole rows of a long range, which lie on the disk.
    for dialect in ("mysql", "mariadb"):
        counts = counts.with_hint(MESSAGES, f"FORCE INDEX ({COUNTED_BY})", dialect)
    counted = await connection.execute(counts)
    sampled = await connection.execute(
        select(_M.received_at, _M.first_text_at, _M.answered_at)
        .where(_M.state == MessageState.DONE, _M.id >= since, _M.answered_at.is_not(None))
        .order_by(_M.id.desc())
        .limit(SAMPLES)
    )
    columns = columns_of(counted.all(), span, first=first, last=bucket_of(now, span))
    return Traffic(columns=columns, latency=latency_of(sampled.all()))


def bucket_of(moment: datetime, span: Span) -> int:
    """Number of the column that a moment falls into (pure)."""
    return (round(moment.timestamp() * SECOND_MS) - EPOCH_MS) // (span.width * SECOND_MS)


def first_bucket(now: datetime, span: Span) -> int:
    """Number of the first column of the range up to now (pure)."""
    return bucket_of(now, span) - span.seconds // span.width + 1


def columns_of(rows: Sequence[Any], span: Span, *, first: int, last: int) -> list[Column]:
    """Every column of a range, also those without a message (pure)."""
    counts: dict[int, dict[str, int]] = {number: {} for number in range(first, last + 1)}
    for state, number, count in rows:
        series = _SERIES_OF[MessageState(state)]
        # A message whose clock is ahead stands in the last column.
        column = counts[min(int(number), last)]
        column[series] = column.get(series, 0) + count
    start = datetime.fromtimestamp(EPOCH_MS / SECOND_MS, UTC)
    return [
        Column(start=start + timedelta(seconds=number * span.width), counts=some)
        for number, some in counts.items()
    ]


def latency_of(rows: Sequence[Any]) -> Latency:
    """Percentiles out of answered messages (pure)."""
    first = sorted(_ms(row.received_at, row.first_text_at) for row in rows if row.first_text_at)
    whole = sorted(_ms(row.received_at, row.answered_at) for row in rows)
    return Latency(
        first_p50=percentile(first, 0.5),
        first_p95=percentile(first, 0.95),
        whole_p50=percentile(whole, 0.5),
        whole_p95=percentile(whole, 0.95),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which that share lies, by nearest rank (pure)."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _ms(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds() * SECOND_MS)
