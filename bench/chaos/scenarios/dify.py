"""Dify fails: a part of the calls, then all of them."""

import asyncio
import random
import time
from collections.abc import Sequence

from typing_extensions import override

from bench.chaos.checker import Findings
from bench.chaos.report import Bound, none_of
from bench.chaos.scenario import Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage
from bench.chaos.words import question

#: Faults strike the first try, or the first two.
TRIES = (1, 1, 2)
KEPT = ("lost", "answered_twice", "segments_twice", "reordered", "overlapping", "asked_again")


def draw_fault(rng: random.Random) -> str:
    """The order of one question: 10 % 500, 5 % 429, 5 % cut before any delta, 2 % hang."""
    chance, times = rng.random(), rng.choice(TRIES)
    for share, order in ((0.10, "fail=500"), (0.15, "fail=429"), (0.20, "cut=0"), (0.22, "hang=0")):
        if chance < share:
            return f"[[{order};times={times}]]"
    return ""


class DifyFaults(Scenario):
    """Each question has its own fault, drawn from the seed."""

    name = "dify-faults"
    title = "Dify:10% 500,5% 429,5% 首字前断开,2% 不应答"
    must_show = "全部答一次,死信 0,乱序 0,重叠 0"
    ci = ci_size(messages=30, users=10, rate=40, seconds=3)
    full = Size(messages=2_000, users=100, rate=40, owing=50, seconds=5)
    plant = "bury-at-once"

    @override
    def layout(self, size: Size) -> Layout:
        return Layout(
            roles=("all",) if size.hasten else ("all", "all"),
            variables={"DIFY_BLOCKING_TIMEOUT": f"{size.seconds:g}"},
        )

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        orders = f"[[wait={rng.uniform(0.02, 0.2):.2f}]] {draw_fault(rng)}"
        return question(word, parts=rng.choice((1, 2)), length=60, orders=orders)

    @override
    async def play(self, stage: Stage) -> None:
        await stage.talk.speak(stage.size.messages, stage.size.rate)

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        dead = stage.count("messages", "state = 'dead'")
        return [
            *none_of(findings, *KEPT, "cut_short", "refused"),
            Bound(name="dead", value=dead, most=0),
        ]


class DifyOrder(DifyFaults):
    """The same streamed, and with few people: many wait behind a message that is tried again."""

    name = "dify-faults-streaming"
    title = "同上,流式,人少话多"
    ci = ci_size(messages=30, users=3, rate=40, seconds=3)
    full = Size(messages=2_000, users=20, rate=20, owing=50, seconds=5)
    plant = "retry-forgets-order"

    @override
    def layout(self, size: Size) -> Layout:
        seconds = f"{size.seconds:g}"
        limits = {"DIFY_FIRST_EVENT_TIMEOUT": seconds, "DIFY_STREAMING_TIMEOUT": seconds}
        roles = ("all",) if size.hasten else ("all", "all")
        return Layout(roles=roles, variables=limits, streaming=True)

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        orders = f"[[size=60]] [[delay=0.01]] {draw_fault(rng)}"
        return question(word, parts=rng.choice((1, 2)), length=220, orders=orders)


#: So long after Dify went down its calls are still those that find it out.
NOTICING_SECONDS = 2.0


class DifyDown(Scenario):
    """Every connection to Dify is broken for a while; who calls how often meanwhile?"""

    name = "dify-down"
    title = "Dify 全部连接中断(完整规模 5 分钟)"
    must_show = "全部答一次,死信 0;熔断期间所有副本合计每秒不到 1 次调用"
    ci = ci_size(messages=40, users=20, rate=20, seconds=5, owing=12)
    full = Size(messages=2_000, users=100, rate=20, seconds=300)
    plant = "bury-at-once"

    @override
    async def play(self, stage: Stage) -> None:
        talking = asyncio.create_task(stage.talk.speak(stage.size.messages, stage.size.rate))
        await stage.until_over(stage.size.messages // 4)
        stage.dify.faults.set("down")
        down = time.monotonic()
        await asyncio.sleep(stage.size.seconds)
        stage.dify.faults.clear("down")
        up = time.monotonic()
        await talking
        stage.tape.read()
        since = down + NOTICING_SECONDS
        calls = sum(since <= at < up for at in stage.tape.calls)
        stage.facts["calls/s while down"] = round(calls / (up - since), 2)

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        rate = float(stage.facts.get("calls/s while down", 0.0))
        return [
            *none_of(findings, *KEPT, "cut_short", "refused"),
            Bound(name="dead", value=stage.count("messages", "state = 'dead'"), most=0),
            Bound(name="calls/s while down", value=rate, most=1.0),
        ]
