"""
The input form of an app: how /parameters shows it, and what a question's `inputs` must be.

From the code of the releases and the documentation, not from a recording.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulators.dify_errors import DifyRefused
from simulators.dify_release import Release

TEXT, PARAGRAPH, SELECT, NUMBER = "text-input", "paragraph", "select", "number"
TYPES = (TEXT, PARAGRAPH, SELECT, NUMBER)


@dataclass(frozen=True, kw_only=True, slots=True)
class FormField:
    """One input that an app asks for."""

    name: str
    type: str = TEXT
    required: bool = False
    max_length: int | None = None
    """Characters; of texts only."""
    options: tuple[str, ...] = ()
    """Of a select only."""
    default: str | float | None = None
    """Taken by the newer release for an input that is missing."""
    label: str = ""

    def as_shown(self, *, of_graph: bool) -> dict[str, Any]:
        """The element of `user_input_form`; apps with a graph show their start node's own form."""
        shown: dict[str, Any] = {
            "label": self.label or self.name,
            "variable": self.name,
            "required": self.required,
        }
        if self.max_length is not None:
            shown["max_length"] = self.max_length
        if self.type == SELECT or of_graph:
            shown["options"] = list(self.options)
        if of_graph:
            shown["type"] = self.type
        if self.default is not None or not of_graph:
            shown["default"] = "" if self.default is None else self.default
        return {self.type: shown}

    def take(self, value: Any, release: Release) -> Any:
        """
        The input as the app sees it.

        Raises:
            DifyRefused: 400, it is missing or not what the form allows.
        """
        if value is None:
            if self.required:
                raise _invalid(f"{self.name} is required in input form")
            value = self.default if release is Release.NEW else None
            if value is None:
                return None
        if self.type == NUMBER:
            return self._number(value)
        if not isinstance(value, str):
            raise _invalid(f"(type '{self.type}') {self.name} in input form must be a string")
        if self.type == SELECT:
            if value not in self.options:
                raise _invalid(
                    f"{self.name} in input form must be one of the following: {list(self.options)}"
                )
        elif self.max_length and len(value) > self.max_length:
            raise _invalid(
                f"{self.name} in input form must be less than {self.max_length} characters"
            )
        return value.replace("\x00", "")

    def _number(self, value: Any) -> int | float | None:
        if isinstance(value, int | float):
            return value
        text = str(value)
        if not text.strip():
            return None
        try:
            return float(text) if "." in text else int(text)
        except ValueError as error:
            raise _invalid(f"{self.name} in input form must be a valid number") from error


def filled_form(
    form: Iterable[FormField], inputs: Mapping[str, Any], release: Release
) -> dict[str, Any]:
    """
    The inputs that an app sees: those of its form and no others.

    Raises:
        DifyRefused: 400, one of them is missing or not what the form allows.
    """
    return {field.name: field.take(inputs.get(field.name), release) for field in form}


def _invalid(message: str) -> DifyRefused:
    return DifyRefused(400, "invalid_param", message)
