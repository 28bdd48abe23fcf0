"""Small pure helpers about text: what is blank, what is one character to a reader, what is a name."""

import hashlib
import re
import unicodedata

#: Longest nickname behind an ``@``, in characters; WeChat's own bound lies below it.
MAX_NICKNAME = 64

_LONGEST_NUMBER = 40
_NUMBER = re.compile(r"[「『【(\[]?\s*([1-9])\s*[」』】)\]]?\s*[.。、,]?")

ZERO_WIDTH_JOINER = "\u200d"


def is_blank(text: str) -> bool:
    """Whether a reader would see nothing: only spaces, controls and zero-width characters."""
    return not any(_is_visible(char) for char in text)


def _is_visible(char: str) -> bool:
    return not char.isspace() and unicodedata.category(char) not in {"Cc", "Cf"}


def clean_nickname(name: str, *, limit: int = MAX_NICKNAME) -> str:
    """
    A nickname as it may stand in one line: no controls, single spaces, at most *limit* characters.

    Joiners and variation selectors stay, so that emoji keep their look. A name of which nothing
    can be seen becomes the empty string.
    """
    # Direction marks and the like (Cf) would turn the text behind the name around.
    kept = "".join(
        " " if char.isspace() else char
        for char in name[: limit * 16]
        if char.isspace()
        or char == ZERO_WIDTH_JOINER
        or unicodedata.category(char) not in {"Cc", "Cf", "Cs"}
    )
    short = clip(" ".join(kept.split()), limit)
    return "" if is_blank(short) else short


def clip(text: str, limit: int) -> str:
    """The first *limit* characters, or a little less where that would tear an emoji."""
    if len(text) <= limit:
        return text
    end = limit
    while end > 0 and is_inside_cluster(text, end):
        end -= 1
    return text[: end or limit].rstrip()


def number_of(text: str) -> int | None:
    """The digit from 1 to 9, if the text is nothing else; None: it is something else."""
    if len(text) > _LONGEST_NUMBER:
        return None
    # Circled and full-width digits, dots and brackets become the plain ones.
    found = _NUMBER.fullmatch(unicodedata.normalize("NFKC", text).strip())
    return int(found[1]) if found else None


def join_line_ends(text: str) -> str:
    """CRLF and CR as LF; a CR at the very end waits for what follows."""
    tail = "\r" if text.endswith("\r") else ""
    return text.removesuffix(tail).replace("\r\n", "\n").replace("\r", "\n") + tail


def text_digest(text: str) -> str:
    """
    SHA-256 in hex of the text with every run of white space as one space.

    Two texts with the same digest count as the same message: clients and gateways exchange
    U+2005, spaces and line ends for one another.
    """
    return hashlib.sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).hexdigest()


def is_inside_cluster(text: str, index: int, *, start: int = 0) -> bool:
    """
    Whether a cut before ``text[index]`` would tear what a reader sees as one character.

    An approximation of the extended grapheme clusters of UAX 29: marks, joiners, variation
    selectors, skin tones, tags, flags, Hangul jamo and surrogate pairs.

    Args:
        start: a place before *index* that is known to be between two clusters.
    """
    if not start < index < len(text):
        return False
    before, after = text[index - 1], text[index]
    if before < "\u0300" and after < "\u0300":
        return False
    return (
        _extends(after)
        or before == ZERO_WIDTH_JOINER
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
        or (_is_flag_half(after) and _flag_halves_before(text, index, start) % 2 == 1)
    )


def _extends(char: str) -> bool:
    """Whether the character belongs to the one before it."""
    return (
        char == ZERO_WIDTH_JOINER
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= char <= "\U000e007f"  # tags, e.g. the flag of Scotland
        or "\u1160" <= char <= "\u11ff"  # Hangul vowels and finals
        or unicodedata.category(char) in {"Mn", "Mc", "Me"}
    )


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flag_halves_before(text: str, index: int, start: int) -> int:
    first = index
    while first > start and _is_flag_half(text[first - 1]):
        first -= 1
    return index - first
