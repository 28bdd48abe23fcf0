"""Redis and MariaDB die, forget, stand still."""

import asyncio
import random
from collections.abc import Sequence

from typing_extensions import override

from bench.chaos.checker import Findings
from bench.chaos.report import Bound, none_of
from bench.chaos.scenario import Layout, Scenario, Size, ci_size
from bench.chaos.stage import Stage
from bench.chaos.words import question

KEPT = ("lost", "answered_twice", "segments_twice", "reordered", "cut_short")


def roles_of(size: Size) -> tuple[str, ...]:
    """One process is enough for a small run."""
    return ("all",) if size.hasten else ("all", "all")


class _Redis(Scenario):
    """Redis is killed at random moments and stays away for a while."""

    @override
    def layout(self, size: Size) -> Layout:
        return Layout(roles=roles_of(size))

    @override
    def schedule(self, stage: Stage) -> str:
        return stage.draw(["redis"])

    @override
    async def play(self, stage: Stage) -> None:
        async def kill(_: str) -> None:
            if stage.redis is None:
                raise RuntimeError("no Redis on the stage")
            stage.redis.kill()
            await asyncio.sleep(stage.rng.uniform(0.1, 1.5 * stage.size.lease))
            await asyncio.to_thread(stage.redis.start)

        await stage.talk_and_strike(kill)

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        stage.facts["overlapping"] = len(findings.overlapping)
        return none_of(findings, *KEPT, "refused")


class RedisKill(_Redis):
    """What it wrote is still there."""

    name = "redis-kill"
    title = "Redis kill -9,有 AOF"
    must_show = "丢失 0,重复 0,乱序 0,回调全部 200"
    ci = ci_size(messages=30, users=10, rate=15, strikes=1, lease=3)
    full = Size(messages=5_000, users=200, rate=50, owing=50, strikes=6)
    plant = "no-rebuild"


class RedisWipe(_Redis):
    """Nothing is on its disk: it comes back empty."""

    name = "redis-wipe"
    title = "Redis kill -9,没有持久化,回来时是空的"
    must_show = "丢失 0,重复 0,乱序 0,回调全部 200"
    ci = ci_size(messages=30, users=10, rate=15, strikes=1, lease=3)
    full = Size(messages=5_000, users=200, rate=50, owing=50, strikes=6)
    plant = "no-rebuild"

    @override
    def layout(self, size: Size) -> Layout:
        return Layout(roles=roles_of(size), redis="bare")


class RedisFailover(Scenario):
    """
    The primary dies, and its replica, which has not heard of the last messages, takes its place.

    What was enqueued meanwhile is missing, what was finished meanwhile stands there again.
    """

    name = "redis-failover"
    title = "Redis 主从切换,丢掉最后若干次入队(完整规模 400 次)"
    must_show = "丢失 0,重复 0,乱序 0,回调全部 200"
    ci = ci_size(messages=80, users=80, rate=40, strikes=1, depth=30, owing=40, lease=3)
    full = Size(messages=5_000, users=200, rate=80, owing=100, strikes=6, depth=400)
    plant = "no-epoch"

    @override
    def layout(self, size: Size) -> Layout:
        # In a small run, too, messages wait that nobody has claimed.
        few = dict.fromkeys(
            ("WORKER_CONCURRENCY", "DIFY_MAX_CONCURRENCY", "DIFY_INITIAL_CONCURRENCY"), "4"
        )
        return Layout(
            roles=roles_of(size),
            redis="pair",
            links=frozenset({"redis"}),
            variables=few if size.hasten else {},
        )

    @override
    def compose(self, word: str, rng: random.Random, layout: Layout) -> str:
        wait = rng.uniform(0.2, 0.8)
        return question(word, parts=rng.choice((1, 2)), length=60, orders=f"[[wait={wait:.2f}]]")

    @override
    def schedule(self, stage: Stage) -> str:
        return stage.draw(["primary"])

    @override
    async def play(self, stage: Stage) -> None:
        talking = asyncio.create_task(stage.talk.speak(stage.size.messages, stage.size.rate))

        async def fail_over(_: str) -> None:
            pair, link = stage.pair, stage.links["redis"]
            if pair is None:
                raise RuntimeError("no pair on the stage")
            await pair.until_synced()
            pair.cut_off()
            enough = len(stage.tape.accepted) + stage.size.depth
            await stage.until(
                lambda: len(stage.tape.accepted) >= enough or talking.done(),
                stage.size.patience,
                "enough callbacks",
            )
            link.target = ("127.0.0.1", pair.fail_over())
            link.reset()
            await asyncio.to_thread(pair.bring_back)

        await stage.strike(fail_over)
        await talking

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        stage.facts["overlapping"] = len(findings.overlapping)
        return none_of(findings, *KEPT, "refused")


class _Mariadb(Scenario):
    """MariaDB has trouble."""

    breaks_mariadb = True

    @override
    def layout(self, size: Size) -> Layout:
        return Layout(roles=roles_of(size))

    @override
    def schedule(self, stage: Stage) -> str:
        return stage.draw(["mariadb"])

    @override
    def bounds(self, stage: Stage, findings: Findings) -> Sequence[Bound]:
        dead = stage.count("messages", "state = 'dead'")
        stage.facts["overlapping"] = len(findings.overlapping)
        return [
            *none_of(findings, *KEPT, "refused", "asked_again"),
            Bound(name="dead", value=dead, most=0),
        ]


class MariadbKill(_Mariadb):
    """It is killed and started again."""

    name = "mariadb-kill"
    title = "MariaDB kill -9"
    must_show = "丢失 0,重复 0,死信 0,回调全部 200"
    ci = ci_size(messages=30, users=10, rate=15, strikes=1, lease=3)
    full = Size(messages=5_000, users=200, rate=50, owing=50, strikes=5)
    plant = "no-spill"

    @override
    async def play(self, stage: Stage) -> None:
        async def kill(_: str) -> None:
            if stage.mariadb is None:
                raise RuntimeError("no MariaDB on the stage")
            await asyncio.to_thread(stage.mariadb.kill)
            await asyncio.sleep(stage.rng.uniform(0.5, 2.0))
            await asyncio.to_thread(stage.mariadb.start)

        await stage.talk_and_strike(kill)


class MariadbFrozen(_Mariadb):
    """It answers nobody for a while; connections stay open."""

    name = "mariadb-frozen"
    title = "MariaDB 停住(完整规模 60 秒)"
    must_show = "丢失 0,重复 0,死信 0,回调全部 200"
    ci = ci_size(messages=40, users=15, rate=6, strikes=1, seconds=6)
    full = Size(messages=5_000, users=200, rate=25, strikes=1, seconds=60)
    plant = "no-spill"

    @override
    async def play(self, stage: Stage) -> None:
        async def freeze(_: str) -> None:
            if stage.mariadb is None:
                raise RuntimeError("no MariaDB on the stage")
            stage.mariadb.suspend()
            await asyncio.sleep(stage.size.seconds)
            stage.mariadb.resume()

        await stage.talk_and_strike(freeze)
