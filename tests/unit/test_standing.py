"""What is known of an account's standing after a sign."""

from datetime import UTC, datetime, timedelta

import pytest

from app.models.account import AccountState
from app.models.flow import WcId
from app.services.standing import Outage, Sign, Standing, later_standing, standing_after

ONLINE, OFFLINE = AccountState.ONLINE, AccountState.OFFLINE
FAILING, UNKNOWN = AccountState.FAILING, AccountState.UNKNOWN
START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(hours=1)


def standing(state: AccountState, since: datetime = START) -> Standing:
    """One account's."""
    return Standing(wc_id=WcId("wxid_bot"), state=state, since=since)


@pytest.mark.parametrize(
    ("known", "sign", "state", "since"),
    [
        (UNKNOWN, Sign.WORKS, ONLINE, LATER),
        (FAILING, Sign.WORKS, ONLINE, LATER),
        (OFFLINE, Sign.WORKS, ONLINE, LATER),
        (ONLINE, Sign.WORKS, ONLINE, START),
        (UNKNOWN, Sign.LISTED, ONLINE, LATER),
        (OFFLINE, Sign.LISTED, ONLINE, LATER),
        (FAILING, Sign.LISTED, FAILING, START),
        (ONLINE, Sign.NOT_LISTED, OFFLINE, LATER),
        (UNKNOWN, Sign.NOT_LISTED, OFFLINE, LATER),
        (FAILING, Sign.NOT_LISTED, OFFLINE, START),
        (OFFLINE, Sign.NOT_LISTED, OFFLINE, START),
        (ONLINE, Sign.FAILS, FAILING, LATER),
        (UNKNOWN, Sign.FAILS, FAILING, LATER),
        (OFFLINE, Sign.FAILS, OFFLINE, START),
        (FAILING, Sign.RESTS, UNKNOWN, LATER),
        (OFFLINE, Sign.RESTS, OFFLINE, START),
        (ONLINE, Sign.RESTS, ONLINE, START),
    ],
)
def test_a_sign_changes_the_standing_and_a_down_account_stays_down_since_then(
    known: AccountState, sign: Sign, state: AccountState, since: datetime
) -> None:
    """Being listed ends no failing: a throttled account is listed, too."""
    after = standing_after(standing(known), sign, at=LATER)

    assert (after.state, after.since) == (state, since)


@pytest.mark.parametrize("down", [OFFLINE, FAILING])
def test_an_outage_is_remembered_when_the_account_can_send_again(down: AccountState) -> None:
    """Until the next one is over."""
    back = standing_after(standing(down), Sign.WORKS, at=LATER)
    down_again = standing_after(back, Sign.NOT_LISTED, at=LATER)

    assert back.last_outage == Outage(START, LATER)
    assert down_again.last_outage == back.last_outage
    assert standing_after(standing(FAILING), Sign.RESTS, at=LATER).last_outage is None


def test_of_two_processes_the_later_word_holds_but_no_word_holds_against_one() -> None:
    """A row that was just made says ``unknown`` since now."""
    early, late = standing(FAILING, START), standing(ONLINE, LATER)

    assert later_standing(late, early) == late
    assert later_standing(early, late) == late
    assert later_standing(early, None) == early
    assert later_standing(standing(UNKNOWN, LATER), early) == early


def test_a_word_of_another_version_is_no_state() -> None:
    """Nor a reason to stop."""
    assert AccountState("resting") is UNKNOWN
