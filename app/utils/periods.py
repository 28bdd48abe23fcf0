"""Periods of time: from a moment to a later one. Pure."""

from collections.abc import Iterable
from datetime import datetime

Period = tuple[datetime, datetime]


def merged(periods: Iterable[Period]) -> list[Period]:
    """The same time without overlaps."""
    found: list[Period] = []
    for begin, end in sorted(periods):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def overlap(some: Iterable[Period], others: Iterable[Period]) -> float:
    """Seconds that lie in both; *others* do not overlap each other."""
    others = list(others)
    pairs = (min(end, to) - max(begin, since) for begin, end in some for since, to in others)
    return sum(max(0.0, pair.total_seconds()) for pair in pairs)
