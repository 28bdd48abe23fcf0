"""Words that call everybody in a group: an answer never does. Pure."""

import re

#: Looks like an @ and is none to any client.
HARMLESS_AT = "\ufe6b"
#: As Chinese keyboards write it.
FULL_AT = "\uff20"

_UNSEEN = "[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]*"
#: In mail addresses and longer words it calls nobody.
_MASS_MENTION = re.compile(
    rf"[@{FULL_AT}](?={_UNSEEN}(?:所有人|全体成员|(?:all|everyone)(?![A-Za-z0-9_-]|\.[A-Za-z])))",
    re.IGNORECASE,
)


def defuse(text: str) -> str:
    """The text with another sign for the @ of every call to everybody; as long as it was."""
    return _MASS_MENTION.sub(HARMLESS_AT, text)


def calls_everybody(name: str) -> bool:
    """Whether an @ in front of this name would be, or hold, such a call."""
    mention = f"@{name}"
    return defuse(mention) != mention
