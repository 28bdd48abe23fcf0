"""Messages over time as columns and percentiles, and as the bars of a chart."""

import itertools
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.console.charts import HEIGHT, LINES, WIDTH, make_chart, scale_step
from app.console.reading.traffic import (
    SPANS,
    Column,
    bucket_of,
    columns_of,
    first_bucket,
    latency_of,
    percentile,
)
from app.console.shown import cut, shown_duration, shown_milliseconds, shown_time

NOW = datetime(2026, 11, 26, 10, 30, 20, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize("name", SPANS)
def test_columns_cover_the_range_without_gap(name: str) -> None:
    """Each begins where the one before ends, and the last one holds the present."""
    span = SPANS[name]
    first, last = first_bucket(NOW, span), bucket_of(NOW, span)
    columns = columns_of([("done", last, 3), ("ignored", first, 1)], span, first=first, last=last)

    assert len(columns) == span.seconds // span.width
    starts = [column.start for column in columns]
    assert {b - a for a, b in itertools.pairwise(starts)} == {timedelta(seconds=span.width)}
    assert starts[-1] <= NOW < starts[-1] + timedelta(seconds=span.width)
    assert (columns[-1].counts, columns[0].counts) == ({"answered": 3}, {"ignored": 1})


def test_states_of_one_outcome_are_counted_together() -> None:
    """A message of a clock that is ahead stands in the last column."""
    span = SPANS["1h"]
    rows = [("answered", 5, 1), ("done", 5, 2), ("dead", 5, 1), ("refused", 9, 1)]
    columns = columns_of(rows, span, first=4, last=5)

    assert [column.counts for column in columns] == [{}, {"answered": 3, "dead": 2}]


def test_percentiles_are_of_those_who_waited() -> None:
    """An answer without text has no first text."""
    rows = [
        SimpleNamespace(
            received_at=NOW,
            first_text_at=None if n == 0 else NOW + timedelta(milliseconds=n),
            answered_at=NOW + timedelta(milliseconds=10 * n),
        )
        for n in range(101)
    ]
    found = latency_of(rows)

    assert (found.first_p50, found.whole_p50, found.whole_p95) == (51, 500, 950)
    assert latency_of([]).whole_p95 is None
    assert percentile([7.0], 0.95) == 7


@given(st.integers(min_value=0, max_value=10**9))
def test_the_highest_column_fits_and_no_scale_is_too_large(most: int) -> None:
    """Lines are round numbers."""
    step = scale_step(most)

    assert step * LINES >= most
    assert str(step).rstrip("0") in ("1", "2", "5")
    assert step == 1 or step * LINES < most * 2.6


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["answered", "dead", "ignored"]), st.integers(0, 99)),
        max_size=70,
    )
)
def test_bars_stay_inside_and_stand_on_each_other(counts: list[dict[str, int]]) -> None:
    """Heights are in proportion."""
    chart = make_chart([Column(start=NOW, counts=one) for one in counts], lambda _: "")

    for stack in chart.stacks:
        for below, above in zip(stack.bars, stack.bars[1:], strict=False):
            assert above.y + above.height == pytest.approx(below.y, abs=0.02)
        for bar in stack.bars:
            assert bar.x >= 0
            assert bar.x + bar.width <= WIDTH + 0.1
            assert 0 <= bar.y < HEIGHT


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0 ms"), (999, "999 ms"), (1240, "1.24 s"), (125_000, "2:05")],
)
def test_milliseconds_are_read_at_a_glance(value: float | None, shown: str) -> None:
    """Whatever their size."""
    assert shown_milliseconds(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(5, "5 s"), (187, "3:07"), (7215, "2:00:15"), (273_600, "3 d 4 h")]
)
def test_durations_are_read_as_on_a_clock(seconds: float, shown: str) -> None:
    """From seconds to days."""
    assert shown_duration(seconds) == shown


def test_times_are_of_beijing_and_have_a_date_where_it_is_another_day() -> None:
    """Half past ten in London is half past six in the evening there."""
    assert shown_time(NOW, ZONE, now=NOW) == "18:30:20"
    assert shown_time(NOW - timedelta(days=1), ZONE, now=NOW) == "11-25 18:30:20"
    assert shown_time(NOW - timedelta(days=400), ZONE, now=NOW).startswith("2025-10-")


def test_a_long_text_is_cut_on_one_line() -> None:
    """With a mark that something is missing."""
    assert cut("一\n二  三", 10) == "一 二 三"
    assert cut("x" * 20, 10) == "x" * 9 + "…"
    assert cut(None, 5) == ""
