"""What one look at Dify's records means, and how long is looked."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest

from app.models.flow import Answer, Asking, MessageId, Usage, WcId
from app.services.dify.wire import StoredMessage, StoredRun
from app.services.errors import (
    DifyAbsent,
    DifyError,
    DifyOverloaded,
    DifyProtocolError,
    DifyRejected,
    DifyUnavailable,
)
from app.services.recovery import (
    AWAY_LOOKS,
    CALL_PATIENCE,
    LONGEST_PAUSE,
    SAVING_PATIENCE,
    STREAM_PATIENCE,
    UNSEEN_PATIENCE,
    Found,
    Nothing,
    Pending,
    Recovery,
    Sight,
    judge,
    recognise,
)
from app.utils.budget import Budget
from tests.fixtures.callbacks import make_turn

ASKED_AT = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
BLANK = Pending(patience=7)
FOR_EVER = Pending(patience=inf)


def message(answer: str = "", status: str = "normal", **changes: Any) -> StoredMessage:
    values: dict[str, Any] = {
        "message_id": "m-1",
        "query": "几点下班",
        "answer": answer,
        "status": status,
        "created_at": int(ASKED_AT.timestamp()) + 1,
    }
    return StoredMessage(**{**values, **changes})


def run(status: str, answer: str = "", error: str = "", *, goes_on_alone: bool = True) -> StoredRun:
    return StoredRun(
        status=status,
        answer=answer,
        error=error,
        usage=Usage(total_tokens=17),
        goes_on_alone=goes_on_alone,
    )


def found(text: str, tokens: int = 0) -> Found:
    return Found(text=text, usage=Usage(total_tokens=tokens))


NOTHING = {word: Nothing(reason=word) for word in ("failed", "stopped", "unknown_message")}
LATER = Pending(patience=SAVING_PATIENCE, instead=found("出", 17))


@pytest.mark.parametrize(
    ("stored", "told", "expected"),
    [
        # An app without runs, or a release that does not tell them.
        (message("答"), None, found("答")),
        (message(" \n"), None, BLANK),
        (message(), None, BLANK),
        (message("半", "error"), None, NOTHING["failed"]),
        (message("问你", "paused"), None, found("问你")),
        (message("", "paused"), None, found("")),
        (None, None, NOTHING["unknown_message"]),
        # Chatflows: the message goes before the run's output, which nobody moderated.
        (message("答"), run("succeeded", "出"), found("答", 17)),
        (message("答"), run("running"), found("答", 17)),
        (message(), run("succeeded", "出"), LATER),
        (message(), run("partial-succeeded", "出"), LATER),
        (message(), run("running"), FOR_EVER),
        (message(), run("scheduled"), FOR_EVER),
        (message(), run("running", goes_on_alone=False), BLANK),
        (message(), run("failed", error="x"), NOTHING["failed"]),
        (message("半"), run("failed"), NOTHING["failed"]),
        (message("半"), run("stopped", error="Stopped by user."), NOTHING["stopped"]),
        (message("换"), run("stopped", error="Stopped by output moderation."), found("换", 17)),
        (message(), run("stopped", error="Stopped by output moderation."), NOTHING["stopped"]),
        (message(), run("paused"), found("", 17)),
        (None, run("succeeded", "出"), NOTHING["unknown_message"]),
    ],
)
def test_what_a_look_means(
    stored: StoredMessage | None, told: StoredRun | None, expected: Sight
) -> None:
    """Whole, still in work, or nothing; what somebody stopped is no answer."""
    assert judge(stored, told, patience=7) == expected


ASKING = Asking(conversation_id="c-1", asked_at=ASKED_AT)
SECONDS = int(ASKED_AT.timestamp())


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([message(message_id="m-2")], "m-2"),
        ([message(message_id="m-2", created_at=SECONDS - 59)], "m-2"),
        ([message(message_id="m-2", created_at=SECONDS - 61)], None),
        ([message(message_id="m-2", query="几点")], None),
        ([message(message_id="taken")], None),
        ([message(message_id="taken"), message(message_id="m-2")], "m-2"),
        ([message(message_id="m-2"), message(message_id="m-3")], None),
        ([message(message_id="m-2"), message(message_id="m-3", query="别的")], "m-2"),
        ([], None),
    ],
)
def test_a_question_without_an_id_is_recognised_where_there_is_no_doubt(
    messages: list[StoredMessage], expected: str | None
) -> None:
    """Same words, asked then, the answer of no other message, and the only one."""
    known = recognise(messages, ASKING, query="几点下班", taken={"taken"})

    assert (known.message_id if known else None) == expected


def test_characters_that_dify_drops_do_not_hide_a_question() -> None:
    """A NUL."""
    assert recognise([message()], ASKING, query="几点\x00下班", taken=set())


def test_of_a_question_without_its_time_nothing_is_recognised() -> None:
    """It could be an old one."""
    assert (
        recognise([message()], Asking(conversation_id="c-1"), query="几点下班", taken=set()) is None
    )


class Records:
    """Gives one thing after the other, the last one for ever; errors are raised."""

    def __init__(self, messages: Sequence[Any], runs: Sequence[Any] = ()) -> None:
        self._messages = itertools.chain(
            messages, itertools.repeat(messages[-1] if messages else None)
        )
        self._runs = itertools.chain(runs, itertools.repeat(runs[-1] if runs else None))
        self.looks = 0

    async def message(self, conversation: str, message_id: str, user: str) -> StoredMessage | None:
        """By its id."""
        assert (conversation, message_id, user) == ("c-1", "m-1", make_turn(MessageId(1)).user)
        self.looks += 1
        one: StoredMessage | None = self._next(self._messages)
        return one

    async def newest(self, conversation: str, user: str) -> tuple[StoredMessage, ...]:
        """The conversation; None stands for an empty one."""
        one = await self.message(conversation, "m-1", user)
        return (one,) if one else ()

    async def run(self, run_id: str, *, output_key: str | None = None) -> StoredRun | None:
        """By its id; which output is the answer is the client's to say for a bare run."""
        assert (run_id, output_key) in (("r-1", None), ("r-1", ""))
        one: StoredRun | None = self._next(self._runs)
        return one

    @staticmethod
    def _next(things: Any) -> Any:
        one = next(things)
        if isinstance(one, Exception):
            raise one
        return one


class Dify:
    """What the recovery needs of the client."""

    output_key = ""

    def __init__(self, records: Records, *, must_stream: bool = False) -> None:
        self.records = records
        self.must_stream = must_stream


class Clock:
    """Sleeping is all that takes time."""

    def __init__(self, had: float = 0.0) -> None:
        self.now = 100.0
        self.had = had
        self.pauses: list[float] = []

    def time(self) -> float:
        return SECONDS + self.had + self.now - 100

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Time passes at once."""
        self.pauses.append(seconds)
        self.now += seconds
        assert self.now < 10_000


async def fetch(
    records: Records,
    asking: Asking,
    *,
    clock: Clock | None = None,
    is_blocking: bool = False,
    must_stream: bool = False,
) -> Answer | Nothing:
    async def taken(user: WcId, ids: Sequence[str]) -> set[str]:
        return set()

    recovery = Recovery(
        dify=Dify(records, must_stream=must_stream),  # type: ignore[arg-type]
        clock=clock or Clock(),
        taken=taken,
        is_blocking=is_blocking,
    )
    return await recovery.fetch(asking, make_turn(MessageId(1)), Budget())


STREAM = Asking(conversation_id="c-1", dify_message_id="m-1", task_id="t-1", asked_at=ASKED_AT)
CHATFLOW = Asking(conversation_id="c-1", dify_message_id="m-1", workflow_run_id="r-1")
WHOLE = Answer(text="答", conversation_id="c-1", dify_message_id="m-1", task_id="t-1")


async def test_an_answer_that_is_there_is_fetched_with_its_ids() -> None:
    """At the first look."""
    clock = Clock()

    assert await fetch(Records([message("答")]), STREAM, clock=clock) == WHOLE
    assert clock.pauses == []


async def test_a_run_in_a_worker_is_waited_for_with_growing_pauses() -> None:
    """However long; the message is read when the run has ended, and the run's tokens count."""
    clock = Clock()
    records = Records([message("答")], [run("running")] * 30 + [run("succeeded", "出")])
    answer = await fetch(records, CHATFLOW, clock=clock)

    assert isinstance(answer, Answer)
    assert (answer.text, answer.usage.total_tokens, records.looks) == ("答", 17, 1)
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == LONGEST_PAUSE


async def test_a_stream_that_died_with_its_listener_is_not_waited_for_long() -> None:
    """Its message stays without an answer; perhaps the model still writes it."""
    clock = Clock()
    outcome = await fetch(Records([message()]), STREAM, clock=clock)

    assert outcome == Nothing(reason="no_answer", may_run=True)
    assert STREAM_PATIENCE <= sum(clock.pauses) < STREAM_PATIENCE * 2


async def test_the_runs_output_stands_in_for_a_message_that_stays_empty() -> None:
    """But the message has its time, counted from the run's end."""
    clock = Clock()
    runs = [*[run("running")] * 20, run("succeeded", "出")]
    answer = await fetch(Records([message()], runs), CHATFLOW, clock=clock)

    assert isinstance(answer, Answer)
    assert answer.text == "出"
    assert sum(clock.pauses[20:]) >= SAVING_PATIENCE


@pytest.mark.parametrize(
    ("is_blocking", "must_stream", "had", "patience"),
    [
        (True, False, 1, STREAM_PATIENCE),
        (True, False, 24, 12),
        (True, False, 500, CALL_PATIENCE),
        (True, True, 500, STREAM_PATIENCE),
        (False, False, 500, STREAM_PATIENCE),
    ],
)
async def test_a_blocking_call_is_given_half_as_long_again_as_it_had(
    *, is_blocking: bool, must_stream: bool, had: float, patience: float
) -> None:
    """It goes on without its caller; a stream does not. It is found by the question."""
    clock = Clock(had)
    records = Records([message()])
    outcome = await fetch(
        records, ASKING, clock=clock, is_blocking=is_blocking, must_stream=must_stream
    )

    assert isinstance(outcome, Nothing)
    assert patience <= sum(clock.pauses) < patience + LONGEST_PAUSE
    answer = await fetch(Records([None, message(), message("答")]), ASKING, is_blocking=True)
    assert answer == Answer(text="答", conversation_id="c-1", dify_message_id="m-1")


async def test_a_question_that_dify_never_wrote_down_is_not_waited_for() -> None:
    """It did not arrive."""
    clock = Clock(had=500)
    outcome = await fetch(Records([None]), ASKING, clock=clock, is_blocking=True)

    assert isinstance(outcome, Nothing)
    assert UNSEEN_PATIENCE <= sum(clock.pauses) < UNSEEN_PATIENCE * 2


@pytest.mark.parametrize(
    ("error", "looks"),
    [
        (DifyUnavailable("x"), AWAY_LOOKS),
        (DifyOverloaded("x"), AWAY_LOOKS),
        (DifyProtocolError("x"), AWAY_LOOKS),
        (DifyAbsent("x"), 1),
    ],
)
async def test_dify_that_is_away_is_not_taken_for_one_that_has_nothing(
    error: DifyError, looks: int
) -> None:
    """A few looks in a row, then the try ends; where nobody is, at once."""
    few = [error] * (looks - 1)
    assert await fetch(Records([*few, message(), *few, message("答")]), STREAM) == WHOLE

    records = Records([error])
    with pytest.raises(type(error)):
        await fetch(records, STREAM)
    assert records.looks == looks


async def test_dify_that_refuses_to_tell_has_nothing_for_us() -> None:
    """A new key, say: asking will show."""
    assert await fetch(Records([DifyRejected("401")]), STREAM) == Nothing(reason="refused")


# ── Workflows: a run without a message ──────────────────────────────────────

BARE = Asking(workflow_run_id="r-1", task_id="t-1", asked_at=ASKED_AT)


async def test_the_run_of_a_workflow_is_waited_for_and_its_output_is_the_answer() -> None:
    """There is no message to look at, and no conversation."""
    clock = Clock()
    records = Records([], [run("running"), run("running"), run("succeeded", "出")])
    answer = await fetch(records, BARE, clock=clock)

    assert isinstance(answer, Answer)
    assert (answer.text, answer.workflow_run_id, answer.conversation_id) == ("出", "r-1", "")
    assert (records.looks, len(clock.pauses)) == (0, 2)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, "unknown_run"),
        (run("failed"), "failed"),
        (run("stopped", "半"), "stopped"),
        (run("paused"), "paused"),
    ],
)
async def test_a_workflow_that_did_not_succeed_has_no_answer(
    found: StoredRun | None, reason: str
) -> None:
    """A half answer is none."""
    assert await fetch(Records([], [found]), BARE) == Nothing(reason=reason)
