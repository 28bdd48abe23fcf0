"""From the tokens of a whole text to the lines of a chat. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import indent
from typing import TYPE_CHECKING

from app.services.markdown.blocks import (
    Block,
    heading,
    join,
    join_closely,
    leading_blanks,
    quoted,
    with_mark,
)
from app.services.markdown.lists import Numbering, item_mark
from app.services.markdown.spans import RULE, span_text
from app.services.markdown.tables import table_text

if TYPE_CHECKING:
    from markdown_it.token import Token

#: How far what is inside of an item is moved to the right. A chat is narrow.
_STEP = "  "
#: Blanks, and what is left of an empty line in a quotation.
_EMPTY_LINE = " \t>"
_PROSE = frozenset({"paragraph_open", "inline", "paragraph_close", "code_block"})


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a block stands."""

    #: In how many others, and in how many of these as a quotation.
    depth: int = 0
    quotes: int = 0
    #: What stands before each of its lines.
    margin: str = ""

    def quoted(self) -> "_Place":
        return replace(self, depth=self.depth + 1, quotes=self.quotes + 1)

    def inside(self, margin: str) -> "_Place":
        return replace(self, depth=self.depth + 1, margin=margin + _STEP)


class Page:
    """One text: what it looks like without marks."""

    def __init__(self, source: str, tokens: "Sequence[Token]") -> None:
        """
        Args:
            source: line ends are LF.
            tokens: what ``Reader.read`` made of it.
        """
        self._source = source.split("\n")
        self._footnotes: list[str] = []
        self._blocks = self._read(iter(tokens), _Place())
        #: Whether it has nothing but paragraphs.
        self.is_prose = all(token.type in _PROSE for token in tokens)

    def text(self) -> str:
        """The whole page, the footnotes at its end."""
        parts = [join(self._blocks, self._has_gap), "\n".join(self._footnotes)]
        return "\n\n".join(part for part in parts if part)

    def _has_gap(self, before: Block, after: Block) -> bool:
        between = self._source[max(before.lines[1] - 1, 0) : after.lines[0]]
        return any(not line.strip(_EMPTY_LINE) for line in between)

    def _read(self, tokens: "Iterator[Token]", place: _Place) -> list[Block]:
        """The blocks up to the end of the one that they are in."""
        blocks: list[Block] = []
        for token in tokens:
            if token.nesting < 0:
                break
            block = self._block(token, tokens, place)
            if block.text:
                blocks.append(block)
        return blocks

    def _block(self, token: "Token", tokens: "Iterator[Token]", place: _Place) -> Block:
        match token.type:
            case "paragraph_open":
                text = self._paragraph(token, _inside(tokens), place)
            case "heading_open":
                words = heading(_inside(tokens), token.tag)
                text = place.margin + (words or token.markup)
            case "hr":
                text = place.margin + RULE
            case "blockquote_open":
                text = self._quotation(tokens, place)
            case "bullet_list_open" | "ordered_list_open":
                return self._list(token, tokens, place)
            case "table_open":
                text = indent(_table(tokens), place.margin)
            case "footnote_open":
                self._footnotes.append(f"[{token.info}] {_inside(tokens)}")
                text = ""
            case _:
                text = self._verbatim(token, place)
        is_apart = token.type in {"table_open", "fence", "code_block"}
        return Block(text=text, lines=_lines(token), is_apart=is_apart)

    def _paragraph(self, token: "Token", text: str, place: _Place) -> str:
        if not text:
            return ""
        if place.depth == 0:
            return leading_blanks(self._source[_lines(token)[0]]) + text
        first, *others = text.split("\n")
        lines = [place.margin + first]
        for line in others:
            # What is further to the right than the item's text stays so, by whole steps.
            steps = -(-len(leading_blanks(line)) // len(_STEP))
            lines.append(place.margin + _STEP * steps + line.lstrip())
        return "\n".join(lines)

    def _verbatim(self, token: "Token", place: _Place) -> str:
        """Code and formulas. Nothing is put before their lines, so that they can be copied."""
        if token.type == "code_block" and place.depth == 0:
            first, end = _lines(token)
            return "\n".join(self._source[first:end]).rstrip()
        code = token.content.rstrip().strip("\n")
        # Behind the marks stands the language; Chinese words are meant to be read.
        return code if token.info.isascii() else f"{token.info.strip()}\n{code}".rstrip()

    def _quotation(self, tokens: "Iterator[Token]", place: _Place) -> str:
        blocks = self._read(tokens, place.quoted())
        if not blocks:
            return place.margin + ">"
        is_apart = blocks[0].is_apart or blocks[-1].is_apart
        return quoted(join(blocks, self._has_gap), depth=place.quotes, is_apart=is_apart)

    def _list(self, opening: "Token", tokens: "Iterator[Token]", place: _Place) -> Block:
        numbering = Numbering()
        shift = self._shift(_lines(opening)[0]) if place.depth == 0 else 0
        margin = place.margin + _STEP * (shift // len(_STEP))
        items: list[Block] = []
        for token in tokens:
            if token.nesting < 0:
                break
            level = self._level(token, opening)
            number = numbering.mark(token.info, token.markup, level=level) if token.info else ""
            items.append(self._item(token, tokens, number, place.inside(margin + _STEP * level)))
        is_apart = any(item.is_apart for item in items)
        return Block(text=join_closely(items), lines=_lines(opening), is_apart=is_apart)

    def _item(self, token: "Token", tokens: "Iterator[Token]", number: str, place: _Place) -> Block:
        blocks = self._read(tokens, place)
        mark = item_mark(number, is_done=token.meta.get("checked"))
        if not blocks and not number:
            mark = token.markup
        margin = place.margin.removesuffix(_STEP)
        text = join_closely(with_mark(blocks, mark, margin=margin, step=_STEP))
        is_apart = any(block.is_apart for block in blocks)
        return Block(text=text, lines=_lines(token), is_apart=is_apart)

    def _shift(self, line: int) -> int:
        return len(leading_blanks(self._source[line]))

    def _level(self, item: "Token", opening: "Token") -> int:
        """
        1 if an item belongs to the one before it though CommonMark makes them neighbours.

        Two blanks are enough for models, and for us; CommonMark wants three below ``1.``.
        """
        first = self._source[_lines(opening)[0]].lstrip()
        if not item.info or not first[:1].isdecimal():
            return 0
        further = self._shift(_lines(item)[0]) - self._shift(_lines(opening)[0])
        return int(further >= len(_STEP))


def _inside(tokens: "Iterator[Token]") -> str:
    """The text of a block with nothing but inline marks; takes its end, too."""
    content = next(tokens)
    next(tokens)
    return span_text(content.children or ())


def _table(tokens: "Iterator[Token]") -> str:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(" ".join(span_text(token.children or ()).split()))
    return table_text(rows[0], rows[1:])


def _lines(token: "Token") -> tuple[int, int]:
    first, end = token.map or (0, 0)
    return first, end
