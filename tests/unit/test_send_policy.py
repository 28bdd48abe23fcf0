"""What becomes of a segment whose call failed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.errors import (
    EcloudError,
    EcloudProtocolError,
    EcloudRefused,
    EcloudThrottled,
    EcloudUnauthorized,
    EcloudUnavailable,
    EcloudUndecided,
)
from app.workers.send_policy import (
    LONGEST_OFFLINE_PAUSE,
    LONGEST_PAUSE,
    LONGEST_THROTTLED_PAUSE,
    OFFLINE_PAUSE,
    REFUSED_SECONDS,
    RESEND_WITHIN,
    THROTTLED_GROUP_SECONDS,
    THROTTLED_PAUSE,
    GiveUp,
    PauseAccount,
    PauseGroup,
    Resend,
    SendDecision,
    Settle,
    decide_offline,
    decide_pause,
    decide_send,
    decide_undecided,
)

SURE = (EcloudUnavailable, EcloudThrottled, EcloudRefused, EcloudUnauthorized, EcloudProtocolError)


def decide(
    error: EcloudError,
    *,
    failures: int = 1,
    refused_for: float = 0.0,
    waited: float = 0.0,
    own_throttles: int = 0,
) -> SendDecision:
    """A decision with an hour as the longest wait."""
    return decide_send(
        error,
        failures=failures,
        refused_for=refused_for,
        waited=waited,
        max_age=3600.0,
        own_throttles=own_throttles,
    )


@given(failures=st.integers(1, 10**6), waited=st.floats(0, 1e9))
def test_an_undecided_send_is_settled_first_however_long_it_waited(
    failures: int, waited: float
) -> None:
    """It may be in the group already: neither dropped nor repeated on the spot."""
    decision = decide(EcloudUndecided("time-out"), failures=failures, waited=waited)

    assert isinstance(decision, Settle)


def test_from_the_second_call_without_an_answer_on_the_account_rests_too() -> None:
    """The first may be one segment's; then the gateway is away, whatever is sent."""
    pauses = [decide(EcloudUndecided("502"), failures=failures) for failures in (1, 2, 3, 10**6)]

    assert pauses == [Settle(), Settle(2.0), Settle(4.0), Settle(LONGEST_PAUSE)]


@pytest.mark.parametrize(
    ("changes", "decision"),
    [
        ({}, Resend()),
        ({"calls": 2}, GiveUp("undecided")),
        ({"calls": 9}, GiveUp("undecided")),
        ({"age": RESEND_WITHIN}, Resend()),
        ({"age": RESEND_WITHIN + 1}, GiveUp("undecided")),
        ({"waited": 3601.0}, GiveUp("undecided")),
        ({"on_unknown_send": "skip"}, GiveUp("undecided")),
    ],
)
def test_an_undecided_segment_is_sent_once_more_and_not_for_ever(
    changes: dict[str, Any], decision: Resend | GiveUp
) -> None:
    """By number, since its first call and as every answer; nothing that a restart begins anew."""
    usual = {"calls": 1, "age": 25.0, "waited": 0.0, "max_age": 3600.0, "on_unknown_send": "resend"}

    assert decide_undecided(**{**usual, **changes}) == decision


@pytest.mark.parametrize("kind", SURE)
def test_an_answer_that_waited_too_long_for_its_account_is_given_up(
    kind: type[EcloudError],
) -> None:
    """Retries are bounded by time, not by number."""
    assert decide(kind("no"), waited=3600.1) == GiveUp("too_old")
    assert not isinstance(decide(kind("no"), waited=3599.9, failures=10**6), GiveUp)


def test_a_refused_segment_holds_up_its_group_only_and_not_for_ever() -> None:
    """Code 1001 with an unknown sentence is tried for a minute."""
    assert isinstance(decide(EcloudRefused("1001")), PauseGroup)
    assert decide(EcloudRefused("1001"), refused_for=REFUSED_SECONDS) == GiveUp("refused")


def test_a_group_that_alone_is_throttled_holds_up_itself_only_and_not_for_ever() -> None:
    """However often the account failed; its pauses grow as the account's would."""
    error = EcloudThrottled("该群聊已被限制使用")
    pauses = [decide(error, failures=99, own_throttles=times) for times in (1, 2, 3, 99)]

    assert pauses == [
        PauseGroup(THROTTLED_PAUSE),
        PauseGroup(2 * THROTTLED_PAUSE),
        PauseGroup(4 * THROTTLED_PAUSE),
        PauseGroup(LONGEST_THROTTLED_PAUSE),
    ]
    given_up = decide(error, own_throttles=9, refused_for=THROTTLED_GROUP_SECONDS)
    assert given_up == GiveUp("refused")
    assert isinstance(decide(error, refused_for=THROTTLED_GROUP_SECONDS), PauseAccount)


@given(failures=st.integers(1, 10**9))
def test_pauses_of_an_account_grow_and_stay_bounded(failures: int) -> None:
    """However many failures in a row, also beyond what a float can hold."""
    throttled = decide(EcloudThrottled("频率"), failures=failures)
    away = decide(EcloudUnavailable("connect"), failures=failures)

    assert isinstance(throttled, PauseAccount)
    assert 30.0 <= throttled.seconds <= LONGEST_THROTTLED_PAUSE
    assert isinstance(away, PauseAccount)
    assert 1.0 <= away.seconds <= LONGEST_PAUSE


@given(asked=st.floats(0, LONGEST_THROTTLED_PAUSE))
def test_a_throttle_with_retry_after_is_honoured(asked: float) -> None:
    """The peer knows best how long."""
    decision = decide(EcloudThrottled("429", retry_after=asked))

    assert decision == PauseAccount(max(30.0, asked))


@pytest.mark.parametrize("asked", [LONGEST_THROTTLED_PAUSE + 1, 604_800.0, float("inf")])
def test_no_retry_after_silences_an_account_for_days(asked: float) -> None:
    """A proxy may ask for a week; what the account owes would be too old by then."""
    decision = decide(EcloudThrottled("429", retry_after=asked))

    assert decision == PauseAccount(LONGEST_THROTTLED_PAUSE)


@pytest.mark.parametrize(
    "error", [EcloudUnavailable("x"), EcloudRefused("x"), EcloudUndecided("x"), EcloudError("x")]
)
def test_an_account_whose_login_cannot_be_learnt_rests(error: EcloudError) -> None:
    """Whatever the error is: a pause, and a short one that grows."""
    pauses = [decide_pause(error, failures=failures).seconds for failures in (1, 3, 9)]

    assert 0 < pauses[0] < pauses[1] < pauses[2] <= LONGEST_PAUSE


def test_an_account_that_is_not_online_is_asked_for_ever_less_often() -> None:
    """From a quarter of a minute to a few minutes."""
    pauses = [decide_offline(failures).seconds for failures in (1, 2, 3, 99)]

    assert pauses == [OFFLINE_PAUSE, 2 * OFFLINE_PAUSE, 4 * OFFLINE_PAUSE, LONGEST_OFFLINE_PAUSE]
