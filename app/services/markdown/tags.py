"""HTML between Markdown: which angle brackets are tags, and what a tag does to the lines. Pure."""

import re
from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType

#: Tags by which models lay text out. Others count only where the text has their end tag too:
#: ``List<String>`` and ``<token>`` are no tags.
_LAYOUT = re.compile(
    r"""
    big|blockquote|body|br|center|dd|del|details|div|dl|dt|em|font|footer|h[1-6]|head|header|hr
    |html|img|input|ins|kbd|li|mark|ol|p|pre|section|small|span|strike|strong|sub|summary|sup
    |table|tbody|td|tfoot|th|thead|tr|u|ul|wbr
    """,
    re.VERBOSE,
)
_OWN_LINE = re.compile(
    r"""
    address|article|aside|blockquote|body|center|dd|details|div|dl|dt|figcaption|figure|footer
    |form|h[1-6]|head|header|html|li|main|nav|ol|p|pre|section|summary|table|tbody|tfoot|thead
    |tr|ul
    """,
    re.VERBOSE,
)

_START = re.compile(r"<(?:(?P<end>/?)(?P<name>[a-z][a-z0-9-]*)|!--|!doctype\s)", re.IGNORECASE)
_END_TAG = re.compile(r"</([a-z][a-z0-9-]*)\s*>", re.IGNORECASE)


class Effect(Enum):
    """What a tag does where it stands."""

    NOTHING = auto()
    #: A line break that may leave an empty line.
    BREAK = auto()
    #: What follows stands in a line of its own.
    LINE = auto()
    #: The next cell of a row.
    GAP = auto()
    RULE = auto()


#: What the start tags of these names do; their end tags do nothing.
_EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {"br": Effect.BREAK, "hr": Effect.RULE, "td": Effect.GAP, "th": Effect.GAP}
)


def ended_names(text: str) -> frozenset[str]:
    """The names, in lower case, of which the text has an end tag."""
    return frozenset(name.lower() for name in _END_TAG.findall(text))


def is_tag(text: str, index: int, ended: frozenset[str]) -> bool:
    """Whether the ``<`` at *index* can begin a tag or a comment; *ended* as of ``ended_names``."""
    start = _START.match(text, index)
    if start is None:
        return False
    name = (start["name"] or "").lower()
    return not name or name in ended or _LAYOUT.fullmatch(name) is not None


def effect_of(tag: str) -> Effect:
    """What a tag does, given with its brackets."""
    start = _START.match(tag)
    name = ((start["name"] if start else None) or "").lower()
    if name in _EFFECTS:
        return Effect.NOTHING if start and start["end"] else _EFFECTS[name]
    return Effect.LINE if _OWN_LINE.fullmatch(name) else Effect.NOTHING
