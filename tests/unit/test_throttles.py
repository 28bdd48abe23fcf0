"""Whether a sentence about frequency is said of one group or of the account."""

from app.models.flow import WcId
from app.workers.throttles import Throttles

MUTED, OTHER, THIRD = WcId("1@chatroom"), WcId("2@chatroom"), WcId("3@chatroom")


def times(throttles: Throttles, group: WcId, now: float = 0.0) -> int:
    """How often the group was told so for its own sake; 0: for the account's."""
    own = throttles.throttled(group, now=now)
    return 0 if own is None else own.times


def test_a_group_that_is_throttled_again_after_others_got_through_is_so_for_its_own_sake() -> None:
    """From then on, and since then."""
    throttles = Throttles()
    assert times(throttles, MUTED, 1.0) == 0
    throttles.sent(OTHER)

    assert [times(throttles, MUTED, now) for now in (2.0, 3.0, 4.0)] == [1, 2, 3]
    own = throttles.throttled(MUTED, now=5.0)
    assert own is not None
    assert own.since == 2.0


def test_an_account_that_gets_nothing_through_is_throttled_however_many_groups_say_so() -> None:
    """And however often each does."""
    throttles = Throttles()

    assert [times(throttles, group) for group in (MUTED, OTHER, THIRD) * 3] == [0] * 9


def test_a_first_throttle_of_one_group_makes_all_the_accounts_again() -> None:
    """The account may have become too fast meanwhile; others show whether it has."""
    throttles = Throttles()
    times(throttles, MUTED)
    throttles.sent(OTHER)
    assert times(throttles, MUTED) == 1

    assert times(throttles, OTHER) == 0
    assert times(throttles, MUTED) == 0
    throttles.sent(THIRD)
    assert (times(throttles, MUTED), times(throttles, OTHER)) == (1, 1)


def test_a_success_of_the_group_itself_ends_it() -> None:
    """It was not muted, or is not any more."""
    throttles = Throttles()
    times(throttles, MUTED)
    throttles.sent(OTHER)
    throttles.sent(MUTED)
    throttles.sent(OTHER)

    assert times(throttles, MUTED) == 0
