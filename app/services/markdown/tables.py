"""Tables as lines of a chat, which has no columns. Pure."""

from collections.abc import Sequence

#: Between a column's name and a cell, and between the two cells of a narrow table.
_COLON = ":"
_COLONS = ":："
_PAIR = 2


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    A table of plain cells as lines; empty cells are left out.

    Up to two columns: one line per row, ``left:right``, the header first. More: one paragraph per
    row, headed by its first cell, with a line ``header:cell`` for each other one.
    """
    if len(header) <= _PAIR:
        lines = [_pair(row) for row in (header, *rows)]
        return "\n".join(line for line in lines if line)
    if not rows:
        return "、".join(cell for cell in header if cell)
    paragraphs = ["\n".join(_lines(header, row)) for row in rows]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _lines(header: Sequence[str], row: Sequence[str]) -> list[str]:
    named = [_pair((name, cell)) for name, cell in zip(header[1:], row[1:], strict=True) if cell]
    return [row[0], *named] if row[0] else named


def _pair(cells: Sequence[str]) -> str:
    filled = [cell for cell in cells if cell]
    if len(filled) < _PAIR:
        return "".join(filled)
    return f"{filled[0].rstrip(_COLONS) or filled[0]}{_COLON}{filled[1]}"
