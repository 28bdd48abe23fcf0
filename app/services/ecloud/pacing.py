"""How fast an account may speak, so that WeChat does not ban it. Pure: time is passed in."""

import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

WINDOW = 60.0
#: Most calls that take something back within so many seconds; more may cost the account.
RECALL_WINDOW = 120.0
RECALLS_AT_MOST = 10
#: Seconds between two of them.
RECALL_GAP = 0.3
#: Between two looks at the clock it may move so little that a wait is over all the same, in seconds.
_INSTANT = 1e-9


class Why(StrEnum):
    """Why an account sends nothing now though it owes something."""

    #: The random gap since the last message.
    GAP = "gap"
    #: As many messages in a minute as it may send.
    MINUTE = "minute"
    #: As many of this kind.
    KIND = "kind"
    #: As many as it may send on one day.
    DAY = "day"
    QUIET = "quiet_hours"
    #: An operator has paused sending.
    PAUSED = "paused"
    #: Its groups wait for something of their own: a refusal, an echo.
    GROUP = "group"
    THROTTLED = "throttled"
    OFFLINE = "offline"
    #: Its calls fail: the gateway is away, or does not accept us.
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing goes out for so long."""

    seconds: float
    why: Why


@dataclass(frozen=True, slots=True)
class Send:
    """A call that went out, whatever became of it."""

    #: Seconds of the clock of whoever remembers it.
    at: float
    group: str
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How fast one account may speak."""

    #: Most sends within any 60 s; 0: no bound of any kind.
    per_minute: int = 0
    #: Longest gap between two sends in seconds, the shortest is a third; 0: none at all.
    gap: float = 0.0
    #: The same where the next message goes into another group, if it is longer.
    target_gap: float = 0.0
    #: Most sends of a kind within any 60 s; a kind that is not named, or 0: only the bound of all.
    kinds: Mapping[str, int] = field(default_factory=dict)

    def at_share(self, share: float) -> "Limits":
        """The same for an account that may only send this share; gaps stay."""
        kinds = {kind: _shared(most, share) for kind, most in self.kinds.items()}
        return replace(self, per_minute=_shared(self.per_minute, share), kinds=kinds)

    def slowed(self, factor: float) -> "Limits":
        """The same so many times slower."""
        shared = self.at_share(1 / factor)
        return replace(shared, gap=self.gap * factor, target_gap=self.target_gap * factor)

    def gap_after(self, last: Send, group: str) -> float:
        """The longest gap between *last* and a message into *group*."""
        if not self.gap:
            return 0.0
        return self.gap if last.group == group else max(self.gap, self.target_gap)

    def most_of(self, kind: str) -> int:
        """Most sends of a kind within a minute; 0: no bound of its own."""
        return self.kinds.get(kind, 0) if self.per_minute else 0

    @property
    def are_none(self) -> bool:
        """Nothing is bounded: nobody need remember what was sent."""
        return not self.per_minute and not self.gap


def _shared(most: int, share: float) -> int:
    """A bound that is left never becomes none."""
    return max(1, int(most * share)) if most else 0


class Pacer:
    """
    Paces the sends of one WeChat account: bounds per rolling minute and a random gap.

    Times are seconds of one clock. A clock that goes back takes the history along, so that it never
    blocks the account. A send counts from its answer: the gateway had it by then, however long the
    way was, so what the gateway sees keeps the limits, too.
    """

    def __init__(self, limits: Limits, *, rng: random.Random, history: Iterable[Send] = ()) -> None:
        """
        Args:
            history: earlier sends, in any order.
        """
        self.limits = limits
        self._rng = rng
        self._history = deque(sorted(history, key=lambda send: send.at))
        self._draw = self._new_draw()

    @property
    def history(self) -> tuple[Send, ...]:
        """The sends that still matter, oldest first."""
        return tuple(self._history)

    def recall(self, sends: Iterable[Send]) -> None:
        """Earlier sends, in any order, in place of what is remembered."""
        self._history = deque(sorted(sends, key=lambda send: send.at))

    def look(self, now: float, *, group: str, kind: str) -> Hold | None:
        """What holds such a message back; None: nothing. Does not change by being asked."""
        self._forget(now)
        if not self._history:
            return None
        limits = self.limits
        last = self._history[-1]
        dues = [
            (last.at + self._draw * limits.gap_after(last, group), Why.GAP),
            (self._free_at(limits.per_minute, self._history), Why.MINUTE),
        ]
        if most := limits.most_of(kind):
            own = [send for send in self._history if send.kind == kind]
            dues.append((self._free_at(most, own), Why.KIND))
        due, why = max(dues, key=lambda one: one[0])
        return Hold(due - now, why) if due - now > _INSTANT else None

    def sent(self, now: float, *, group: str, kind: str) -> None:
        """Note that such a message goes out at *now*."""
        self._forget(now)
        if not self.limits.per_minute:
            self._history.clear()
        self._history.append(Send(now, group, kind))
        self._draw = self._new_draw()

    def ended(self, now: float) -> None:
        """The last call has its answer, or will have none."""
        if self._history and self._history[-1].at < now:
            self._history.append(replace(self._history.pop(), at=now))

    @staticmethod
    def _free_at(most: int, sends: Sequence[Send]) -> float:
        """When one more is within the bound of a minute."""
        if not most or len(sends) < most:
            return float("-inf")
        return sends[-most].at + WINDOW

    def _new_draw(self) -> float:
        return self._rng.uniform(1 / 3, 1)

    def _forget(self, now: float) -> None:
        if self._history and self._history[-1].at > now:
            back = self._history[-1].at - now
            self._history = deque(replace(send, at=send.at - back) for send in self._history)
        while len(self._history) > 1 and self._history[0].at <= now - WINDOW:
            self._history.popleft()


class RecallPacer:
    """Paces the calls that take messages of one account back: a bound of their own, beside the sends."""

    def __init__(self) -> None:
        self._called: deque[float] = deque(maxlen=RECALLS_AT_MOST)

    def remember(self, calls: Iterable[float]) -> None:
        """Earlier calls, oldest first, in place of what is remembered."""
        self._called = deque(calls, maxlen=RECALLS_AT_MOST)

    def delay(self, now: float) -> float:
        """Seconds to wait before the next one; 0: at once."""
        if not self._called or self._called[-1] > now:
            return 0.0
        gap = self._called[-1] + RECALL_GAP - now
        is_full = len(self._called) == RECALLS_AT_MOST
        return max(0.0, gap, self._called[0] + RECALL_WINDOW - now if is_full else 0.0)

    def called(self, now: float) -> None:
        """Note that one goes out at *now*."""
        self._called.append(now)


class LookupPacer:
    """
    Paces contact look-ups: frequent ones get an account logged out.

    They have a budget of their own: no send waits for a look-up, and none is spent by it.
    """

    def __init__(
        self,
        *,
        rng: random.Random,
        shortest: float = 0.8,
        longest: float = 1.5,
        per_minute: int = 30,
    ) -> None:
        """
        Args:
            shortest: of the random gap, in seconds.
            longest: of the random gap, in seconds.
            per_minute: most look-ups within any 60 s.
        """
        self._bounds = (shortest, longest)
        self._rng = rng
        self._next = float("-inf")
        self._asked: deque[float] = deque(maxlen=per_minute)

    def delay(self, now: float) -> float:
        """Seconds to wait before the next look-up; 0: at once."""
        gap = min(max(0.0, self._next - now), self._bounds[1])
        if len(self._asked) < (self._asked.maxlen or 0) or self._asked[-1] > now:
            return gap
        return max(gap, self._asked[0] + WINDOW - now)

    def asked(self, now: float) -> None:
        """Note that a look-up goes out at *now*."""
        self._next = now + self._rng.uniform(*self._bounds)
        self._asked.append(now)
