"""The tags between which models think, and what may become one. Pure; the rules stand in ``thinking``."""

import re
from dataclasses import dataclass

#: Longest tag, and longest summary, in characters: so much of a text waits for a tag to end.
MAX_TAG = 256


def _begun(*items: str) -> str:
    """A pattern of all beginnings of a sequence; of an item that is no character, all are its own."""
    pattern = ""
    for item in reversed(items):
        pattern = f"(?:{item}{pattern})?"
    return pattern


_ATTRIBUTES = r"(?:[\s/][^<>]*+)?"
_TAG = re.compile(
    rf"<(?P<slash>/?)(?:think(?:ing)?|(?P<details>details))(?P<attributes>{_ATTRIBUTES})>",
    re.IGNORECASE,
)
_TAG_BEGUN = re.compile(
    _begun("<", "/?", *"think", rf"(?:ing{_ATTRIBUTES}|in?|{_ATTRIBUTES})")
    + "|"
    + _begun("<", "/?", *"details", _ATTRIBUTES),
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    rf"\s*+<summary{_ATTRIBUTES}>\s*+thinking[\s.…]*+</summary\s*+>", re.IGNORECASE
)
_SUMMARY_BEGUN = re.compile(
    _begun(
        r"\s*+",
        *"<summary",
        _ATTRIBUTES,
        ">",
        r"\s*+",
        *"thinking",
        r"[\s.…]*+",
        *"</summary",
        r"\s*+",
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """One tag of a text."""

    #: Behind it.
    end: int
    is_details: bool = False
    is_closing: bool = False
    is_empty: bool = False
    #: A block of thinking begins here.
    is_thought: bool = False


#: What is there so far may become a tag.
HALF = Tag(end=0)


def tag_at(text: str, start: int, *, is_end: bool) -> Tag | None:
    """The tag that begins at *start*, ``HALF``, or None."""
    found = _TAG.match(text, start, start + MAX_TAG)
    if found is None:
        return HALF if _is_half(_TAG_BEGUN, text, start, is_end=is_end) else None
    end, is_details, is_closing = found.end(), bool(found["details"]), bool(found["slash"])
    is_empty = not is_closing and found["attributes"].endswith("/")
    is_thought = not is_details and not is_closing
    if is_details and not is_closing and not is_empty:
        summary = _SUMMARY.match(text, end, end + MAX_TAG)
        if summary is not None:
            end, is_thought = summary.end(), True
        elif _is_half(_SUMMARY_BEGUN, text, end, is_end=is_end):
            return HALF
    return Tag(
        end=end,
        is_details=is_details,
        is_closing=is_closing,
        is_empty=is_empty,
        is_thought=is_thought,
    )


def _is_half(begun: re.Pattern[str], text: str, start: int, *, is_end: bool) -> bool:
    is_open = not is_end and len(text) - start < MAX_TAG
    return is_open and begun.fullmatch(text, start) is not None
