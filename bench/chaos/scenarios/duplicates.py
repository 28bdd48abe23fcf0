"""The gateway delivers callbacks more than once."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from typing_extensions import override

from bench.chaos.checker import Findings, Violation, Violations
from bench.chaos.history import History
from bench.chaos.report import Bound, at_most, none_of
from bench.chaos.scenario import Scenario, Size, ci_size
from bench.chaos.stage import Stage

MOST_COPIES = 4
LATER_SECONDS = 1.0
AT_ONCE, LATER, AFTER_RESTART, NEW_LOGIN, ONCE = "at once", "later", "restart", "new wId", "once"
WAYS = (AT_ONCE, AT_ONCE, LATER, AFTER_RESTART, NEW_LOGIN, ONCE)


def asked_more_than_once(history: History) -> Violations:
    """Words that Dify was asked for more than once."""
    counts = Counter(one.word for one in history.askings)
    return tuple(Violation(word, f"asked {n} times") for word, n in counts.items() if n > 1)


class Duplicates(Scenario):
    """
    One to five deliveries of each callback.

    At once over two replicas, a second later, after one of the processes was started anew, and under
    another wId after a new login of the account.
    """

    name = "duplicates"
    title = "每条回调投递 1–5 次:同时到两个副本、一秒后、重启后、换 wId"
    must_show = "每条只问一次 Dify,只答一次"
    ci = ci_size(messages=24, users=8, rate=30)
    full = Size(messages=2_000, users=100, rate=50, owing=50)
    plant = "no-dedupe"

    @override
    def schedule(self, stage: Stage) -> str:
        return "one of " + ", ".join(dict.fromkeys(WAYS)) + " for each callback, by chance"

    @override
    async def play(self, stage: Stage) -> None:
        ways = await self._say_everything(stage)
        await asyncio.sleep(LATER_SECONDS)
        self._again(stage, ways[LATER])
        # Whoever is stopped in the middle of a question leaves it to be asked again.
        await stage.until_over(stage.talk.count)
        restarted = stage.fleet.members[0]
        await restarted.stop()
        await restarted.start()
        if stage.balancer is not None:
            await stage.balancer.until_ready(len(stage.fleet.doors))
        self._again(stage, ways[AFTER_RESTART])
        stage.gateway.rotate()
        self._again(stage, ways[NEW_LOGIN])
        await stage.gateway.courier.idle()
        await asyncio.sleep(LATER_SECONDS)

    async def _say_everything(self, stage: Stage) -> dict[str, list[str]]:
        ways: dict[str, list[str]] = {way: [] for way in WAYS}
        for _ in range(stage.size.messages):
            way = stage.rng.choice(WAYS)
            if way == AT_ONCE:
                copies = stage.rng.randint(1, MOST_COPIES)
                stage.gateway.faults.set("duplicate", copies, times=1)
            ways[way].append(stage.talk.say())
            await asyncio.sleep(1 / stage.size.rate)
            await stage.until_room()
        await stage.gateway.courier.idle()
        return ways

    def _again(self, stage: Stage, words: Sequence[str]) -> None:
        for word in words:
            stage.talk.deliver_again(word, copies=stage.rng.randint(1, MOST_COPIES))

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        history = stage.tape.history()
        stage.facts["deliveries"] = len(history.deliveries)
        return [
            *super().bounds(stage, findings),
            *none_of(findings, "refused"),
            at_most("asked_more_than_once", asked_more_than_once(history), 0),
        ]
