"""A question together with the message that it quotes. Pure."""

import re

from app.models.content import Quoted
from app.services.text import clean_nickname, clip, is_blank

#: Most characters of the quoted message that go along with a question.
MAX_QUOTED = 1_000
UNKNOWN_NAME = "某人"
_QUOTED = re.compile(r"\A「引用 [^「」]*」\n")


def with_quoted(question: str, quoted: Quoted | None) -> str:
    """
    What Dify is asked: the quoted message in one pair of brackets, then what was typed.

    Brackets inside become inner ones, so that nobody can seem to have typed what was quoted.
    """
    text = _bounded(quoted.text) if quoted else ""
    if quoted is None or is_blank(text):
        return question
    name = _without_brackets(clean_nickname(quoted.sender_name)) or UNKNOWN_NAME
    return f"「引用 {name}:{text}」\n{question}".strip()


def without_quoted(question: str) -> str:
    """What was typed, of what ``with_quoted`` made."""
    return _QUOTED.sub("", question)


def _bounded(text: str) -> str:
    short = clip(text.strip(), MAX_QUOTED)
    return _without_brackets(short if len(short) == len(text.strip()) else short + "…")


def _without_brackets(text: str) -> str:
    return text.replace("「", "『").replace("」", "』")
