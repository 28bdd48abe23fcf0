"""What the database says of itself, asked over the bridge's own connections: what holds there, holds for us."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.tables import Base
from app.services.store import Store

#: Session values where there are such: what the driver and ``utils/db.py`` set, as it took effect.
_VARIABLES: Final = (
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "max_allowed_packet",
    "read_only",
    "sql_mode",
    "sync_binlog",
    "transaction_isolation",
    "tx_isolation",
    "version",
)
_ASK_VARIABLES = text("SHOW VARIABLES WHERE Variable_name IN :names").bindparams(
    bindparam("names", value=_VARIABLES, expanding=True)
)
REVISIONS: Final = "alembic_version"
_ASK_TABLES = text(
    "SELECT table_name, engine FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name IN :names"
).bindparams(bindparam("names", value=(*Base.metadata.tables, REVISIONS), expanding=True))
_ASK_FILE_TABLES = text("SELECT name, '' FROM sqlite_master WHERE type = 'table'")
_ASK_REVISION = text(f"SELECT version_num FROM {REVISIONS}")  # noqa: S608 - a constant


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseFacts:
    """One database at one moment."""

    #: ``mysql``, ``mariadb`` or ``sqlite``.
    kind: str
    version: str
    #: Names in small letters → values as text; of SQLite the PRAGMAs.
    variables: Mapping[str, str]
    #: Our tables that are there → storage engine.
    tables: Mapping[str, str]
    #: The migration it stands at; None: none.
    revision: str | None

    def get(self, *names: str) -> str:
        """The first of these variables that the server has, in small letters; empty: none."""
        return next((self.variables[name].lower() for name in names if name in self.variables), "")


async def read_database(store: Store) -> DatabaseFacts:
    """
    Ask; changes nothing.

    Raises:
        StoreUnavailable: the database is away.
    """
    async with store.read() as connection:
        if store.is_sqlite:
            return await _read_file(connection)
        return await _read_server(connection)


async def _read_server(connection: AsyncConnection) -> DatabaseFacts:
    rows = await connection.execute(_ASK_VARIABLES)
    variables = {str(name).lower(): str(value) for name, value in rows}
    version = variables.get("version", "")
    tables = {
        str(name).lower(): str(engine or "")
        for name, engine in await connection.execute(_ASK_TABLES)
    }
    return DatabaseFacts(
        kind="mariadb" if "mariadb" in version.lower() else "mysql",
        version=version,
        variables=variables,
        tables=tables,
        revision=await _revision(connection, tables),
    )


async def _read_file(connection: AsyncConnection) -> DatabaseFacts:
    variables = {
        name: str(await connection.scalar(text(f"PRAGMA {name}")))
        for name in ("journal_mode", "synchronous")
    }
    tables = {str(name): "" for name, _ in await connection.execute(_ASK_FILE_TABLES)}
    return DatabaseFacts(
        kind="sqlite",
        version=str(await connection.scalar(text("SELECT sqlite_version()"))),
        variables=variables,
        tables=tables,
        revision=await _revision(connection, tables),
    )


async def _revision(connection: AsyncConnection, tables: Mapping[str, str]) -> str | None:
    if REVISIONS not in tables:
        return None
    found = await connection.scalar(_ASK_REVISION)
    return None if found is None else str(found)
