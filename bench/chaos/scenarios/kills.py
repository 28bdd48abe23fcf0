"""Our own processes die, or stand still for longer than their leases."""

import random
from collections.abc import Sequence

from typing_extensions import override

from bench.chaos.checker import Findings, Violations, split_by_crash
from bench.chaos.history import Asking
from bench.chaos.report import Bound, at_most, none_of
from bench.chaos.scenario import EMBEDDED, Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage
from bench.chaos.words import question

#: A stream whose last piece came so shortly before a kill may not have been saved whole, unless its
#: user's next question was asked before.
SAVING_SECONDS = 5.0
KEPT = ("lost", "answered_twice", "reordered")


class _Kill(Scenario):
    """kill -9 at random moments; whoever was killed is started again."""

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        if layout.streaming:
            return super().compose(word, rng, layout)
        wait = rng.uniform(0.1, 0.6)
        parts = rng.choice((1, 1, 2, 3))
        return question(word, parts=parts, length=60, orders=f"[[wait={wait:.2f}]]")

    @override
    def schedule(self, stage: Stage) -> str:
        return stage.draw([one.name for one in stage.fleet.members])

    @override
    async def play(self, stage: Stage) -> None:
        only = len(stage.fleet.members) == 1

        async def kill(name: str) -> None:
            if only:
                stage.talk.may_speak.clear()
            await stage.fleet.kill(stage.fleet.named(name))
            stage.talk.may_speak.set()

        await stage.talk_and_strike(kill)

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        kills = [at for at, _ in stage.fleet.kills]
        stage.facts |= {"kills": len(kills), "cut short": len(findings.cut_short)}
        by_kill, others = split_by_crash(stage.tape.history(), kills)
        return [
            *none_of(findings, *KEPT, "overlapping", "asked_again"),
            at_most("segments_twice", others, 0),
            at_most("segments_twice_by_a_kill", by_kill, len(kills)),
            at_most("cut_short_without_a_kill", _unexplained(stage, findings), 0),
        ]


def _unexplained(stage: Stage, findings: Findings) -> Violations:
    """Answers of which only a part arrived, though no kill hit their stream."""
    streams = [one for one in stage.tape.history().askings if stage.layout.streaming]
    kills = [at for at, _ in stage.fleet.kills]
    hit = {one.word for one in streams if any(_may_break(one, at, streams) for at in kills)}
    return tuple(one for one in findings.cut_short if one.word not in hit)


def _may_break(stream: Asking, kill: float, streams: Sequence[Asking]) -> bool:
    """Whether an answer may not have been saved whole when somebody was killed."""
    return stream.started <= kill <= stream.ended + SAVING_SECONDS and not any(
        stream.ended <= later.started < kill and later.word != stream.word
        for later in streams
        if later.user == stream.user
    )


class KillBlocking(_Kill):
    """Whole answers."""

    name = "kill"
    title = "任意一个进程 kill -9,阻塞模式"
    must_show = "丢失 0,乱序 0,重叠 0,每次每号至多重复一段,已保存的回答不再问"
    ci = ci_size(messages=30, users=10, rate=15, strikes=2, lease=2)
    full = Size(messages=10_000, users=200, rate=60, owing=50, strikes=50)
    plant = "ack-before-plan"

    @override
    def layout(self, size: Size) -> Layout:
        small = size.messages < self.full.messages
        return Layout(roles=("all", "all") if small else ("all", "all", "worker", "sender"))


class KillStreaming(_Kill):
    """Answers that are sent while they are written."""

    name = "kill-streaming"
    title = "任意一个进程 kill -9,流式模式"
    must_show = "同上;半截的回答都正在被杀的进程里生成"
    ci = ci_size(messages=30, users=10, rate=15, strikes=2, lease=2)
    full = Size(messages=10_000, users=200, rate=60, owing=50, strikes=50)
    plant = "no-outbox-mark"

    @override
    def layout(self, size: Size) -> Layout:
        small = size.messages < self.full.messages
        roles = ("all", "all") if small else ("all", "all", "worker", "sender")
        return Layout(roles=roles, streaming=True)


class KillEmbedded(_Kill):
    """The one process of the embedded default: everything in memory is gone."""

    name = "kill-embedded"
    title = "内置模式,整个进程 kill -9"
    must_show = "丢失 0,乱序 0,每次至多重复一段"
    engines = (EMBEDDED,)
    ci = ci_size(messages=30, users=10, rate=15, strikes=2, lease=2)
    full = Size(messages=2_000, users=100, rate=30, owing=50, strikes=20)
    plant = "accept-before-store"


class Freeze(Scenario):
    """
    A process stands still for longer than its leases, and then goes on as if nothing had happened.

    It holds its connections to Dify meanwhile, so calls of one user may overlap there; and it may save
    its answer in the very moment in which another one has claimed the message and is about to ask.
    """

    name = "freeze"
    title = "进程停住(SIGSTOP)超过租约再继续"
    must_show = "丢失 0,答两次 0,乱序 0,每次至多重复一段"
    ci = ci_size(messages=40, users=20, rate=20, strikes=1, seconds=4.5, lease=2)
    full = Size(messages=2_000, users=100, rate=30, owing=50, strikes=10, seconds=10)
    plant = "no-fence"

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        wait = rng.uniform(0.3, 0.8)
        return question(word, parts=rng.choice((1, 2)), length=60, orders=f"[[wait={wait:.2f}]]")

    @override
    def schedule(self, stage: Stage) -> str:
        return stage.draw([one.name for one in stage.fleet.members])

    @override
    async def play(self, stage: Stage) -> None:
        async def freeze(name: str) -> None:
            await stage.fleet.freeze(stage.fleet.named(name), stage.size.seconds)

        await stage.talk_and_strike(freeze)

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        stage.facts |= {
            "overlapping": len(findings.overlapping),
            "asked again": len(findings.asked_again),
        }
        # Whoever stood still may hear the answer to its call later than another one repeats it.
        again = (*findings.segments_twice, *findings.resent)
        return [
            *none_of(findings, "lost", "answered_twice", "reordered", "cut_short"),
            at_most("twice or resent", again, len(stage.strikes)),
        ]
