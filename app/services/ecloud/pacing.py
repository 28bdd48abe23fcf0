"""How fast an account may speak, so that WeChat does not ban it. Pure: time is passed in."""

import random
from collections import deque
from collections.abc import Iterable

WINDOW = 60.0


class Pacer:
    """
    Paces the sends of one WeChat account: a bound per rolling minute and a random gap.

    Times are seconds of one clock, the wall clock if the history outlives the process. A clock
    that goes back takes the history along, so that it never blocks the account.
    """

    def __init__(
        self,
        *,
        sends_per_minute: int,
        gap: float,
        rng: random.Random,
        history: Iterable[float] = (),
    ) -> None:
        """
        Args:
            sends_per_minute: most sends within any 60 s; 0 = no bound.
            gap: longest gap between two sends in seconds, the shortest is a third; 0 = none.
            history: times of earlier sends, in any order.
        """
        self._cap = sends_per_minute
        self._gap = gap
        self._rng = rng
        self._history = deque(sorted(history))
        self._next_gap = self._draw_gap()

    @property
    def history(self) -> tuple[float, ...]:
        """Times of the sends that still matter, oldest first."""
        return tuple(self._history)

    def delay(self, now: float) -> float:
        """Seconds to wait before the next send; 0: at once. Does not change by being asked."""
        self._forget(now)
        if not self._history:
            return 0.0
        due = self._history[-1] + self._next_gap
        if self._cap and len(self._history) >= self._cap:
            due = max(due, self._history[-self._cap] + WINDOW)
        return max(0.0, due - now)

    def sent(self, now: float) -> None:
        """Note that a send goes out at *now*."""
        self._forget(now)
        self._history.append(now)
        self._next_gap = self._draw_gap()

    def _draw_gap(self) -> float:
        return self._rng.uniform(self._gap / 3, self._gap)

    def _forget(self, now: float) -> None:
        if self._history and self._history[-1] > now:
            back = self._history[-1] - now
            self._history = deque(moment - back for moment in self._history)
        while len(self._history) > 1 and self._history[0] <= now - WINDOW:
            self._history.popleft()


class LookupPacer:
    """Paces contact look-ups: frequent ones get an account logged out."""

    def __init__(self, *, rng: random.Random, shortest: float = 0.8, longest: float = 1.5) -> None:
        """
        Args:
            shortest: of the random gap, in seconds.
            longest: of the random gap, in seconds.
        """
        self._bounds = (shortest, longest)
        self._rng = rng
        self._next = float("-inf")

    def delay(self, now: float) -> float:
        """Seconds to wait before the next look-up; 0: at once."""
        return min(max(0.0, self._next - now), self._bounds[1])

    def asked(self, now: float) -> None:
        """Note that a look-up goes out at *now*."""
        self._next = now + self._rng.uniform(*self._bounds)
