"""
A start with many messages waiting: time until ready, memory, and what callbacks feel meanwhile.

``python -m bench backlog --engine embedded --messages 100000 --users 1000`` puts the rows into the
database, then starts one bridge beside a Dify that answers nobody, and watches it: when it takes
callbacks, when it claims, its memory at most, how long callbacks take, how much processor it uses.
On servers Redis is emptied afterwards, too, and in the end the bridge is stopped while it rebuilds.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from redis import Redis

from app.models.flow import GroupMessage, MessageId, Origin, Question, WcId
from app.models.message import MESSAGES
from app.services.inbox_rows import make_row
from app.utils.db import make_engines
from app.utils.ids import IdMaker
from bench.burst import callback, opened_stores
from bench.chaos.fleet import resident_bytes
from bench.figures import percentile
from bench.memory import MEGABYTE, peak_bytes
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from simulators.ecloud_world import World
from tests.fixtures.bridge import Bridge, Stores, peer_variables

CHUNK = 2_000
#: Dify answers nobody.
STALLED = "[[wait=3600]]"
#: Callbacks a second while it is watched.
RATE = 20
LOOK_SECONDS = 0.02
REBUILDING = "index.rebuilding"
#: So long after its beginning a rebuild is in its middle.
MIDDLE_SECONDS = 0.5
PATIENCE = 600.0


@dataclass(kw_only=True)
class Watched:
    """One bridge and what stands around it."""

    bridge: Bridge
    world: World
    dify: DifySimulator
    stores: Stores
    #: Callbacks that did not get 200.
    refusals: int = 0

    @property
    def pid(self) -> int:
        """Its process."""
        if self.bridge.process is None:
            raise RuntimeError("it does not run")
        return self.bridge.process.pid


async def fill(stores: Stores, world: World, messages: int, users: int) -> None:
    """Rows as callbacks would have left them, every user in turn."""
    reader, writer = make_engines(stores.database_url)
    ids = IdMaker()
    rows = []
    for number in range(messages):
        rows.append(_row(world, number, number % users, ids))
        if len(rows) == CHUNK or number == messages - 1:
            async with writer.begin() as connection:
                await connection.execute(MESSAGES.insert(), rows)
            rows = []
    await writer.dispose()
    await reader.dispose()


def _row(world: World, number: int, user: int, ids: IdMaker) -> dict[str, Any]:
    account = world.first_account()
    group = list(world.groups.values())[user]
    person = next(iter(group.members.keys() - world.accounts.keys()))
    origin = Origin(
        bot_wc_id=WcId(account.wc_id),
        account="1",
        w_id=account.w_id,
        message_type="80001",
        from_user=WcId(person),
        group_id=WcId(group.group_id),
        msg_id=str(number),
        new_msg_id=str(4_000_000_000_000_000_000 + number),
        timestamp=int(time.time()),
    )
    message = GroupMessage(origin=origin, text=f"{number}: {STALLED}", sender_name="")
    question = Question(message=message, text=message.text)
    raw = callback(number, user, world, STALLED)
    row = make_row(
        question,
        raw,
        message_id=MessageId(ids.next()),
        received_at=datetime.now(UTC),
        keep_ignored_text=False,
    )
    return row.columns


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def listening(one: Watched, begun: float) -> float:
    """Seconds until it takes callbacks."""
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(one.bridge.url + "/readyz") as response:
                    await response.read()
                    return time.perf_counter() - begun
            except aiohttp.ClientError:
                await asyncio.sleep(LOOK_SECONDS)


async def asked(one: Watched, before: int, begun: float) -> float:
    """Seconds until Dify is asked something new."""
    async with asyncio.timeout(PATIENCE):
        while len(one.dify.questions()) <= before:
            await asyncio.sleep(LOOK_SECONDS)
    return time.perf_counter() - begun


async def callbacks(one: Watched, seconds: float, first: int) -> list[float]:
    """Seconds of each callback, one after another at a steady rate, late ones included."""
    taken: list[float] = []

    async def post(http: aiohttp.ClientSession, number: int) -> None:
        body = callback(number, number % len(one.world.groups), one.world, STALLED)
        started = time.perf_counter()
        async with http.post(one.bridge.callback_url, data=body) as response:
            await response.read()
        taken.append(time.perf_counter() - started)
        one.refusals += response.status != HTTPStatus.OK

    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        for number in range(round(seconds * RATE)):
            group.create_task(post(http, first + number))
            await asyncio.sleep(1 / RATE)
    return taken


def shown(seconds: list[float]) -> dict[str, float]:
    """Milliseconds of callbacks."""
    return {
        "median": round(percentile(seconds, 0.5) * 1000, 1),
        "p99": round(percentile(seconds, 0.99) * 1000, 1),
        "longest": round(max(seconds) * 1000, 1),
    }


async def idle_memory(one: Watched) -> float:
    """What it needs without anything waiting."""
    one.bridge.launch()
    await listening(one, 0.0)
    await callbacks(one, 2.0, 0)
    await asyncio.sleep(2.0)
    used = resident_bytes(one.pid)
    one.bridge.kill()
    return used / MEGABYTE


async def watch(one: Watched, seconds: float) -> dict[str, object]:
    """Start it with everything waiting, and look on."""
    begun = time.perf_counter()
    one.bridge.launch()
    first = len(one.dify.questions())
    claiming = asyncio.create_task(asked(one, first, begun))
    figures: dict[str, object] = {"ready_s": round(await listening(one, begun), 1)}
    felt = await callbacks(one, 3.0, 10_000_000)
    figures["first_claim_s"] = round(await claiming, 1)
    figures["processor_s_at_first_claim"] = round(processor_seconds(one.pid), 1)
    figures["callback_ms_at_first"] = shown(felt)
    used = processor_seconds(one.pid)
    figures["callback_ms"] = shown(await callbacks(one, seconds, 11_000_000))
    figures["processor_share"] = round((processor_seconds(one.pid) - used) / seconds, 2)
    return figures


async def wiped(one: Watched, port: int) -> dict[str, object]:
    """Empty Redis and look on until it claims again."""
    before = len(one.dify.questions())
    begun = time.perf_counter()
    with Redis(port=port) as client:
        client.flushall()
    claiming = asyncio.create_task(asked(one, before, begun))
    felt = await callbacks(one, 5.0, 12_000_000)
    return {
        "claims_after_wipe_s": round(await claiming, 1),
        "callback_ms_while_rebuilt": shown(felt),
    }


async def stopped(one: Watched) -> dict[str, object]:
    """Start once more and stop it in the middle of its rebuild."""
    if one.stores.redis is not None:
        with Redis(port=one.stores.redis.port) as client:
            client.flushall()
    # Without an app there is no work to be finished: what is left is the rebuild.
    seen = one.bridge.log.count(REBUILDING)
    one.bridge.launch(SERVER_DRAIN_DELAY="0", DIFY_BASE_URL="", LOG_LEVEL="INFO")
    async with asyncio.timeout(PATIENCE):
        while one.bridge.log.count(REBUILDING) == seen:
            await asyncio.sleep(LOOK_SECONDS)
    await asyncio.sleep(MIDDLE_SECONDS)
    begun = time.perf_counter()
    code = await one.bridge.stop()
    left = one.bridge.log.count("index.left")
    seconds = round(time.perf_counter() - begun, 1)
    return {"stop_s": seconds, "exit_code": code, "left_in_the_middle": bool(left)}


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """One measurement; its figures."""
    world = World.crowd(groups=arguments.users, people=1)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        gateway = await stack.enter_async_context(EcloudSimulator.start(world=world))
        dify = await stack.enter_async_context(DifySimulator.start())
        stores = await stack.enter_async_context(opened_stores(arguments.engine, folder))
        bridge = Bridge(stores, {**peer_variables(gateway, dify), "LOG_LEVEL": "WARNING"})
        bridge.variables["MESSAGE_PROCESSING_MAX_QUEUE_LENGTH"] = "1000000"
        stack.callback(bridge.kill)
        one = Watched(bridge=bridge, world=world, dify=dify, stores=stores)
        idle = await idle_memory(one)
        await fill(stores, world, arguments.messages, arguments.users)
        figures = await watch(one, arguments.seconds)
        if stores.redis is not None:
            figures |= await wiped(one, stores.redis.port)
        used, peak = resident_bytes(one.pid) / MEGABYTE, peak_bytes(one.pid) / MEGABYTE
        bridge.kill()
        figures |= await stopped(one)
    return {
        "engine": arguments.engine,
        "messages": arguments.messages,
        "users": arguments.users,
        "idle_mb": round(idle, 1),
        "grown_mb": round(used - idle, 1),
        "callbacks_without_200": one.refusals,
        "peak_grown_mb": round(peak - idle, 1),
        **figures,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench backlog", description=__doc__)
    parser.add_argument("--engine", choices=["embedded", "servers"], default="servers")
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=75.0, help="of watching")
    print(json.dumps(asyncio.run(run(parser.parse_args(arguments))), ensure_ascii=False))


if __name__ == "__main__":
    main()
