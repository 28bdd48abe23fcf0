"""What happens to a segment whose call failed: decided here and nowhere else (pure)."""

from dataclasses import dataclass

from app.services.errors import (
    EcloudError,
    EcloudRefused,
    EcloudThrottled,
    EcloudUnauthorized,
    EcloudUndecided,
)
from app.workers.schedule import Pace

#: How long a group's segment that the gateway refuses is tried again.
REFUSED_SECONDS = 60.0
REFUSED_PAUSE = 5.0
THROTTLED_PAUSE = 30.0
#: No peer silences an account for longer, whatever its ``Retry-After`` says.
LONGEST_THROTTLED_PAUSE = 300.0
#: A group whose lane was throttled waits so much longer than its account, for others to go first.
THROTTLED_LANE = 1.1
#: How long a group is tried again that alone is throttled.
THROTTLED_GROUP_SECONDS = 600.0
UNAUTHORIZED_PAUSE = 30.0
#: An account that is not online; a login that becomes known ends the pause.
OFFLINE_PAUSE = 15.0
LONGEST_OFFLINE_PAUSE = 240.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
#: So many calls of a segment may end without an answer: the first, and one repetition.
UNDECIDED_CALLS = 2
#: A segment that was called longer ago is not repeated: the group has moved on.
RESEND_WITHIN = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SenderSettings:
    """Figures of one sender."""

    pace: Pace
    #: Seconds of one call to the gateway.
    timeout: float
    #: ``resend`` or ``skip``.
    on_unknown_send: str
    #: Seconds of outage of its account after which an answer is too old to be sent: only the time
    #: counts in which the account could not send, not the time in its queue. 0: an answer that
    #: waited through any outage is dropped.
    max_age: float


@dataclass(frozen=True, slots=True)
class PauseAccount:
    """Nothing of this account goes out for *seconds*; the segment keeps its place."""

    seconds: float


@dataclass(frozen=True, slots=True)
class PauseGroup:
    """This group waits for *seconds*; others go on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Settle:
    """Nobody knows whether it was sent: an echo may tell, then ``decide_undecided``."""

    #: The account rests for so long; 0: other groups go on.
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Resend:
    """It goes out once more, perhaps for the second time."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This segment will not be sent."""

    reason: str


SendDecision = PauseAccount | PauseGroup | Settle | GiveUp


def decide_send(
    error: EcloudError,
    *,
    failures: int,
    refused_for: float,
    waited: float,
    max_age: float,
    own_throttles: int = 0,
) -> SendDecision:
    """
    Decide on a failed call.

    Args:
        failures: calls in a row that failed for the account's sake or have no answer, this one
            included.
        refused_for: seconds since the gateway first refused this segment, or throttled its group
            alone.
        waited: seconds that the segment waited for its account to be able to send.
        max_age: more seconds of waiting make an answer too old to be sent.
        own_throttles: how often the group alone was throttled; 0: the account was.
    """
    if isinstance(error, EcloudUndecided):
        # One may be the segment's own; two in a row are a gateway that does not answer.
        is_first = failures <= 1
        return Settle(0.0 if is_first else _growing(FIRST_PAUSE, failures, at_most=LONGEST_PAUSE))
    if waited > max_age:
        return GiveUp("too_old")
    if isinstance(error, EcloudRefused):
        return GiveUp("refused") if refused_for >= REFUSED_SECONDS else PauseGroup(REFUSED_PAUSE)
    if isinstance(error, EcloudThrottled):
        return (
            _decide_own_throttle(own_throttles, lasted=refused_for)
            if own_throttles
            else _decide_throttle(failures, asked=error.retry_after or 0.0)
        )
    if isinstance(error, EcloudUnauthorized):
        return PauseAccount(UNAUTHORIZED_PAUSE)
    return PauseAccount(_growing(FIRST_PAUSE, failures, at_most=LONGEST_PAUSE))


def _decide_throttle(failures: int, *, asked: float) -> PauseAccount:
    pause = _growing(THROTTLED_PAUSE, failures, at_most=LONGEST_THROTTLED_PAUSE)
    return PauseAccount(min(max(pause, asked), LONGEST_THROTTLED_PAUSE))


def _decide_own_throttle(times: int, *, lasted: float) -> GiveUp | PauseGroup:
    """Others get through: what sounds like throttling is a refusal of this group, or soon over."""
    if lasted >= THROTTLED_GROUP_SECONDS:
        return GiveUp("refused")
    return PauseGroup(_growing(THROTTLED_PAUSE, times, at_most=LONGEST_THROTTLED_PAUSE))


def decide_undecided(
    *, calls: int, age: float, waited: float, max_age: float, on_unknown_send: str
) -> Resend | GiveUp:
    """
    Decide on a segment whose echo did not come.

    Args:
        calls: its calls that may have gone out.
        age: seconds since it was called.
        waited: as for ``decide_send``, and so *max_age*.
        on_unknown_send: ``resend`` or ``skip``.
    """
    is_late = age > RESEND_WITHIN or waited > max_age
    if on_unknown_send == "skip" or calls >= UNDECIDED_CALLS or is_late:
        return GiveUp("undecided")
    return Resend()


def decide_pause(error: EcloudError, *, failures: int) -> PauseAccount:
    """How long an account rests when the gateway does not even tell its login."""
    decision = decide_send(error, failures=failures, refused_for=0.0, waited=0.0, max_age=1.0)
    if isinstance(decision, PauseAccount):
        return decision
    return PauseAccount(_growing(FIRST_PAUSE, failures, at_most=LONGEST_PAUSE))


def decide_offline(failures: int) -> PauseAccount:
    """How long an account rests that the gateway does not list as online."""
    return PauseAccount(_growing(OFFLINE_PAUSE, failures, at_most=LONGEST_OFFLINE_PAUSE))


def _growing(first: float, failures: int, *, at_most: float) -> float:
    """Doubles with every failure; the exponent is bounded, since floats are."""
    return min(first * 2.0 ** (min(max(failures, 1), 16) - 1), at_most)
