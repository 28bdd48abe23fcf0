"""
Dead letters as values, and how one goes on when an operator replays it. Pure.

Two kinds are given up: a message that got no answer (``dead``), and an answer of which segments
did not get to the group (``done``, with segments that failed or are undecided).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.models.flow import MessageId, SegmentKind, WcId
from app.models.message import MessageState
from app.models.segment import SegmentState

#: Before the reason in the verdict of what was given up.
FAILED = "failed:"
#: Causes beside the reasons of verdicts: of an answer that is in the group in part, or perhaps.
PARTLY_SENT = "partly_sent"
UNDECIDED = "undecided"

#: The group saw it, or may have seen it.
OUT_STATES = (
    SegmentState.SENT,
    SegmentState.UNKNOWN,
    SegmentState.RECALLING,
    SegmentState.RECALLED,
)
GIVEN_UP_STATES = (SegmentState.FAILED, SegmentState.UNKNOWN)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One segment of a letter."""

    seq: int
    kind: SegmentKind
    state: SegmentState


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """One message and what became of it so far."""

    id: MessageId
    user: WcId
    group_id: WcId
    state: MessageState
    verdict: str
    error: str
    received_at: datetime
    attempts: int
    crashes: int
    replays: int
    is_cut_short: bool
    #: Its text is there; retention removes it.
    has_question: bool
    #: Newest claim that wrote the row.
    fence: int
    journal_id: int | None
    parts: tuple[Part, ...] = ()

    @property
    def answer(self) -> list[Part]:
        """Its parts of an answer that are not void."""
        return [
            part
            for part in self.parts
            if part.kind is not SegmentKind.NOTICE and part.state is not SegmentState.CANCELLED
        ]

    @property
    def sent(self) -> int:
        """How many of these are in the group."""
        return sum(part.state is SegmentState.SENT for part in self.answer)

    @property
    def cause(self) -> str:
        """Why it was given up, in one word; empty: it was not."""
        if self.verdict.startswith(FAILED):
            return self.verdict.removeprefix(FAILED)
        states = {part.state for part in self.answer}
        if SegmentState.FAILED in states:
            return PARTLY_SENT
        return UNDECIDED if SegmentState.UNKNOWN in states else ""


class Way(StrEnum):
    """How a replayed message goes on."""

    #: Back into the queue; Dify is asked (again).
    ASK = "ask"
    #: Back into the queue; parts of an answer are in the group: it is ended behind them.
    CLOSE = "close"
    #: Its answer is there: only segments that are not in the group are sent.
    SEND = "send"


class Refusal(StrEnum):
    """Why a message is not replayed."""

    NOT_FOUND = "not_found"
    #: It waits, is being sent, is done, or never was to be answered.
    NOT_DEAD = "not_dead"
    TEXT_GONE = "text_gone"
    #: One of its segments is on its way right now.
    SENDING = "sending"
    #: Nothing failed for certain, and what is undecided is not to be repeated.
    ONLY_UNDECIDED = "only_undecided"
    #: Dify is to be asked again, but the group saw parts of the answer.
    SEGMENTS_OUT = "segments_out"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayOptions:
    """What the operator allows."""

    #: An answer of which nothing is in the group is not sent, but asked for anew.
    ask_again: bool = False
    #: Segments of which nobody knows whether they are in the group are sent again.
    resend_unknown: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Resumption:
    """What is to be done with a letter."""

    way: Way
    #: Numbers of the segments that are planned again.
    again: tuple[int, ...] = ()
    #: Numbers of the segments that are void from now on.
    void: tuple[int, ...] = ()


def decide_replay(letter: Letter, options: ReplayOptions) -> Resumption | Refusal:
    """Where a letter goes on, or why it does not."""
    if letter.state not in (MessageState.DEAD, MessageState.DONE):
        return Refusal.NOT_DEAD
    is_dead = letter.state is MessageState.DEAD
    if not is_dead and not letter.cause:
        return Refusal.NOT_DEAD
    if any(part.state is SegmentState.SENDING for part in letter.parts):
        return Refusal.SENDING
    is_out = any(part.state in OUT_STATES for part in letter.answer)
    if is_out and options.ask_again:
        return Refusal.SEGMENTS_OUT
    if not is_out and (is_dead or options.ask_again):
        return _ask(letter)
    return _go_on(letter, options, Way.CLOSE if is_dead else Way.SEND)


def _ask(letter: Letter) -> Resumption | Refusal:
    """Nothing of an answer is in the group: whatever is left of one is void, and so is the sentence."""
    if not letter.has_question:
        return Refusal.TEXT_GONE
    over = (
        SegmentState.SENT,
        SegmentState.RECALLING,
        SegmentState.RECALLED,
        SegmentState.CANCELLED,
    )
    return Resumption(
        way=Way.ASK, void=_numbers(part for part in letter.parts if part.state not in over)
    )


def _go_on(letter: Letter, options: ReplayOptions, way: Way) -> Resumption | Refusal:
    wanted = GIVEN_UP_STATES if options.resend_unknown else (SegmentState.FAILED,)
    again = _numbers(part for part in letter.answer if part.state in wanted)
    if way is Way.SEND and not again:
        # Without any the segments are gone: retention removes them together with the texts.
        return Refusal.ONLY_UNDECIDED if letter.answer else Refusal.TEXT_GONE
    return Resumption(way=way, again=again)


def _numbers(parts: Iterable[Part]) -> tuple[int, ...]:
    return tuple(part.seq for part in parts)
