"""Pieces of a page, ready to be read, and how they are put together. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

_QUOTES = (("「", "」"), ("『", "』"))
#: Headings of these ranks get brackets: a chat has neither sizes nor weights.
_BRACKETED = frozenset({"h1", "h2"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Some lines, with everything that stands before them."""

    text: str
    #: Its lines in the source, from the first one to behind the last one.
    lines: tuple[int, int]
    #: Whether empty lines set it apart from its neighbours in any case: code and tables.
    is_apart: bool = False


def join(blocks: Sequence[Block], has_gap: Callable[[Block, Block], bool]) -> str:
    """All blocks, with an empty line between those that are apart or have a gap between them."""
    parts: list[str] = []
    for index, block in enumerate(blocks):
        if index:
            before = blocks[index - 1]
            is_parted = before.is_apart or block.is_apart or has_gap(before, block)
            parts.append("\n\n" if is_parted else "\n")
        parts.append(block.text)
    return "".join(parts)


def join_closely(blocks: Sequence[Block]) -> str:
    """As ``join``, without gaps: the items of a list, and what is in one of them."""
    return join(blocks, lambda _before, _after: False)


def heading(words: str, rank: str) -> str:
    """A heading in one line; *rank* is ``h1`` to ``h6``."""
    line = " ".join(words.split("\n"))
    is_marked = line.startswith("【") and line.endswith("】")
    return f"【{line}】" if line and rank in _BRACKETED and not is_marked else line


def quoted(text: str, *, depth: int, is_apart: bool) -> str:
    """
    A quotation between corner brackets.

    A bar before each line would be torn from the text: a phone breaks a line after some twenty
    characters, and only the first of these parts would have it. Brackets hold whatever is between
    them, and they are what Chinese print quotes with.

    Args:
        depth: 0; in a quotation 1, and so on.
        is_apart: whether the brackets stand in lines of their own, around code and tables.
    """
    opening, closing = _QUOTES[depth % len(_QUOTES)]
    if is_apart:
        return f"{opening}\n{text}\n{closing}"
    return f"{leading_blanks(text)}{opening}{text.lstrip()}{closing}"


def with_mark(blocks: Sequence[Block], mark: str, *, margin: str, step: str) -> list[Block]:
    """
    The blocks of a list's item with its mark before them.

    Args:
        blocks: their lines begin with *margin* and *step*, except for code.
        mark: with its blank.
    """
    if not blocks or blocks[0].is_apart:
        lines = blocks[0].lines if blocks else (0, 0)
        return [Block(text=margin + mark.rstrip(), lines=lines), *blocks]
    words = blocks[0].text.removeprefix(margin + step)
    return [replace(blocks[0], text=f"{margin}{mark}{words}"), *blocks[1:]]


def leading_blanks(line: str) -> str:
    """The blanks that a line begins with, U+3000 of Chinese paragraphs included."""
    return line[: len(line) - len(line.lstrip())]
