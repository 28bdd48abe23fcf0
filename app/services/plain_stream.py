"""Plain text of Markdown that is still being written: paragraph by paragraph. Pure."""

from app.services.cutting import last_paragraph_end
from app.services.plain_text import PlainText

#: Between two paragraphs that were turned one by one.
GAP = "\n\n"


class PlainStream:
    """
    Turns what is finished of a text: whatever follows cannot change it.

    All pieces together are the plain text of the whole, up to white space; but a note at the very
    end of the text stays where it is.
    """

    def __init__(self, plain: PlainText) -> None:
        self._plain = plain
        self._waiting = ""
        #: The last delta ended with half of a line's end, perhaps.
        self._has_return = False

    def feed(self, delta: str) -> str:
        """The plain text that *delta* finishes; mostly none."""
        delta = self._with_plain_ends(delta)
        may_be_due = "\n" in delta or self._waiting.endswith("\n")
        self._waiting += delta
        end = last_paragraph_end(self._waiting) if may_be_due else 0
        # What is indented may belong to the list in front of the gap.
        if not end or self._waiting[end : end + 1] in ("", " ", "\t", "\n", "\r"):
            return ""
        ready, self._waiting = self._waiting[:end], self._waiting[end:]
        return self._turned(ready, GAP)

    def finish(self) -> str:
        """The plain text of the rest."""
        rest = self._waiting + ("\n" if self._has_return else "")
        self._waiting, self._has_return = "", False
        return self._turned(rest, "")

    def _with_plain_ends(self, delta: str) -> str:
        """Every end of a line as Markdown knows it is one here, too: a return alone as well."""
        text = "\r" + delta if self._has_return else delta
        self._has_return = text.endswith("\r")
        return text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")

    def _turned(self, markdown: str, gap: str) -> str:
        text = self._plain.of(markdown)
        return text + gap if text.strip() else ""
