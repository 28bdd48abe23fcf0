"""Two replicas behind the balancer are replaced, one after the other, under load."""

import asyncio
from collections.abc import Sequence

from typing_extensions import override

from bench.chaos.checker import Findings
from bench.chaos.report import Bound, at_most, none_of
from bench.chaos.scenario import Layout, Scenario, Size, ci_size
from bench.chaos.scenarios.duplicates import asked_more_than_once
from bench.chaos.stage import Stage


class Rolling(Scenario):
    """As an operator deploys: stop one, start it anew, wait until it is ready, then the next."""

    name = "rolling"
    title = "负载均衡后的两个副本依次重启"
    must_show = "丢失 0,重复 0,没有一条回调被拒,退出码 0"
    ci = ci_size(messages=30, users=10, rate=8, strikes=1)
    full = Size(messages=5_000, users=200, rate=50, owing=50, strikes=5)
    plant = "no-drain"

    @override
    def layout(self, size: Size) -> Layout:
        return Layout(variables={"SERVER_DRAIN_DELAY": "0.7" if size.hasten else "3"})

    @override
    async def play(self, stage: Stage) -> None:
        talking = asyncio.create_task(stage.talk.speak(stage.size.messages, stage.size.rate))
        failed = 0
        await stage.until_over(2)
        for _ in range(stage.size.strikes):
            for member in stage.fleet.members:
                failed += await member.stop() != 0
                await member.start()
                if stage.balancer is not None:
                    await stage.balancer.until_ready(len(stage.fleet.doors))
        stage.facts["exit codes not 0"] = failed
        stage.facts["said while replacing"] = stage.talk.count
        await talking

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        failed = float(stage.facts.get("exit codes not 0", 1))
        again = asked_more_than_once(stage.tape.history())
        return [
            *super().bounds(stage, findings),
            *none_of(findings, "refused", "cut_short"),
            at_most("asked_more_than_once", again, 0),
            Bound(name="exit codes not 0", value=failed, most=0),
        ]
