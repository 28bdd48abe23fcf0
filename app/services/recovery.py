"""
An answer whose end nobody heard, fetched from what Dify kept of it.

The stream broke off, a proxy waited no longer, or the worker that asked is dead: Dify may have the
answer all the same, or be at work on it. Asking again would cost money, and put the question into
the conversation twice. What may be told of one look is pure; the rest waits and looks again.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import inf

from loguru import logger

from app.models.flow import Answer, AnswerFile, Asking, Turn, Usage, WcId
from app.services.dify.client import DifyClient
from app.services.dify.files import in_order
from app.services.dify.wire import StoredMessage, StoredRun
from app.services.errors import (
    DifyAbsent,
    DifyOverloaded,
    DifyProtocolError,
    DifyRejected,
    DifyUnavailable,
    loggable,
)
from app.utils.budget import Budget
from app.utils.clock import Clock

#: So long an answer is waited for, in seconds, whose run dies with its listener: it is there already
#: but for the commit, or never.
STREAM_PATIENCE = 2.0
#: A blocking call's run hears of nobody's leaving before its end. It is given half as long again as it
#: had, at most so long.
CALL_PATIENCE = 30.0
#: Dify writes a question down before it does anything else.
UNSEEN_PATIENCE = 1.0
#: Between the end of a run and the answer in the message.
SAVING_PATIENCE = 5.0
#: Pauses between two looks, in seconds: the first, the longest, and how they grow.
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
GROWTH = 1.5
#: Looks in a row that get no answer before the try is given up, for a next one.
AWAY_LOOKS = 3
#: So much the clocks of Dify and of this machine may differ.
CLOCK_SKEW = timedelta(seconds=60)

#: Of some user's answers, by Dify's message ids, those that other messages of his have.
Taken = Callable[[WcId, Sequence[str]], Awaitable[set[str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The whole answer."""

    text: str = field(repr=False)
    usage: Usage = field(default_factory=Usage)
    files: tuple[AnswerFile, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """Not there (yet)."""

    #: Seconds, since it looks so, after which nothing more is expected.
    patience: float
    #: The answer if nothing better comes.
    instead: Found | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Nothing:
    """Dify has no answer to this question."""

    reason: str
    #: Dify may still be at work on it.
    may_run: bool = False


Sight = Found | Pending | Nothing

_DONE = frozenset({"succeeded", "partial-succeeded"})


def judge(message: StoredMessage | None, run: StoredRun | None, *, patience: float) -> Sight:
    """
    What one look means (pure).

    A message's answer is written once, at the end, as moderation left it; so it goes before the run's
    output. Without it an unfinished run and a dead one look the same, but for a run in a worker.

    Args:
        patience: seconds for which a message may be without its answer and nothing else is known.
    """
    if message is None:
        return Nothing(reason="unknown_message")
    if message.status == "error" or (run is not None and run.status == "failed"):
        return Nothing(reason="failed")
    files = message.files if run is None else (*message.files, *run.files)
    usage = Usage() if run is None else run.usage
    found = Found(text=message.answer, usage=usage, files=files, sources=message.sources)
    if run is not None and run.status == "stopped":
        return found if _is_moderated(message, run) else Nothing(reason="stopped")
    is_paused = message.status == "paused" or (run is not None and run.status == "paused")
    if message.answer.strip() or is_paused:
        return found
    return _pending(run, patience)


def judge_run(run: StoredRun | None, *, patience: float) -> Sight:
    """
    What one look at the run of a workflow means, which has no message (pure).

    Args:
        patience: as for ``judge``.
    """
    if run is None:
        return Nothing(reason="unknown_run")
    if run.status in _DONE:
        return Found(text=run.answer, usage=run.usage, files=run.files)
    if run.status != "running":
        return Nothing(reason=run.status)
    return Pending(patience=inf if run.goes_on_alone else patience)


def _is_moderated(message: StoredMessage, run: StoredRun) -> bool:
    """Of a run that somebody stopped there is a part of an answer; moderation's words are one."""
    return "moderation" in run.error.lower() and bool(message.answer.strip())


def _pending(run: StoredRun | None, patience: float) -> Pending:
    if run is None:
        return Pending(patience=patience)
    if run.status in _DONE:
        instead = Found(text=run.answer, usage=run.usage, files=run.files)
        return Pending(patience=SAVING_PATIENCE, instead=instead)
    return Pending(patience=inf if run.goes_on_alone else patience)


def recognise(
    messages: Iterable[StoredMessage], asking: Asking, *, query: str, taken: set[str]
) -> StoredMessage | None:
    """
    The message that a question became, of which Dify told no id (pure); None: it is not certain.

    Args:
        taken: ids of messages that answer other questions.
    """
    if asking.asked_at is None:
        return None
    since = (asking.asked_at - CLOCK_SKEW).timestamp()
    # Dify drops these characters.
    wanted = query.replace("\x00", "")
    candidates = [
        one
        for one in messages
        if one.query == wanted and one.created_at >= since and one.message_id not in taken
    ]
    return candidates[0] if len(candidates) == 1 else None


class Recovery:
    """
    Fetches answers of one app.

    Args:
        is_blocking: questions are asked by blocking calls, where the app lets them.
        taken: which ids of Dify's messages other messages of a user have.
    """

    def __init__(self, *, dify: DifyClient, clock: Clock, taken: Taken, is_blocking: bool) -> None:
        self._dify = dify
        self._clock = clock
        self._taken = taken
        self._is_blocking = is_blocking

    async def fetch(self, asking: Asking, turn: Turn, budget: Budget) -> Answer | Nothing:
        """
        Look until Dify has the answer or will have none, or the time is over.

        Raises:
            DifyError: Dify is away; a next try may find more.
            StoreUnavailable: the same of our own database.
        """
        patience = self._patience(asking)
        pause, away = FIRST_PAUSE, 0
        last: Sight | None = None
        since = 0.0
        while True:
            budget.check()
            try:
                asking, sight = await self._look(asking, turn, patience)
                away = 0
            except DifyRejected as error:
                logger.warning("dify.recovery_refused", error=loggable(error))
                return Nothing(reason="refused")
            except (DifyUnavailable, DifyOverloaded, DifyProtocolError) as error:
                away += 1
                if away >= AWAY_LOOKS or isinstance(error, DifyAbsent):
                    raise
                sight = Pending(patience=inf)
                logger.debug("dify.recovery_later", error=loggable(error))
            if sight != last:
                last, since = sight, self._clock.monotonic()
            ended = _ended(sight, self._clock.monotonic() - since)
            if ended is not None:
                return _answer(asking, ended) if isinstance(ended, Found) else ended
            await self._clock.sleep(pause)
            pause = min(pause * GROWTH, LONGEST_PAUSE)

    def _patience(self, asking: Asking) -> float:
        is_stream = (
            asking.dify_message_id
            or asking.is_bare_run
            or not self._is_blocking
            or self._dify.must_stream
        )
        if is_stream or asking.asked_at is None:
            return STREAM_PATIENCE
        had = self._clock.time() - asking.asked_at.timestamp()
        return min(max(had / 2, STREAM_PATIENCE), CALL_PATIENCE)

    async def _look(self, asking: Asking, turn: Turn, patience: float) -> tuple[Asking, Sight]:
        """One look; the asking comes back with the message's id as soon as that is certain."""
        records = self._dify.records
        if asking.is_bare_run:
            run = await records.run(asking.workflow_run_id, output_key=self._dify.output_key)
            return asking, judge_run(run, patience=patience)
        if not asking.dify_message_id:
            message = await self._recognised(asking, turn)
            if message is None:
                return asking, Pending(patience=UNSEEN_PATIENCE)
            return (
                replace(asking, dify_message_id=message.message_id),
                judge(message, None, patience=patience),
            )
        run = None
        if asking.workflow_run_id:
            run = await records.run(asking.workflow_run_id)
            if run is not None and run.goes_on_alone and run.status == "running":
                return asking, Pending(patience=inf)
        message = await records.message(asking.conversation_id, asking.dify_message_id, turn.user)
        return asking, judge(message, run, patience=patience)

    async def _recognised(self, asking: Asking, turn: Turn) -> StoredMessage | None:
        messages = await self._dify.records.newest(asking.conversation_id, turn.user)
        taken = await self._taken(turn.user, [one.message_id for one in messages])
        return recognise(messages, asking, query=turn.question, taken=taken)


def _ended(sight: Sight, seconds: float) -> Found | Nothing | None:
    """What comes of a look if it has looked so for so long; None: look again."""
    if not isinstance(sight, Pending):
        return sight
    if seconds < sight.patience:
        return None
    return sight.instead or Nothing(reason="no_answer", may_run=True)


def _answer(asking: Asking, found: Found) -> Answer:
    return Answer(
        text=found.text,
        files=in_order(found.files),
        conversation_id=asking.conversation_id,
        dify_message_id=asking.dify_message_id,
        task_id=asking.task_id,
        workflow_run_id=asking.workflow_run_id,
        usage=found.usage,
        sources=found.sources,
    )
