"""What stands before the items of a list in a chat. Pure."""

#: In the place of a bullet, if the item is a task: done or not.
_BOXES = {True: "☑ ", False: "☐ "}
_BULLET = "• "


class Numbering:
    """
    The numbers of one ordered list, and of the items that belong to one of its items.

    They stay as they are written; the same number again and again means that Markdown counts.
    """

    def __init__(self) -> None:
        #: The last number of each level, as it is written and as it is shown.
        self._last: list[tuple[str, str]] = []

    def mark(self, written: str, point: str, *, level: int) -> str:
        """
        The number of the next item, with a blank.

        Args:
            written: the digits in the source.
            point: what stands behind them, ``.`` or ``)``.
            level: 0, or 1 if the item belongs to the one of level 0 before it.
        """
        before, shown = self._last[level] if level < len(self._last) else ("", "")
        number = str(int(shown) + 1) if written == before else written
        self._last[level:] = [(written, number)]
        return f"{number}{point} "


def item_mark(number: str, *, is_done: bool | None) -> str:
    """
    What stands before an item.

    Args:
        number: of ``Numbering.mark``; empty: not an ordered list.
        is_done: the box of a task; None: no task.
    """
    box = "" if is_done is None else _BOXES[is_done]
    return number + box if number or box else _BULLET
