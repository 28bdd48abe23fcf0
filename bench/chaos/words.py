"""
The words of the crowd: each question has one of its own, and each part of its answer bears it.

``w000017 [[text=<w000017_1_3_{try}>…]]`` asks for an answer of three parts. What arrives in a group
tells by its marks which word, which part of how many, and of which try at Dify it is.
"""

import re
from dataclasses import dataclass

#: Space between two parts of an answer; a segment ends there.
PARAGRAPH = "\\n\\n"
_WORD = re.compile(r"\bw\d{6,}\b")
_MARK = re.compile(r"<(w\d{6,})_(\d+)_(\d+)_(\d+)>")
_FILLING = "one more plain word "


@dataclass(frozen=True, slots=True)
class Mark:
    """One part of the answer to one word."""

    word: str
    part: int
    parts: int
    #: Number of the try at Dify that wrote it.
    attempt: int


def word_of(number: int) -> str:
    """The word of a message."""
    return f"w{number:06d}"


def find_word(text: str) -> str | None:
    """The first word in a question; None: it is not one of the crowd's."""
    found = _WORD.search(text)
    return None if found is None else found[0]


def find_marks(text: str) -> tuple[Mark, ...]:
    """The marks in a segment, in order."""
    return tuple(
        Mark(word, int(part), int(parts), int(attempt))
        for word, part, parts, attempt in _MARK.findall(text)
    )


def question(word: str, *, parts: int = 1, length: int = 40, orders: str = "") -> str:
    """
    A question with its orders for the simulated Dify.

    Args:
        parts: paragraphs of the answer, each with its mark.
        length: characters of one paragraph, about.
        orders: further orders, e.g. ``[[wait=0.5]]``.
    """
    filling = (_FILLING * (length // len(_FILLING) + 1))[: max(0, length - 20)].strip()
    answer = PARAGRAPH.join(
        f"<{word}_{part}_{parts}_{{try}}> {filling}." for part in range(1, parts + 1)
    )
    return f"{word} {orders} [[text={answer}]]"
