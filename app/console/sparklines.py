"""Small lines without axes: how a figure went in the last hour, as numbers for SVG. Pure."""

from collections.abc import Sequence
from typing import Final

WIDTH: Final = 120
HEIGHT: Final = 28
#: Above and below, so that the line is not cut.
EDGE: Final = 2


def make_sparkline(
    values: Sequence[float | None], *, top: float | None = None, bridges: bool = False
) -> str:
    """
    The path of a line from left to right; where nothing is known it has a gap.

    Args:
        top: the value at the upper edge; None: the greatest one.
        bridges: what nobody knows is passed over without a gap: there was nothing to know.

    Returns:
        Empty: nothing is known.
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    most = max(known) if top is None else top
    pitch = WIDTH / max(1, len(values) - 1)
    room = HEIGHT - 2 * EDGE
    steps: list[str] = []
    is_on = False
    for number, value in enumerate(values):
        if value is None:
            is_on = is_on and bridges
            continue
        share = min(1.0, value / most) if most > 0 else 0.0
        place = f"{number * pitch:.1f} {HEIGHT - EDGE - share * room:.1f}"
        steps.append(f"{'L' if is_on else 'M'}{place}")
        if not is_on:
            # A single minute is a dot.
            steps.append("h0.1")
        is_on = True
    return "".join(steps)
