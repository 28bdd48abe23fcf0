"""Work of a command on the bridge's database, beside a bridge that runs or stands still."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from app.commands.output import fail, outer_setting

if TYPE_CHECKING:
    from app.services.store import Store

T = TypeVar("T")

#: Longest look: every row may be counted, and a big table takes its time.
SECONDS = 300.0
#: A table or a column is missing, as SQLite, MySQL and MariaDB say it.
LACKS = ("no such table", "no such column", "Unknown column", "doesn't exist")


def with_database(work: Callable[["Store"], Awaitable[T]], *, seconds: float = SECONDS) -> T:
    """
    What *work* gives; ends the command where the database is not there or not up to date.

    A file that does not exist is not made: the bridge would take it for its own.

    Args:
        seconds: longest look or transaction.
    """
    from app.services.errors import StoreUnavailable  # noqa: PLC0415 - late
    from app.services.store import Store  # noqa: PLC0415 - late
    from app.utils.db import async_url, is_sqlite, make_engines  # noqa: PLC0415 - late

    url = outer_setting("database_url").get_secret_value()
    path = async_url(url).database or ""
    if is_sqlite(url) and not Path(path).is_file():
        fail(f"数据库文件 {path} 不存在:服务还没有启动过,或工作目录不是项目目录。")

    async def run() -> T:
        store = Store(*make_engines(url), timeout=seconds)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(run())
    except StoreUnavailable as error:
        is_old = any(word in str(error) for word in LACKS)
        fail((_pending(url) if is_old else "") or f"数据库不可用({error})")


def _pending(url: str) -> str:
    """What to do where the tables are older than this program; empty: they are not."""
    from app.utils.revisions import pending_revisions  # noqa: PLC0415 - late

    revisions = "、".join(pending_revisions(url))
    return revisions and (
        f"数据库缺少迁移 {revisions}。"
        "服务器数据库请运行 python app/utils/database_init.py;内置的数据库,重启服务即可。"
    )
