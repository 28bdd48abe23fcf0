"""Messages that kill the worker that asks for them."""

import os
import random
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from bench.chaos.checker import Findings, split_by_crash
from bench.chaos.peers import process_of
from bench.chaos.report import Bound, at_most, none_of
from bench.chaos.scenario import Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage
from bench.chaos.words import find_word, question, word_of

POISON = "[[wait=30]]"
#: Crashes as the only suspect until a message is buried, in a CI run.
CI_CRASH_LIMIT = 1
KEPT = ("answered_twice", "reordered", "asked_again", "cut_short")


class Poison(Scenario):
    """The simulated Dify kills the process that asks, found by its TCP port; nothing in ``app`` helps."""

    name = "poison"
    title = "0.5% 的消息使处理它的 worker 死掉"
    must_show = "恰好这些成为死信,其余全部回答,回调全部 200"
    ci = ci_size(messages=30, users=15, rate=30, strikes=1, lease=2, owing=0)
    full = Size(messages=2_000, users=100, rate=10, strikes=10, patience=600)
    plant = "no-crash-limit"
    kills_by_itself = True

    @override
    def layout(self, size: Size) -> Layout:
        if size.hasten:
            limit = {"MESSAGE_PROCESSING_CRASH_LIMIT": str(CI_CRASH_LIMIT)}
            return Layout(roles=("api", "worker", "sender"), variables=limit)
        # Who asks dies; callbacks are for another process.
        return Layout(roles=("api", "worker", "worker", "sender"))

    @override
    def schedule(self, stage: Stage) -> str:
        chosen = sorted(stage.rng.sample(range(stage.size.messages), stage.size.strikes))
        stage.words.update(word_of(number) for number in chosen)
        return f"poisonous: {' '.join(sorted(stage.words))}"

    @override
    async def play(self, stage: Stage) -> None:
        poisonous = stage.words

        def kill_whoever_asks(facts: Mapping[str, Any], peer_port: int) -> None:
            word = find_word(str(facts["query"]))
            if word not in poisonous:
                return
            pids = [one.process.pid for one in stage.fleet.members if one.process is not None]
            pid = process_of(peer_port, server_port=stage.dify.port, among=pids)
            if pid is not None:
                os.kill(pid, signal.SIGKILL)

        def compose(word: str) -> str:
            if word in poisonous:
                stage.tape.excuse(word)
                return question(word, orders=POISON)
            return self.compose(word, stage.rng, stage.layout)

        stage.dify.hear_questions(kill_whoever_asks)
        stage.talk.compose = compose
        await stage.talk.speak(stage.size.messages, stage.size.rate)

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        return question(word, length=60, orders=f"[[wait={rng.uniform(0.02, 0.1):.2f}]]")

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        deaths = [one.at for one in stage.fleet.deaths]
        by_death, others = split_by_crash(stage.tape.history(), deaths)
        stage.facts |= {"deaths": len(deaths), "overlapping": len(findings.overlapping)}
        lost = tuple(one for one in findings.lost if one.word not in stage.words)
        dead = stage.rows("SELECT question FROM messages WHERE state = 'dead'")
        buried = {find_word(row["question"] or "") for row in dead}
        return [
            at_most("lost beside the poison", lost, 0),
            *none_of(findings, *KEPT),
            at_most("segments_twice", others, 0),
            at_most("segments_twice_by_a_death", by_death, len(deaths)),
            Bound(name="refused", value=len(stage.tape.refused), most=0),
            Bound(name="poison not dead", value=len(stage.words - buried), most=0),
            Bound(name="others dead", value=len(buried - stage.words), most=0),
        ]
