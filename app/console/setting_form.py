"""The form of one setting: by which field it is typed, and what was typed as a value. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import SecretStr

from app.console.visit import Form
from app.services.shown_settings import mask_value, plain_value
from settings.tree import Leaf, Settings

#: Of one setting, in characters.
LONGEST: Final = 20_000


class Field(StrEnum):
    """How a setting is typed."""

    TEXT = "text"
    NUMBER = "number"
    CHOICE = "choice"
    SWITCH = "switch"
    #: One entry a line.
    LINES = "lines"
    JSON = "json"
    SECRET = "secret"  # noqa: S105 - a kind of field
    #: JSON with secrets in it: never shown, replaced as a whole.
    SECRET_JSON = "secret_json"  # noqa: S105 - a kind of field


_FIELDS: Final[dict[Any, Field]] = {
    bool: Field.SWITCH,
    int: Field.NUMBER,
    float: Field.NUMBER,
    str: Field.TEXT,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Typed:
    """What was sent; a secret that was left empty stays as it is, and so does what was not asked for."""

    value: Any = None
    is_left: bool = False


def field_of(leaf: Leaf) -> Field:
    """By which field a setting is typed."""
    annotation = leaf.field.annotation
    if leaf.is_secret:
        return Field.SECRET if annotation is SecretStr else Field.SECRET_JSON
    if get_origin(annotation) is Literal:
        return Field.CHOICE
    if annotation == tuple[str, ...]:
        return Field.LINES
    return _FIELDS.get(annotation, Field.JSON)


def choices_of(leaf: Leaf) -> tuple[str, ...]:
    """What may be chosen for a setting that is chosen."""
    return tuple(map(str, get_args(leaf.field.annotation)))


def shown_value(leaf: Leaf, settings: Settings) -> str:
    """A value as the page shows it; a secret as stars."""
    value = leaf.value_in(settings)
    return mask_value(value) if leaf.is_secret else plain_value(value)


def typed_text(leaf: Leaf, settings: Settings) -> str:
    """A value as it stands in its field; of a secret nothing."""
    if leaf.is_secret:
        return ""
    value = leaf.value_in(settings)
    return "\n".join(value) if field_of(leaf) is Field.LINES else plain_value(value)


def read_setting(leaf: Leaf, form: Form, name: str = "value") -> Typed:
    """
    What was typed for a setting.

    Args:
        name: of the field in the form.
    """
    if name not in dict(form.pairs):
        return Typed(is_left=True)
    text = form.get(name).strip()[:LONGEST]
    match field_of(leaf):
        case Field.SECRET | Field.SECRET_JSON as kind:
            if form.get(f"{name}.clear") == "1":
                return Typed(value="" if kind is Field.SECRET else "[]")
            return Typed(value=text, is_left=not text)
        case Field.LINES:
            return Typed(value=[line.strip() for line in text.splitlines() if line.strip()])
        case _:
            return Typed(value=text)
