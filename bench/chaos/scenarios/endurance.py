"""Long: what grows under a steady load."""

import asyncio
import random
import time
from collections.abc import Sequence
from statistics import linear_regression

from typing_extensions import override

from bench.chaos.checker import Findings
from bench.chaos.fleet import resident_bytes
from bench.chaos.report import Bound, none_of
from bench.chaos.scenario import Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage
from bench.chaos.words import question

MEGABYTE = 1024 * 1024
#: Looks at memory and tables in one run.
LOOKS = 30
#: Values of memory in the row of a process.
SHOWN = 7
#: Tables that hold something of each message, each hour or each minute.
MUST_GROW = frozenset({"messages", "segments", "conversations", "stats_minutes", "audit_log"})


def growth(samples: Sequence[tuple[float, float]]) -> float:
    """Slope of the last two thirds, per second (pure)."""
    late = samples[len(samples) // 3 :]
    if len(late) < 2:  # noqa: PLR2004 - a line needs two points
        return 0.0
    return linear_regression([at for at, _ in late], [value for _, value in late]).slope


class Soak(Scenario):
    """
    Steady load; the last two thirds must be flat.

    A run of seconds can judge less: that nothing is kept of each message. Pools, caches and the
    allocator's own room are still growing in it, by some megabytes altogether.
    """

    name = "soak"
    title = "每秒 50 条回调,30 分钟"
    must_show = "后 20 分钟里 RSS 每 10 分钟增长 < 1 MB;只有该长的表在长"
    ci = ci_size(messages=120, users=15, rate=30)
    # Ninety words of each person: the journal's row of an hour grows with every turn in it.
    full = Size(messages=90_000, users=1_000, rate=50, owing=100, patience=300)
    plant = "leak"

    #: MB in ten minutes, and in the second half of a run of seconds.
    _most = 1.0
    _most_in_seconds = 6.0

    @override
    def layout(self, size: Size) -> Layout:
        roles = ("all",) if size.hasten else ("all", "all")
        people = 1 if size.hasten else 10
        return Layout(roles=roles, variables={"LOG_LEVEL": "WARNING"}, people=people)

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        return question(word, length=60, orders="[[wait=0.05]]")

    @override
    async def play(self, stage: Stage) -> None:
        if stage.size.hasten:
            await self._compare_halves(stage)
        else:
            await self._watch(stage)

    async def _compare_halves(self, stage: Stage) -> None:
        """The first half warms up; what the second one adds stays for ever if it is a leak."""
        half, used = stage.size.messages // 2, [0.0]
        for number in (1, 2):
            await stage.talk.speak(half, stage.size.rate)
            await stage.until_over(number * half)
            pids = [one.process.pid for one in stage.fleet.members if one.process is not None]
            used.append(max(map(resident_bytes, pids)) / MEGABYTE)
        stage.facts["RSS MB"] = round(used[2], 1)
        stage.facts["RSS growth MB"] = round(used[2] - used[1], 2)

    async def _watch(self, stage: Stage) -> None:
        talking = asyncio.create_task(stage.talk.speak(stage.size.messages, stage.size.rate))
        memory: dict[str, list[tuple[float, float]]] = {}
        rows: dict[str, list[int]] = {}
        pause = stage.size.messages / stage.size.rate / LOOKS
        while not talking.done():
            for member in stage.fleet.members:
                if member.process is not None:
                    used = resident_bytes(member.process.pid) / MEGABYTE
                    memory.setdefault(member.name, []).append((time.monotonic(), used))
            for table, count in (await asyncio.to_thread(_table_rows, stage)).items():
                rows.setdefault(table, []).append(count)
            stage.tape.read()
            await asyncio.wait({talking}, timeout=pause)
        await talking
        stage.facts["RSS MB"] = round(max(values[-1][1] for values in memory.values()), 1)
        for name, values in memory.items():
            every = max(1, len(values) // SHOWN)
            series = " ".join(f"{value:.0f}" for _, value in values[::every])
            stage.facts[f"RSS MB of {name}"] = series
        per_second = max(growth(values) for values in memory.values())
        stage.facts["RSS growth MB/10 min"] = round(per_second * 600, 2)
        grown = [
            table
            for table, counts in rows.items()
            if table not in MUST_GROW and counts[-1] > counts[len(counts) // 3]
        ]
        stage.facts["growing tables"] = " ".join(sorted(grown)) or "-"

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        tables = str(stage.facts.get("growing tables", "?")).replace("-", "").split()
        short = bool(stage.size.hasten)
        name = "RSS growth MB" if short else "RSS growth MB/10 min"
        most = self._most_in_seconds if short else self._most
        bounds = [
            *super().bounds(stage, findings),
            *none_of(findings, "refused"),
            Bound(name=name, value=float(stage.facts.get(name, 1e9)), most=most),
        ]
        if not short:
            # In a run of seconds everybody is still being met for the first time.
            grown = Bound(name="growing tables", value=len(tables), most=0, detail=tuple(tables))
            bounds.append(grown)
        return bounds


def _table_rows(stage: Stage) -> dict[str, int]:
    tables = stage.rows(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = database()"
    )
    return {row["name"]: stage.count(row["name"], "1 = 1") for row in tables}
