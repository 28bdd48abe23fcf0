"""How long an answer waited for its account."""

from datetime import UTC, datetime, timedelta

from app.workers.outages import JUST_NOW, Outages

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment after the start."""
    return START + timedelta(seconds=seconds)


def test_time_in_the_queue_of_an_account_that_is_up_does_not_count() -> None:
    """However old the answer is."""
    outages = Outages()
    outages.up(at(0))

    assert outages.waited(at(-100_000), at(100_000)) == 0


def test_only_outages_since_the_planning_count() -> None:
    """The ended ones and the one that lasts, as far as they overlap."""
    outages = Outages()
    outages.up(at(0))
    for down, up in ((10, 20), (30, 40)):
        outages.down(at(down), seconds=5)
        outages.down(at(down + 5), seconds=5)
        outages.up(at(up))
    outages.down(at(50), seconds=9)

    assert outages.waited(at(15), at(53)) == 5 + 10 + 3
    assert outages.waited(at(45), at(49)) == 0


def test_a_new_sender_does_not_count_what_nobody_knows() -> None:
    """An account that was never seen down: its first failure does not make its backlog old."""
    outages = Outages()
    outages.down(at(0), seconds=2)

    assert outages.waited(at(-1000), at(1)) == 1
    outages.up(at(2))
    outages.down(at(3), seconds=2)
    assert outages.waited(at(2), at(4)) == 1


def test_a_new_sender_goes_on_with_the_outage_that_it_finds() -> None:
    """A restart does not make old answers young, whether the account is tried again or not."""
    outages = Outages(down_since=at(0), now=at(1000))

    assert outages.waited(at(-50), at(1000)) == 1000 - JUST_NOW.total_seconds()
    outages.down(at(1001), seconds=15)
    assert outages.waited(at(100), at(1010)) == 910
    outages.up(at(1016))
    assert outages.waited(at(100), at(5000)) == 916


def test_an_answer_that_was_planned_just_before_a_new_sender_has_not_waited() -> None:
    """The account may have come back long ago, with nothing to send."""
    outages = Outages(down_since=at(-100_000), now=at(0))

    assert outages.waited(at(-1), at(0)) == 0


def test_an_answer_that_was_planned_after_the_pause_has_not_waited() -> None:
    """Whether the account is back is found out by trying it."""
    outages = Outages()
    outages.up(at(0))
    outages.down(at(10), seconds=5)

    assert outages.waited(at(16), at(20)) == 0
    assert outages.waited(at(12), at(20)) == 3
    outages.up(at(1000))
    assert outages.waited(at(12), at(2000)) == 3
