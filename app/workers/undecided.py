"""Segments of which nobody knows whether they were sent, and when that is to be decided (pure)."""

from dataclasses import dataclass

from app.services.ecloud.client import FILE_TIME

#: An undecided segment waits so long for its echo.
ECHO_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Undecided:
    """One such segment."""

    #: Monotonic seconds: before it the former sender's call may still be under way.
    earliest: float
    #: Monotonic seconds: after it the setting decides.
    latest: float


class UndecidedSegments:
    """Book-keeping of one account, by segment id."""

    def __init__(self, *, timeout: float) -> None:
        """
        Args:
            timeout: seconds after which a call to the gateway is certainly over.
        """
        self._timeout = timeout
        self._cases: dict[int, Undecided] = {}
        #: Marked ``sending``, but known to be unsent, or decided to be sent again.
        self._cleared: set[int] = set()

    def __contains__(self, segment_id: int) -> bool:
        """Whether it is undecided."""
        return segment_id in self._cases

    def __getitem__(self, segment_id: int) -> Undecided:
        return self._cases[segment_id]

    def after_call(self, segment_id: int, *, now: float) -> None:
        """Our own call ended without an answer."""
        self._cases[segment_id] = Undecided(now, now + ECHO_SECONDS)

    def found_sending(self, segment_id: int, *, now: float, has_file: bool = False) -> bool:
        """
        SQL says ``sending``; returns whether that is news and makes it undecided.

        The mark was left by a sender whose lease is over: its call may run for one time-out from
        now. Its own time stamp does not count, since its host's clock may be another.

        Args:
            has_file: the gateway fetches a file in this call.
        """
        if segment_id in self._cases or segment_id in self._cleared:
            return False
        earliest = now + self._timeout * (FILE_TIME if has_file else 1.0)
        self._cases[segment_id] = Undecided(earliest, earliest + ECHO_SECONDS)
        return True

    def clear(self, segment_id: int) -> None:
        """Whatever SQL says: it is to be sent."""
        self._cases.pop(segment_id, None)
        self._cleared.add(segment_id)

    def forget(self, segment_id: int) -> None:
        """It is settled, or its call goes out now."""
        self._cases.pop(segment_id, None)
        self._cleared.discard(segment_id)
