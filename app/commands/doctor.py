"""``doctor``: what a start would look at, without a start."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import typer

from app.commands.output import FAILED, AsJson, local_time, print_json
from app.services.checks.report import Checked, Outcome

if TYPE_CHECKING:
    from app.services.findings import Look
    from config import LoadedSettings, Settings

#: Spill files may take so much.
SPARE_BYTES = 1024**3
SETTINGS, FOLDER, TRACING, DATABASE, PAUSES, REDIS = (
    "设置",
    "数据目录",
    "追踪",
    "数据库",
    "暂停",
    "Redis",
)


_SIGNS = {Outcome.OK: "✓", Outcome.WARNING: "!", Outcome.FAILED: "✗"}


def doctor(*, as_json: AsJson = False) -> None:
    """检查设置、数据目录、追踪(设了才有)、数据库、Redis、Dify 和 E云管家,不启动服务,不提问,也不发送;有 ✗(不能启动或不能工作)时退出码为 1。"""
    lines = _examine()
    is_well = all(one.outcome is not Outcome.FAILED for one in lines)
    if as_json:
        print_json({"ok": is_well, "checks": [asdict(one) for one in lines]})
    else:
        for one in lines:
            typer.echo(f"{_SIGNS[one.outcome]} {one.name}:{one.text}")
    if not is_well:
        raise typer.Exit(FAILED)


def _examine() -> list[Checked]:
    from app.kept_settings import settle_process  # noqa: PLC0415 - late
    from config import SettingsError  # noqa: PLC0415 - late

    try:
        loaded = settle_process()
    except SettingsError as error:
        return [Checked(SETTINGS, Outcome.FAILED, str(error))]
    return [
        *_settings_lines(loaded),
        _folder_line(loaded.settings),
        *_tracing_lines(),
        *asyncio.run(_server_lines(loaded.settings)),
    ]


def _settings_lines(loaded: "LoadedSettings") -> list[Checked]:
    warnings = [Checked(SETTINGS, Outcome.WARNING, text) for text in loaded.warnings]
    settings = loaded.settings
    ecloud_missing = () if settings.ecloud.every_login() else settings.ecloud.missing
    missing = (*ecloud_missing, *settings.dify.missing)
    if missing:
        text = f"还缺少 {'、'.join(missing)}:消息会被接收并等待"
        warnings.append(Checked(SETTINGS, Outcome.WARNING, text))
    return warnings or [Checked(SETTINGS, Outcome.OK, "没有问题")]


def _folder_line(settings: "Settings") -> Checked:
    import os  # noqa: PLC0415 - late

    from app.runtime import data_folder  # noqa: PLC0415 - late
    from app.utils.disk import free_bytes, nearest_folder  # noqa: PLC0415 - late

    folder = data_folder(settings).absolute()
    there = nearest_folder(folder)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        text = f"{folder} 不可写。请检查权限:数据库不可用时消息要写在这里"
        return Checked(FOLDER, Outcome.FAILED, text)
    free = free_bytes(folder)
    outcome = Outcome.OK if free >= SPARE_BYTES else Outcome.WARNING
    spilled = len(list((folder / "spill").glob("*.spill")))
    waiting = f",其中 {spilled} 个溢出文件等待补进数据库" if spilled else ""
    return Checked(FOLDER, outcome, f"{folder} 可写,剩余 {free / 1024**3:.1f} GiB{waiting}")


def _tracing_lines() -> list[Checked]:
    """Nothing where no spans are wanted; nothing is sent."""
    import os  # noqa: PLC0415 - late

    from app.opening import StartRefused  # noqa: PLC0415 - late
    from app.telemetry.opening import load_tracer, refuse_unfit, wanted_by  # noqa: PLC0415 - late

    name = wanted_by(os.environ)
    if not name:
        return []
    try:
        refuse_unfit(os.environ, name)
        load_tracer(name)
    except StartRefused as error:
        return [Checked(TRACING, Outcome.FAILED, str(error))]
    return [Checked(TRACING, Outcome.OK, f"由 {name} 送往收集器(没有试着连接)")]


async def _server_lines(settings: "Settings") -> list[Checked]:
    return [
        *await _database_lines(settings),
        *await _redis_lines(settings),
        *await _peer_lines(settings),
    ]


async def _database_lines(settings: "Settings") -> list[Checked]:
    from app.connection_checks import check  # noqa: PLC0415 - late
    from app.opening import database_look, open_store  # noqa: PLC0415 - late
    from app.utils.db import async_url, is_sqlite  # noqa: PLC0415 - late

    url = settings.database_url.get_secret_value()
    path = async_url(url).database or ""
    if is_sqlite(url) and not _is_file(path):
        # Opening it would make an empty one.
        return [Checked(DATABASE, Outcome.OK, f"{path} 还不存在,启动时自动建立")]

    async def look(stack: AsyncExitStack) -> "Look":
        return await database_look(open_store(stack, url))()

    advice = (
        "请检查 DATABASE_URL、数据库是否已启动;还没有建库就运行 python app/utils/database_init.py"
    )
    return [*await check(DATABASE, look, advice), *await _pause_lines(url)]


async def _pause_lines(url: str) -> list[Checked]:
    """What operators have paused; of a database that cannot be read the other lines tell."""
    from app.connection_checks import SECONDS  # noqa: PLC0415 - late
    from app.models.pause import PauseKind  # noqa: PLC0415 - late
    from app.opening import StartRefused, open_store  # noqa: PLC0415 - late
    from app.services.errors import ServiceError  # noqa: PLC0415 - late
    from app.services.pauses import PauseTable  # noqa: PLC0415 - late

    words = {PauseKind.TAKING: "收取", PauseKind.SENDING: "发送"}
    try:
        async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
            paused = await PauseTable(open_store(stack, url)).read()
    except (StartRefused, ServiceError, TimeoutError):
        return []
    return [
        Checked(
            PAUSES,
            Outcome.WARNING,
            f"{words[one.kind]}从 {local_time(one.began_at)} 起被 {one.operator} 暂停;"
            f"恢复:python -m app.cli resume {one.kind.value}",
            f"paused_{one.kind.value}",
        )
        for one in paused.lasting
        if one.kind in words
    ]


def _is_file(path: str) -> bool:
    return Path(path).is_file()


async def _redis_lines(settings: "Settings") -> list[Checked]:
    from app.connection_checks import check  # noqa: PLC0415 - late
    from app.opening import connect_redis, redis_look  # noqa: PLC0415 - late
    from app.runtime import has_embedded_queue  # noqa: PLC0415 - late
    from app.utils.clock import SystemClock  # noqa: PLC0415 - late

    if has_embedded_queue(settings):
        return [Checked(REDIS, Outcome.OK, "内置在服务进程里")]

    async def look(stack: AsyncExitStack) -> "Look":
        redis = await connect_redis(stack, settings.redis_url.get_secret_value())
        allow_eviction = settings.message_processing.allow_redis_eviction
        return await redis_look(redis, SystemClock(), allow_eviction=allow_eviction)()

    return await check(REDIS, look, "请检查 REDIS_URL,以及 Redis 是否已启动")


async def _peer_lines(settings: "Settings") -> list[Checked]:
    from app.connection_checks import check_apps, check_gateways  # noqa: PLC0415 - late

    zone = ZoneInfo(settings.conversations.timezone)
    return [*await check_apps(settings.dify, zone), *await check_gateways(settings.ecloud)]
