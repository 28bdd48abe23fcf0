"""What chats have between paragraphs and CommonMark has not, or reads as something else."""

import re
from collections import Counter

from markdown_it.rules_block import StateBlock, blockquote, lheading, reference

#: How far the end of a comment or of a formula is looked for, in characters.
_LONGEST_HIDDEN = 10_000
_LONGEST_FORMULA = 4_000

_FOOTNOTE = re.compile(r"\[\^([^\]\s]{1,100})\][:：][ \t]*(?=\S)")
_FORMULA_ENDS = {"$$": "$$", "\\[": "\\]"}
_LABEL = re.compile(r"\[([^\[\]\n]{1,200})\]")
_DEFINITION = re.compile(
    r"\[(?P<label>[^\[\]\n]{1,200})\]:[ \t]*<?(?:https?://|mailto:|\.{0,2}/|\#)", re.IGNORECASE
)
_UNDERLINE = re.compile(r"(?:={3,}|-{3,})[ \t]*")
_SENTENCE_ENDS = ("。", "；", "，", "：", ":", ";", ",")
_COMPARISON = re.compile(r">(?:=|\d+(?![.)\d]))")


def formula(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    r"""``$$…$$`` or ``\[…\]`` over whole lines: nothing in it is a list, a rule or a heading."""
    begin = state.bMarks[start_line] + state.tShift[start_line]
    opener = state.src[begin : begin + 2]
    if opener not in _FORMULA_ENDS or state.is_code_block(start_line):
        return False
    place = state.src.find(_FORMULA_ENDS[opener], begin + 2, begin + _LONGEST_FORMULA)
    last = _line_of(state, place, start_line, end_line)
    if last is None or not _is_one_piece(state, start_line, last + 1):
        return False
    if state.src[place + 2 : state.eMarks[last]].strip():
        return False
    if silent:
        return True
    token = state.push("formula", "", 0)
    token.map = [start_line, last + 1]
    token.content = state.getLines(start_line, last + 1, state.blkIndent, keepLastLF=False)
    state.line = last + 1
    return True


def comment(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A comment of whole lines is left out. The rest of HTML is read inside of paragraphs."""
    begin = state.bMarks[start_line] + state.tShift[start_line]
    if silent or not state.src.startswith("<!--", begin) or state.is_code_block(start_line):
        return False
    place = state.src.find("-->", begin + 2, begin + _LONGEST_HIDDEN)
    last = _line_of(state, place, start_line, end_line)
    if last is None or state.src[place + 3 : state.eMarks[last]].strip():
        return False
    state.line = last + 1
    return True


def footnote(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """``[^name]: text``, one paragraph."""
    begin = state.bMarks[start_line] + state.tShift[start_line]
    found = _FOOTNOTE.match(state.src, begin, state.eMarks[start_line])
    if found is None or state.is_code_block(start_line):
        return False
    if silent:
        return True
    last = _paragraph_end(state, start_line, end_line)
    more = state.getLines(start_line + 1, last, state.blkIndent, keepLastLF=False)
    first = state.src[found.end() : state.eMarks[start_line]]
    token = state.push("footnote_open", "", 1)
    token.info = found[1]
    token.map = [start_line, last]
    inside = state.push("inline", "", 0)
    inside.content = f"{first}\n{more}" if more else first
    inside.map = [start_line, last]
    inside.children = []
    state.push("footnote_close", "", -1)
    state.env["footnotes"].add(found[1])
    state.line = last
    return True


def repeated_labels(text: str) -> frozenset[str]:
    """What stands in brackets more than once, in small letters: defined in one place, used in others."""
    counts = Counter(label.lower() for label in _LABEL.findall(text))
    return frozenset(label for label, count in counts.items() if count > 1)


def definition(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """
    ``[label]: address`` for links elsewhere in the text.

    Without such a link, or with other words behind the colon (``[通知]: 明天放假``), it is text
    that somebody wants to read.
    """
    begin = state.bMarks[start_line] + state.tShift[start_line]
    found = _DEFINITION.match(state.src, begin, state.eMarks[start_line])
    if found is None or found["label"].lower() not in state.env["repeated_labels"]:
        return False
    return reference(state, start_line, end_line, silent)


def underlined(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """
    A heading is one line above ``===`` or ``---``.

    CommonMark makes one of a whole paragraph; models mean a rule, without the empty line.
    """
    if start_line + 1 >= end_line or state.sCount[start_line + 1] < state.blkIndent:
        return False
    if not _UNDERLINE.fullmatch(_line(state, start_line + 1)):
        return False
    if _line(state, start_line).rstrip().endswith(_SENTENCE_ENDS):
        return False
    return lheading(state, start_line, end_line, silent)


def quote(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A quotation; ``>5`` and ``>=`` compare."""
    begin = state.bMarks[start_line] + state.tShift[start_line]
    if _COMPARISON.match(state.src, begin, state.eMarks[start_line]):
        return False
    return blockquote(state, start_line, end_line, silent)


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _line_of(state: StateBlock, place: int, start_line: int, end_line: int) -> int | None:
    """The line of a place in the source; None: no place, or behind the lines of the block."""
    if place < 0:
        return None
    for line in range(start_line, end_line):
        if place <= state.eMarks[line]:
            return line
    return None


def _is_one_piece(state: StateBlock, start_line: int, end_line: int) -> bool:
    """Whether no line is empty, or to the left of the block that the first one is in."""
    return not any(
        state.isEmpty(line) or state.sCount[line] < state.blkIndent
        for line in range(start_line, end_line)
    )


def _paragraph_end(state: StateBlock, start_line: int, end_line: int) -> int:
    rules = state.md.block.ruler.getRules("paragraph")
    parent, state.parentType = state.parentType, "paragraph"
    line = start_line + 1
    while line < end_line and not state.isEmpty(line):
        if any(rule(state, line, end_line, True) for rule in rules):
            break
        line += 1
    state.parentType = parent
    return line
