"""Which runs of ``*`` and ``~~`` mark something, in Chinese text too. Pure."""

#: How many marks of punctuation are looked through for a Chinese character.
_REACH = 8

#: Nothing marked begins with one of these, and nothing ends with one of those.
_CLOSING = frozenset("，。、；：！？）」』】》〉〕｝”’…,;)]}")
_OPENING = frozenset("（「『【《〈〔｛“‘([{")

_EYES = frozenset("^><=-;@")
_BRACKETS = frozenset({("(", ")"), ("[", "]"), ("{", "}"), ("（", "）")})

_CJK_RANGES = (
    ("\u1100", "\u11ff"),  # Hangul jamo
    ("\u2e80", "\u9fff"),  # radicals, punctuation, kana, ideographs
    ("\uac00", "\ud7a3"),  # Hangul syllables
    ("\uf900", "\ufaff"),  # compatibility ideographs
    ("\ufe30", "\ufe4f"),  # vertical forms
    ("\uff00", "\uffef"),  # full-width forms
    ("\U00020000", "\U0003ffff"),  # rarer ideographs
)


def is_cjk(char: str) -> bool:
    """Whether the character belongs to Chinese, Japanese or Korean text, its punctuation included."""
    return char >= "\u1100" and any(first <= char <= last for first, last in _CJK_RANGES)


def is_chinese(text: str, start: int, end: int) -> bool:
    """
    Whether a run of marks at ``text[start:end]`` stands in Chinese text.

    CommonMark tells opening marks from closing ones by the spaces between words. Chinese has
    none, so in ``**重点:**后面`` the second run would be an opening one. A run stands in Chinese
    text if a CJK character is next to it, or behind the punctuation that is next to it.
    """
    return _finds_cjk(text, start - 1, -1) or _finds_cjk(text, end, 1)


def _finds_cjk(text: str, index: int, step: int) -> bool:
    for place in range(index, index + step * _REACH, step):
        char = text[place] if 0 <= place < len(text) else " "
        if char.isspace() or char in "*~":
            return False
        if is_cjk(char):
            return True
        if char.isalnum():
            return False
    return False


def may_open(text: str, end: int) -> bool:
    """Whether what follows a run in Chinese text can be the beginning of something marked."""
    after = text[end : end + 1]
    return bool(after) and not after.isspace() and after not in _CLOSING


def may_close(text: str, start: int) -> bool:
    """Whether what precedes a run in Chinese text can be the end of something marked."""
    before = text[start - 1 : start] if start else ""
    return bool(before) and not before.isspace() and before not in _OPENING


def is_literal(text: str, start: int, end: int) -> bool:
    """
    Whether a run is no mark, though CommonMark takes it for one.

    Stars: a sign of multiplication (``2*3``, ``单价*3``) or of a power (``x**2``), a masked number
    (``138****8000``), a wildcard (``*.txt``), or stars alone in brackets (``COUNT(*)``).
    Underscores: the mouth of a face (``^_^``).
    """
    before = text[start - 1 : start] if start else ""
    after = text[end : end + 1]
    if text[start] == "_":
        return before in _EYES and after in _EYES
    return (before, after) in _BRACKETS or _is_sign(text, start, end, before, after)


def _is_sign(text: str, start: int, end: int, before: str, after: str) -> bool:
    if not before.isalnum():
        return end - start == 1 and after == "." and text[end + 1 : end + 2].isalnum()
    if end - start == 1:
        has_digit = before.isdecimal() or after.isdecimal()
        return after.isalnum() and (has_digit or (before + after).isascii())
    is_variable = before.isascii() and not _is_word(text[max(start - 2, 0) : start - 1])
    return after.isdecimal() and (before.isdecimal() or is_variable)


def _is_word(char: str) -> bool:
    return char.isascii() and char.isalnum()
