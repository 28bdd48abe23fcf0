"""Database URLs and engines: MySQL by asyncmy, SQLite by aiosqlite."""

import json
import time
from pathlib import Path
from typing import Any, Literal

import orjson
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

MYSQL_DRIVERS = ("mysql", "mysql+pymysql", "mysql+asyncmy", "mysql+aiomysql", "mariadb")
SQLITE_DRIVERS = ("sqlite", "sqlite+aiosqlite", "sqlite+pysqlite")
SQLITE_READERS = 4
#: Seconds to wait for somebody else who writes the file, e.g. a backup; shorter than a callback may take.
SQLITE_BUSY_SECONDS = 1.5
#: Kept open, and as many again when there is much to do.
MYSQL_READERS = 8
MYSQL_WRITERS = 12
#: A connection that was used so lately is not asked whether it still works.
TRUSTED_SECONDS = 1.0
_USED_AT = "used_at"
MysqlIsolation = Literal["AUTOCOMMIT", "READ COMMITTED"]


def async_url(url: str) -> URL:
    """The operator's URL with the driver this process uses; escapes and query are kept."""
    parsed = make_url(url)
    if parsed.drivername in SQLITE_DRIVERS:
        return parsed.set(drivername="sqlite+aiosqlite")
    if parsed.drivername in MYSQL_DRIVERS:
        return parsed.set(drivername="mysql+asyncmy")
    message = (
        f"DATABASE_URL: {parsed.drivername} is not supported; use mysql+pymysql:// or sqlite://"
    )
    raise ValueError(message)


def sync_url(url: str) -> URL:
    """The same database for Alembic, which works synchronously."""
    parsed = async_url(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    return parsed.set(drivername="sqlite" if is_sqlite else "mysql+pymysql")


def is_sqlite(url: str) -> bool:
    """Whether the URL names a file of this process rather than a server."""
    return async_url(url).get_backend_name() == "sqlite"


def make_parent_folder(url: URL) -> None:
    """Make the folder of an SQLite file; other URLs are left alone."""
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # Integers of more than 64 bits, which a peer may send.
        return json.dumps(value, ensure_ascii=False)


def make_engines(url: str) -> tuple[AsyncEngine, AsyncEngine]:
    """Engines for reading and for writing."""
    parsed = async_url(url)
    if parsed.get_backend_name() != "sqlite":
        return (
            # No transaction around a look: its end would be one more round trip.
            _mysql_engine(parsed, "AUTOCOMMIT", connections=MYSQL_READERS),
            _mysql_engine(parsed, "READ COMMITTED", connections=MYSQL_WRITERS),
        )
    make_parent_folder(parsed)
    return (
        _sqlite_engine(parsed, begin="BEGIN", connections=SQLITE_READERS),
        _sqlite_engine(parsed, begin="BEGIN IMMEDIATE", connections=1),
    )


def _mysql_engine(url: URL, isolation: MysqlIsolation, *, connections: int) -> AsyncEngine:
    query = {"charset": "utf8mb4", "connect_timeout": "5", **url.query}
    engine = create_async_engine(
        url.set(query=query),
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=5,
        # Every transaction of ours ends itself; a connection that broke off is not kept.
        pool_reset_on_return=None,
        pool_recycle=1800,
        isolation_level=isolation,
        skip_autocommit_rollback=True,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _session(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        # Strict: a value that does not fit is an error, on servers set up otherwise, too.
        cursor.execute(
            "SET time_zone='+00:00', innodb_lock_wait_timeout=5,"
            " sql_mode=CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"
        )
        # Also where each statement is a transaction of its own: checks ask what is in force.
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.close()

    _ping_idle(engine)
    return engine


def _ping_idle(engine: AsyncEngine) -> None:
    """
    Ask a connection that lay idle whether it still works, before somebody relies on it.

    One that worked a moment ago is trusted: the pool's own pre-ping is a round trip each time.
    """
    dialect = engine.sync_engine.dialect

    @event.listens_for(engine.sync_engine, "connect")
    @event.listens_for(engine.sync_engine, "checkin")
    def _note_use(_connection: Any, record: Any) -> None:
        record.info[_USED_AT] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _ping(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get(_USED_AT, 0.0) < TRUSTED_SECONDS:
            return
        try:
            dialect.do_ping(connection)
        except Exception as error:
            # Whatever the driver says of a dead connection: the pool makes new ones.
            raise InvalidatePoolError from error


def _sqlite_engine(url: URL, *, begin: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=5,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        hide_parameters=True,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        # The driver would open transactions on its own terms; ours begin below.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
