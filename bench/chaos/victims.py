"""When whom something happens to: drawn from a seed, so that a run can be repeated (pure)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

#: The first and the last strike fall into this part of the work.
FROM, TO = 0.05, 0.9


@dataclass(frozen=True, slots=True)
class Strike:
    """Something happens to *victim* as soon as *after* messages are answered."""

    after: int
    victim: str

    @override
    def __str__(self) -> str:
        return f"{self.after}:{self.victim}"


def draw_strikes(
    rng: random.Random, victims: Sequence[str], *, strikes: int, messages: int
) -> tuple[Strike, ...]:
    """
    Strikes in order, spread over the work at random.

    Every victim is struck about equally often, in an order of chance.
    """
    marks = sorted(rng.randint(int(FROM * messages), int(TO * messages)) for _ in range(strikes))
    chosen: list[str] = []
    while len(chosen) < strikes:
        chosen += rng.sample(list(victims), len(victims))
    return tuple(Strike(after, victim) for after, victim in zip(marks, chosen, strict=False))
