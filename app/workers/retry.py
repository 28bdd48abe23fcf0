"""
What happens to a message that could not be answered: decided here and nowhere else (pure).

``Retry`` counts as a failed try. ``Wait`` does not: what is away will come back, and the message
is not to blame. ``Park`` is a wait together with all others, until the peer is well. ``Bury`` gives up.
"""

from dataclasses import dataclass

from app.services.errors import (
    DifyOverloaded,
    DifyRejected,
    DifyUnavailable,
    InputLacking,
    PeerError,
    QueueUnavailable,
    ServiceError,
    StoreUnavailable,
    VoiceAway,
    VoiceNoDecoder,
    VoiceUnreadable,
)

#: However often it is tried; what is away for too long is so, too.
_FINAL = (
    DifyRejected,
    DifyOverloaded,
    InputLacking,
    VoiceAway,
    VoiceNoDecoder,
    VoiceUnreadable,
)
STORE_PAUSE = 1.0
BUDGET_SPENT = "attempt_timeout"
INTERNAL_ERROR = "internal_error"
CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again after *delay* seconds; this try counts."""

    delay: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after *delay* seconds; nothing is counted."""

    delay: float


@dataclass(frozen=True, slots=True)
class Park:
    """
    Wait until *peer* is well. Only the try that was to be the last counts: whoever had it is given
    up by the next failure if somebody was answered in between.
    """

    peer: str
    counts: bool = False


@dataclass(frozen=True, slots=True)
class Bury:
    """Give up: *reason* is a stable word, shown as the message's verdict."""

    reason: str


FailureDecision = Retry | Wait | Park | Bury


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """Bounds of trying again, from the settings."""

    #: Retries after the first try.
    max_retries: int
    #: Seconds between two tries.
    delay: float
    #: Crashes as the only suspect of a process before a message counts as poisonous.
    crash_limit: int
    #: Age in seconds from which an outage buries a message, too.
    outage_max_wait: float

    def decide(
        self, error: Exception, *, attempts: int, held_by: str = "", age: float = 0.0
    ) -> FailureDecision:
        """
        Decide on an error.

        Args:
            attempts: failed tries before this one.
            held_by: the peer whose breaker is open; empty: none.
            age: seconds since the message was received, or replayed.
        """
        if held_by and is_outage(error):
            park = Park(held_by, counts=attempts == self.max_retries)
            return Bury(_reason(error)) if self.is_too_old(age) else park
        if isinstance(error, (StoreUnavailable, QueueUnavailable)):
            return Wait(STORE_PAUSE)
        if isinstance(error, (DifyOverloaded, VoiceAway)) and not self.is_too_old(age):
            return Wait(_at_least(self.delay, error))
        if isinstance(error, _FINAL):
            return Bury(error.code)
        if attempts >= self.max_retries:
            return Bury(_reason(error))
        return Retry(_at_least(self.delay, error))

    def is_too_old(self, age: float) -> bool:
        """Whether a message has waited for a peer for long enough."""
        return age >= self.outage_max_wait


def is_outage(error: Exception) -> bool:
    """Whether it may be the peer, and not the message: a spent budget, too, is a peer that is silent."""
    return isinstance(error, (DifyUnavailable, TimeoutError))


def _at_least(delay: float, error: Exception) -> float:
    asked = error.retry_after if isinstance(error, PeerError) else None
    return max(delay, asked or 0.0)


def _reason(error: Exception) -> str:
    if isinstance(error, ServiceError):
        return error.code
    return BUDGET_SPENT if isinstance(error, TimeoutError) else INTERNAL_ERROR
