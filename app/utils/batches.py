"""A long list in parts, so that none of them takes long."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Successive parts of at most *size* items; of nothing there is none."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
