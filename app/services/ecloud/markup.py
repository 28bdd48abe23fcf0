"""
The XML inside messages: read with bounds, never searched by pattern. Pure.

Document types are refused, and with them every entity that somebody could declare: nothing grows,
nothing is fetched.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

#: Longest XML that is read, in characters.
MAX_MARKUP = 262_144
MAX_DEPTH = 48
MAX_ELEMENTS = 10_000
#: Longest single text that is taken over.
MAX_TEXT = 65_536

_BLANKS = " \t\r\n\ufeff"


class Element:
    """One element of a document. What is not there reads as empty."""

    __slots__ = ("_attributes", "_parts", "children", "tag")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.children: list[Element] = []
        self._attributes = attributes
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """The characters right inside it, without the white space around them."""
        return "".join(self._parts).strip(_BLANKS)[:MAX_TEXT]

    def attribute(self, name: str) -> str:
        """An attribute's value."""
        return self._attributes.get(name, "").strip(_BLANKS)[:MAX_TEXT]

    def find(self, *path: str) -> "Element":
        """The first element at a path of tags; one without anything if there is none."""
        found = self
        for tag in path:
            found = next((one for one in found.children if one.tag == tag), NOTHING)
        return found

    def descendants(self, tag: str) -> "Iterator[Element]":
        """All elements of this tag inside it, in the order of the document."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.descendants(tag)

    def add_text(self, text: str) -> None:
        """Characters of the document."""
        self._parts.append(text)


#: An element that is not there.
NOTHING = Element("", {})


class _Refused(Exception):
    """Something that no message has."""


class _Builder:
    """Takes what the parser reads; the methods have the names that it calls."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise _Refused
        # Messages declare no namespaces; where one does, the parser puts it in front.
        element = Element(tag.rpartition("}")[2], attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def data(self, text: str) -> None:
        self._open[-1].add_text(text)

    def close(self) -> Element | None:
        return self.root


def read_markup(text: str, *, sender: str = "") -> Element | None:
    """
    The root of a message's XML; None: it is none, or none that a message has.

    Args:
        sender: older versions of the gateway put this id and a colon in front.
    """
    text = text.removeprefix(f"{sender}:\n").strip(_BLANKS) if sender else text.strip(_BLANKS)
    if not text.startswith("<") or len(text) > MAX_MARKUP:
        return None
    parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True)
    try:
        parser.feed(text)
        root: Element | None = parser.close()
    except (ParseError, DefusedXmlException, UnicodeError, _Refused):
        return None
    return root


def whole_number(text: str) -> int:
    """A number of digits as it stands in an attribute; 0 if it is none."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
    return int(text) if is_number else 0


_LONGEST_NUMBER = 18
