"""``doctor``: what a start would look at, without a start."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import typer

from app.commands.output import FAILED, AsJson, local_time, print_json

if TYPE_CHECKING:
    from app.services.dify.apps import AskedApp
    from app.services.ecloud.client import EcloudClient
    from app.services.findings import Look
    from config import LoadedSettings, Settings

#: Longest look at one server.
SECONDS = 10.0
#: Spill files may take so much.
SPARE_BYTES = 1024**3
SETTINGS, FOLDER, TRACING, DATABASE, PAUSES, REDIS, DIFY, ECLOUD = (
    "设置",
    "数据目录",
    "追踪",
    "数据库",
    "暂停",
    "Redis",
    "Dify",
    "E云管家",
)


class Outcome(StrEnum):
    """How one check ended."""

    OK = "ok"
    WARNING = "warning"
    #: The bridge would not start, or would not work.
    FAILED = "failed"


_SIGNS = {Outcome.OK: "✓", Outcome.WARNING: "!", Outcome.FAILED: "✗"}


@dataclass(frozen=True, slots=True)
class Checked:
    """One line of the report."""

    name: str
    outcome: Outcome
    text: str
    #: Of a finding: its stable word.
    code: str = ""


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
    from config import SettingsError, load_process_settings  # noqa: PLC0415 - late

    try:
        loaded = load_process_settings()
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
        *await _dify_lines(settings),
        *await _ecloud_lines(settings),
    ]


async def _database_lines(settings: "Settings") -> list[Checked]:
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
    return [*await _lines(DATABASE, look, advice), *await _pause_lines(url)]


async def _pause_lines(url: str) -> list[Checked]:
    """What operators have paused; of a database that cannot be read the other lines tell."""
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
    from app.opening import connect_redis, redis_look  # noqa: PLC0415 - late
    from app.runtime import has_embedded_queue  # noqa: PLC0415 - late
    from app.utils.clock import SystemClock  # noqa: PLC0415 - late

    if has_embedded_queue(settings):
        return [Checked(REDIS, Outcome.OK, "内置在服务进程里")]

    async def look(stack: AsyncExitStack) -> "Look":
        redis = await connect_redis(stack, settings.redis_url.get_secret_value())
        allow_eviction = settings.message_processing.allow_redis_eviction
        return await redis_look(redis, SystemClock(), allow_eviction=allow_eviction)()

    return await _lines(REDIS, look, "请检查 REDIS_URL,以及 Redis 是否已启动")


async def _dify_lines(settings: "Settings") -> list[Checked]:
    from app.peers import look_at_app, make_apps  # noqa: PLC0415 - late
    from app.utils.clock import SystemClock  # noqa: PLC0415 - late
    from app.utils.http_client import make_http_client  # noqa: PLC0415 - late

    async def look(app: "AskedApp", _: AsyncExitStack) -> "Look":
        return await look_at_app(app)

    zone = ZoneInfo(settings.conversations.timezone)
    advice = "请检查应用的地址(含 /v1)和密钥"
    found = []
    async with make_http_client() as http:
        for name, app in make_apps(settings.dify, http, SystemClock(), zone).items():
            found += await _lines(f"{DIFY} {name}", partial(look, app), advice)
    return found


async def _ecloud_lines(settings: "Settings") -> list[Checked]:
    from app.peers import look_at_gateway, make_eclouds  # noqa: PLC0415 - late
    from app.utils.http_client import make_http_client  # noqa: PLC0415 - late

    async def look(ecloud: "EcloudClient", _: AsyncExitStack) -> "Look":
        return await look_at_gateway(settings.ecloud, ecloud)

    found = []
    async with make_http_client() as http:
        eclouds = make_eclouds(settings.ecloud, http)
        for one in eclouds:
            name = ECLOUD if len(eclouds) == 1 else f"{ECLOUD} {one.login.name}"
            advice = f"请检查 {_where_set(one.login.name)}"
            found += await _lines(name, partial(look, one), advice)
    return found


def _where_set(login: str) -> str:
    """Where an operator finds the settings of a login."""
    from settings.sections import DEFAULT_LOGIN  # noqa: PLC0415 - late

    if login == DEFAULT_LOGIN:
        return "ecloud.base_url 和 ecloud.authorization"
    return f"ecloud.accounts 里 {login} 的 base_url 和 authorization"


async def _lines(
    name: str, look: Callable[[AsyncExitStack], Awaitable["Look"]], advice: str
) -> list[Checked]:
    """One server: what was found, or why it could not be asked."""
    from app.opening import StartRefused  # noqa: PLC0415 - late
    from app.services.errors import ServiceError  # noqa: PLC0415 - late

    try:
        async with asyncio.timeout(SECONDS), AsyncExitStack() as stack:
            return _judged(name, await look(stack))
    except StartRefused as error:
        return [Checked(name, Outcome.FAILED, str(error))]
    except (ServiceError, TimeoutError) as error:
        reason = str(error) or f"{SECONDS:g} 秒内没有回应"
        return [Checked(name, Outcome.FAILED, f"连不上({reason})。{advice}。")]


def _judged(name: str, look: "Look") -> list[Checked]:
    from app.services.findings import Effect  # noqa: PLC0415 - late

    lines = [
        Checked(
            name,
            Outcome.FAILED if one.refuses or one.effect is Effect.BROKEN else Outcome.WARNING,
            one.text,
            one.code,
        )
        for one in look.findings
    ]
    return lines or [Checked(name, Outcome.OK, _words(look.identity))]


def _words(facts: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in facts.items())
