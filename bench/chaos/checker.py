"""
What a history shows of the bridge's promises. Pure; knows nothing of how the bridge works.

A word is *lost* if its callback got 200 and nothing of an answer arrived; *cut short* if only a part
did. It is *answered twice* if parts of answers of two tries arrived. A segment *twice* is one that
arrived again with the mark of the same try; it was *resent* if the bridge could not know that it had
arrived, and that may be done once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise

from bench.chaos.history import Asking, Fate, History, Sending, fates
from bench.chaos.words import Mark


@dataclass(frozen=True, slots=True)
class Violation:
    """One case."""

    word: str
    what: str


Violations = tuple[Violation, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """Everything that was found, each case with its word."""

    lost: Violations = ()
    answered_twice: Violations = ()
    segments_twice: Violations = ()
    #: No violation by itself: each has its undecided call.
    resent: Violations = ()
    reordered: Violations = ()
    overlapping: Violations = ()
    asked_again: Violations = ()
    cut_short: Violations = ()
    #: Words of which no delivery got 200.
    refused: Violations = ()
    #: Words that the bridge promised to answer.
    accepted: int = 0
    answered: int = 0
    segments: int = 0
    #: Messages in groups that bear no mark.
    strange: int = 0
    #: Seconds from the last accepted callback to the last first arrival.
    drain: float = 0.0

    def violations(self) -> dict[str, Violations]:
        """By name, those that have none too."""
        return {
            field.name: value
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), tuple)
        }


def check(history: History) -> Findings:
    """Find everything."""
    known = fates(history)
    every = list(known.values())
    accepted = [fate for fate in every if fate.accepted_at is not None]
    return Findings(
        lost=_each(accepted, _lost),
        answered_twice=_each(every, _answered_twice),
        segments_twice=tuple(
            one.as_violation() for one in repeats(history.sendings) if not one.is_resent
        ),
        resent=tuple(one.as_violation() for one in repeats(history.sendings) if one.is_resent),
        reordered=tuple(_reordered(accepted)),
        overlapping=tuple(_overlapping(history.askings)),
        asked_again=_each(every, _asked_again),
        cut_short=_each(every, _cut_short),
        refused=_each(every, _refused),
        accepted=len(accepted),
        answered=sum(bool(fate.whole_attempts) for fate in accepted),
        segments=sum(bool(one.marks) for one in history.sendings),
        strange=sum(not one.marks for one in history.sendings),
        drain=_drain(accepted),
    )


def _each(some: Iterable[Fate], look: Callable[[Fate], str | None]) -> Violations:
    return tuple(Violation(fate.word, what) for fate in some if (what := look(fate)) is not None)


def _lost(fate: Fate) -> str | None:
    if fate.arrivals:
        return None
    tries = ", ".join(one.outcome for one in fate.askings) or "never asked"
    return f"accepted and never answered ({fate.user}; {tries})"


def _refused(fate: Fate) -> str | None:
    if not fate.deliveries or fate.accepted_at is not None:
        return None
    return f"no delivery accepted: {[one.status for one in fate.deliveries]}"


def _answered_twice(fate: Fate) -> str | None:
    attempts = sorted({mark.attempt for mark in fate.arrivals})
    if len(attempts) < 2:  # noqa: PLR2004 - two answers are one too many
        return None
    return f"parts of the answers of tries {attempts} arrived, whole: {fate.whole_attempts}"


def _cut_short(fate: Fate) -> str | None:
    if not fate.arrivals or fate.whole_attempts:
        return None
    parts = sorted({(mark.attempt, mark.part, mark.parts) for mark in fate.arrivals})
    return f"only (try, part, of) {parts} arrived"


def _asked_again(fate: Fate) -> str | None:
    """A try after one whose answer had been received whole, and of which something had arrived."""
    for earlier in fate.askings:
        shown = [
            times[0] for mark, times in fate.arrivals.items() if mark.attempt == earlier.attempt
        ]
        if not earlier.is_answered or not shown:
            continue
        since = max(earlier.ended, min(shown))
        for later in fate.askings:
            if later is not earlier and later.started >= since:
                return f"try {later.attempt} though the answer of try {earlier.attempt} was out"
    return None


@dataclass(frozen=True, slots=True)
class Repeat:
    """A segment that arrived again."""

    #: Its arrivals before, in order.
    earlier: tuple[Sending, ...]
    again: Sending

    @property
    def is_resent(self) -> bool:
        """Whether it had been sent once, and nobody could know that."""
        return len(self.earlier) == 1 and self.earlier[0].is_undecided

    def as_violation(self) -> Violation:
        """With all its times."""
        mark = self.again.marks[0]
        times = " ".join(f"{one.at:.3f}" for one in self.earlier)
        return Violation(mark.word, f"part {mark.part} at {times}, again at {self.again.at:.3f}")


def repeats(sendings: Iterable[Sending]) -> Iterator[Repeat]:
    """Every segment that arrived again, in order."""
    seen: dict[Mark, list[Sending]] = defaultdict(list)
    for sending in sendings:
        earlier = {one.at: one for mark in sending.marks for one in seen[mark]}
        if earlier:
            yield Repeat(tuple(earlier.values()), sending)
        for mark in sending.marks:
            seen[mark].append(sending)


def split_by_crash(history: History, crashes: Iterable[float]) -> tuple[Violations, Violations]:
    """
    Segments that arrived again though their first call was answered: those that a crash explains,
    and the others.

    A sender that dies leaves one segment of an account undecided at most: the last one that arrived
    before.
    """
    times = sorted(crashes)
    explained: list[Violation] = []
    others: list[Violation] = []
    for one in repeats(history.sendings):
        if one.is_resent and not _is_last_before(history, one.earlier[0], times):
            continue
        is_explained = len(one.earlier) == 1 and _is_last_before(history, one.earlier[0], times)
        (explained if is_explained else others).append(one.as_violation())
    return tuple(explained), tuple(others)


def _is_last_before(history: History, sending: Sending, times: list[float]) -> bool:
    """Whether its account sent nothing more before the next crash."""
    crash = next((at for at in times if at >= sending.at), None)
    return crash is not None and not any(
        sending.at < one.at < crash and one.account == sending.account for one in history.sendings
    )


def _overlapping(askings: Iterable[Asking]) -> Iterator[Violation]:
    by_user: dict[str, list[Asking]] = defaultdict(list)
    for asking in askings:
        by_user[asking.user].append(asking)
    for user, own in by_user.items():
        running: Asking | None = None
        for asking in sorted(own, key=lambda one: one.started):
            if running is not None and asking.started < running.ended:
                seconds = min(asking.ended, running.ended) - asking.started
                what = f"{user}: beside {running.word}, for {seconds:.3f} s"
                yield Violation(asking.word, what)
            if running is None or asking.ended > running.ended:
                running = asking


def _reordered(accepted: Iterable[Fate]) -> Iterator[Violation]:
    by_lane: dict[tuple[str, str], list[Fate]] = defaultdict(list)
    for fate in accepted:
        yield from _disorder_inside(fate)
        by_lane[fate.user, fate.group].append(fate)
    for own in by_lane.values():
        yield from _overtaken(own, lambda fate: fate.asked_at, lambda fate: fate.asked_at, "asked")
        yield from _overtaken(own, _begins_at, _ends_at, "answered")


def _disorder_inside(fate: Fate) -> Iterator[Violation]:
    by_attempt: dict[int, list[int]] = defaultdict(list)
    for _, mark in fate.first_arrivals:
        by_attempt[mark.attempt].append(mark.part)
    for attempt, parts in by_attempt.items():
        if any(later < earlier for earlier, later in pairwise(parts)):
            yield Violation(fate.word, f"parts of try {attempt} arrived as {parts}")


def _begins_at(fate: Fate) -> float | None:
    arrived = fate.first_arrivals
    return arrived[0][0] if arrived else None


def _ends_at(fate: Fate) -> float | None:
    arrived = fate.first_arrivals
    return arrived[-1][0] if arrived else None


def _overtaken(
    own: list[Fate],
    begins: Callable[[Fate], float | None],
    ends: Callable[[Fate], float | None],
    what: str,
) -> Iterator[Violation]:
    """
    Those that began before one ended whose callback was over when theirs was first posted.

    Callbacks that were under way at the same time have no order.
    """
    before = sorted(own, key=lambda fate: fate.accepted_at or 0.0)
    latest: tuple[float, str] = (float("-inf"), "")
    at = 0
    for fate in sorted(own, key=lambda one: one.spoken_at):
        while at < len(before) and (before[at].accepted_at or 0.0) <= fate.spoken_at:
            end = ends(before[at])
            if end is not None and end > latest[0]:
                latest = (end, before[at].word)
            at += 1
        begin = begins(fate)
        if begin is not None and begin < latest[0]:
            yield Violation(fate.word, f"{what} before {latest[1]}")


def _drain(accepted: list[Fate]) -> float:
    spoken = max((fate.accepted_at or 0.0 for fate in accepted), default=0.0)
    arrived = max((_ends_at(fate) or spoken for fate in accepted), default=spoken)
    return max(0.0, arrived - spoken)
