"""
The order of sending for one account (pure): in order per group, in turn between groups.

Segments of one answer that are planned stay together; a group whose segment must wait does not
hold up the others.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.models.flow import MessageId, WcId
from app.services.outbox_table import Planned


@dataclass(eq=False, slots=True)
class Lane:
    """What one group is owed, oldest first."""

    group: WcId
    segments: deque[Planned] = field(default_factory=deque)
    #: Monotonic seconds before which nothing goes to this group.
    not_before: float = 0.0
    #: Monotonic seconds of the first refusal of its head; None: not refused.
    refused_since: float | None = None


class Lanes:
    """All groups of one account."""

    def __init__(self) -> None:
        self._lanes: deque[Lane] = deque()
        self._known: set[int] = set()
        self._last: MessageId | None = None
        self._not_before = 0.0

    def __len__(self) -> int:
        """Segments in all lanes."""
        return len(self._known)

    def waiting(self, now: float) -> int:
        """Segments in lanes that must wait."""
        return sum(len(lane.segments) for lane in self._lanes if lane.not_before > now)

    def add(self, segments: Iterable[Planned]) -> None:
        """Take segments in, in the order of planning; known ones are passed over."""
        lanes = {lane.group: lane for lane in self._lanes}
        for segment in segments:
            if segment.id in self._known:
                continue
            self._known.add(segment.id)
            lane = lanes.get(segment.group_id)
            if lane is None:
                lane = lanes[segment.group_id] = Lane(segment.group_id)
                self._lanes.append(lane)
            lane.segments.append(segment)

    def hold(self, *, until: float) -> None:
        """Nothing of this account goes out before (monotonic seconds)."""
        self._not_before = max(self._not_before, until)

    def release(self) -> None:
        """This account need not be held any longer."""
        self._not_before = 0.0

    def defer(self, lane: Lane, *, until: float) -> None:
        """Others go first, as soon as any may; this lane not before *until* (monotonic seconds)."""
        lane.not_before = max(lane.not_before, until)
        if lane.segments[0].message_id == self._last:
            self._last = None
        self._lanes.remove(lane)
        self._lanes.append(lane)

    def next(self, now: float) -> Lane | None:
        """The lane whose head may go out now; None: none may."""
        if now < self._not_before:
            return None
        for lane in self._lanes:
            if lane.segments[0].message_id == self._last and lane.not_before <= now:
                return lane
        return next((lane for lane in self._lanes if lane.not_before <= now), None)

    def due_in(self, now: float) -> float | None:
        """Seconds until the first lane may go on; None: nothing is owed."""
        first = min((lane.not_before for lane in self._lanes), default=None)
        return None if first is None else max(0.0, first - now, self._not_before - now)

    def take(self, lane: Lane) -> Planned:
        """Remove the lane's head: it is settled. Another group is next, unless the answer goes on."""
        segment = lane.segments.popleft()
        lane.refused_since = None
        self._known.discard(segment.id)
        self._last = segment.message_id
        self._lanes.remove(lane)
        if lane.segments:
            self._lanes.append(lane)
        return segment
