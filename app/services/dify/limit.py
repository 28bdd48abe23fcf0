"""
How many questions this process asks one Dify app at once.

The limit is common to all processes and lies in Redis; each has a share of it. ``Places`` counts
what is in use and notes what it says about the app; ``gate.py`` lets callers wait for a place.
"""

from dataclasses import dataclass, replace

from app.models.limit import Grant, LimitNews
from app.utils.clock import Clock

#: Times of first bytes that are told at once; what is more says nothing new.
SAMPLES_AT_MOST = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """
    What this process may use of the common limit.

    Trouble halves it at once, before the others have heard; successes bring back what was given.
    """

    given: int
    current: float

    @classmethod
    def of(cls, places: int) -> "Share":
        """All that was given."""
        return cls(given=places, current=float(places))

    @property
    def slots(self) -> int:
        """How many may be in flight."""
        return int(self.current)

    def after_success(self) -> "Share":
        """Grown by one part of itself, up to what was given."""
        grown = self.current + 1 / max(1.0, self.current)
        return replace(self, current=min(grown, float(self.given)))

    def after_trouble(self) -> "Share":
        """Halved; one place stays, if there was one."""
        return replace(self, current=min(self.current, max(self.current / 2, 1.0)))


@dataclass(eq=False, kw_only=True, slots=True)
class Place:
    """One question in flight."""

    entered_at: float
    #: Of the common limit, and of this process' own share.
    generation: int
    halvings: int
    pace: int
    #: There was little to do when it came; or all places were taken with it.
    is_calm: bool
    is_full: bool
    has_first_byte: bool = False
    #: It came late: more at once would not have been answered sooner.
    is_late: bool = False


class Places:
    """What is in use of a share, and what was seen since it was last told."""

    def __init__(self, initial: int, *, maximum: int, clock: Clock) -> None:
        self._clock = clock
        self.maximum = max(1, maximum)
        #: The common limit, as far as it is known here.
        self.limit = float(min(max(1, initial), self.maximum))
        self._share = Share.of(int(self.limit))
        self._generation = 0
        self._pace = 0
        self._late = 0.0
        #: Trouble of those who were let in before the last halving says nothing new.
        self._halvings = 0
        self.in_flight: set[Place] = set()
        self._told = 0
        self._most = 0
        self._was_full = False
        self._forget()

    def _forget(self) -> None:
        self._successes = 0
        self._trouble = ""
        self._is_pressed = False
        self._is_doubtful = False
        self._has_timely = False
        self._calm: list[float] = []
        self._full: list[float] = []

    @property
    def slots(self) -> int:
        """How many may be in flight now."""
        return self._share.slots

    @property
    def in_use(self) -> int:
        """How many are in flight."""
        return len(self.in_flight)

    def enter(self) -> Place:
        """One more is asked."""
        used, slots = self.in_use + 1, self.slots
        place = Place(
            entered_at=self._clock.monotonic(),
            generation=self._generation,
            halvings=self._halvings,
            pace=self._pace,
            is_calm=used * 2 < slots,
            is_full=used >= slots,
        )
        self.in_flight.add(place)
        return place

    def hear(self, place: Place, seconds: float) -> None:
        """The first byte of its answer came after *seconds*."""
        if place.has_first_byte:
            return
        place.has_first_byte = True
        place.is_late = 0 < self._late < seconds
        self._has_timely = self._has_timely or not place.is_late
        if place.pace != self._pace:
            return
        samples = self._full if place.is_full else self._calm
        if len(samples) < SAMPLES_AT_MOST:
            samples.append(seconds)

    def leave(self, place: Place) -> None:
        """It ended, and says nothing about the app's load."""
        self.in_flight.discard(place)

    def succeed(self, place: Place) -> None:
        """It was answered. That a limit which nobody uses is high enough says nothing."""
        self.leave(place)
        self._share = self._share.after_success()
        self._successes += not (place.is_calm or place.is_late)

    def fail(self, place: Place, code: str) -> bool:
        """It was too much, or the app is not well; whether that is news."""
        self.leave(place)
        if place.halvings != self._halvings:
            return False
        self._halvings += 1
        self._share = self._share.after_trouble()
        if place.generation != self._generation:
            return False
        self._trouble = code
        return True

    def press(self) -> None:
        """All places have been taken for a second although nothing is wrong."""
        now = self._clock.monotonic()
        is_late = any(
            not place.has_first_byte and now - place.entered_at > self._late
            for place in self.in_flight
        )
        self._is_pressed = True
        self._is_doubtful = self._late > 0 and is_late and not self._has_timely

    def note_demand(self, waiting: int) -> bool:
        """So many could be asked at once; whether that is more than the others know."""
        wanted = self.in_use + waiting
        self._most = max(self._most, wanted)
        self._was_full = self._was_full or 0 < wanted >= self.slots
        return wanted > self._told

    def news(self, waiting: int) -> LimitNews:
        """What there is to tell; from now on it counts as told."""
        self.note_demand(waiting)
        # Who was full might have used more, nobody knows how much: twice as much is tried.
        most = self._most
        wanted = most and (most * 2 if self._was_full else most) + 1
        news = LimitNews(
            share=self._share.given,
            in_use=self.in_use,
            waiting=waiting,
            wanted=wanted,
            generation=self._generation,
            successes=self._successes,
            trouble=self._trouble,
            is_pressed=self._is_pressed,
            is_doubtful=self._is_doubtful,
            pace=self._pace,
            calm=tuple(self._calm),
            full=tuple(self._full),
        )
        has_timely = self._has_timely and not self._is_pressed
        self._forget()
        self._has_timely = has_timely
        self._told, self._most, self._was_full = wanted, 0, False
        return news

    def keep(self, news: LimitNews) -> None:
        """Nobody could be told; the worst is told the next time."""
        if news.generation == self._generation:
            self._trouble = self._trouble or news.trouble
        self._told = 0

    def take(self, grant: Grant) -> None:
        """What the processes agreed on."""
        self.limit = grant.limit
        self._late = grant.late
        self._generation = grant.generation
        if grant.pace != self._pace:
            self._pace = grant.pace
            self._calm.clear()
            self._full.clear()
        # Trouble that came meanwhile is told next: what it halved stays so until then.
        most = self._share.current if self._trouble else float(grant.share)
        self._share = Share(given=grant.share, current=min(most, float(grant.share)))
