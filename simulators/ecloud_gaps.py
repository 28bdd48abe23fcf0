"""How far apart the calls of an endpoint came: what a test of the pacing asserts on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Of the calls that were made, carried out or not; seconds between their beginnings."""

    calls: int
    least: float | None
    """None: there were not two calls."""
    mean: float | None
    most: float | None
    in_a_minute: int
    """Most calls within any sixty seconds."""

    def as_json(self) -> dict[str, Any]:
        """As `GET /_sim/gaps` shows it."""
        return asdict(self)


def measure(starts: Sequence[float]) -> Gaps:
    """*starts*: when the calls began, seconds of one clock, in any order."""
    ordered = sorted(starts)
    between = [later - earlier for earlier, later in pairwise(ordered)]
    return Gaps(
        calls=len(ordered),
        least=min(between, default=None),
        mean=sum(between) / len(between) if between else None,
        most=max(between, default=None),
        in_a_minute=_most_within(ordered, MINUTE),
    )


def _most_within(ordered: Sequence[float], seconds: float) -> int:
    most = first = 0
    for place, start in enumerate(ordered):
        while start - ordered[first] >= seconds:
            first += 1
        most = max(most, place - first + 1)
    return most
