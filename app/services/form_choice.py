"""What a reply means for the form that waits for it. Pure."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from app.models.flow import Form, FormAction
from app.services.text import number_of

#: A number in front of words.
_NUMBERED = re.compile(
    r"\s*([1-9\uff11-\uff19])\s*(?:[.\u3002\u3001,\uff0c:\uff1a)\uff09\uff0e]\s*|\s+)(.+)",
    re.DOTALL,
)
_SEPARATORS = " \t\n,\uff0c\u3002.:\uff1a;\uff1b\u3001"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """How a form is filled in."""

    action: str
    inputs: Mapping[str, str]
    #: An action was named; else the words went into the form because it asks for some.
    is_explicit: bool


def choice_of_form(form: Form, text: str) -> Choice | None:
    """
    The choice; None: the reply has nothing to do with the form.

    An action is named by its number or its title, alone or in front of words; words go into the
    first text that the form asks for. Words alone mean the first action, but nothing that begins with
    the number of an action that there is not; where there is one action only, nobody needs its number.
    """
    number, _ = _numbered(text.strip())
    if number is not None and number > len(form.actions) > 1:
        return None
    action, words = _named(form, text.strip())
    if action is not None and (not words or form.fields):
        return Choice(action=action.id, inputs=_filled(form, words), is_explicit=True)
    if not form.fields or not form.actions:
        return None
    first = form.actions[0]
    return Choice(action=first.id, inputs=_filled(form, text.strip()), is_explicit=False)


def _numbered(text: str) -> tuple[int | None, str]:
    """The number in front, and the words behind it."""
    number = number_of(text)
    if number is None and (found := _NUMBERED.fullmatch(text)):
        return int(unicodedata.normalize("NFKC", found[1])), found[2].strip()
    return number, ""


def _named(form: Form, text: str) -> tuple[FormAction | None, str]:
    number, words = _numbered(text)
    if number is not None:
        return (form.actions[number - 1], words) if number <= len(form.actions) else (None, "")
    folded = text.casefold()
    # The longest title first: one may begin another.
    for action in sorted(form.actions, key=lambda one: len(one.title), reverse=True):
        title = action.title.casefold()
        behind = text[len(action.title) :] if title and folded.startswith(title) else None
        if behind is not None and (not behind or behind[0] in _SEPARATORS):
            return action, behind.strip(_SEPARATORS)
    return None, ""


def _filled(form: Form, words: str) -> dict[str, str]:
    return {name: words if place == 0 else "" for place, name in enumerate(form.fields)}
