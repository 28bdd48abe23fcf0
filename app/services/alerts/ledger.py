"""
What was told of which cause, and what is told next (pure).

A cause is told once when it has held for a while, once more for every new word of what is wrong
with it, and when it has been gone for a while its end is told. A topic that could not be read
changes nothing of its causes.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from typing import Final

from pydantic import TypeAdapter, ValidationError

from app.services.alerts.conditions import Condition, Topic
from app.services.alerts.growth import Tally

#: A notice that no channel took for so long is history.
GIVE_UP_SECONDS: Final = 86_400.0
#: Most notices that wait for a channel; the oldest make room.
MAX_WAITING: Final = 100


class Event(StrEnum):
    """Why a notice is given."""

    FIRING = "firing"
    REMINDER = "reminder"
    RECOVERED = "recovered"
    TEST = "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One thing to be told."""

    event: Event
    condition: Condition
    #: Seconds since 1970: when it began, and when this was decided.
    since: float
    at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One cause from the moment it was seen until its end was told."""

    condition: Condition
    seen_at: float
    #: Since when its code is what it is.
    code_at: float
    #: Codes that were told.
    told: tuple[str, ...] = ()
    told_at: float = 0.0
    #: Since when it is gone; None: it is not.
    gone_at: float | None = None

    @property
    def since(self) -> float:
        """When it began, as far as anybody knows."""
        known = self.condition.since
        return self.seen_at if known is None else min(known, self.seen_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How long is a while, in seconds."""

    hold: float
    #: Between two notices of a cause that lasts; 0: it is told once.
    reminder: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A notice and the channels that do not have it yet."""

    notice: Notice
    channels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """A channel that failed: how often in a row, and when it is tried again."""

    failures: int
    due: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """Everything that has to be remembered, by all processes together."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    #: None: nothing was ever counted.
    tallies: Mapping[str, Tally] | None = None
    waiting: tuple[Waiting, ...] = ()
    troubles: Mapping[str, Trouble] = field(default_factory=dict)


@cache
def _written() -> TypeAdapter[Ledger]:
    """Made when it is needed: most processes tell nobody anything."""
    return TypeAdapter(Ledger)


def to_json(ledger: Ledger) -> bytes:
    """The ledger as it is kept."""
    return _written().dump_json(ledger)


def from_json(text: bytes) -> Ledger | None:
    """The ledger as it was kept; None: that is none of ours."""
    try:
        return _written().validate_json(text)
    except ValidationError:
        return None


def looked(
    ledger: Ledger,
    conditions: Iterable[Condition],
    *,
    known: Collection[Topic],
    now: float,
    timing: Timing,
) -> tuple[Ledger, list[Notice]]:
    """
    The ledger after a look, and what is to be told.

    Args:
        conditions: all that is wrong in the topics of *known*.
        known: the topics that could be read.
    """
    active = {one.key: one for one in conditions}
    entries: dict[str, Entry] = {}
    notices: list[Notice] = []
    for key in [*ledger.entries, *(active.keys() - ledger.entries.keys())]:
        entry, condition = ledger.entries.get(key), active.get(key)
        if condition is not None:
            entry, notice = _holds(entry, condition, now, timing)
        elif entry is not None and entry.condition.topic in known:
            entry, notice = _is_gone(entry, now, timing)
        else:
            notice = None
        if entry is not None:
            entries[key] = entry
        if notice is not None:
            notices.append(notice)
    return replace(ledger, entries=entries), notices


def _holds(
    known: Entry | None, condition: Condition, now: float, timing: Timing
) -> tuple[Entry, Notice | None]:
    if known is None:
        entry = Entry(condition=condition, seen_at=now, code_at=now)
    else:
        is_same = known.condition.code == condition.code
        code_at = known.code_at if is_same else now
        entry = replace(known, condition=condition, code_at=code_at, gone_at=None)
    event = _event(entry, now, timing)
    if event is None:
        return entry, None
    notice = Notice(event=event, condition=condition, since=entry.since, at=now)
    told = tuple(dict.fromkeys((*entry.told, condition.code)))
    return replace(entry, told=told, told_at=now), notice


def _event(entry: Entry, now: float, timing: Timing) -> Event | None:
    """What is told of a cause that holds. The first notice waits for no particular word."""
    if entry.condition.code not in entry.told:
        held_since = entry.code_at if entry.told else entry.seen_at
        return Event.FIRING if now - held_since >= timing.hold else None
    if timing.reminder and now - entry.told_at >= timing.reminder:
        return Event.REMINDER
    return None


def _is_gone(entry: Entry, now: float, timing: Timing) -> tuple[Entry | None, Notice | None]:
    gone_at = now if entry.gone_at is None else entry.gone_at
    if now - gone_at < timing.hold:
        return replace(entry, gone_at=gone_at), None
    if not entry.told:
        return None, None
    return None, Notice(
        event=Event.RECOVERED, condition=entry.condition, since=entry.since, at=gone_at
    )


def queued(ledger: Ledger, notices: Iterable[Notice], channels: Iterable[str]) -> Ledger:
    """The ledger with notices that wait for every channel."""
    names = tuple(channels)
    added = tuple(Waiting(notice=one, channels=names) for one in notices)
    return replace(ledger, waiting=(*ledger.waiting, *added)[-MAX_WAITING:]) if added else ledger


def cleared(ledger: Ledger, channels: Collection[str], now: float) -> tuple[Ledger, int]:
    """Without channels that are no more and notices that nobody took in time; how many those are."""
    kept, late = [], 0
    for one in ledger.waiting:
        left = tuple(name for name in one.channels if name in channels)
        if left and now - one.notice.at >= GIVE_UP_SECONDS:
            late += len(left)
        elif left:
            kept.append(replace(one, channels=left))
    troubles = {name: one for name, one in ledger.troubles.items() if name in channels}
    return replace(ledger, waiting=tuple(kept), troubles=troubles), late


def due_for(ledger: Ledger, channel: str, now: float) -> list[Notice]:
    """What the channel is to be given now, oldest first."""
    trouble = ledger.troubles.get(channel)
    if trouble is not None and now < trouble.due:
        return []
    return [one.notice for one in ledger.waiting if channel in one.channels]


def delivered(ledger: Ledger, channel: str, notices: Collection[Notice]) -> Ledger:
    """The ledger when the channel has these."""
    waiting = [
        replace(one, channels=tuple(name for name in one.channels if name != channel))
        if one.notice in notices
        else one
        for one in ledger.waiting
    ]
    troubles = {name: one for name, one in ledger.troubles.items() if name != channel}
    kept = tuple(one for one in waiting if one.channels)
    return replace(ledger, waiting=kept, troubles=troubles)


def failed(ledger: Ledger, channel: str, *, due: float) -> Ledger:
    """The ledger when the channel took nothing: it is tried again at *due*."""
    trouble = Trouble(failures=failures_of(ledger, channel) + 1, due=due)
    return replace(ledger, troubles={**ledger.troubles, channel: trouble})


def failures_of(ledger: Ledger, channel: str) -> int:
    """How often in a row the channel failed."""
    known = ledger.troubles.get(channel)
    return 0 if known is None else known.failures


def trial_notice(now: float) -> Notice:
    """What is told to see whether it arrives."""
    condition = Condition(
        topic=Topic.SERVERS,
        key="test",
        code="test",
        title="测试",
        text="收到这条,告警就能送到这里。什么也没有发生。",
        advice="",
    )
    return Notice(event=Event.TEST, condition=condition, since=now, at=now)
