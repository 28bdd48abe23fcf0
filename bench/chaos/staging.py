"""Puts up what a run needs, in order, and takes it down again."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.chaos.balancer import Balancer
from bench.chaos.fleet import Fleet
from bench.chaos.proxy import Link
from bench.chaos.recording import Tape
from bench.chaos.scenario import EMBEDDED, Layout, Size
from bench.chaos.servers import MariadbSource, RedisPair, redis_server
from bench.chaos.stage import Run, Stage
from bench.chaos.talk import Talk
from simulators.dify import API_KEY, DifySimulator
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from simulators.ecloud_courier import DELIVERY_LIMIT
from simulators.ecloud_world import World
from tests.fixtures.bridge import Stores, embedded_stores
from tests.fixtures.mariadb import DatabaseServer, MariadbServer
from tests.fixtures.ports import free_port
from tests.fixtures.redis_server import RedisServer

#: More places than that the settings do not allow.
MOST_PLACES = 10_000
#: Seconds for which the gateway of a small run waits for the answer to a callback: it is no measure of
#: the machine.
PATIENT_LIMIT = 30.0


@asynccontextmanager
async def open_stage(run: Run, folder: Path, source: MariadbSource) -> AsyncIterator[Stage]:
    """Put everything up; processes are started last."""
    size, layout = run.size, run.scenario.layout(run.size)
    rng = random.Random(run.seed)
    world = World.crowd(groups=-(-size.users // layout.people), people=layout.people, seed=run.seed)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(
            EcloudSimulator.start(
                world=world,
                seed=run.seed,
                port=free_port(),
                delivery_limit=PATIENT_LIMIT if size.hasten else DELIVERY_LIMIT,
            )
        )
        dify = await stack.enter_async_context(
            DifySimulator.start(seed=run.seed, port=free_port(), name_seconds=0.0)
        )
        parts = await _open_stores(run, layout, folder, source, stack)
        links = {
            name: await _open_link(stack, _target(name, gateway, dify, parts))
            for name in sorted(layout.links - {"callback"})
        }
        stores = parts.stores
        variables = {
            **_settings(size, layout),
            **_addresses(gateway, dify, links),
            **_led(layout.variables, links),
        }
        fleet = Fleet(
            stores=_through(stores, links),
            roles=("all",) if run.engine == EMBEDDED else layout.roles,
            variables=variables,
            plant=run.plant,
            hasten=size.hasten,
        )
        stack.callback(fleet.close)
        stage = Stage(
            run=run,
            layout=layout,
            rng=rng,
            gateway=gateway,
            dify=dify,
            fleet=fleet,
            tape=Tape(gateway, dify),
            talk=Talk(gateway, rng, lambda word: run.scenario.compose(word, rng, layout)),
            stores=stores,
            links=links,
            redis=parts.redis,
            pair=parts.pair,
            mariadb=parts.mariadb if isinstance(parts.mariadb, MariadbServer) else None,
        )
        stage.talk.until_room = stage.until_room
        await run.scenario.prepare(stage)
        await fleet.start()
        await _lead_callbacks(stage, stack)
        yield stage


@dataclass(kw_only=True)
class _Parts:
    stores: Stores
    redis: RedisServer | None = None
    pair: RedisPair | None = None
    mariadb: DatabaseServer | None = None


async def _open_stores(
    run: Run, layout: Layout, folder: Path, source: MariadbSource, stack: AsyncExitStack
) -> _Parts:
    if run.engine == EMBEDDED:
        return _Parts(stores=embedded_stores(folder))
    mariadb = await asyncio.to_thread(source.get)
    pair = None
    if layout.redis == "pair":
        pair = RedisPair(folder)
        stack.callback(pair.close)
        await asyncio.to_thread(pair.start)
        redis = pair.primary
    else:
        aof = layout.redis == "aof"
        redis = stack.enter_context(redis_server(folder / "redis", aof=aof))
    stores = Stores(
        name="servers",
        database_url=await asyncio.to_thread(source.fresh_database),
        redis_url=redis.url,
        folder=folder,
        redis=redis,
    )
    return _Parts(stores=stores, redis=redis, pair=pair, mariadb=mariadb)


def _target(name: str, gateway: EcloudSimulator, dify: DifySimulator, parts: _Parts) -> int:
    """Port behind a link."""
    if name == "redis" and parts.redis is not None:
        return parts.redis.port
    if name == "mysql" and parts.mariadb is not None:
        return parts.mariadb.port
    return gateway.port if name == "gateway" else dify.port


async def _open_link(stack: AsyncExitStack, port: int) -> Link:
    return await stack.enter_async_context(
        Link("127.0.0.1", port, listen_port=free_port()).running()
    )


def _through(stores: Stores, links: dict[str, Link]) -> Stores:
    """The addresses of the stores as the processes are given them."""
    changed = Stores(**vars(stores))
    if "redis" in links:
        changed.redis_url = f"redis://127.0.0.1:{links['redis'].port}/0"
    if "mysql" in links:
        host = stores.database_url.rsplit("@", 1)[1].split("/")[0]
        changed.database_url = stores.database_url.replace(
            f"@{host}/", f"@127.0.0.1:{links['mysql'].port}/"
        )
    return changed


def _addresses(
    gateway: EcloudSimulator, dify: DifySimulator, links: dict[str, Link]
) -> dict[str, str]:
    """Where the processes find the simulators."""
    ecloud = links["gateway"].port if "gateway" in links else gateway.port
    chat = links["dify"].port if "dify" in links else dify.port
    return {
        "ECLOUD_BASE_URL": f"http://127.0.0.1:{ecloud}",
        "ECLOUD_AUTHORIZATION": AUTHORIZATION,
        "DIFY_BASE_URL": f"http://127.0.0.1:{chat}/v1",
        "DIFY_API_KEY": API_KEY,
    }


def _led(variables: dict[str, str], links: dict[str, Link]) -> dict[str, str]:
    """Settings in which ``{second}`` stands for the address of a second app."""
    if "second" not in links:
        return variables
    url = f"http://127.0.0.1:{links['second'].port}/v1"
    return {name: value.replace("{second}", url) for name, value in variables.items()}


def _settings(size: Size, layout: Layout) -> dict[str, str]:
    """The settings of the harness: no pacing, short leases, room for everybody."""
    slots = str(min(2 * size.users, MOST_PLACES))
    return {
        "ECLOUD_SENDS_PER_MINUTE": "0",
        "ECLOUD_SEND_GAP": "0",
        "ECLOUD_TIMEOUT": f"{size.ecloud_timeout:g}",
        "DIFY_MAX_CONCURRENCY": slots,
        "DIFY_INITIAL_CONCURRENCY": slots,
        "DIFY_STREAMING_ENABLED": str(layout.streaming).lower(),
        "WORKER_CONCURRENCY": slots,
        "MESSAGE_PROCESSING_LEASE": f"{size.lease:g}",
        "MESSAGE_PROCESSING_RETRY_DELAY": f"{size.retry_delay:g}",
        "MESSAGE_PROCESSING_MAX_QUEUE_LENGTH": "1000000",
        "REPLY_MAX_LENGTH": "300" if layout.streaming else "80",
        "SERVER_DRAIN_DELAY": "0",
        "LOG_LEVEL": "INFO",
    }


async def _lead_callbacks(stage: Stage, stack: AsyncExitStack) -> None:
    """Gateway → link → balancer → whoever takes callbacks, as far as there is more than one."""
    doors = stage.fleet.doors
    url = doors[0]
    if len(doors) > 1:
        stage.balancer = await stack.enter_async_context(Balancer(doors).running())
        await stage.balancer.until_ready(len(doors))
        url = stage.balancer.url
    if "callback" in stage.layout.links:
        link = await _open_link(stack, int(url.rsplit(":", 1)[1]))
        stage.links["callback"] = link
        url = f"http://127.0.0.1:{link.port}"
    stage.gateway.callback_url = f"{url}/api/v1/callback"
