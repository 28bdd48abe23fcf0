"""What a run gave: bounds, figures, a table row. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.chaos.checker import Findings, Violations

SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """One figure and what it may be at most; ``detail`` says which cases there were."""

    name: str
    value: float
    most: float
    detail: tuple[str, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether the figure is within its bound."""
        return self.value <= self.most

    def as_text(self) -> str:
        """``lost 0 ≤ 0``, with a mark where it is broken."""
        mark = "" if self.is_kept else " ✗"
        return f"{self.name} {self.value:g} ≤ {self.most:g}{mark}"


def none_of(findings: Findings, *names: str) -> list[Bound]:
    """There may be no violation of these kinds."""
    found = findings.violations()
    return [at_most(name, found[name], 0) for name in names]


def at_most(name: str, found: Violations, most: float) -> Bound:
    """There may be at most so many violations."""
    detail = tuple(f"{one.word}: {one.what}" for one in found)
    return Bound(name=name.replace("_", " "), value=len(found), most=most, detail=detail)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One run."""

    scenario: str
    title: str
    engine: str
    size: str
    seed: int
    plant: str
    #: What it was run with, in words.
    settings: Mapping[str, str]
    schedule: str
    bounds: Sequence[Bound]
    #: What else is worth saying: counts, times.
    figures: Mapping[str, float | str]
    seconds: float
    #: What kept it from its end; empty: nothing.
    trouble: str = ""
    logs: str = field(default="", repr=False)

    @property
    def is_green(self) -> bool:
        """Whether all bounds are kept and it came to its end."""
        return not self.trouble and all(bound.is_kept for bound in self.bounds)

    def row(self) -> str:
        """Its row of the table, Markdown."""
        verdict = "绿" if self.is_green else "红"
        shown = "; ".join(bound.as_text() for bound in self.bounds)
        figures = ", ".join(f"{name} {_short(value)}" for name, value in self.figures.items())
        name = f"{self.scenario} +{self.plant}" if self.plant else self.scenario
        return (
            f"| {name} | {self.engine} | {self.size} | {self.seed} | {verdict} | {shown} "
            f"| {figures} | {self.seconds:.1f} s |"
        )

    def broken(self) -> list[str]:
        """Why it is red, with the first cases of each kind."""
        lines = [f"trouble: {self.trouble}"] if self.trouble else []
        for bound in self.bounds:
            if bound.is_kept:
                continue
            lines.append(bound.as_text())
            lines += [f"    {case}" for case in bound.detail[:SHOWN]]
            if len(bound.detail) > SHOWN:
                lines.append(f"    … {len(bound.detail) - SHOWN} more")
        return lines

    def as_json(self) -> str:
        """Everything in one line."""
        data: dict[str, Any] = {
            "scenario": self.scenario,
            "title": self.title,
            "engine": self.engine,
            "size": self.size,
            "seed": self.seed,
            "plant": self.plant,
            "green": self.is_green,
            "trouble": self.trouble,
            "seconds": round(self.seconds, 1),
            "settings": dict(self.settings),
            "schedule": self.schedule,
            "bounds": [
                {"name": one.name, "value": one.value, "most": one.most, "kept": one.is_kept}
                for one in self.bounds
            ],
            "figures": dict(self.figures),
            "broken": self.broken(),
        }
        return json.dumps(data, ensure_ascii=False)


HEADER = (
    "| 场景 | 引擎 | 规模 | 种子 | 结果 | 界限 | 数字 | 用时 |\n|---|---|---|---|---|---|---|---|"
)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
