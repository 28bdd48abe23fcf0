"""The components of speed: each puts the same load on the yardstick and on the bridge."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.chaos.servers import SharedMariadb
from bench.chaos.words import question
from bench.figures import Figure, percentile
from bench.measuring import BRIDGE, YARDSTICK, Trial, trial

MILLI = 1000.0
KILO = 1000.0
MEGA = 1_000_000.0
PATIENCE = 300.0
NO_BOUND = float("inf")
#: Characters of every answer, and how long Dify writes at one.
LETTERS, STREAM_SECONDS = 60, 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much of everything."""

    single: int
    burst_messages: int
    burst_users: int
    burst_dify: float
    messages: int
    rate: float
    stalled_seconds: float
    streams: int


SIZES = {
    "ci": Size(
        single=20,
        burst_messages=60,
        burst_users=20,
        burst_dify=0.3,
        messages=150,
        rate=100,
        stalled_seconds=2,
        streams=50,
    ),
    "full": Size(
        single=300,
        burst_messages=500,
        burst_users=100,
        burst_dify=1.0,
        messages=2_000,
        rate=300,
        stalled_seconds=20,
        streams=2_000,
    ),
}


Measure = Callable[["Bench"], Awaitable[Figure]]


class Bench:
    """Runs the components one after the other."""

    def __init__(self, size: Size, shared: SharedMariadb, folder: Path) -> None:
        self.size = size
        self._shared = shared
        self._folder = folder
        self._count = 0

    async def on(
        self,
        program: str,
        load: Callable[[Trial], Awaitable[float]],
        *,
        orders: str,
        users: int,
        slots: int = 0,
        streaming: bool = False,
    ) -> tuple[float, str]:
        """What one load gave on one program, and why the harness itself was too slow, if it was."""
        self._count += 1
        async with trial(
            program,
            self._shared,
            self._folder / str(self._count),
            users=users,
            compose=lambda word: question(word, length=LETTERS, orders=orders),
            slots=slots,
            streaming=streaming,
        ) as one:
            figure = await load(one)
            return figure, one.effort.warning()


async def overhead(bench: Bench) -> Figure:
    """One message at a time: callback to reply, less Dify's own time."""

    async def load(one: Trial) -> float:
        for number in range(bench.size.single):
            one.talk.say(person=number % 10)
            await one.until_answered(number + 1, PATIENCE)
        return statistics.median(one.overheads()) * MILLI

    return await _by_ratio(
        bench, load, "单条开销 p50", "ms", orders="[[wait=0.02]]", users=10, most=4.0
    )


async def burst(bench: Bench) -> Figure:
    """Everything at once, and Dify takes its time."""
    size = bench.size
    disorder = 0

    async def load(one: Trial) -> float:
        nonlocal disorder
        for number in range(size.burst_messages):
            one.talk.say(person=number % size.burst_users)
        await one.until_answered(size.burst_messages, PATIENCE)
        if one.program == BRIDGE:
            findings = one.findings()
            disorder = len(findings.reordered) + len(findings.overlapping)
        return one.span()

    figure = await _by_ratio(
        bench,
        load,
        f"{size.burst_messages} 条 {size.burst_users} 人同时,Dify {size.burst_dify:g} 秒",
        "s",
        orders=f"[[wait={size.burst_dify:g}]]",
        users=size.burst_users,
        most=1.15,
    )
    floor = size.burst_messages / size.burst_users * size.burst_dify
    remark = f"下限 {floor:g} s,次序错 {disorder} {figure.remark}".strip()
    return replace(figure, remark=remark, is_kept=figure.is_kept and not disorder)


async def throughput(bench: Bench) -> Figure:
    """Dify answers at once: how many answers a second."""
    size = bench.size

    async def load(one: Trial) -> float:
        for number in range(size.messages):
            one.talk.say(person=number % 100)
        await one.until_answered(size.messages, PATIENCE)
        return size.messages / one.span()

    figure = await _by_ratio(
        bench, load, "每秒回答数,Dify 立即应答", "/s", orders="", users=100, most=NO_BOUND
    )
    least = 0.25
    return replace(
        figure, goal=f"≥ {least} 倍", is_kept=figure.ratio is not None and figure.ratio >= least
    )


async def callbacks(bench: Bench) -> Figure:
    """Callbacks at a steady rate while Dify answers nobody."""
    size = bench.size

    async def load(one: Trial) -> float:
        await one.talk.speak(int(size.rate * size.stalled_seconds), size.rate)
        await one.gateway.courier.idle()
        one.tape.read()
        seconds = [one.ended - one.started for one in one.tape.history().deliveries]
        return percentile(seconds, 0.99) * MILLI

    figure = await _by_ratio(
        bench,
        load,
        f"回调 p99,每秒 {size.rate:g} 条,Dify 停住",
        "ms",
        orders="[[wait=3600]]",
        users=200,
        slots=16,
        most=NO_BOUND,
    )
    most = 25.0
    return replace(figure, goal=f"≤ {most:g} ms", is_kept=figure.bridge <= most)


async def streams(bench: Bench) -> Figure:
    """Memory of one stream, with many in flight."""
    size = bench.size

    async def load(one: Trial) -> float:
        before = one.resident
        await _begin_streams(one, size.streams)
        async with asyncio.timeout(PATIENCE):
            while one.dify.concurrency.active < size.streams:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        return (one.resident - before) / size.streams / KILO

    figure = await _by_ratio(
        bench,
        load,
        f"每个流的内存,{size.streams} 个同时",
        "kB",
        orders="[[size=20]] [[delay=600]]",
        users=size.streams,
        streaming=True,
        most=NO_BOUND,
    )
    most = 150.0
    return replace(figure, goal=f"≤ {most:g} kB", is_kept=figure.bridge <= most)


async def _begin_streams(one: Trial, streams: int) -> None:
    for person in range(streams):
        one.talk.say(person=person)
        if person % 50 == 0:
            await asyncio.sleep(0.05)


async def streaming(bench: Bench) -> Figure:
    """Processor time of one stream of twenty seconds, with many in flight."""
    size = bench.size

    async def load(one: Trial) -> float:
        before = one.processor_seconds
        await _begin_streams(one, size.streams)
        await one.until_answered(size.streams, PATIENCE)
        async with asyncio.timeout(PATIENCE):
            while one.dify.concurrency.active:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)
        return (one.processor_seconds - before) / size.streams * MILLI

    figure = await _by_ratio(
        bench,
        load,
        f"处理器时间,每个流 {STREAM_SECONDS:g} 秒,{size.streams} 个同时",
        "ms",
        orders=f"[[size=2]] [[delay={STREAM_SECONDS * 2 / LETTERS:.3f}]]",
        users=size.streams,
        streaming=True,
        most=NO_BOUND,
    )
    return replace(figure, goal="无")


async def idle(bench: Bench) -> Figure:
    """Memory of a process that has nothing to do."""

    async def load(one: Trial) -> float:
        await asyncio.sleep(2.0)
        return one.resident / MEGA

    figure = await _by_ratio(bench, load, "空闲 RSS", "MB", orders="", users=10, most=NO_BOUND)
    most = 120.0
    return replace(figure, goal=f"≤ {most:g} MB", is_kept=figure.bridge <= most)


MEASURES: dict[str, Measure] = {
    "overhead": overhead,
    "burst": burst,
    "throughput": throughput,
    "callbacks": callbacks,
    "streams": streams,
    "streaming": streaming,
    "idle": idle,
}


async def _by_ratio(
    bench: Bench,
    load: Callable[[Trial], Awaitable[float]],
    name: str,
    unit: str,
    *,
    orders: str,
    users: int,
    most: float,
    slots: int = 0,
    streaming: bool = False,
) -> Figure:
    """The same load on both; the yardstick first."""
    figures, warnings = {}, []
    for program in (YARDSTICK, BRIDGE):
        figures[program], warning = await bench.on(
            program, load, orders=orders, users=users, slots=slots, streaming=streaming
        )
        if warning:
            warnings.append(f"{program}: {warning}")
    ratio = figures[BRIDGE] / figures[YARDSTICK]
    return Figure(
        name=name,
        unit=unit,
        bridge=figures[BRIDGE],
        yardstick=figures[YARDSTICK],
        goal=f"≤ {most:g} 倍",
        is_kept=ratio <= most,
        remark="; ".join(warnings),
    )
