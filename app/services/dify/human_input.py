"""
The form of a run that waits for a person (``human_input_required``), and how he reads it. Pure.

After the documentation and the code of the releases from 1.13 on; there is no recording.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.models.flow import Form, FormAction

#: Where a form has a place for a value: of no use in a chat.
_PLACE = re.compile(r"\{\{#\$output\.[^#{}]{1,100}#\}\}")
BLANK: Final = "____"
_TEXTS: Final = frozenset({"paragraph", "text_input", "text-input", "text"})
#: Each action has one digit.
MOST_ACTIONS: Final = 9
_MOST_FIELDS = 50
_LONGEST_TITLE = 100
_LONGEST_NAME = 255
_LONGEST_TOKEN = 255
_LATEST: Final = 10**10
CHOOSE: Final = "请回复序号:"
WRITE: Final = "(序号后面可以写上内容)"
WRITE_ALONE: Final = "请直接回复内容。"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadForm:
    """A form as a group reads it, and how it is answered; None: not by a reply."""

    text: str
    request: Form | None


def parse_form(data: Mapping[str, Any]) -> ReadForm:
    """The data of the event; odd fields count as empty. Without a token it is answered elsewhere."""
    content = _PLACE.sub(BLANK, _text(data, "form_content")).strip()
    token = _text(data, "form_token")
    actions = tuple(_actions(data.get("actions") or data.get("user_actions")))[:MOST_ACTIONS]
    if not token or len(token) > _LONGEST_TOKEN or not actions:
        return ReadForm(text=content, request=None)
    form = Form(
        token=token,
        actions=actions,
        fields=tuple(_fields(data.get("inputs")))[:_MOST_FIELDS],
        expires_at=_moment(data.get("expiration_time")),
    )
    return ReadForm(text="\n\n".join(filter(None, (content, _guide(form)))), request=form)


def _guide(form: Form) -> str:
    if len(form.actions) == 1 and form.fields:
        return WRITE_ALONE
    lines = (f"{number}. {one.title}" for number, one in enumerate(form.actions, 1))
    return "\n".join((CHOOSE + (WRITE if form.fields else ""), *lines))


def _actions(values: object) -> list[FormAction]:
    found = (one for one in (values if isinstance(values, list) else ()) if isinstance(one, dict))
    named = ((_text(one, "id"), " ".join(_text(one, "title").split())) for one in found)
    return [FormAction(id_, (title or id_)[:_LONGEST_TITLE]) for id_, title in named if id_]


def _fields(values: object) -> list[str]:
    found = (one for one in (values if isinstance(values, list) else ()) if isinstance(one, dict))
    texts = (one for one in found if _text(one, "type") in _TEXTS)
    names = (_text(one, "output_variable_name") for one in texts)
    return [name for name in names if 0 < len(name) <= _LONGEST_NAME]


def _moment(value: object) -> datetime | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < _LATEST:  # type: ignore[operator]
        return None
    return datetime.fromtimestamp(float(value), UTC)  # type: ignore[arg-type]


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()
