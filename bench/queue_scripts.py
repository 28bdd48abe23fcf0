"""
How long each script of the queue keeps Redis from serving others, with many users and one long list.

``python -m bench queue_scripts --users 10000`` starts a private Redis with so many users who have one
message each, and one user who has as many. Each script is run some times; told are the processor
time of the server for one run (what a busy machine does not change) and the longest run by its clock.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from app.models.flow import Claim, MessageId, WcId
from app.services.queue.protocol import Entry
from app.services.queue.redis_queue import RedisQueue
from app.services.queue.restoring import MESSAGES_AT_ONCE, USERS_AT_ONCE
from app.services.turns import IN_ORDER_AT_ONCE
from app.utils.redis_client import close_redis, make_redis
from app.workers.parking import PAGE
from tests.fixtures.redis_server import RedisServer

HEAVY = WcId("wxid_heavy")
BOT = WcId("wxid_bot")
#: As long as those of the product, and in order.
FIRST_ID = 900_000_000_000_000_000
CLAIMS = 64
HEARTBEATS = 256
PARKED = PAGE
LEASE = 3_600.0
PEER = "dify:default"
SLOWLOG = 1_000

#: What is measured; its argument is what was prepared for it.
Step = Callable[[Any], Awaitable[object]]


async def nothing() -> None:
    """There is nothing to prepare."""


def user(number: int) -> WcId:
    """One of the many."""
    return WcId(f"wxid_{number:06d}")


def entry(of_user: WcId, number: int) -> Entry:
    """A message."""
    message_id = MessageId(FIRST_ID + number)
    return Entry(user=of_user, message_id=message_id, bot_wc_id=BOT, dedupe_key=str(message_id))


class Scripts:
    """The queue with its users, and what is measured on it."""

    def __init__(self, redis: Redis, users: int, runs: int) -> None:
        self._redis = redis
        self._queue = RedisQueue(redis, worker="bench", lease=LEASE)
        self._users = users
        self._runs = runs
        self._number = 10 * users
        self._claims: list[Claim] = []
        self.figures: dict[str, dict[str, float]] = {}

    async def fill(self) -> None:
        """Everybody waits."""
        await self._queue.begin_rebuild("bench", seconds=600)
        many = [entry(user(number), number) for number in range(self._users)]
        heavy = [entry(HEAVY, self._users + number) for number in range(self._users)]
        await self._queue.restore([*heavy, *many])
        await self._queue.finish_rebuild("bench", "bench")

    async def measure(
        self, name: str, step: Step, prepare: Callable[[], Awaitable[Any]] = nothing
    ) -> None:
        """Run one step some times; only its scripts count, not what is prepared for it."""
        taken: list[int] = []
        used = 0.0
        for _ in range(self._runs):
            prepared = await prepare()
            await self._redis.slowlog_reset()
            before = await self._processor()
            await step(prepared)
            used += await self._processor() - before
            taken += [
                one["duration"]
                for one in await self._redis.slowlog_get(SLOWLOG)
                if one["command"].startswith(b"EVAL")
            ]
        self.figures[name] = {
            "processor_ms": round(used / len(taken) * 1000, 2),
            "median_ms": round(statistics.median(taken) / 1000, 2),
            "longest_ms": round(max(taken) / 1000, 2),
        }

    async def _processor(self) -> float:
        info = await self._redis.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    async def run(self) -> None:
        """All of them; each leaves the queue about as it was."""
        await self.fill()
        await self.measure("enqueue, a new user", lambda _: self._enqueue_new())
        await self.measure("enqueue, the long list", lambda _: self._enqueue(HEAVY))
        await self.measure("claim 1", lambda _: self._claim(1), self._give_back)
        await self.measure(f"claim {CLAIMS}", lambda _: self._claim(CLAIMS), self._give_back)
        await self.measure("retry, the long list", self._retry, self._claim_heavy)
        await self.measure("ack, the long list", self._ack, self._claim_heavy)
        await self.measure(f"heartbeat of {HEARTBEATS}", self._queue.heartbeat, self._claim_leased)
        await self.measure(
            f"claim, {HEARTBEATS} leases ran out", lambda _: self._claim(0), self._run_out
        )
        await self.measure(
            f"unpark {PARKED}", lambda _: self._queue.unpark(PEER, PARKED), self._park_many
        )
        await self.measure(f"restore {USERS_AT_ONCE} users", self._queue.restore, self._some)
        await self.measure(
            f"restore {MESSAGES_AT_ONCE}, the long list", self._queue.restore, self._last_of_heavy
        )
        await self.measure("restore 1, the long list", lambda _: self._restore_one())
        await self.measure("rewrite the long list", self._rewrite, self._claim_heavy)
        await self.measure("forget the last of the long list", self._forget, self._last_id)
        await self.measure("repair", lambda _: self._queue.repair())
        everybody = [user(number) for number in range(500)]
        await self.measure("depths of 500", lambda _: self._queue.depths(everybody))

    async def _enqueue_new(self) -> None:
        self._number += 1
        await self._enqueue(user(self._number))

    async def _enqueue(self, of_user: WcId) -> None:
        self._number += 1
        one = entry(of_user, self._number)
        await self._queue.enqueue([one], user_bound=10**6, all_bound=10**8, trusts_seen=False)

    async def _claim(self, count: int) -> list[Claim]:
        found = await self._queue.claim(limit=count, may_take_suspect=True)
        self._claims += found.claims
        return list(found.claims)

    async def _give_back(self) -> None:
        """Whatever is claimed."""
        for claim in self._claims:
            await self._queue.retry(claim, delay=0.0, counts=False)
        self._claims = []

    async def _claim_heavy(self) -> Claim:
        await self._give_back()
        await self._redis.zadd("ecloud:ready", {HEAVY: 1})
        [claim] = await self._claim(1)
        return claim

    async def _retry(self, claim: Claim) -> None:
        await self._queue.retry(claim, delay=0.0, counts=True)

    async def _ack(self, claim: Claim) -> None:
        await self._queue.ack(claim)
        await self._enqueue(HEAVY)

    async def _claim_leased(self) -> list[Claim]:
        await self._give_back()
        return await self._claim(HEARTBEATS)

    async def _run_out(self) -> None:
        claims = await self._claim_leased()
        await self._redis.delete("ecloud:crashes", "ecloud:sole_crashes")
        await self._redis.delete(*(f"ecloud_processing:{claim.user}" for claim in claims))
        ended: dict[Any, float] = {claim.user: 1 for claim in claims}
        await self._redis.zadd("ecloud:leases", ended, xx=True)
        self._claims = []

    async def _park_many(self) -> None:
        await self._give_back()
        for claim in await self._claim(PARKED):
            await self._queue.park(claim, PEER)
        self._claims = []

    async def _some(self) -> list[Entry]:
        start = self._users // 2
        return [entry(user(number), number) for number in range(start, start + USERS_AT_ONCE)]

    async def _last_of_heavy(self) -> list[Entry]:
        first = self._users * 2 - MESSAGES_AT_ONCE
        return [entry(HEAVY, first + number) for number in range(MESSAGES_AT_ONCE)]

    async def _restore_one(self) -> None:
        await self._queue.restore([entry(HEAVY, self._users * 2 - 1)])

    async def _rewrite(self, claim: Claim) -> None:
        ids = await self._redis.lrange(f"ecloud_queue:{HEAVY}", 0, IN_ORDER_AT_ONCE)
        first = [MessageId(int(one)) for one in reversed(ids[:IN_ORDER_AT_ONCE])]
        await self._queue.rewrite(HEAVY, claim.token, first)

    async def _last_id(self) -> MessageId:
        [last] = await self._redis.lrange(f"ecloud_queue:{HEAVY}", -1, -1)
        return MessageId(int(last))

    async def _forget(self, message_id: MessageId) -> None:
        await self._queue.forget(HEAVY, message_id, BOT, "none")


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """One measurement; its figures in milliseconds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = RedisServer(folder)
        server.start()
        stack.callback(server.kill)
        redis = make_redis(server.url, socket_timeout=60.0)
        await redis.config_set("slowlog-max-len", SLOWLOG)
        await redis.config_set("slowlog-log-slower-than", 0)
        scripts = Scripts(redis, arguments.users, arguments.runs)
        await scripts.run()
        await close_redis(redis)
    longest = max(one["processor_ms"] for one in scripts.figures.values())
    return {"users": arguments.users, "most_processor_ms": longest, **scripts.figures}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench queue_scripts", description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=20, help="of each script")
    print(json.dumps(asyncio.run(run(parser.parse_args(arguments))), indent=1))


if __name__ == "__main__":
    main()
