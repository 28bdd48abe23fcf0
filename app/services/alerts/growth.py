"""Numbers that only mean something when they grow: dead letters stay until somebody replays them (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: So long after it grew last a number counts as growing; then it is at rest.
REST_SECONDS: Final = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """One number as it was seen last."""

    count: int
    #: Seconds since 1970 at which it began to grow, and grew last.
    since: float
    grew_at: float

    def is_growing(self, now: float) -> bool:
        """Whether it grew lately."""
        return now - self.grew_at < REST_SECONDS


def counted(
    known: Mapping[str, Tally] | None,
    counts: Mapping[str, int],
    now: float,
    *,
    last: Mapping[str, float],
) -> dict[str, Tally]:
    """
    The tallies after a look; a number that is gone is forgotten.

    Args:
        known: those of the last look; None: nobody ever looked, or what was seen is lost.
        last: by name, when the newest of what is counted came in. Only a first look needs it: what
            is old then is no growth.
    """
    if known is None:
        return {
            name: Tally(count=count, since=last.get(name, now), grew_at=last.get(name, now))
            for name, count in counts.items()
            if count
        }
    return {name: _after(known.get(name), count, now) for name, count in counts.items() if count}


def _after(known: Tally | None, count: int, now: float) -> Tally:
    if known is None:
        return Tally(count=count, since=now, grew_at=now)
    if count <= known.count:
        return Tally(count=count, since=known.since, grew_at=known.grew_at)
    since = known.since if known.is_growing(now) else now
    return Tally(count=count, since=since, grew_at=now)
