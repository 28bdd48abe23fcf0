"""Alembic's entry: migrates the database named by the caller, one process at a time."""
# ruff: noqa: INP001 - Alembic runs this file by its path

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from sqlalchemy import URL, Connection, Engine, create_engine, event, text

from app.models.tables import Base

LOCK_NAME = "ecloud_dify_migrate"
LOCK_SECONDS = 60
#: SQLite's codes for: somebody else is at it.
WAITED_FOR = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def open_engine(url: URL) -> Engine:
    """An engine whose transactions keep other migrations out."""
    if url.get_backend_name() != "sqlite":
        return create_engine(url)
    engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        # The driver would begin only with the first insert, behind the first tables.
        connection.isolation_level = None
        _write_ahead(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: Any) -> None:
    """Set the file's journal mode once and for all; SQLite waits for nobody while doing that."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            # A file that cannot be written stays so, however long one waits.
            if error.sqlite_errorcode & 0xFF not in WAITED_FOR or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@contextmanager
def locked(connection: Connection) -> Iterator[None]:
    """Hold the server's lock; an SQLite file is locked by the transaction itself."""
    if connection.dialect.name == "sqlite":
        yield
        return
    got = connection.scalar(
        text("SELECT GET_LOCK(:name, :seconds)"), {"name": LOCK_NAME, "seconds": LOCK_SECONDS}
    )
    if got != 1:
        message = f"another migration holds the lock {LOCK_NAME} for more than {LOCK_SECONDS} s"
        raise RuntimeError(message)
    try:
        yield
    finally:
        connection.scalar(text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK_NAME})


def run() -> None:
    """Migrate over one connection."""
    engine = open_engine(context.config.attributes["url"])
    try:
        with engine.connect() as connection, locked(connection):
            context.configure(
                connection=connection,
                target_metadata=Base.metadata,
                render_as_batch=connection.dialect.name == "sqlite",
                compare_type=True,
            )
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
    finally:
        engine.dispose()


run()
