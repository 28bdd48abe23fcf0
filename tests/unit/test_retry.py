"""What becomes of a message that could not be answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.errors import (
    DifyConversationGone,
    DifyError,
    DifyOverloaded,
    DifyProtocolError,
    DifyRejected,
    DifyUnavailable,
    QueueUnavailable,
    StoreUnavailable,
    VoiceAway,
    VoiceNoDecoder,
    VoiceNotFetched,
    VoiceUnreadable,
)
from app.workers.retry import BUDGET_SPENT, INTERNAL_ERROR, Bury, Park, Retry, RetryPolicy, Wait

POLICY = RetryPolicy(max_retries=3, delay=5.0, crash_limit=4, outage_max_wait=60.0)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), QueueUnavailable("away")])
@pytest.mark.parametrize("attempts", [0, 3, 1000])
def test_a_store_that_is_away_costs_no_attempt(error: Exception, attempts: int) -> None:
    """The message is not to blame, however often it happens."""
    assert isinstance(POLICY.decide(error, attempts=attempts), Wait)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DifyUnavailable("500"), "dify_unavailable"),
        (DifyProtocolError("odd"), "dify_protocol_error"),
        (DifyConversationGone("404"), "dify_conversation_gone"),
        (TimeoutError(), BUDGET_SPENT),
        (ZeroDivisionError("ours"), INTERNAL_ERROR),
    ],
)
def test_after_three_retries_a_message_is_buried_with_its_reason(
    error: Exception, reason: str
) -> None:
    """Four tries in all; the reason is a stable word."""
    decisions = [POLICY.decide(error, attempts=attempts) for attempts in range(4)]

    assert decisions == [Retry(5.0), Retry(5.0), Retry(5.0), Bury(reason)]


def test_what_is_spoken_waits_for_the_gateway_and_is_given_up_where_nobody_could_hear_it() -> None:
    """The gateway comes back; a torn recording stays torn."""
    away = [POLICY.decide(VoiceAway("x"), attempts=9, age=age) for age in (0.0, 60.0)]
    final = [POLICY.decide(kind("x"), attempts=0) for kind in (VoiceUnreadable, VoiceNoDecoder)]
    fetched = [POLICY.decide(VoiceNotFetched("x"), attempts=attempts) for attempts in (0, 3)]

    assert away == [Wait(5.0), Bury("voice_away")]
    assert final == [Bury("voice_unreadable"), Bury("voice_no_decoder")]
    assert fetched == [Retry(5.0), Bury("voice_not_fetched")]


def test_what_dify_rejects_is_buried_at_once() -> None:
    """A wrong key does not become right by asking again."""
    assert POLICY.decide(DifyRejected("401"), attempts=0) == Bury("dify_rejected")


def test_no_retry_is_allowed_where_the_setting_is_zero() -> None:
    """``max_retry_count`` 0: the first failure is the last."""
    policy = RetryPolicy(max_retries=0, delay=5.0, crash_limit=4, outage_max_wait=60.0)

    assert policy.decide(DifyUnavailable("500"), attempts=0) == Bury("dify_unavailable")


@given(attempts=st.integers(0, 10**6), asked=st.none() | st.floats(0, 1e6))
def test_an_overloaded_dify_is_waited_for_as_long_as_it_asks(
    attempts: int, asked: float | None
) -> None:
    """Never sooner than the delay of the settings, never counted, never buried."""
    error = DifyOverloaded("429", retry_after=asked)

    assert POLICY.decide(error, attempts=attempts) == Wait(max(5.0, asked or 0.0))


@given(asked=st.none() | st.floats(0, 1e6), attempts=st.integers(0, 2))
def test_a_retry_honours_the_peers_wish(asked: float | None, attempts: int) -> None:
    """Retry-After of any Dify error counts as the least delay."""
    error: DifyError = DifyUnavailable("503", retry_after=asked)

    assert POLICY.decide(error, attempts=attempts) == Retry(max(5.0, asked or 0.0))


@pytest.mark.parametrize("error", [DifyUnavailable("500"), TimeoutError()])
@pytest.mark.parametrize("attempts", [0, 3, 1000])
def test_while_the_breaker_is_open_a_message_is_parked_and_not_buried(
    error: Exception, attempts: int
) -> None:
    """However often it was tried: it is the peer. The last try counts, once."""
    decision = POLICY.decide(error, attempts=attempts, held_by="dify:default", age=59.9)

    assert decision == Park("dify:default", counts=attempts == 3)


def test_an_outage_buries_what_is_too_old_with_its_cause() -> None:
    """Nobody waits for an answer of the day before."""
    decision = POLICY.decide(DifyUnavailable("x"), attempts=0, held_by="dify:default", age=60.0)

    assert decision == Bury("dify_unavailable")


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (StoreUnavailable("away"), Wait(1.0)),
        (DifyOverloaded("429"), Wait(5.0)),
        (DifyRejected("401"), Bury("dify_rejected")),
        (DifyProtocolError("odd"), Retry(5.0)),
    ],
)
def test_an_open_breaker_changes_nothing_about_other_errors(
    error: Exception, decision: object
) -> None:
    """They are about something else."""
    assert POLICY.decide(error, attempts=0, held_by="dify:default", age=59.0) == decision


def test_an_app_that_is_overloaded_for_ever_is_not_waited_for_for_ever() -> None:
    """As for one that is away; else its message would hold up its user for good."""
    policy = RetryPolicy(max_retries=3, delay=5, crash_limit=4, outage_max_wait=3600)
    error = DifyOverloaded("429")

    assert policy.decide(error, attempts=0, age=3599) == Wait(5)
    assert policy.decide(error, attempts=0, age=3600) == Bury("dify_overloaded")
