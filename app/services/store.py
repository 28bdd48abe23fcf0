"""
The database as the services see it: short transactions, and failures in our own words.

A transaction is never open over a network call to anybody else.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Delete, Insert, Update, literal_column, text
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.services.errors import StoreUnavailable

T = TypeVar("T")

#: MySQL: deadlock, lock wait time-out. Both mean: nothing was written, try again.
CONFLICTS = frozenset({1213, 1205})
CONFLICT_TRIES = 5
#: MySQL and MariaDB: packet too large; value of a wrong type, character or length; JSON that is
#: invalid, too big, too deep, or has too long a key; constraint violated. The data is at fault, not the
#: connection, although the driver calls most of them operational.
REFUSALS = frozenset({1153, 1292, 1300, 1301, 1366, 1406, 3140, 3150, 3151, 3157, 3819, 4025})


class Store:
    """Read and write transactions on one database."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine, *, timeout: float = 10.0) -> None:
        self._reader = reader
        self._writer = writer
        self._timeout = timeout
        # SQLite has one writer; queueing here is fair, its own busy waiting is not.
        self._turn = asyncio.Lock() if writer.dialect.name == "sqlite" else None

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this process."""
        return self._turn is not None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """
        A connection to look with: on SQLite all of the block sees one moment, elsewhere each statement.

        Raises:
            StoreUnavailable: the database is away, or took longer than the time-out.
        """
        async with (
            _translated(),
            asyncio.timeout(self._timeout),
            self._reader.connect() as connection,
        ):
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """
        A transaction: committed when the block ends, rolled back when it raises.

        Raises:
            StoreUnavailable: the database is away, or took longer than the time-out; after a
                failed commit it is unknown whether it was carried out.
        """
        async with _translated(), asyncio.timeout(self._timeout):
            if self._turn is None:
                async with self._writer.begin() as connection:
                    yield connection
                return
            async with self._turn, self._writer.begin() as connection:
                yield connection

    async def transact(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run *work* in a transaction, again when the database broke a deadlock with it."""

        async def once() -> T:
            async with self.write() as connection:
                return await work(connection)

        return await _again_after_conflict(once)

    async def change(
        self,
        statement: Update | Insert | Delete,
        values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    ) -> int:
        """
        One statement that is a transaction of its own; again when the database broke a deadlock.

        Many new rows may be more than one statement: the first of them may be in when it raises.

        Returns:
            How many rows an update or a deletion met.

        Raises:
            StoreUnavailable: it is unknown whether it was carried out.
        """
        # Where a look has no transaction, a change is over with its answer.
        context = self.write if self.is_sqlite else self.read

        async def once() -> int:
            async with context() as connection:
                return (await connection.execute(statement, values)).rowcount

        return await _again_after_conflict(once)

    async def ping(self) -> None:
        """One round trip."""
        async with self.read() as connection:
            await connection.execute(text("SELECT 1"))

    async def probe(self) -> None:
        """
        A write that changes nothing: whether rows would be taken.

        Raises:
            StoreUnavailable: they would not: away, read-only, locked by somebody, or a table is missing.
        """
        async with self.write() as connection:
            await connection.execute(_NO_CHANGE)

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.dispose()
        await self._reader.dispose()


async def _again_after_conflict(once: Callable[[], Awaitable[T]]) -> T:
    for left in reversed(range(CONFLICT_TRIES)):
        try:
            return await once()
        except Conflict:
            if not left:
                raise
            await asyncio.sleep(0.01)
    raise AssertionError("unreachable")


#: Ids are positive.
_NO_CHANGE = text("UPDATE messages SET deliveries = deliveries WHERE id = 0")


def proposed(connection: AsyncConnection, column: str) -> ColumnElement[Any]:
    """In the changes of an ``upsert``: the value that the new row would have had."""
    is_sqlite = connection.dialect.name == "sqlite"
    return literal_column(f"excluded.{column}" if is_sqlite else f"VALUES({column})")


def upsert(
    connection: AsyncConnection,
    table: type[Any],
    values: Mapping[str, Any] | None,
    *,
    key: Sequence[str],
    changes: Mapping[str, Any],
) -> Insert:
    """
    Insert a row, or change the one that has its key.

    Args:
        values: the new row; None if the rows come with the execution.
        key: columns of the unique key; MySQL means any key.
        changes: columns to set where the row is there already; may name columns of the table.
    """
    if connection.dialect.name == "sqlite":
        lite = sqlite.insert(table)
        lite = lite.values(**values) if values is not None else lite
        return lite.on_conflict_do_update(index_elements=key, set_=dict(changes))
    statement = mysql.insert(table)
    statement = statement.values(**values) if values is not None else statement
    return statement.on_duplicate_key_update(**changes)


def upsert_rows(
    connection: AsyncConnection, table: type[Any], *, key: Sequence[str], changes: Sequence[str]
) -> Insert:
    """An ``upsert`` of rows that come with the execution; *changes* take the new row's values."""
    new_values = {name: proposed(connection, name) for name in changes}
    return upsert(connection, table, None, key=key, changes=new_values)


class Conflict(StoreUnavailable):
    """Another transaction was in the way; nothing was written."""

    code = "store_conflict"


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Raise what the driver says in the words of ``errors.py``; faults of ours pass as they are."""
    try:
        yield
    except (TimeoutError, PoolTimeout, OSError) as error:
        raise StoreUnavailable(f"database: {type(error).__name__}") from error
    except DBAPIError as error:
        # A missing table or right is the database's state, as a missing server is. Only what is known
        # to be the data's fault is: whoever gives a row up must be sure.
        is_data = isinstance(error, (DataError, IntegrityError)) or _number_of(error) in REFUSALS
        if is_data and not error.connection_invalidated:
            raise
        raise _unavailable(error) from error
    except InvalidRequestError as error:
        # The connection was lost while its transaction was open.
        if "invalid transaction" in str(error) or "invalidated" in str(error):
            raise StoreUnavailable("database: connection lost") from error
        raise


def _number_of(error: DBAPIError) -> object:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None


def _unavailable(error: DBAPIError) -> StoreUnavailable:
    arguments = getattr(error.orig, "args", ())
    number = _number_of(error)
    if number in CONFLICTS:
        return Conflict(f"database: {number}")
    return StoreUnavailable(f"database: {type(error.orig).__name__} {_brief(arguments)}")


def _brief(arguments: tuple[object, ...]) -> str:
    return " ".join(str(argument) for argument in arguments)[:200]
