"""How much slower an account goes after it was told that it is too fast (pure; seconds since 1970)."""

from dataclasses import dataclass

#: Without another such sentence the pace gets one step faster.
STEP_SECONDS = 600.0
#: Each step is half the pace; at the worst it is an eighth.
WORST = 3
#: After it was offline, an account goes at half the pace first.
CAREFUL = 1


@dataclass(frozen=True, slots=True)
class Slowdown:
    """Of one account."""

    level: int = 0
    #: When that level began.
    since: float = 0.0

    def level_at(self, now: float) -> int:
        """The level by then: it recovers with time."""
        return max(0, self.level - int(max(0.0, now - self.since) // STEP_SECONDS))

    def factor(self, now: float) -> float:
        """So many times slower than the settings say."""
        return 2.0 ** self.level_at(now)

    def over_at(self) -> float:
        """When it will have recovered."""
        return self.since + self.level * STEP_SECONDS

    def throttled(self, now: float) -> "Slowdown":
        """After another sentence about frequency."""
        return Slowdown(min(self.level_at(now) + 1, WORST), now)

    def careful(self, now: float) -> "Slowdown":
        """After a time offline: what waits goes out slowly at first."""
        return self if self.level_at(now) >= CAREFUL else Slowdown(CAREFUL, now)
