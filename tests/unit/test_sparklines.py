"""The small lines of the tiles."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from app.console.reading.last_hour import MINUTES, firsts_of, share_of
from app.console.reading.traffic import Column
from app.console.sparklines import EDGE, HEIGHT, WIDTH, make_sparkline

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_line_goes_from_edge_to_edge_and_the_greatest_value_is_on_top() -> None:
    """Nothing lies outside of the picture."""
    path = make_sparkline([0, 5, 10])

    assert path == f"M0.0 {HEIGHT - EDGE:.1f}h0.1L60.0 14.0L{WIDTH:.1f} {EDGE:.1f}"


def test_where_nothing_is_known_the_line_has_a_gap() -> None:
    """Unknown is not zero; a line of zeros lies at the bottom."""
    assert make_sparkline([]) == make_sparkline([None, None]) == ""
    assert make_sparkline([1, None, 1]).count("M") == 2
    assert make_sparkline([None, 1, None, 1], bridges=True).count("M") == 1
    assert make_sparkline([0, 0]) == f"M0.0 26.0h0.1L{WIDTH:.1f} 26.0"
    assert make_sparkline([0.5, 0.5], top=1).startswith("M0.0 14.0")


def test_shares_and_times_are_those_of_their_minute() -> None:
    """What lies outside of the hour is left out."""
    rows = [
        SimpleNamespace(
            received_at=START + timedelta(seconds=second),
            first_text_at=START + timedelta(seconds=second, milliseconds=ms),
        )
        for second, ms in ((-1, 9), (1, 100), (59, 300), (61, 200), (3600, 9))
    ]
    line = firsts_of(rows, start=START.timestamp())

    assert len(line) == MINUTES
    assert line[:3] == [300.0, 200.0, None]
    assert line[-1] is None
    assert share_of(Column(start=START, counts={"answered": 3, "dead": 1})) == 0.75
    assert share_of(Column(start=START, counts={"ignored": 3})) is None
