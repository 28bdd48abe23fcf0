"""Charts as numbers for SVG: bars stacked by series, on a round scale. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.console.reading.traffic import Column

WIDTH: Final = 720
HEIGHT: Final = 190
LEFT: Final = 38
BOTTOM: Final = 22
TOP: Final = 8
LABELS: Final = 6
LINES: Final = 4
STEPS: Final = (1, 2, 5)

#: How the series are filled, from below.
TONES: Final[Mapping[str, str]] = {
    "answered": "good",
    "waiting": "busy",
    "dead": "bad",
    "ignored": "quiet",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One rectangle."""

    x: float
    y: float
    width: float
    height: float
    tone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """The bars of one column, and the strip that tells what they are."""

    x: float
    width: float
    column: Column
    bars: Sequence[Bar]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """What the template draws."""

    stacks: Sequence[Stack]
    #: Height and label of each line across.
    lines: Sequence[tuple[float, str]]
    #: Place and label of times below.
    labels: Sequence[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT


def make_chart(columns: Sequence[Column], label: Callable[[datetime], str]) -> Chart:
    """Stacked bars of these columns; *label* writes a time below."""
    step = scale_step(max((column.total for column in columns), default=0))
    top = step * LINES
    room = HEIGHT - BOTTOM - TOP
    pitch = (WIDTH - LEFT) / max(1, len(columns))
    stacks = [
        Stack(
            x=round(LEFT + number * pitch, 2),
            width=round(pitch, 2),
            column=column,
            bars=_bars(column, LEFT + number * pitch, pitch, room / top),
        )
        for number, column in enumerate(columns)
    ]
    lines = [(round(TOP + room - room * n / LINES, 2), f"{step * n:,}") for n in range(LINES + 1)]
    every = max(1, len(columns) // LABELS)
    labels = [(one.x + one.width / 2, label(one.column.start)) for one in stacks[::every]]
    return Chart(stacks=stacks, lines=lines, labels=labels)


def scale_step(most: int) -> int:
    """Between two lines: 1, 2 or 5 with zeros, so that the highest column fits."""
    zeros = 1
    while True:
        for step in STEPS:
            if step * zeros * LINES >= most:
                return step * zeros
        zeros *= 10


def _bars(column: Column, x: float, pitch: float, unit: float) -> list[Bar]:
    gap = min(3.0, pitch * 0.2)
    bottom: float = HEIGHT - BOTTOM
    bars = []
    for series, tone in TONES.items():
        height = column.counts.get(series, 0) * unit
        if height:
            bottom -= height
            bars.append(
                Bar(
                    x=round(x + gap / 2, 2),
                    y=round(bottom, 2),
                    width=round(pitch - gap, 2),
                    height=round(height, 2),
                    tone=tone,
                )
            )
    return bars
