"""The way of a message as a line of stations with times between them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.console.playground.way import LAST_STATION, SEGMENT_STATES, STATIONS
from app.console.verdicts import Tone
from app.models.flow import SegmentKind
from app.models.message import MessageState
from app.models.segment import SegmentState

_TONES: Final = {
    SegmentState.SENT: Tone.GOOD,
    SegmentState.FAILED: Tone.BAD,
    SegmentState.UNKNOWN: Tone.WARN,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Station:
    """One point on the way."""

    label: str
    #: Number of the segment; None: none.
    seq: int | None = None
    #: None: not reached.
    at: datetime | None = None
    #: Since the station before that was reached, in milliseconds.
    gap: float | None = None
    #: Since the receipt, in milliseconds.
    total: float | None = None
    tone: Tone = Tone.GOOD
    #: Behind the label, e.g. the state of a segment.
    state: str = ""


def make_timeline(message: Any, segments: Sequence[Any]) -> list[Station]:
    """Stations in the order of the way, each with the time since the one before."""
    points = [Station(label=label, at=getattr(message, name)) for name, label in STATIONS]
    points += [_point_of(segment) for segment in segments]
    name, label = LAST_STATION
    is_dead = message.state == MessageState.DEAD
    points.append(
        Station(
            label="放弃" if is_dead else label,
            at=getattr(message, name),
            tone=Tone.BAD if is_dead else Tone.GOOD,
        )
    )
    reached = [point for point in points if point.at is not None]
    timed = _with_gaps(sorted(reached, key=_moment), start=message.received_at)
    missing = [] if message.done_at else [point for point in points if point.at is None]
    return [*timed, *missing]


def _point_of(segment: Any) -> Station:
    state = SegmentState(segment.state)
    is_notice = segment.kind == SegmentKind.NOTICE
    return Station(
        label="失败后的那句话" if is_notice else "发送第 {seq} 段",
        seq=segment.seq + 1,
        at=segment.sent_at or segment.sending_at,
        tone=_TONES.get(state, Tone.QUIET),
        state=SEGMENT_STATES[state],
    )


def _moment(point: Station) -> datetime:
    assert point.at is not None  # noqa: S101 - only those that were reached come here
    return point.at


def _with_gaps(points: Sequence[Station], *, start: datetime) -> list[Station]:
    before, timed = start, []
    for point in points:
        at = _moment(point)
        timed.append(
            Station(
                label=point.label,
                seq=point.seq,
                at=at,
                gap=(at - before).total_seconds() * 1000,
                total=(at - start).total_seconds() * 1000,
                tone=point.tone,
                state=point.state,
            )
        )
        before = at
    return timed
