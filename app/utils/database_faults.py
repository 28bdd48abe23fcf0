"""What is wrong with a database, and what to do about it: sentences for the operator."""

import sqlite3
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

#: SQLite's primary result codes.
_SQLITE = {
    sqlite3.SQLITE_NOTADB: "不是 SQLite 数据库。请改 DATABASE_URL,或移走这个文件(会新建一个)。",
    sqlite3.SQLITE_CORRUPT: "已损坏。请从备份恢复(docs/operations.md 的「备份与恢复」)。",
    sqlite3.SQLITE_CANTOPEN: "不能打开:它可能是目录,或没有权限。请检查 DATABASE_URL 和权限。",
    sqlite3.SQLITE_READONLY: "只读。请检查文件和所在目录的权限,或改 DATABASE_URL。",
    sqlite3.SQLITE_FULL: "不能写:磁盘已满。请腾出空间。",
    sqlite3.SQLITE_IOERR: "读写出错:请检查磁盘。",
    sqlite3.SQLITE_BUSY: "正被别的程序占用。请等它结束(例如备份),再试一次。",
}
#: MySQL's number of a database that does not exist.
UNKNOWN_DATABASE = 1049
_UNKNOWN_TABLE = 1146
_NEWER = "Can't locate revision"


class NotMigrated(Exception):
    """Alembic refused; the text is its own."""


class ForeignTable(NotMigrated):
    """A table of one of our names is somebody else's; the text is for the operator, in Chinese."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"库里已有一张列不相符的表 {name},它不是本程序建的。"
            "请给本程序一个单独的库(改 DATABASE_URL),或移走这张表。"
        )


def explain(error: Exception, url: URL) -> str:
    """A sentence in Chinese, where the fault is a known one; else empty (pure)."""
    original = getattr(error, "orig", None) or error
    if isinstance(error, ForeignTable):
        return str(error)
    if isinstance(error, NotMigrated):
        return _explain_alembic(str(error))
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF
        return f"数据库文件 {_file(url)} {_SQLITE[code]}" if code in _SQLITE else ""
    if isinstance(original, OSError) and url.get_backend_name() == "sqlite":
        return (
            f"数据库文件 {_file(url)} 的目录不可用({original.strerror})。"
            "请检查 DATABASE_URL 里的路径和权限。"
        )
    return ""


def lacks_tables(error: DBAPIError) -> bool:
    """Whether a database says that it has not got what was asked for, not that it is away (pure)."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return "no such table" in str(original)
    numbers = getattr(original, "args", ())[:1]
    return bool({UNKNOWN_DATABASE, _UNKNOWN_TABLE}.intersection(numbers))


def _file(url: URL) -> Path:
    return Path(str(url.database)).absolute()


def _explain_alembic(text: str) -> str:
    if _NEWER not in text:
        return ""
    revision = text.rpartition(" ")[2].strip("'\"")
    return (
        f"数据库的表结构是更新的版本建的({revision}),这个程序不认识。"
        "请换回那个版本的程序,从升级前的备份恢复,或改 DATABASE_URL。"
    )
