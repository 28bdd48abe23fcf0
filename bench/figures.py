"""Figures of speed: what was measured, against what, and whether that is enough. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HEADER = "| 部分 | 服务 | 标尺 | 比值 | 目标 | 结果 | 说明 |\n|---|---|---|---|---|---|---|"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One component: what the bridge and the yardstick took, and what is allowed."""

    name: str
    unit: str
    bridge: float
    yardstick: float | None
    #: What the ratio, or the bridge's own figure where there is no yardstick, may be.
    goal: str
    is_kept: bool
    remark: str = ""

    @property
    def ratio(self) -> float | None:
        """Bridge by yardstick."""
        return self.bridge / self.yardstick if self.yardstick else None

    def row(self) -> str:
        """Its row, Markdown."""
        yardstick = "—" if self.yardstick is None else f"{self.yardstick:.4g}"
        ratio = "—" if self.ratio is None else f"{self.ratio:.2f}"
        verdict = "达到" if self.is_kept else "未达到"
        return (
            f"| {self.name} | {self.bridge:.4g} {self.unit} | {yardstick} | {ratio} | {self.goal} "
            f"| {verdict} | {self.remark} |"
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all lies; 0 of nothing (pure)."""
    if not values:
        return 0.0
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]
