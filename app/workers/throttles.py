"""Whether a sentence about frequency is said of one group or of the account (pure)."""

from dataclasses import dataclass

from app.models.flow import WcId


@dataclass(slots=True)
class Throttle:
    """What one group was told since its last success."""

    #: Another group got through since.
    others_pass: bool = False
    #: How often it was told so for its own sake.
    times: int = 0
    #: Monotonic seconds of the first of those.
    since: float = 0.0


class Throttles:
    """
    By group.

    The words of a muted group are those of an account that is too fast. A group that is told so
    again, after another got through, is told it for its own sake. One that is told so for the first
    time is told it for the account's, and then all are.
    """

    def __init__(self) -> None:
        self._groups: dict[WcId, Throttle] = {}

    def throttled(self, group: WcId, *, now: float) -> Throttle | None:
        """A call was too frequent; None: for the account's sake."""
        known = self._groups.setdefault(group, Throttle())
        if not known.others_pass:
            self._groups = {each: Throttle() for each in self._groups}
            return None
        known.times += 1
        known.since = now if known.times == 1 else known.since
        return known

    def sent(self, group: WcId) -> None:
        """A call got through."""
        self._groups.pop(group, None)
        for other in self._groups.values():
            other.others_pass = True
