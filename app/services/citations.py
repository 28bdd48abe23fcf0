"""The documents that an answer is from, named behind it. Pure."""

from app.models.flow import Answer, Turn
from app.services.text import clean_nickname, is_blank

#: Most documents that are named, and most characters of a name.
MOST_SOURCES = 5
MAX_SOURCE = 40


def footer_of(turn: Turn, answer: Answer) -> str:
    """What goes behind the answer as a paragraph of its own; empty: nothing."""
    if not turn.cites or is_blank(answer.text):
        return ""
    # What is too long may look the same when it is cut.
    names = list(dict.fromkeys(filter(None, map(_shown, answer.sources))))
    if not names:
        return ""
    more = f" 等 {len(names)} 篇" if len(names) > MOST_SOURCES else ""
    return "\n\n参考:" + "".join(f"《{name}》" for name in names[:MOST_SOURCES]) + more


def with_footer(turn: Turn, answer: Answer) -> Answer:
    """The answer as the group reads it."""
    footer = footer_of(turn, answer)
    return answer.with_text(answer.text + footer) if footer else answer


def _shown(name: str) -> str:
    short = clean_nickname(name, limit=MAX_SOURCE)
    whole = clean_nickname(name, limit=len(name))
    return short if short == whole else clean_nickname(name, limit=MAX_SOURCE - 1) + "…"
