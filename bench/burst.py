"""
A burst of callbacks through the whole bridge, and what became of each.

``python -m bench burst --engine servers --users 100 --messages 500`` starts the simulators, private
Redis and MariaDB (or the embedded default) and one bridge, posts the callbacks, and reads what
became of them from the simulators' logs only.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import aiohttp

from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_world import World
from tests.fixtures.bridge import Bridge, Stores, embedded_stores, peer_variables, server_stores
from tests.fixtures.mariadb import MariadbServer
from tests.fixtures.redis_server import RedisServer


@asynccontextmanager
async def opened_stores(engine: str, folder: Path) -> AsyncIterator[Stores]:
    """Private stores of one kind."""
    if engine == "embedded":
        yield embedded_stores(folder)
        return
    with ExitStack() as stack:
        (folder / "redis").mkdir()
        redis = RedisServer(folder / "redis", aof=True)
        redis.start()
        stack.callback(redis.kill)
        mariadb = MariadbServer()
        mariadb.start()
        stack.callback(mariadb.close)
        yield server_stores(folder, redis, mariadb.url(mariadb.create_database()))


def callback(number: int, user: int, world: World, question: str) -> bytes:
    """One callback of one of the users, each in a group of its own."""
    account = world.first_account()
    group = list(world.groups.values())[user]
    person = next(iter(group.members.keys() - world.accounts.keys()))
    data = {
        "content": f"{number}: {question}",
        "fromGroup": group.group_id,
        "fromUser": person,
        "msgId": 1_685_000_000 + number,
        "newMsgId": 1_497_474_118_261_484_795 + number,
        "self": False,
        "timestamp": int(time.time()),
        "toUser": account.wc_id,
        "wId": account.w_id,
    }
    return json.dumps(
        {"account": "1", "messageType": "80001", "wcId": account.wc_id, "data": data}
    ).encode()


async def post_all(bridge: Bridge, bodies: list[bytes], parallel: int) -> list[float]:
    """Seconds of each callback."""
    seconds: list[float] = []
    gate = asyncio.Semaphore(parallel)

    async def post(http: aiohttp.ClientSession, body: bytes) -> None:
        async with gate:
            started = time.perf_counter()
            async with http.post(bridge.callback_url, data=body) as response:
                await response.read()
                if response.status != HTTPStatus.OK:
                    raise RuntimeError(f"callback answered {response.status}")
            seconds.append(time.perf_counter() - started)

    connector = aiohttp.TCPConnector(limit=parallel)
    async with aiohttp.ClientSession(connector=connector) as http:
        await asyncio.gather(*(post(http, body) for body in bodies))
    return seconds


def disorder(dify: DifySimulator) -> int:
    """Questions of one user that were asked before an earlier one."""
    last: dict[str, int] = defaultdict(lambda: -1)
    wrong = 0
    for record in dify.questions():
        number = int(record.facts["query"].split(":")[0])
        wrong += number < last[record.facts["user"]]
        last[record.facts["user"]] = number
    return wrong


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """One burst; its figures."""
    world = World.crowd(groups=arguments.users, people=1)
    with tempfile.TemporaryDirectory() as name:
        async with (
            EcloudSimulator.start(world=world) as gateway,
            DifySimulator.start() as dify,
            opened_stores(arguments.engine, Path(name)) as stores,
        ):
            bridge = Bridge(stores, peer_variables(gateway, dify))
            try:
                await bridge.start(
                    DIFY_MAX_CONCURRENCY=str(2 * arguments.users),
                    DIFY_INITIAL_CONCURRENCY=str(2 * arguments.users),
                    DIFY_STREAMING_ENABLED=str(arguments.streaming).lower(),
                    MESSAGE_PROCESSING_LEASE="30",
                    LOG_LEVEL="WARNING",
                )
                question = f"你好 [[text=好的]] [[wait={arguments.dify_seconds}]]"
                bodies = [
                    callback(number, number % arguments.users, world, question)
                    for number in range(arguments.messages)
                ]
                started = time.perf_counter()
                callbacks = await post_all(bridge, bodies, arguments.parallel)
                posted = time.perf_counter() - started
                await gateway.wait_for_sent(arguments.messages, seconds=600)
                total = time.perf_counter() - started
            except BaseException:
                print(bridge.log[-6000:])
                raise
            finally:
                await bridge.stop()
            ordered = sorted(callbacks)
            return {
                "engine": arguments.engine,
                "messages": arguments.messages,
                "users": arguments.users,
                "callback_median_ms": round(statistics.median(ordered) * 1000, 1),
                "callback_p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
                "posted_s": round(posted, 2),
                "answered_s": round(total, 2),
                "answers_per_s": round(arguments.messages / total, 1),
                "sent": len(gateway.sent),
                "asked": len(dify.questions()),
                "disordered": disorder(dify),
                "overlaps": dify.concurrency.overlaps,
            }


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench burst", description=__doc__)
    parser.add_argument("--engine", choices=["embedded", "servers"], default="servers")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--parallel", type=int, default=50)
    parser.add_argument("--dify-seconds", type=float, default=0.0)
    parser.add_argument("--streaming", action="store_true")
    print(json.dumps(asyncio.run(run(parser.parse_args(arguments))), ensure_ascii=False))


if __name__ == "__main__":
    main()
