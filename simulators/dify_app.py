"""An app of the simulated Dify, and how its settings are written by tests and by `/_sim/apps`."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from simulators.dify_form import PARAGRAPH, TYPES, FormField
from simulators.dify_outputs import ANSWER
from simulators.dify_release import Kind


class BadSetting(ValueError):
    """There is no such setting of an app, or its value makes no sense."""


@dataclass(slots=True, kw_only=True)
class App:
    """An app of the simulated Dify; its key decides everything about it."""

    key: str
    kind: Kind
    name: str = "群聊助手"
    max_active: int = 0
    """Concurrent requests allowed; 0 = any number."""
    moderated: bool = False
    """Whether /parameters says that output is moderated."""
    question_input: str = "query"
    """The input that carries the question; of workflow and completion apps."""
    outputs: Mapping[str, Any] = field(default_factory=lambda: {"answer": ANSWER})
    """What a workflow gives; `{answer}` in it stands for the answer."""
    form: tuple[FormField, ...] | None = None
    """The inputs asked for; None = the question alone where an input carries it, else nothing."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What /parameters tells otherwise than by default; by its own names."""
    suggestions: tuple[str, ...] | None = None
    """What is suggested after each answer; None = switched off."""
    citations: tuple[Mapping[str, Any], ...] = ()
    """What each answer is said to be from; fields of `retriever_resources`, all optional."""
    speech: str | None = None
    """What every recording is heard as; None = the app has no speech to text."""
    price: str = ""
    """`total_price` of each answer, as a decimal; "" = 0 in the release's spelling."""
    app_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    workflow_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    active: int = 0

    @property
    def asked_fields(self) -> tuple[FormField, ...]:
        """
        The form in force.

        Of a completion the question is optional, so that the older top-level `query` is enough.
        """
        if self.form is not None:
            return self.form
        if self.kind.converses:
            return ()
        required = self.kind is Kind.WORKFLOW
        return (FormField(name=self.question_input, type=PARAGRAPH, required=required),)

    def change(self, settings: Mapping[str, Any]) -> None:
        """
        Set what is given, all or nothing.

        Raises:
            BadSetting: something of it is unknown or makes no sense.
        """
        for name, value in parsed_settings(settings).items():
            setattr(self, name, value)

    def as_json(self) -> dict[str, Any]:
        """As `GET /_sim/apps` shows it and as it may be set; `form` is the one in force."""
        shown: dict[str, Any] = {"key": self.key}
        shown |= {name: getattr(self, name) for name in SETTINGS}
        shown["form"] = [
            {part.name: getattr(one, part.name) for part in fields(FormField)}
            for one in self.asked_fields
        ]
        return shown


def parsed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """
    The settings as values of an app's fields.

    Shape: any of the names in SETTINGS; `form` is a list of objects with the names of FormField,
    null stands for the default of `form`, `suggestions` and `speech`.

    Raises:
        BadSetting: something of it is unknown or makes no sense.
    """
    unknown = [name for name in settings if name not in SETTINGS]
    if unknown:
        raise BadSetting(f"no setting {unknown[0]!r}; there are: {', '.join(SETTINGS)}")
    return {name: SETTINGS[name](name, value) for name, value in settings.items()}


def _kind(name: str, value: Any) -> Kind:
    try:
        return Kind(value)
    except ValueError as error:
        raise BadSetting(f"{name} is one of: {', '.join(Kind)}") from error


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadSetting(f"{name} is a text")
    return value


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadSetting(f"{name} is a number from 0")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadSetting(f"{name} is true or false")
    return value


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise BadSetting(f"{name} is an object")
    return dict(value)


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise BadSetting(f"{name} is a list")
    return list(value)


def _objects(name: str, value: Any) -> tuple[dict[str, Any], ...]:
    return tuple(_object(f"each of {name}", one) for one in _list(name, value))


def _texts(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(_text(f"each of {name}", one) for one in _list(name, value))


def _text_or_none(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _form(name: str, value: Any) -> tuple[FormField, ...] | None:
    return None if value is None else tuple(map(_form_field, _objects(name, value)))


def _form_field(order: dict[str, Any]) -> FormField:
    known = {part.name for part in fields(FormField)}
    if "name" not in order or not order.keys() <= known:
        raise BadSetting(f"a field of form has a name and no others than: {', '.join(known)}")
    one = FormField(**(order | {"options": tuple(_list("options", order.get("options", ())))}))
    if one.type not in TYPES:
        raise BadSetting(f"the type of a field of form is one of: {', '.join(TYPES)}")
    return one


SETTINGS: Mapping[str, Callable[[str, Any], Any]] = {
    "kind": _kind,
    "name": _text,
    "max_active": _count,
    "moderated": _flag,
    "question_input": _text,
    "outputs": _object,
    "form": _form,
    "parameters": _object,
    "suggestions": _texts,
    "citations": _objects,
    "speech": _text_or_none,
    "price": _text,
}
