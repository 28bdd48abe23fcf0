"""What people call good and bad. Pure."""

import re

from app.models.flow import Rating

#: The whole text is one of these; docs/operations.md lists them.
LIKES = frozenset({"赞", "点赞", "好评", "有用", "👍", "[强]", "[ThumbsUp]"})
DISLIKES = frozenset({"踩", "点踩", "差评", "没用", "👎", "[弱]", "[ThumbsDown]"})

_LONGEST = 20
#: Skin tones and what makes an emoji coloured say nothing.
_LOOKS = re.compile("[\U0001f3fb-\U0001f3ff\ufe0f]")
_END = "!!。.~~ \n"


def rating_of(text: str) -> Rating | None:
    """What a quotation's text says of the answer; None: it says something else."""
    if len(text) > _LONGEST:
        return None
    word = _LOOKS.sub("", text).strip().rstrip(_END)
    if word in LIKES:
        return Rating.LIKE
    return Rating.DISLIKE if word in DISLIKES else None
