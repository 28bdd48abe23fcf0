"""
What a start opens: the data folder, the schema, the database, Redis.

What cannot be opened because of how it is set up ends in one sentence for the operator. A server
that is merely away is no such thing: it may come back.
"""

import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

from loguru import logger
from redis.asyncio import Redis
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.services.checks.database_facts import read_database
from app.services.checks.database_rules import judge_database
from app.services.checks.inspection import Inspection, LookAt
from app.services.checks.redis_rules import judge_redis
from app.services.findings import Look
from app.services.queue.server_facts import read_server
from app.services.store import Store
from app.utils.clock import Clock
from app.utils.database_faults import UNKNOWN_DATABASE, NotMigrated, explain
from app.utils.db import is_sqlite, make_engines, make_parent_folder, sync_url
from app.utils.lock import single_process_lock
from app.utils.redis_client import open_redis
from app.utils.revisions import current_revision, known_revisions, pending_revisions

LOCK_FILE = "embedded.lock"
#: Names of the two stores, in the health report and in logs.
DATABASE, REDIS = "database", "redis"


class StartRefused(RuntimeError):
    """The process cannot start as it is set up; the text is for the operator, in Chinese."""


def hold_data_folder(stack: AsyncExitStack, folder: Path) -> None:
    """
    Keep other processes out of the folder as long as the stack is open.

    Raises:
        StartRefused: the folder cannot be written.
        AlreadyRunning: another process holds it.
    """
    try:
        stack.enter_context(single_process_lock(folder / LOCK_FILE))
    except OSError as error:
        raise StartRefused(
            f"数据目录 {folder.absolute()} 不可写({error.strerror})。"
            "请检查它的权限,或改 DATABASE_URL 里的路径。"
        ) from error


def prepare_schema(url: str) -> None:
    """
    SQLite is migrated here; a server only by the operator's command, so that replicas may differ.

    Raises:
        StartRefused: the database is none, is damaged or from a newer program, or lacks migrations.
    """
    if is_sqlite(url):
        _migrate_file(url)
        return
    try:
        pending = pending_revisions(url)
    except DBAPIError as error:
        _look_at_absence(error)
    except Exception as error:
        # Not the server: the driver did not get as far as to call it.
        raise StartRefused(
            f"DATABASE_URL 不能用({type(error).__name__}: {error})。"
            "请检查地址里的参数,以及 ssl_ca 等所指的文件。"
        ) from error
    else:
        if pending:
            raise StartRefused(
                f"数据库缺少迁移 {'、'.join(pending)}。请先运行:python app/utils/database_init.py"
            )


def _migrate_file(url: str) -> None:
    try:
        make_parent_folder(sync_url(url))
        if current_revision(url) != known_revisions()[-1]:
            from app.utils.database_init import migrate  # noqa: PLC0415 - loads Alembic

            migrate(url)
    except (OSError, DBAPIError, sqlite3.Error, NotMigrated) as error:
        known = explain(error, sync_url(url))
        raise StartRefused(known or f"数据库迁移失败(DATABASE_URL):{error}") from error


def _look_at_absence(error: DBAPIError) -> None:
    """Go on without the server, unless it says that there is no such database."""
    arguments = getattr(error.orig, "args", ())
    if UNKNOWN_DATABASE in arguments[:1]:
        raise StartRefused(
            "数据库还没有建立。请先运行:python app/utils/database_init.py"
        ) from error
    logger.warning("database.not_checked", error=type(error).__name__, reason=arguments)


def open_store(stack: AsyncExitStack, url: str) -> Store:
    """
    The database, closed with the stack.

    Raises:
        StartRefused: no engine can be built from the address.
    """
    try:
        store = Store(*make_engines(url))
    except (OSError, SQLAlchemyError, TypeError, ValueError) as error:
        raise StartRefused(f"DATABASE_URL 不能用({error})。请检查地址里的参数。") from error
    stack.push_async_callback(store.close)
    return store


async def connect_redis(stack: AsyncExitStack, url: str) -> Redis:
    """
    The client of Redis, closed with the stack; nothing is sent yet.

    Raises:
        StartRefused: no client can be built from the address, or the embedded port is taken.
    """
    try:
        return await stack.enter_async_context(open_redis(url))
    except ValueError as error:
        raise StartRefused(f"{error}。请检查 REDIS_URL。") from error
    except OSError as error:
        raise StartRefused(
            f"不能监听 REDIS_URL 里的端口({error.strerror})。请停掉占用它的程序,或换一个端口。"
        ) from error


def database_look(store: Store) -> LookAt:
    """How the database is looked at."""
    known = known_revisions()

    async def look() -> Look:
        return judge_database(await read_database(store), known)

    return look


def redis_look(redis: Redis, clock: Clock, *, allow_eviction: bool) -> LookAt:
    """How a Redis server is looked at; the embedded one is a part of this program."""

    async def look() -> Look:
        return judge_redis(await read_server(redis, clock), allow_eviction=allow_eviction)

    return look


async def refuse_unfit(inspection: Inspection) -> None:
    """
    Look at the stores; one that is away is looked at as soon as it is back.

    Raises:
        StartRefused: one of them is set up so that no process may start with it.
    """
    refusals = await inspection.look()
    if refusals:
        raise StartRefused(" ".join(one.text for one in refusals))
