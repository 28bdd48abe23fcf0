"""What the queue does when Redis is wiped, killed, full, slow, read-only or gone."""

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.services.errors import QueueUnavailable
from app.services.queue.protocol import Enqueued, Entry
from app.services.queue.redis_queue import RedisQueue
from app.utils.embedded_redis import EmbeddedRedis
from app.utils.redis_client import close_redis, make_redis, open_redis
from bench.chaos.proxy import Link
from tests.contracts.queue_steps import ANN, BEN, entry, put, take, take_one
from tests.fixtures.ports import free_port
from tests.fixtures.redis import RedisEngine, open_queue
from tests.fixtures.redis_server import RedisServer

needs_redis = pytest.mark.redis


@asynccontextmanager
async def queue_on(url: str, **options: Any) -> AsyncIterator[RedisQueue]:
    """An open queue with the key names of the README."""
    async with open_redis(url) as redis:
        queue = RedisQueue(redis, worker="worker-1", **options)
        await open_queue(queue)
        yield queue


async def drain(queue: RedisQueue) -> dict[str, list[int]]:
    """Take and acknowledge everything; the ids of each user in the order they came."""
    order: dict[str, list[int]] = {}
    while claims := await take(queue):
        for claim in claims:
            assert await queue.ack(claim)
            order.setdefault(claim.user, []).append(claim.message_id)
    return order


async def until_back(queue: RedisQueue) -> None:
    """Wait until the server answers again."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await queue.ping()
            except QueueUnavailable:
                await asyncio.sleep(0.02)


# Wipe and restart


@needs_redis
async def test_wiped_redis_gives_nothing_until_it_is_rebuilt(redis_server: RedisServer) -> None:
    """FLUSHALL: no epoch, no claims; after the rebuild the same order and greater fences."""
    async with queue_on(redis_server.url) as queue, open_redis(redis_server.url) as redis:
        await put(queue, ANN, 1, 2, 3)
        before = await take_one(queue)
        await redis.flushall()

        assert await queue.epoch() is None
        assert await take(queue) == []
        assert await queue.heartbeat([before]) == [before]
        assert not await queue.ack(before)
        assert await put(queue, ANN, 4) == [Enqueued.REBUILDING]

        assert await queue.begin_rebuild("me", seconds=10)
        await queue.restore([entry(ANN, 1, crashes=1), entry(ANN, 2), entry(ANN, 3), entry(ANN, 4)])
        assert await queue.finish_rebuild("me", "e2")
        await redis.zadd("ecloud:ready", {ANN: 1}, xx=True)
        again = await take_one(queue)
        assert (again.message_id, again.crashes) == (1, 1)
        assert again.fence > before.fence
        assert await queue.ack(again)
        assert await drain(queue) == {ANN: [2, 3, 4]}


@needs_redis
async def test_killed_redis_with_a_log_loses_nothing_and_asks_for_a_rebuild(
    redis_aof_server: RedisServer,
) -> None:
    """After kill -9 and start all lists are there, in order; the new replication id is noticed."""
    async with queue_on(redis_aof_server.url) as queue:
        entries = [entry(f"user-{number % 7}", number) for number in range(1, 301)]
        await queue.enqueue(entries, user_bound=0, all_bound=0)
        for claim in await take(queue):
            assert await queue.ack(claim)
        redis_aof_server.kill()
        with pytest.raises(QueueUnavailable):
            await put(queue, ANN, 1000)
        with pytest.raises(QueueUnavailable):
            await queue.claim(limit=1, may_take_suspect=True)
        redis_aof_server.start()
        await until_back(queue)

        assert await queue.epoch() is None
        await open_queue(queue, "after")
        assert await queue.epoch() == "after"
        order = await drain(queue)
        assert sum(map(len, order.values())) == 293
        assert all(ids == sorted(ids) for ids in order.values())
        assert (await queue.figures()).waiting == 0


@needs_redis
async def test_restarted_redis_that_knows_no_scripts_is_served_at_once(
    redis_aof_server: RedisServer,
) -> None:
    """Single scripts and whole batches bring their source along; order is kept."""
    async with queue_on(redis_aof_server.url) as queue:
        await put(queue, ANN, 1)
        # The first calls find connections that the server closed while they were idle.
        await asyncio.to_thread(redis_aof_server.restart)
        assert await put(queue, ANN, 2, 3, 4) == [Enqueued.ADDED] * 3
        await asyncio.to_thread(redis_aof_server.restart)
        assert await drain(queue) == {ANN: [1, 2, 3, 4]}


async def test_flushed_scripts_are_sent_again(redis_engine: RedisEngine) -> None:
    """``SCRIPT FLUSH`` by an operator is no failure, whatever comes next."""
    queue = await redis_engine.queue()
    for number in range(1, 9):
        await redis_engine.redis.script_flush()
        await put(queue, ANN, number * 2, number * 2 + 1)
    await redis_engine.redis.script_flush()

    assert await drain(queue) == {ANN: list(range(2, 18))}


@needs_redis
async def test_worker_survives_a_redis_that_comes_and_goes(redis_aof_server: RedisServer) -> None:
    """Five kills while messages go in and out: each is done, in order, and none is lost."""
    accepted: dict[str, list[int]] = {}
    done: dict[str, list[int]] = {}
    stop = asyncio.Event()

    async def feed(queue: RedisQueue) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            user = f"user-{number % 5}"
            while True:
                try:
                    await put(queue, user, number)
                    break
                except QueueUnavailable:
                    await asyncio.sleep(0.01)
            accepted.setdefault(user, []).append(number)

    async def work(queue: RedisQueue) -> None:
        while not (stop.is_set() and done == accepted):
            try:
                for claim in await take(queue):
                    if claim.message_id not in done.setdefault(claim.user, []):
                        done[claim.user].append(claim.message_id)
                    await queue.ack(claim)
                await queue.wait(0.05)
            except QueueUnavailable:
                await asyncio.sleep(0.01)

    async with (
        queue_on(redis_aof_server.url, lease=0.2) as queue,
        asyncio.timeout(60),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(feed(queue))
        tasks.create_task(work(queue))
        for kills in range(5):
            while sum(map(len, done.values())) < 12 * (kills + 1):
                await asyncio.sleep(0.01)
            redis_aof_server.kill()
            redis_aof_server.start()
        stop.set()

    assert done == accepted
    assert sum(map(len, done.values())) > 50


# Full, slow, read-only


@needs_redis
async def test_full_redis_refuses_new_messages_and_can_be_drained(tmp_path: Path) -> None:
    """noeviction: nothing is half done, and what is there gets out."""
    server = RedisServer(tmp_path, options=["--maxmemory-policy", "noeviction"])
    server.start()
    try:
        async with queue_on(server.url) as queue, open_redis(server.url) as redis:
            await put(queue, ANN, *range(1, 51))
            await put(queue, BEN, *range(51, 101))
            await queue.retry((await take(queue, 1))[0], delay=0, counts=True)
            await redis.config_set("maxmemory", "1mb")

            with pytest.raises(QueueUnavailable, match="OutOfMemory"):
                await put(queue, ANN, 200)
            assert await redis.get("ecloud:seen:wxid_bot:200") is None
            assert (await queue.figures()).waiting == 100
            order = await drain(queue)
            assert order == {ANN: list(range(1, 51)), BEN: list(range(51, 101))}
            assert await queue.repair() == 0
    finally:
        server.kill()


@needs_redis
async def test_replica_is_unavailable(redis_server: RedisServer) -> None:
    """A demoted server answers, but takes no writes."""
    async with queue_on(redis_server.url) as queue, open_redis(redis_server.url) as redis:
        await redis.slaveof("127.0.0.1", free_port())
        with pytest.raises(QueueUnavailable):
            await put(queue, ANN, 1)
        await redis.slaveof()

        assert await queue.epoch() is None
        assert await put(queue, ANN, 1) == [Enqueued.ADDED]


async def test_server_that_never_answers_is_unavailable_in_time() -> None:
    """No call hangs."""
    silent = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    redis = make_redis(f"redis://127.0.0.1:{port}", socket_timeout=0.1)
    queue = RedisQueue(redis, worker="w")
    started = time.monotonic()
    for call in (queue.ping, queue.epoch, queue.figures, queue.repair):
        with pytest.raises(QueueUnavailable):
            await call()
    with pytest.raises(QueueUnavailable):
        await queue.wait(5)
    with pytest.raises(QueueUnavailable):
        await put(queue, ANN, 1)

    assert time.monotonic() - started < 4.9
    await close_redis(redis)
    silent.set()
    server.close()


async def test_absent_server_is_unavailable() -> None:
    """Connection refused, for every method."""
    async with open_redis(f"redis://127.0.0.1:{free_port()}") as redis:
        queue = RedisQueue(redis, worker="w")
        for call in (queue.ping, queue.epoch, queue.figures, queue.repair):
            with pytest.raises(QueueUnavailable):
                await call()
        with pytest.raises(QueueUnavailable):
            await queue.restore([entry(ANN, 1)])
        with pytest.raises(QueueUnavailable):
            await queue.raise_fence(1)


# The README's commands


def redis_cli(port: int, *words: str) -> str:
    """What redis-cli prints."""
    binary = shutil.which("redis-cli")
    if binary is None:
        pytest.skip("redis-cli is not installed on this machine")
    command = [binary, "-h", "127.0.0.1", "-p", str(port), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout


async def check_readme_commands(queue: RedisQueue, port: int) -> None:
    """KEYS, LLEN, KEYS, GET as the README shows them."""
    await put(queue, "wxid_1", 11, 12)
    claim = await take_one(queue)
    said = [
        (await asyncio.to_thread(redis_cli, port, *words)).strip()
        for words in (
            ("KEYS", "ecloud_queue:*"),
            ("LLEN", "ecloud_queue:wxid_1"),
            ("KEYS", "ecloud_processing:*"),
            ("GET", "ecloud_processing:wxid_1"),
        )
    ]

    assert said == ["ecloud_queue:wxid_1", "2", "ecloud_processing:wxid_1", claim.token]
    await queue.ack(claim)
    assert (await asyncio.to_thread(redis_cli, port, "LLEN", "ecloud_queue:wxid_1")).strip() == "1"
    left = await asyncio.to_thread(redis_cli, port, "KEYS", "ecloud_processing:*")
    assert left.strip() == ""


async def test_readme_commands_on_the_embedded_engine() -> None:
    """The port shows the state of the process."""
    async with EmbeddedRedis("embedded://127.0.0.1:0") as embedded:
        queue = RedisQueue(embedded.client(), worker="w")
        await open_queue(queue)
        assert embedded.port
        await check_readme_commands(queue, embedded.port)


@needs_redis
async def test_readme_commands_on_a_real_server(redis_server: RedisServer) -> None:
    """The same words, the same answers."""
    async with queue_on(redis_server.url) as queue:
        await check_readme_commands(queue, redis_server.port)


# Workers that die


WORKER = """
import asyncio, os, sys
from app.services.queue.redis_queue import RedisQueue
from app.utils.redis_client import open_redis

async def main():
    # One file that all append to: pipes would come in any order.
    journal = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
    async with open_redis(sys.argv[1]) as redis:
        queue = RedisQueue(redis, worker=f"pid-{os.getpid()}", lease=0.4)
        while True:
            for claim in (await queue.claim(limit=3, may_take_suspect=True)).claims:
                if claim.message_id % 40 == 7 and claim.crashes < 3:
                    os.kill(os.getpid(), 9)
                await asyncio.sleep(0.002)
                # What an outside effect guarded by the lease would do.
                if not await queue.heartbeat([claim]):
                    os.write(journal, f"{claim.user} {claim.message_id}\\n".encode())
                    print("done", flush=True)
                    await queue.ack(claim)
            await queue.wait(0.05)

asyncio.run(main())
"""


@needs_redis
async def test_messages_of_killed_workers_are_done_by_others_in_order(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Worker processes kill themselves at some messages; all 200 are done, each user in order."""
    async with queue_on(redis_server.url, lease=0.4) as queue:
        entries: list[Entry] = [entry(f"user-{number % 10}", number) for number in range(1, 201)]
        await queue.enqueue(entries, user_bound=0, all_bound=0)
        journal = tmp_path / "done"
        journal.touch()
        running: set[asyncio.subprocess.Process] = set()
        deaths = 0

        def is_complete() -> bool:
            return len(set(journal.read_text().splitlines())) == 200

        async def keep_a_worker() -> None:
            nonlocal deaths
            while not is_complete():
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", WORKER, redis_server.url, str(journal)),
                    stdout=asyncio.subprocess.PIPE,
                )
                running.add(process)
                assert process.stdout
                async for _ in process.stdout:
                    if is_complete():
                        for each in running:
                            each.kill()
                running.discard(process)
                await process.wait()
                deaths += 1

        async with asyncio.timeout(90):
            await asyncio.gather(*(keep_a_worker() for _ in range(3)))

        lines = [line.split() for line in journal.read_text().splitlines()]
        for number in range(10):
            ids = [int(id_) for user, id_ in lines if user == f"user-{number}"]
            assert list(dict.fromkeys(ids)) == sorted(set(ids))
        assert {int(id_) for _, id_ in lines} == set(range(1, 201))
        assert deaths > 15


@needs_redis
def test_connections_that_were_reset_while_idle_are_an_outage_and_not_a_fault_of_ours(
    redis_server: RedisServer,
) -> None:
    """On the loop that processes run on: it raises another error there than asyncio's own."""
    uvloop = pytest.importorskip("uvloop")

    async def reset_and_ask() -> None:
        link = Link("127.0.0.1", redis_server.port)
        async with link.running(), queue_on(f"redis://127.0.0.1:{link.port}/0") as queue:
            await asyncio.gather(*(queue.ping() for _ in range(4)), put(queue, ANN, 1))
            link.reset()
            await asyncio.sleep(0.1)  # the loop hears of it; sooner is another case, and no error
            outcomes = await asyncio.gather(
                *(queue.parked_peers() for _ in range(4)), return_exceptions=True
            )
            assert all(isinstance(one, QueueUnavailable | dict) for one in outcomes), outcomes
            await until_back(queue)
            assert await drain(queue) == {ANN: [1]}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(reset_and_ask())
