"""What a check of one server says, for the operator. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.services.findings import Effect, Look


class Outcome(StrEnum):
    """How one check ended."""

    OK = "ok"
    WARNING = "warning"
    #: The bridge would not start, or would not work.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Checked:
    """One line of a report."""

    name: str
    outcome: Outcome
    text: str
    #: Of a finding: its stable word.
    code: str = ""


def judged(name: str, look: Look) -> list[Checked]:
    """What was found at a server; where nothing is wrong, what it is."""
    lines = [
        Checked(
            name,
            Outcome.FAILED if one.refuses or one.effect is Effect.BROKEN else Outcome.WARNING,
            one.text,
            one.code,
        )
        for one in look.findings
    ]
    return lines or [Checked(name, Outcome.OK, _words(look.identity))]


def _words(facts: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in facts.items())
