"""The inside of a paragraph: from the tokens of its marks to what a person reads. Pure."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.services.markdown.lines import Lines
from app.services.markdown.links import address_of, image_text, link_text
from app.services.markdown.tags import Effect, effect_of

if TYPE_CHECKING:
    from markdown_it.token import Token

#: A horizontal rule.
RULE = "————————"

#: Marks that show nothing themselves.
_SILENT = frozenset({"em_open", "em_close", "strong_open", "strong_close", "s_open", "s_close"})


def span_text(tokens: "Iterable[Token]") -> str:
    """The text of inline tokens, without marks, with links, images and line breaks."""
    spans = _Spans()
    for token in tokens:
        spans.take(token)
    return spans.text()


class _Spans:
    """One paragraph; the innermost open link is written into the last of the stacked lines."""

    def __init__(self) -> None:
        self._stack = [Lines()]
        self._links: list[Token] = []

    def take(self, token: "Token") -> None:
        lines = self._stack[-1]
        match token.type:
            case "softbreak" | "hardbreak":
                lines.end_line()
            case "html_inline":
                _apply(effect_of(token.content), lines)
            case "image":
                lines.write(image_text(span_text(token.children or ()), _attr(token, "src")))
            case "link_open":
                self._links.append(token)
                self._stack.append(Lines())
            case "link_close":
                self._close_link()
            case kind if kind not in _SILENT:
                lines.write(token.content)

    def text(self) -> str:
        while self._links:
            self._close_link()
        return self._stack[0].text()

    def _close_link(self) -> None:
        words = self._stack.pop().text()
        link = self._links.pop()
        target = _attr(link, "href")
        if link.markup == "autolink" and not address_of(target):
            # <std::vector> looks like an address in angle brackets and is none.
            self._stack[-1].write(f"<{words}>")
        else:
            self._stack[-1].write(link_text(words, target))


def _apply(effect: Effect, lines: Lines) -> None:
    match effect:
        case Effect.BREAK:
            lines.end_line(keeps_empty=True)
        case Effect.LINE:
            lines.end_line()
        case Effect.RULE:
            lines.end_line()
            lines.write(RULE)
            lines.end_line()
        case Effect.GAP:
            lines.part()
        case Effect.NOTHING:
            pass


def _attr(token: "Token", name: str) -> str:
    return str(token.attrs.get(name) or "")
