"""Ids that grow with time, made in the process, so that a message has one before any store has it."""

import secrets
import time
from collections.abc import Callable

#: 2020-01-01T00:00:00Z in milliseconds; 41 bits from here last until 2089.
EPOCH_MS = 1_577_836_800_000
LOW_BITS = 22
#: The greatest that there can be; moments of a far future would have greater ones.
LAST_ID = 2**63 - 1


class IdMaker:
    """
    Makes 63-bit ids: 41 bits of milliseconds, 22 bits that start at random and count up.

    Within one process ids strictly grow, also when the wall clock goes back. Two processes can
    make the same id only within one millisecond and by a chance of one in millions; the
    inbox notices it (the row read back bears another token) and takes a new one.
    """

    def __init__(self, time_ns: Callable[[], int] = time.time_ns) -> None:
        self._time_ns = time_ns
        self._last = 0

    def next(self) -> int:
        """The next id; greater than every id this maker gave before."""
        milliseconds = self._time_ns() // 1_000_000 - EPOCH_MS
        fresh = (milliseconds << LOW_BITS) | secrets.randbits(LOW_BITS - 1)
        self._last = max(self._last + 1, fresh)
        return self._last


def parse_id(text: str) -> int | None:
    """An id as its digits; None: it is none (pure)."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(LAST_ID))
    return int(text) if is_number and int(text) <= LAST_ID else None


def id_milliseconds(message_id: int) -> int:
    """When the id was made, in milliseconds since 1970."""
    return (message_id >> LOW_BITS) + EPOCH_MS


def id_at(moment: float) -> int:
    """The smallest id made at that time, in seconds since 1970, or later; ``LAST_ID`` at most."""
    return min(max(0, int(moment * 1000) - EPOCH_MS) << LOW_BITS, LAST_ID)
