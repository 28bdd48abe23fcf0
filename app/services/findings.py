"""What a look at a server found, as values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Effect(StrEnum):
    """What a finding means for a process that runs."""

    #: It does not work: the dependency is down.
    BROKEN = "broken"
    #: It works, and is less safe than we promise: degraded.
    RISK = "risk"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    #: Stable word for logs and scripts.
    code: str
    effect: Effect
    #: One sentence in Chinese: what was found, and what to do. No user, no host: anybody may read it.
    text: str
    #: No process may start with it. Only what does not heal by itself, e.g. with a failover.
    refuses: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one look at one server found."""

    findings: tuple[Finding, ...] = ()
    #: Facts for the health report.
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: Those of them that change only with the server or its setup, for one line of the log.
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What must not be started with."""
        return tuple(one for one in self.findings if one.refuses)


def risk(code: str, text: str, *, refuses: bool = False) -> Finding:
    """It works, and is less safe."""
    return Finding(code=code, effect=Effect.RISK, text=text, refuses=refuses)


def broken(code: str, text: str, *, refuses: bool = False) -> Finding:
    """It does not work."""
    return Finding(code=code, effect=Effect.BROKEN, text=text, refuses=refuses)
