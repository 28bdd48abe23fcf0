"""How speed is reported."""

import pytest

from bench.figures import Figure, percentile


def test_a_figure_shows_both_programs_their_ratio_and_the_verdict() -> None:
    """Without a yardstick there is no ratio."""
    figure = Figure(
        name="开销",
        unit="ms",
        bridge=12.0,
        yardstick=4.0,
        goal="≤ 4 倍",
        is_kept=True,
        remark="",
    )
    alone = Figure(name="内存", unit="MB", bridge=130.0, yardstick=None, goal="-", is_kept=False)

    assert figure.ratio == pytest.approx(3.0)
    assert figure.row() == "| 开销 | 12 ms | 4 | 3.00 | ≤ 4 倍 | 达到 |  |"
    assert alone.row() == "| 内存 | 130 MB | — | — | - | 未达到 |  |"


def test_a_percentile_of_few_and_of_many_values() -> None:
    """Nothing has none."""
    assert percentile([], 0.99) == 0.0
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([float(one) for one in range(1_001)], 0.99) == pytest.approx(990.0)
