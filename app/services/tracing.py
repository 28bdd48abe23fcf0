"""
Where a message's time went: its steps, told to whoever collects traces, if anybody does.

A step is told when it is over, with its times: nothing is carried along while it lasts, so that a
step in another process, or after a restart, belongs to the same message all the same.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from app.models.flow import MessageId
from app.services.errors import code_of
from app.utils.clock import Clock

#: What became of a step that was ended from outside.
CANCELLED = "cancelled"

Fact = str | int | float | bool


class Step(StrEnum):
    """What a message goes through."""

    #: From the callback's first byte to its answer.
    CALLBACK = "callback"
    #: From receipt until it is in work.
    WAIT = "queue.wait"
    #: One question to Dify.
    ASK = "dify.ask"
    #: What Dify has of an answer whose end nobody heard.
    FETCH = "dify.fetch"
    #: One call of the gateway, e.g. sendText.
    SEND = "ecloud.send"


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One step of one message that is over."""

    step: Step
    message_id: MessageId
    #: Seconds since 1970.
    started_at: float
    ended_at: float
    #: Words of ours and numbers: no text of a message, no id of a person, group or account.
    facts: Mapping[str, Fact] = field(default_factory=dict)
    #: The code of what went wrong; empty: nothing did.
    error: str = ""
    #: All other steps of the message belong to this one.
    is_first: bool = False


class Tracer(Protocol):
    """Takes steps in."""

    def record(self, span: Span) -> None:
        """Tell of a step; never waits, never raises."""
        ...


class NoTracer:
    """Nobody collects traces."""

    def record(self, span: Span) -> None:
        """Forget it."""


@contextmanager
def traced(
    tracer: Tracer, clock: Clock, step: Step, message_id: MessageId, facts: Mapping[str, Fact]
) -> Iterator[None]:
    """The block is the step; what it raises is its error. *facts* are read at the end."""
    started_at, began = clock.time(), clock.monotonic()
    error = ""
    try:
        yield
    except BaseException as raised:
        error = code_of(raised) if isinstance(raised, Exception) else CANCELLED
        raise
    finally:
        tracer.record(
            Span(
                step=step,
                message_id=message_id,
                started_at=started_at,
                ended_at=started_at + clock.monotonic() - began,
                facts=dict(facts),
                error=error,
            )
        )
