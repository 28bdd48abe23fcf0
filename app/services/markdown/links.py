"""Links and images as a chat shows them. Pure."""

import re
from urllib.parse import unquote

#: What can be opened from a chat. Relative targets point into a page that the reader does not have.
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)[^\s]", re.IGNORECASE)
_PERSON = re.compile(r"(?:mailto|tel):(?P<address>[^?]+)", re.IGNORECASE)
_PICTURE = re.compile(r"https?://", re.IGNORECASE)
_SCHEME = re.compile(r"^https?://", re.IGNORECASE)


def link_text(text: str, target: str) -> str:
    """``text(address)``; one of them alone if the other says the same, or nothing."""
    words = " ".join(text.split("\n"))
    address = address_of(target)
    if not address:
        return words
    if not words.strip() or _says_the_same(words.strip(), address):
        return address
    if address in words:
        return words
    # Behind a bracket, as of an image, the two would be a Markdown link.
    return f"{words} ({address})" if words.endswith("]") else f"{words}({address})"


def image_text(caption: str, source: str) -> str:
    """
    ``[图片:caption]``, and the address behind it where it can be opened.

    The space keeps it from being a Markdown link, in case the text is read as Markdown again.
    """
    words = " ".join(caption.split())
    mark = f"[图片:{words}]" if words else "[图片]"
    return f"{mark} ({source})" if _PICTURE.match(source) else mark


def address_of(target: str) -> str:
    """The address that a person can use, without ``mailto:``; empty: none."""
    person = _PERSON.fullmatch(target.partition("?")[0])
    if person:
        return unquote(person["address"])
    return target if _ADDRESS.match(target) else ""


def _says_the_same(words: str, address: str) -> bool:
    return _bare(words) in {_bare(address), _bare(unquote(address))}


def _bare(address: str) -> str:
    return _SCHEME.sub("", address).rstrip("/")
