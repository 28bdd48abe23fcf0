"""Each link in turn: late, narrow, broken, half open."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from typing_extensions import override

from bench.chaos.checker import Findings
from bench.chaos.report import Bound, none_of
from bench.chaos.scenario import Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage

#: One way; there and back it is 300 ms.
LATENCY = 0.15
BYTES_PER_SECOND = 50_000.0
RESETS = 2
RESET_PAUSE = 0.3
#: Late and narrow for so long, as a part of the time the link is half open.
CALM_SHARE = 0.4
#: One message in so many is said and answered before.
FIRST_SHARE = 10


class _LinkScenario(Scenario):
    """The link is narrow, then late and reset, then half open; meanwhile everybody talks."""

    link: ClassVar[str]
    must_show = "丢失 0,乱序 0,死信 0,自己恢复"
    ci = ci_size(messages=30, users=10, rate=5, seconds=2.5, owing=0)
    full = Size(messages=1_000, users=100, rate=8, seconds=60, patience=300)

    @override
    def layout(self, size: Size) -> Layout:
        # One call at most is lost in a half-open link: with the resets that is three tries of four.
        seconds = f"{size.seconds * 1.5:g}"
        return Layout(
            roles=("all",) if size.hasten else ("all", "all"),
            links=frozenset({self.link}),
            variables={"DIFY_BLOCKING_TIMEOUT": seconds},
        )

    @override
    def schedule(self, stage: Stage) -> str:
        calm = stage.size.seconds * CALM_SHARE
        return (
            f"{self.link}: {BYTES_PER_SECOND:g} B/s for {calm:g} s, {2 * LATENCY * 1000:g} ms for "
            f"{calm:g} s with {RESETS} resets, half open for {stage.size.seconds:g} s"
        )

    @override
    async def play(self, stage: Stage) -> None:
        first = stage.size.messages // FIRST_SHARE
        await stage.talk.speak(first, stage.size.rate)
        await stage.until_over(first)
        async with asyncio.TaskGroup() as group:
            group.create_task(stage.talk.speak(stage.size.messages - first, stage.size.rate))
            group.create_task(self._trouble(stage))
        await self._afterwards(stage)

    async def _trouble(self, stage: Stage) -> None:
        link, calm = stage.links[self.link], stage.size.seconds * CALM_SHARE
        link.bandwidth = BYTES_PER_SECOND
        await asyncio.sleep(calm)
        link.bandwidth, link.latency = 0.0, LATENCY
        await asyncio.sleep(calm)
        # While it is late: what is under way is lost, and some of it had arrived already.
        for _ in range(RESETS):
            link.reset()
            await asyncio.sleep(RESET_PAUSE)
        link.latency = 0.0
        await link.half_open(stage.size.seconds)

    async def _afterwards(self, stage: Stage) -> None:
        """What somebody outside does when the link is well again."""

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        stage.facts |= {
            "connections": stage.links[self.link].taken,
            "overlapping": len(findings.overlapping),
        }
        names = (
            "lost",
            "answered_twice",
            "segments_twice",
            "reordered",
            "asked_again",
            "cut_short",
        )
        return [
            *none_of(findings, *names),
            Bound(name="dead", value=stage.count("messages", "state = 'dead'"), most=0),
        ]


class LinkCallback(_LinkScenario):
    """Callbacks that got no 200 are posted again afterwards; some of them had arrived."""

    name = "link-callback"
    title = "链路 网关→服务:延迟、限速、断开、半开"
    link = "callback"
    plant = "no-dedupe"

    @override
    async def _afterwards(self, stage: Stage) -> None:
        await stage.gateway.courier.idle()
        stage.tape.read()
        for word in sorted(stage.tape.refused):
            stage.talk.deliver_again(word)

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        return [*super().bounds(stage, findings), *none_of(findings, "refused")]


class LinkDify(_LinkScenario):
    """Calls hang, break and are repeated."""

    name = "link-dify"
    title = "链路 服务→Dify:延迟、限速、断开、半开"
    link = "dify"
    plant = "bury-at-once"


class LinkGateway(_LinkScenario):
    """What was under way when it broke is undecided, and may be sent once more."""

    name = "link-gateway"
    title = "链路 服务→网关:延迟、限速、断开、半开"
    link = "gateway"
    plant = "failed-send-drops"


class LinkRedis(_LinkScenario):
    """Leases cannot be renewed while it is half open."""

    name = "link-redis"
    title = "链路 服务→Redis:延迟、限速、断开、半开"
    link = "redis"
    plant = "no-sweep"


class LinkMysql(_LinkScenario):
    """What the database does not take in time goes to the spill file."""

    name = "link-mysql"
    title = "链路 服务→MySQL:延迟、限速、断开、半开"
    link = "mysql"
    plant = "no-spill"
