"""What a person reads in a chat, which shows no Markdown, instead of the Markdown of a model. Pure."""

from functools import cached_property
from typing import TYPE_CHECKING

from app.services.markdown.page import Page

if TYPE_CHECKING:
    from app.services.markdown.reader import Reader


class PlainText:
    """
    Makes plain text of Markdown.

    One is enough for a process. It loads the library (1 to 2 MB, some 60 ms) with the first text.
    """

    @cached_property
    def _reader(self) -> "Reader":
        from app.services.markdown.reader import Reader  # noqa: PLC0415 - loads the library

        return Reader()

    def of(self, markdown: str) -> str:
        """
        The text without marks: headings, lists, quotations, tables and links as a chat has them.

        A text without Markdown comes out as it is, with LF at the line ends and no blanks before
        them. Raises nothing.
        """
        source = markdown.replace("\r\n", "\n").replace("\r", "\n")
        page = Page(source, self._reader.read(source))
        text = page.text()
        if page.is_prose and text.split() == source.split():
            # Nobody marked anything: the empty lines are the author's, too.
            return _without_trailing_blanks(source)
        return _without_trailing_blanks(text)


def plain_text(markdown: str) -> str:
    """``PlainText().of(markdown)``, for a single text: the reader is built for it alone."""
    return PlainText().of(markdown)


def _without_trailing_blanks(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n")
