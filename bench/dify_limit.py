"""
Several workers at one Dify that answers only so many questions at once.

``python -m bench dify_limit --workers 2 --capacity 10`` starts the simulators, private Redis and
MariaDB and the workers, which share one limit, and tells how much of the capacity they used, how
often they asked in vain, and where the limit lay. ``--waits``: what is too much is not refused but waits
without a byte, as at the stock image. ``--down`` lets Dify answer 503 to everything.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import mean

from app.utils.redis_client import close_redis, make_redis
from bench.burst import callback, opened_stores, post_all
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_world import World
from tests.fixtures.bridge import Bridge, Stores, peer_variables

UNFINISHED = "SELECT 1 FROM messages WHERE state NOT IN ('done', 'dead') LIMIT 1"
OUTCOMES = "SELECT state, count(*) AS n FROM messages GROUP BY state"
POLL_SECONDS = 0.2


async def started(
    stores: Stores, variables: dict[str, str], arguments: argparse.Namespace, stack: AsyncExitStack
) -> Bridge:
    """The first bridge; it takes the callbacks, sends, and is a worker like the others."""
    bridges = [Bridge(stores, dict(variables)) for _ in range(arguments.workers)]
    for number, bridge in enumerate(bridges):
        stack.callback(bridge.kill)
        await bridge.start(
            *(["--role", "worker"] if number else []),
            DIFY_MAX_CONCURRENCY=str(arguments.max_concurrency),
            MESSAGE_PROCESSING_RETRY_DELAY=str(arguments.retry_delay),
            LOG_LEVEL="WARNING",
        )
    return bridges[0]


async def until_finished(bridge: Bridge, redis_url: str, limits: list[float]) -> dict[str, int]:
    """How many messages ended in which state, as soon as none is left; notes the limit meanwhile."""
    redis = make_redis(redis_url)
    while await bridge.rows(UNFINISHED):
        found = await redis.hget("ecloud:limit:default", "limit")
        if found:
            limits.append(float(found))
        await asyncio.sleep(POLL_SECONDS)
    await close_redis(redis)
    return {row["state"]: row["n"] for row in await bridge.rows(OUTCOMES)}


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """One run; its figures."""
    world = World.crowd(groups=arguments.users, people=1)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = await stack.enter_async_context(EcloudSimulator.start(world=world))
        kind = "connections" if arguments.waits else "max_active"
        dify = await stack.enter_async_context(DifySimulator.start(**{kind: arguments.capacity}))
        if arguments.down:
            dify.faults.set("http_503")
        stores = await stack.enter_async_context(opened_stores("servers", folder))
        bridge = await started(stores, peer_variables(gateway, dify), arguments, stack)
        question = f"你好 [[text=好的]] [[wait={arguments.dify_seconds}]]"
        bodies = [
            callback(number, number % arguments.users, world, question)
            for number in range(arguments.messages)
        ]
        begun = time.perf_counter()
        await post_all(bridge, bodies, parallel=50)
        limits: list[float] = []
        outcomes = await until_finished(bridge, stores.redis_url, limits)
        total = time.perf_counter() - begun
    asked = len(dify.questions())
    second_half = limits[len(limits) // 2 :] or [0.0]
    shortest = arguments.messages * arguments.dify_seconds / arguments.capacity
    return {
        "workers": arguments.workers,
        "capacity": arguments.capacity,
        "outcomes": outcomes,
        "seconds": round(total, 1),
        "shortest_s": round(shortest, 1),
        "capacity_used": round(shortest / total, 2),
        "asked": asked,
        "asked_in_vain": asked - outcomes.get("done", 0),
        "at_once": dify.concurrency.max_active,
        "limit_mean": round(mean(second_half), 1),
        "limit_to_capacity": round(mean(second_half) / arguments.capacity, 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench dify_limit", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--capacity", type=int, default=10)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--messages", type=int, default=600)
    parser.add_argument("--dify-seconds", type=float, default=1.0)
    parser.add_argument("--max-concurrency", type=int, default=64)
    parser.add_argument("--retry-delay", type=float, default=5.0)
    parser.add_argument("--waits", action="store_true")
    parser.add_argument("--down", action="store_true")
    print(json.dumps(asyncio.run(run(parser.parse_args(arguments))), ensure_ascii=False))


if __name__ == "__main__":
    main()
