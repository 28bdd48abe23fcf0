"""A callback, and the XML in it, with every part removed, retyped and doubled in turn."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from xml.etree import ElementTree as ET

#: What nobody expects; each is tried in the place of every part.
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**70,
    "",
    " ",
    "x",
    "\u2005𝄞",
    "9" * 400,
    [],
    ["x", 1, None],
    {},
    {"a": {}},
)
#: The same of texts.
ODD_TEXTS = ("", " ", "x", "-1", "9" * 400, "<a>&</a>", "\u2005𝄞")

#: Steps from the whole to a part.
Place = tuple[str | int, ...]


class Pairs(list[tuple[str, Any]]):
    """An object of JSON that may have one name twice."""


def written(value: Any) -> str:
    """As JSON."""
    if isinstance(value, Pairs):
        inside = (f"{json.dumps(name)}:{written(one)}" for name, one in value)
        return "{" + ",".join(inside) + "}"
    if isinstance(value, dict):
        return written(Pairs(value.items()))
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every part of a value, outermost first."""
    steps: Any = value if isinstance(value, dict) else range(len(value))
    for step in steps:
        yield (*at, step)
        if isinstance(value[step], dict | list):
            yield from places(value[step], (*at, step))


def removed(payload: Any, place: Place) -> Any:
    """Without that part."""
    changed = deepcopy(payload)
    del inside(changed, place[:-1])[place[-1]]
    return changed


def retyped(payload: Any, place: Place, odd: Any) -> Any:
    """With something else in that place."""
    changed = deepcopy(payload)
    inside(changed, place[:-1])[place[-1]] = odd
    return changed


def doubled(payload: Any, place: Place, second: Any) -> Any:
    """With that field twice in its object, or that element twice in its list."""
    step, *rest = place
    if rest:
        changed = payload.copy()
        changed[step] = doubled(payload[step], tuple(rest), second)
        return changed
    if isinstance(payload, list):
        return [*payload, second]
    return Pairs([*payload.items(), (str(step), second)])


def inside(value: Any, place: Place) -> Any:
    """The part there."""
    for step in place:
        value = value[step]
    return value


def variants(payload: dict[str, Any]) -> Iterator[Any]:
    """The payload with every part removed, retyped and doubled in turn."""
    for place in places(payload):
        value = inside(payload, place)
        yield removed(payload, place)
        for odd in (*ODD, [value, value], {"a": value}, str(value) * 2):
            yield retyped(payload, place, odd)
        for second in (value, None, "x", 1):
            yield doubled(payload, place, second)


def elements(root: ET.Element) -> list[ET.Element]:
    """Every element below the outermost one, its parent before it."""
    return list(root.iter())[1:]


def parent_of(root: ET.Element, child: ET.Element) -> ET.Element:
    """Where an element is in."""
    return next(one for one in root.iter() if child in list(one))


def xml_variants(xml: str) -> Iterator[str]:
    """The XML with every element and attribute removed, retyped and doubled in turn."""
    root = parsed_xml(xml)
    count = len(elements(root))
    for place in range(count):
        yield from _element_variants(root, place)
    for place in range(count + 1):
        yield from _attribute_variants(root, place)


def _element_variants(whole: ET.Element, place: int) -> Iterator[str]:
    def copy() -> tuple[ET.Element, ET.Element, ET.Element]:
        root = deepcopy(whole)
        one = elements(root)[place]
        return root, one, parent_of(root, one)

    root, one, parent = copy()
    parent.remove(one)
    yield xml_text(root)
    for second in (one, ET.Element(one.tag)):
        for at_end in (True, False):
            root, one, parent = copy()
            parent.insert(len(parent) if at_end else 0, deepcopy(second))
            yield xml_text(root)
    for text in ODD_TEXTS:
        root, one, parent = copy()
        one.text = text
        yield xml_text(root)
    root, one, parent = copy()
    one.append(ET.Element("a"))
    yield xml_text(root)
    root, one, parent = copy()
    one.tag = "x"
    yield xml_text(root)


def _attribute_variants(whole: ET.Element, place: int) -> Iterator[str]:
    def copy() -> tuple[ET.Element, ET.Element]:
        root = deepcopy(whole)
        return root, list(root.iter())[place]

    for name in copy()[1].attrib:
        for value in ODD_TEXTS:
            root, one = copy()
            one.set(name, value)
            yield xml_text(root)
        root, one = copy()
        kept = one.attrib.pop(name)
        yield xml_text(root)
        # Twice in one element is no XML any more.
        one.attrib |= {name: kept, "TWICE": kept}
        yield xml_text(root).replace("TWICE", name)


def parsed_xml(xml: str) -> ET.Element:
    """The outermost element."""
    return ET.fromstring(xml)  # noqa: S314  # a sample of our own


def xml_text(root: ET.Element) -> str:
    """As text again."""
    return ET.tostring(root, encoding="unicode")
