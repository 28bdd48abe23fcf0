"""What chats have inside of paragraphs and CommonMark has not: formulas, bare addresses, footnotes."""

import re

from markdown_it.rules_inline import StateInline, html_inline

from app.services.markdown.tags import is_tag

#: Addresses are words with ``_`` and ``~`` that mark nothing.
ADDRESS_START = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)
_ADDRESS_REST = re.compile(r"(?:[\w\-.~:/?#@!$&'+,;=%^]|\([\w\-.~:/?#@!$&'+,;=%]*+\))++", re.ASCII)
_ADDRESS_TAIL = "_~.,;:!?'"

#: As pandoc has it: no blank inside next to the dollars, no digit behind. So prices are none.
_DOLLARS = re.compile(r"\$(?![\s$])(?:\\[^\n]|\*(?!\*)|\](?!\()|[^$\\\n*`\]])++(?<!\s)\$(?!\d)")
_DISPLAYED = re.compile(r"\$\$(?!\$)(?:\\.|\$(?!\$)|[^$\\])++\$\$", re.DOTALL)
#: ``\[`` is also how a bracket is written that begins no link.
_LOOKS_LIKE_FORMULA = re.compile(r"[\\^_={}+<>]")
#: Longest formula between ``\(`` and ``\)``, in characters: how far the end is looked for.
_LONGEST_FORMULA = 2_000

_FOOTNOTE = re.compile(r"\[\^([^\]\s]{1,100})\]")


def address(state: StateInline, silent: bool) -> bool:
    """An address in the text stays as it is."""
    start = ADDRESS_START.match(state.src, state.pos, state.posMax)
    rest = start and _ADDRESS_REST.match(state.src, start.end(), state.posMax)
    words = rest[0].rstrip(_ADDRESS_TAIL) if rest else ""
    if start is None or not words:
        return False
    return _take(state, start.end() + len(words), silent=silent)


def formula(state: StateInline, silent: bool) -> bool:
    r"""``$…$``, ``$$…$$``, ``\(…\)`` and ``\[…\]`` stay as they are."""
    begin, end = state.pos, state.posMax
    if state.src[begin] == "$":
        found = _DISPLAYED.match(state.src, begin, end) or _DOLLARS.match(state.src, begin, end)
        return found is not None and _take(state, found.end(), silent=silent)
    opener = state.src[begin : begin + 2]
    if opener not in {"\\(", "\\["}:
        return False
    closer = "\\)" if opener == "\\(" else "\\]"
    place = state.src.find(closer, begin + 2, min(end, begin + _LONGEST_FORMULA))
    if place < 0:
        return False
    if closer == "\\]" and not _LOOKS_LIKE_FORMULA.search(state.src, begin + 2, place):
        return False
    return _take(state, place + 2, silent=silent)


def footnote_reference(state: StateInline, silent: bool) -> bool:
    """``[^1]`` becomes ``[1]``; other names only if there is such a footnote: regexes have ``[^a]``."""
    found = _FOOTNOTE.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not found[1].isdecimal() and found[1] not in state.env["footnotes"]:
        return False
    if not silent:
        state.append_pending(f"[{found[1]}]")
    state.pos = found.end()
    return True


def newline(state: StateInline, silent: bool) -> bool:
    """A line break; unlike CommonMark's, it leaves the blanks that the next line begins with."""
    if state.src[state.pos] != "\n":
        return False
    if not silent:
        state.pending = state.pending.rstrip(" ")
        state.push("softbreak", "br", 0)
    state.pos += 1
    return True


def tag(state: StateInline, silent: bool) -> bool:
    """HTML tags and comments, if they are some; other angle brackets are text."""
    return is_tag(state.src, state.pos, state.env["ended_tags"]) and html_inline(state, silent)


def _take(state: StateInline, end: int, *, silent: bool) -> bool:
    """Take the source up to *end* as text."""
    if not silent:
        state.append_pending(state.src[state.pos : end])
    state.pos = end
    return True
