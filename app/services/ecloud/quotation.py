"""
Which message somebody quotes, out of the markup of a quotation. Pure.

Two numbers and names are wanted of it, so no parser reads it: nothing is ever expanded, fetched or
nested. What a person typed stands in it escaped, or in a CDATA section, which is cut out first.
"""

import re
from dataclasses import dataclass
from html import unescape

#: More markup than that is not looked at, in characters.
MAX_MARKUP = 65_536

_CDATA = re.compile(r"<!\[CDATA\[.*?(?:\]\]>|$)", re.DOTALL)
_DECLARATION = re.compile(r"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_REFERENCE = re.compile(r"<refermsg>(.*?)</refermsg>", re.DOTALL)
_ID = re.compile(r"<svrid>\s*0*([1-9][0-9]{0,19})\s*</svrid>")
_SENDER = re.compile(r"<chatusr>\s*([^<>\s]{1,128})\s*</chatusr>")
_TITLE = re.compile(r"<title>([^<]*)</title>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The message that is quoted."""

    new_msg_id: str
    #: wxid of who wrote it; empty: it is not said.
    sender: str
    #: What the markup says was typed; empty: it does not say.
    title: str


def read_reference(markup: str) -> Reference | None:
    """The one message that is quoted; None: none, or not clearly one."""
    if len(markup) > MAX_MARKUP or _DECLARATION.search(markup):
        return None
    plain = _CDATA.sub("", markup)
    references = _REFERENCE.findall(plain)
    ids = _ID.findall(references[0]) if len(references) == 1 else []
    if len(ids) != 1:
        return None
    sender = _SENDER.search(references[0])
    title = _TITLE.search(plain)
    return Reference(
        new_msg_id=ids[0],
        sender=sender[1] if sender else "",
        title=unescape(title[1]) if title else "",
    )
