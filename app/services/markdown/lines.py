"""Lines that are written piece by piece."""


class Lines:
    """
    Collects the lines of one paragraph.

    A paragraph of Markdown has no empty lines; one that came to be because a tag or a comment in
    it is not shown is left out.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        """Add to the current line."""
        self._parts.append(text)

    def part(self) -> None:
        """Keep what follows apart from what the line has so far."""
        if self._parts:
            self._parts.append(" ")

    def end_line(self, *, keeps_empty: bool = False) -> None:
        """Begin the next line; an empty one only counts if the text asks for it."""
        line = "".join(self._parts).rstrip()
        self._parts.clear()
        if line or keeps_empty:
            self._lines.append(line)

    def text(self) -> str:
        """What was written, with no empty line around it."""
        self.end_line()
        return "\n".join(self._lines).strip("\n")
