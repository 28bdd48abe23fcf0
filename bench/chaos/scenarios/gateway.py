"""The gateway fails while it sends, or the account is away."""

import asyncio
from collections.abc import Sequence

from typing_extensions import override

from bench.chaos.checker import Findings
from bench.chaos.report import Bound, none_of
from bench.chaos.scenario import Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage

LATE, BROKEN = 0.05, 0.05
KEPT = (
    "lost",
    "answered_twice",
    "segments_twice",
    "reordered",
    "overlapping",
    "asked_again",
    "cut_short",
)


class _Gateway(Scenario):
    """What may arrive twice is what was undecided, and nothing else."""

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        return none_of(findings, *KEPT)


class GatewayFaults(_Gateway):
    """5 % of the sends arrive without an answer in time, 5 % with a 502; for a while all are refused."""

    name = "gateway-faults"
    title = "网关:5% 发出后超时,5% 502,限速"
    must_show = "丢失 0,次序不变,重复不多于不确定的段"
    ci = ci_size(messages=30, users=10, rate=20, strikes=2, ecloud_timeout=1.5)
    full = Size(messages=2_000, users=100, rate=10, owing=50, strikes=3, patience=600)
    plant = "failed-send-drops"

    @override
    def layout(self, size: Size) -> Layout:
        return Layout(roles=("all",))

    @override
    async def play(self, stage: Stage) -> None:
        faults = stage.gateway.faults
        faults.set("sent_but_timeout", 0, probability=LATE)
        faults.set("bad_gateway", probability=BROKEN)
        talking = asyncio.create_task(stage.talk.speak(stage.size.messages, stage.size.rate))
        await stage.until_over(stage.size.messages // 3)
        faults.set("throttle", 0, times=stage.size.strikes)
        await talking


class GatewayOffline(_Gateway):
    """The account is logged out under load and comes back with another wId."""

    name = "gateway-offline"
    title = "微信号离线(完整规模 5 分钟),以新的 wId 回来"
    must_show = "丢失 0,次序不变,重复 0"
    ci = ci_size(messages=30, users=10, rate=30, seconds=2, owing=0)
    full = Size(messages=2_000, users=100, rate=200, seconds=300, patience=600)
    plant = "failed-send-drops"

    @override
    def layout(self, size: Size) -> Layout:
        return Layout(roles=("all",) if size.hasten else ("all", "all"))

    @override
    async def play(self, stage: Stage) -> None:
        talking = asyncio.create_task(stage.talk.speak(stage.size.messages, stage.size.rate))
        await stage.until_over(stage.size.messages // 4)
        await stage.until(
            lambda: len(stage.tape.accepted) > len(stage.tape.begun), 5, "an answer that is owed"
        )
        stage.gateway.set_online(None, online=False)
        await asyncio.sleep(stage.size.seconds)
        stage.gateway.set_online(None, online=True)
        stage.gateway.rotate()
        await talking
        # Nobody is heard while the account is away: its new wId is learnt from what comes then.
        stage.talk.say()
