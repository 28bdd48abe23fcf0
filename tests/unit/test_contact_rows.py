"""When a contact is looked up again. Pure."""

from datetime import UTC, datetime, timedelta

import pytest

from app.services.contact_rows import (
    GIVE_UP_AFTER,
    LONGEST_PAUSE,
    MEMBERS_AGE,
    Known,
    due_again,
    next_try,
    pause_after,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def test_tries_end_after_five_failures() -> None:
    """Each pause is twice as long as the one before; after the fifth there is none."""
    pauses = [due - NOW if (due := next_try(failures, NOW)) else None for failures in range(1, 7)]

    assert pauses == [MINUTE / 2, MINUTE, 2 * MINUTE, 4 * MINUTE, None, None]


@pytest.mark.parametrize("failures", [GIVE_UP_AFTER, GIVE_UP_AFTER + 1, 99])
@pytest.mark.parametrize("fetched_at", [None, NOW - 9 * DAY, NOW])
def test_one_that_was_given_up_and_is_seen_again_gets_a_try_after_a_pause(
    failures: int, fetched_at: datetime | None
) -> None:
    """Whether it was ever known or not; the pause goes on growing."""
    known = Known(failures=failures, fetched_at=fetched_at, next_fetch_at=None)

    due = due_again(known, NOW, max_age=DAY, has_strangers=True)

    assert due == NOW + pause_after(failures - 1)
    assert timedelta(minutes=8) <= due - NOW <= LONGEST_PAUSE


@pytest.mark.parametrize("failures", [0, 1, 99])
def test_one_that_is_due_already_is_left_as_it_is(failures: int) -> None:
    """Being seen neither hastens a try nor puts it off."""
    known = Known(failures=failures, fetched_at=NOW - 9 * DAY, next_fetch_at=NOW + DAY)

    assert due_again(known, NOW, max_age=DAY, has_strangers=True) is None


@pytest.mark.parametrize(
    ("age", "has_strangers", "is_due"),
    [
        (DAY + MINUTE, False, True),
        (DAY - MINUTE, False, False),
        (MEMBERS_AGE + MINUTE, True, True),
        (MEMBERS_AGE + MINUTE, False, False),
        (MEMBERS_AGE - MINUTE, True, False),
    ],
)
def test_one_that_is_known_is_due_when_it_is_too_old(
    age: timedelta, has_strangers: bool, is_due: bool
) -> None:
    """Sooner if somebody wrote in the group whom its member list does not name."""
    known = Known(failures=0, fetched_at=NOW - age, next_fetch_at=None)

    due = due_again(known, NOW, max_age=DAY, has_strangers=has_strangers)

    assert due == (NOW if is_due else None)
