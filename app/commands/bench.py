"""``bench``: how fast the stores of this installation are, on which everything waits."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import AsJson, fail, load, print_json, print_table

if TYPE_CHECKING:
    from config import Settings

SECONDS = 60.0
#: Middle values, in ms, up to which a store is no brake; a message waits for three commits in a row.
GOOD_MS = {"commit": 10.0, "redis": 2.0, "fsync": 10.0}
NAMES = {"commit": "数据库提交", "redis": "Redis 往返", "fsync": "磁盘落盘(溢出文件)"}
PROBE = "bench"


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """Milliseconds of one kind of step, sorted."""

    name: str
    milliseconds: tuple[float, ...]

    def at(self, share: float) -> float:
        """The nearest rank."""
        return self.milliseconds[round((len(self.milliseconds) - 1) * share)]

    @property
    def is_good(self) -> bool:
        """Whether it is no brake."""
        return self.at(0.5) <= GOOD_MS[self.name]


def bench(
    rounds: Annotated[int, typer.Option("--rounds", min=10, max=10_000, help="每项量几次")] = 200,
    *,
    as_json: AsJson = False,
) -> None:
    """量数据库提交、Redis 往返和磁盘落盘要多久(只写一行自己的数据,最后删掉);服务可以开着。"""
    from app.services.errors import ServiceError  # noqa: PLC0415 - late

    settings = load().settings
    try:
        found = asyncio.run(_measure(settings, rounds))
    except (ServiceError, TimeoutError, OSError) as error:
        fail(f"没有量完:{str(error) or type(error).__name__}。请先运行 python -m app.cli doctor。")
    if as_json:
        print_json({one.name: _shown(one) for one in found})
        return
    print_table(
        ("项目", "中位", "p95", "最长", ""),
        [
            (
                NAMES[one.name],
                *(f"{one.at(share):.2f} ms" for share in (0.5, 0.95, 1.0)),
                "好" if one.is_good else f"慢(中位最好在 {GOOD_MS[one.name]:g} ms 以内)",
            )
            for one in found
        ],
    )


def _shown(one: Timed) -> dict[str, Any]:
    ranks = {"p50_ms": 0.5, "p95_ms": 0.95, "max_ms": 1.0}
    return {
        **{name: round(one.at(share), 3) for name, share in ranks.items()},
        "is_good": one.is_good,
    }


async def _measure(settings: "Settings", rounds: int) -> list[Timed]:
    from app.runtime import data_folder, has_embedded_queue  # noqa: PLC0415 - late

    found = [await _commits(settings, rounds)]
    if not has_embedded_queue(settings):
        found.append(await _round_trips(settings, rounds))
    return [*found, await _syncs(data_folder(settings), rounds)]


async def _timed(name: str, step: Callable[[int], Awaitable[Any]], rounds: int) -> Timed:
    taken = []
    async with asyncio.timeout(SECONDS):
        for number in range(rounds):
            started = time.perf_counter()
            await step(number)
            taken.append((time.perf_counter() - started) * 1000)
    return Timed(name=name, milliseconds=tuple(sorted(taken)))


async def _commits(settings: "Settings", rounds: int) -> Timed:
    from sqlalchemy import delete  # noqa: PLC0415 - late

    from app.models.console import StatsMinute  # noqa: PLC0415 - late
    from app.opening import open_store  # noqa: PLC0415 - late
    from app.services.store import upsert  # noqa: PLC0415 - late

    # A minute that there never was.
    row = {"minute": -1, "name": PROBE}
    async with AsyncExitStack() as stack:
        store = open_store(stack, settings.database_url.get_secret_value())

        async def commit(number: int) -> None:
            async with store.write() as connection:
                values = {**row, "value": number}
                changes = {"value": number}
                statement = upsert(
                    connection, StatsMinute, values, key=["minute", "name"], changes=changes
                )
                await connection.execute(statement)

        try:
            return await _timed("commit", commit, rounds)
        finally:
            mine = (StatsMinute.minute == -1) & (StatsMinute.name == PROBE)
            async with store.write() as connection:
                await connection.execute(delete(StatsMinute).where(mine))


async def _round_trips(settings: "Settings", rounds: int) -> Timed:
    from redis.exceptions import RedisError  # noqa: PLC0415 - late

    from app.opening import connect_redis  # noqa: PLC0415 - late
    from app.services.errors import QueueUnavailable  # noqa: PLC0415 - late

    async with AsyncExitStack() as stack:
        redis = await connect_redis(stack, settings.redis_url.get_secret_value())

        async def ping(_: int) -> None:
            try:
                await redis.ping()
            except RedisError as error:
                raise QueueUnavailable(f"Redis({type(error).__name__})") from error

        return await _timed("redis", ping, rounds)


async def _syncs(folder: Path, rounds: int) -> Timed:
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    path = folder / f".{PROBE}-{os.getpid()}"
    try:
        with path.open("wb", buffering=0) as file:

            async def sync(_: int) -> None:
                file.write(b"x" * 500)
                await asyncio.to_thread(os.fsync, file.fileno())

            return await _timed("fsync", sync, rounds)
    finally:
        path.unlink(missing_ok=True)
