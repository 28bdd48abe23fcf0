"""What happened, as the simulators recorded it: values only. Times are seconds of one clock."""

from dataclasses import dataclass, field

from bench.chaos.words import Mark

OK = 200
ANSWERED = "answered"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One callback that was posted."""

    word: str
    user: str
    group: str
    #: None: no answer came within the gateway's patience.
    status: int | None
    started: float
    ended: float

    @property
    def is_accepted(self) -> bool:
        """Whether the bridge promised to answer it."""
        return self.status == OK


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """One call of Dify."""

    word: str
    user: str
    #: Number of the try, from 1.
    attempt: int
    outcome: str
    started: float
    ended: float

    @property
    def is_answered(self) -> bool:
        """Whether the whole answer went out to the bridge."""
        return self.outcome == ANSWERED


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """One message that a group got."""

    account: str
    group: str
    at: float
    text: str = ""
    #: Empty: nothing of the crowd's.
    marks: tuple[Mark, ...]
    #: Whether the bridge cannot know that it arrived: no answer, a broken one, or one that it did
    #: not wait for.
    is_undecided: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Everything, each kind in order of beginning."""

    deliveries: tuple[Delivery, ...] = ()
    askings: tuple[Asking, ...] = ()
    sendings: tuple[Sending, ...] = ()


@dataclass(kw_only=True, slots=True)
class Fate:
    """All that is known of one word."""

    word: str
    user: str = ""
    group: str = ""
    deliveries: list[Delivery] = field(default_factory=list)
    askings: list[Asking] = field(default_factory=list)
    #: Time of each arrival of each part, by try and part.
    arrivals: dict[Mark, list[float]] = field(default_factory=dict)

    @property
    def accepted_at(self) -> float | None:
        """When the bridge first promised to answer; None: never."""
        return min((one.ended for one in self.deliveries if one.is_accepted), default=None)

    @property
    def spoken_at(self) -> float:
        """When it was first posted."""
        return min((one.started for one in self.deliveries), default=float("inf"))

    @property
    def asked_at(self) -> float | None:
        """When Dify was first asked."""
        return min((one.started for one in self.askings), default=None)

    @property
    def whole_attempts(self) -> list[int]:
        """The tries of which every part arrived, in order."""
        parts: dict[int, set[int]] = {}
        wanted: dict[int, int] = {}
        for mark in self.arrivals:
            parts.setdefault(mark.attempt, set()).add(mark.part)
            wanted[mark.attempt] = mark.parts
        return sorted(one for one, found in parts.items() if len(found) >= wanted[one])

    @property
    def first_arrivals(self) -> list[tuple[float, Mark]]:
        """Each part at its first arrival, in the order of arrival."""
        return sorted(
            ((times[0], mark) for mark, times in self.arrivals.items()), key=lambda one: one[0]
        )


def fates(history: History) -> dict[str, Fate]:
    """Everything by word, in the order in which the words were first posted."""
    found: dict[str, Fate] = {}
    for delivery in history.deliveries:
        fate = found.setdefault(delivery.word, Fate(word=delivery.word))
        fate.user, fate.group = delivery.user, delivery.group
        fate.deliveries.append(delivery)
    for asking in history.askings:
        fate = found.setdefault(asking.word, Fate(word=asking.word))
        fate.user = fate.user or asking.user
        fate.askings.append(asking)
    for sending in history.sendings:
        for mark in sending.marks:
            fate = found.setdefault(mark.word, Fate(word=mark.word))
            fate.group = fate.group or sending.group
            fate.arrivals.setdefault(mark, []).append(sending.at)
    return found
