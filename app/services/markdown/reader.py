"""The reader of Markdown: CommonMark, tables, strikethrough, task lists, and our own rules."""

import re

from markdown_it import MarkdownIt
from markdown_it.parser_block import ParserBlock
from markdown_it.parser_inline import ParserInline
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock, paragraph
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from markdown_it.utils import EnvType
from typing_extensions import override

from app.services.markdown import block_rules, inline_rules
from app.services.markdown.delimiters import is_chinese, is_literal, may_close, may_open
from app.services.markdown.tags import ended_names


class Reader:
    """Reads Markdown; keeps nothing from one text to the next."""

    def __init__(self) -> None:
        self._parser = _make_parser()

    def read(self, text: str) -> list[Token]:
        """
        The tokens of a text; line ends are LF.

        Those of the library, and ``formula`` (content), ``footnote_open`` (the name in ``info``)
        with ``footnote_close``. Nothing that a person would see is missing in them.
        """
        env: EnvType = {
            "footnotes": set(),
            "ended_tags": ended_names(text),
            "repeated_labels": block_rules.repeated_labels(text),
        }
        return self._parser.parse(text, env)


class _Blocks(ParserBlock):
    """Below the deepest level the library leaves text out; here it becomes paragraphs."""

    @override
    def tokenize(self, state: StateBlock, startLine: int, endLine: int) -> None:
        if state.level < state.md.options.maxNesting:
            super().tokenize(state, startLine, endLine)
            return
        line = state.skipEmptyLines(startLine)
        while line < endLine and state.sCount[line] >= state.blkIndent:
            paragraph(state, line, endLine, silent=False)
            line = state.skipEmptyLines(state.line)
        state.line = min(line, endLine)


class _Inlines(ParserInline):
    @override
    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


class _State(StateInline):
    """Knows where a run of marks opens and closes in Chinese."""

    @override
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:
        scanned = super().scanDelims(start, canSplitWord)
        end = start + scanned.length
        if self.src[start] != "~" and is_literal(self.src, start, end):
            return Scanned(can_open=False, can_close=False, length=scanned.length)
        if self.src[start] == "_" or not is_chinese(self.src, start, end):
            return scanned
        return Scanned(
            can_open=scanned.can_open or may_open(self.src, end),
            can_close=scanned.can_close or may_close(self.src, start),
            length=scanned.length,
        )


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark")
    parser.block = _Blocks()
    parser.inline = _Inlines()
    parser.configure("commonmark", {"tasklists": True})
    parser.enable(["table", "strikethrough"])

    # The last list of each names what the rule may end without an empty line.
    over: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    block = parser.block.ruler
    block.before("fence", "formula", block_rules.formula, over)
    block.before("reference", "footnote", block_rules.footnote, {"alt": ["paragraph", "reference"]})
    block.at("blockquote", block_rules.quote, over)
    block.at("reference", block_rules.definition)
    block.at("html_block", block_rules.comment)
    block.at("lheading", block_rules.underlined)

    text = parser.inline.terminator_re.pattern
    parser.inline.terminator_re = re.compile(
        f"{text}|{inline_rules.ADDRESS_START.pattern}", re.IGNORECASE
    )
    inline = parser.inline.ruler
    inline.before("text", "address", inline_rules.address)
    inline.before("escape", "formula", inline_rules.formula)
    inline.before("link", "footnote", inline_rules.footnote_reference)
    inline.at("newline", inline_rules.newline)
    inline.at("html_inline", inline_rules.tag)
    return parser
