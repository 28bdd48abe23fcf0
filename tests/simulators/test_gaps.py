"""Gaps between calls are measured as a test of the pacing needs them."""

import pytest

from simulators.ecloud_gaps import Gaps, measure


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([], Gaps(calls=0, least=None, mean=None, most=None, in_a_minute=0)),
        ([5.0], Gaps(calls=1, least=None, mean=None, most=None, in_a_minute=1)),
        ([7.0, 5.0, 6.0], Gaps(calls=3, least=1.0, mean=1.0, most=1.0, in_a_minute=3)),
        (
            [0.0, 30.0, 60.0, 61.0],
            Gaps(calls=4, least=1.0, mean=61 / 3, most=30.0, in_a_minute=3),
        ),
        ([0.0, 60.0, 120.0], Gaps(calls=3, least=60.0, mean=60.0, most=60.0, in_a_minute=1)),
    ],
)
def test_gaps_tell_the_least_the_mean_the_most_and_the_fullest_minute(
    starts: list[float], expected: Gaps
) -> None:
    """A call just sixty seconds later is no part of the same minute."""
    assert measure(starts) == expected
