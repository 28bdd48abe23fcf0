"""Who waits for whom."""

import asyncio
import random
from bisect import bisect
from collections.abc import Sequence

from typing_extensions import override

from bench.chaos.checker import Findings
from bench.chaos.history import Asking, History, fates
from bench.chaos.report import Bound
from bench.chaos.scenario import EMBEDDED, SERVERS, Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage
from bench.chaos.waiting_line import LineWatch, turns_while_waiting
from bench.chaos.words import question

#: Questions that each process has at Dify at once.
PLACES = 4
#: Of others' questions so many fail once and are tried again after a while.
FAILING = 0.03
#: The one with many messages speaks in so many groups in turn: what one person says in one group within
#: an hour is one row of the journal, written anew with every turn.
GROUPS = 100


class Fairness(Scenario):
    """
    Many users with one message each beside one who has as many as all of them together.

    While anybody else waits, that one never gets two turns: over all replicas, and also when
    others have to be tried again.
    """

    name = "fairness"
    title = "一万个用户各一条,旁边一个用户一万条"
    must_show = "有别人在等时,那个用户从不得到两次"
    ci = ci_size(messages=60, users=61, rate=400, depth=40)
    full = Size(messages=10_000, users=10_001, rate=400, depth=10_000, patience=1_800)
    engines = (SERVERS, EMBEDDED)
    plant = "unfair"

    @override
    def layout(self, size: Size) -> Layout:
        slots = {"DIFY_MAX_CONCURRENCY": str(PLACES), "DIFY_INITIAL_CONCURRENCY": str(PLACES)}
        return Layout(roles=("all", "all"), variables=slots)

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        fault = " [[fail=500;times=1]]" if rng.random() < FAILING else ""
        return question(word, length=60, orders=f"[[wait=0.03]]{fault}")

    @override
    async def prepare(self, stage: Stage) -> None:
        if stage.redis is not None:
            stage.line = LineWatch(stage.redis.port)

    @override
    async def play(self, stage: Stage) -> None:
        size = stage.size
        busy = stage.talk.people[0][1]
        stage.facts["busy"] = busy
        groups = list(stage.gateway.world.groups.values())[:GROUPS]
        for group in groups:
            group.members.setdefault(busy, "")
        for number in range(max(size.messages, size.depth)):
            if number < size.depth:
                stage.talk.say(person=0, group=groups[number % len(groups)].group_id)
            if number < size.messages:
                stage.talk.say(person=number + 1)
            if number % 20 == 0:
                await asyncio.sleep(40 / size.rate)
                stage.tape.read()

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        busy = str(stage.facts["busy"])
        places = PLACES * len(stage.fleet.members)
        calls = turns_meanwhile(stage.tape.history(), busy, places=places)
        stage.facts["most calls while one waited"] = max(calls.values(), default=0)
        own = super().bounds(stage, findings)
        if stage.line is None:
            return [*own, _passed_over(calls)]
        turns = turns_while_waiting(stage.line.steps(), busy)
        stage.facts["most turns while one waited"] = max(turns.values(), default=0)
        unseen = stage.size.users - 1 - len(turns) if stage.line.is_whole else stage.size.users
        return [*own, _passed_over(turns), Bound(name="not seen in line", value=unseen, most=0)]


def _passed_over(turns: dict[str, int]) -> Bound:
    passed = [f"{one}: {count} turns meanwhile" for one, count in turns.items() if count > 1]
    return Bound(name="passed over", value=len(passed), most=0, detail=tuple(passed))


def turns_meanwhile(history: History, busy: str, *, places: int) -> dict[str, int]:
    """
    Turns that *busy* got while others waited: for each of their words, from its 200 to its first
    question to Dify (pure).

    Where nobody tells the order of the claims (no Redis server), calls stand for them. They follow a
    little later: a claim may be overtaken by the others that are under way at the same time, so the
    last *places* calls before its own do not count.
    """
    askings = sorted(history.askings, key=lambda one: one.started)
    turns = [number for number, one in enumerate(askings) if one.user == busy]
    first: dict[str, int] = {}
    for number, one in enumerate(askings):
        first.setdefault(one.word, number)
    found = {}
    for fate in fates(history).values():
        asked = first.get(fate.word)
        if fate.user == busy or fate.accepted_at is None or asked is None:
            continue
        begun = bisect(askings, fate.accepted_at, key=_started)
        found[fate.word] = max(0, bisect(turns, asked - places - 1) - bisect(turns, begun - 1))
    return found


def _started(asking: Asking) -> float:
    return asking.started
