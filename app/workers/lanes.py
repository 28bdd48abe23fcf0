"""
The order of sending for one account (pure): in order per group, in turn between groups.

Segments of one answer that are planned stay together; a group whose segment must wait does not
hold up the others. What is urgent has a lane of its own in each group and goes before what is not.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from app.models.flow import MessageId, SegmentKind, WcId
from app.services.outbox_table import Planned


@dataclass(eq=False, slots=True)
class Lane:
    """What one group is owed, oldest first."""

    group: WcId
    is_urgent: bool = False
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
        #: The code of why nothing of the account goes out; empty: it may.
        self.held_for = ""

    def __len__(self) -> int:
        """Segments in all lanes."""
        return len(self._known)

    def waiting(self, now: float) -> int:
        """Segments in lanes that must wait."""
        return sum(len(lane.segments) for lane in self._lanes if lane.not_before > now)

    def add(self, segments: Iterable[Planned]) -> None:
        """
        Take segments in, each in its place by the order of planning; known ones are passed over.

        What another account could not send comes late, but before what was planned after it.
        """
        lanes = {(lane.group, lane.is_urgent): lane for lane in self._lanes}
        for segment in segments:
            if segment.id in self._known:
                continue
            self._known.add(segment.id)
            key = (segment.group_id, segment.kind is SegmentKind.COMMAND)
            lane = lanes.get(key)
            if lane is None:
                lane = lanes[key] = Lane(*key)
                self._lanes.append(lane)
            lane.segments.insert(self._place_of(segment, lane), segment)

    def _place_of(self, segment: Planned, lane: Lane) -> int:
        """Behind what was planned before it, and behind an answer that is begun."""
        others = lane.segments
        place = len(others)
        while place and others[place - 1].id > segment.id:
            is_begun = others[0].tries > 0 or others[0].message_id == self._last
            if is_begun and others[place - 1].message_id == others[0].message_id:
                break
            place -= 1
        return place

    def hold(self, *, until: float, code: str = "") -> None:
        """Nothing of this account goes out before (monotonic seconds)."""
        if until >= self._not_before:
            self._not_before, self.held_for = until, code

    def release(self) -> None:
        """This account need not be held any longer."""
        self._not_before, self.held_for = 0.0, ""

    def held_for_seconds(self, now: float) -> float:
        """How much longer nothing of the account goes out; 0: it may."""
        return max(0.0, self._not_before - now)

    def defer(self, lane: Lane, *, until: float) -> None:
        """Others go first, as soon as any may; this lane not before *until* (monotonic seconds)."""
        lane.not_before = max(lane.not_before, until)
        if lane.segments[0].message_id == self._last:
            self._last = None
        self._lanes.remove(lane)
        self._lanes.append(lane)

    def hold_group(self, group: WcId, *, until: float) -> None:
        """Nothing goes to this group before (monotonic seconds)."""
        for lane in self._lanes:
            if lane.group == group:
                lane.not_before = max(lane.not_before, until)

    def candidates(self, now: float) -> Iterator[Lane]:
        """
        Lanes whose head may go out now, the one whose turn it is first.

        An answer that is begun goes on; then what is urgent; then the groups take turns.
        """
        if now < self._not_before:
            return
        free = [lane for lane in self._lanes if lane.not_before <= now]
        yield from sorted(free, key=self._rank)

    def next(self, now: float) -> Lane | None:
        """The lane whose head may go out now; None: none may."""
        return next(self.candidates(now), None)

    def _rank(self, lane: Lane) -> int:
        if lane.segments[0].message_id == self._last:
            return 0
        return 1 if lane.is_urgent else 2

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
