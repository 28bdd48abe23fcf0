"""The database as the services see it: our own errors, short waits, a pool that recovers."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.console import SettingOverride
from app.models.contact import Contact
from app.models.message import Message
from app.services.errors import StoreUnavailable
from app.services.stages import utc_now
from app.services.store import Conflict, Store
from app.utils.database_init import migrate
from app.utils.db import make_engines
from tests.fixtures.callbacks import make_question
from tests.fixtures.mariadb import MariadbServer
from tests.fixtures.stores import MYSQL, StoreFactory, keep, row_of, rows_of


def contact(wc_id: str) -> dict[str, object]:
    return {"wc_id": wc_id, "kind": "person", "seen_at": utc_now()}


async def add(connection: AsyncConnection, *wc_ids: str) -> None:
    await connection.execute(insert(Contact), [contact(wc_id) for wc_id in wc_ids])


async def test_a_block_that_raises_leaves_nothing(store: Store) -> None:
    """Committed at the end of the block, rolled back by an error, which passes as it is."""

    async def breaking() -> None:
        async with store.write() as connection:
            await add(connection, "wxid_a")
            raise KeyError

    with pytest.raises(KeyError):
        await breaking()
    async with store.write() as connection:
        await add(connection, "wxid_b")

    assert [row.wc_id for row in await rows_of(store, Contact)] == ["wxid_b"]


async def test_a_cancelled_transaction_leaves_nothing_and_the_pool_goes_on(store: Store) -> None:
    """Many callers that gave up in the middle: no row, no connection lost, no answer mixed up."""

    async def half(number: int) -> None:
        async with store.write() as connection:
            await add(connection, f"wxid_{number}")
            await asyncio.Event().wait()

    async def slow_look() -> None:
        async with store.read() as connection:
            await connection.execute(select(Contact))
            await asyncio.Event().wait()

    for round_ in range(3):
        tasks = [asyncio.create_task(half(round_)), asyncio.create_task(slow_look())]
        await asyncio.wait(tasks, timeout=0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert await rows_of(store, Contact) == []
    for number in range(40):
        async with store.read() as connection:
            assert await connection.scalar(text(f"SELECT {number}")) == number


async def test_a_transaction_that_takes_too_long_is_an_error_in_our_words(
    store_factory: StoreFactory,
) -> None:
    """The time-out of the store, over everything inside."""
    store = store_factory(timeout=0.1)

    async def endless() -> None:
        async with store.write() as connection:
            await add(connection, "wxid_a")
            await asyncio.Event().wait()

    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await endless()

    assert await rows_of(store, Contact) == []
    await store.ping()


async def test_odd_rows_and_taken_keys_are_not_called_unavailable(store: Store) -> None:
    """Waiting would not help: they pass as what they are."""
    with pytest.raises(IntegrityError):
        async with store.write() as connection:
            await add(connection, "wxid_a", "wxid_a")
    if not store.is_sqlite:
        with pytest.raises(DataError):
            async with store.write() as connection:
                await add(connection, "w" * 129)


@pytest.mark.mysql
@pytest.mark.parametrize("store_url", [MYSQL], indirect=True)
@pytest.mark.parametrize(
    "number",
    [1048, 1153, 1264, 1292, 1300, 1301, 1366, 1406, 3140, 3150, 3151, 3157, 3819, 4025],
)
async def test_what_the_server_refuses_for_its_data_is_not_called_unavailable(
    store: Store, number: int
) -> None:
    """Whoever waited would wait for ever: out of range, invalid or too deep JSON, and the like."""
    with pytest.raises(DBAPIError, match=str(number)):
        await refuse(store, number)


@pytest.mark.mysql
@pytest.mark.parametrize("store_url", [MYSQL], indirect=True)
@pytest.mark.parametrize("number", [1021, 1040, 1146, 1290, 1836])
async def test_what_the_server_cannot_do_now_is_unavailable(store: Store, number: int) -> None:
    """Disk full, too many connections, a missing table, read-only: the row is not at fault."""
    with pytest.raises(StoreUnavailable, match=str(number)):
        await refuse(store, number)


async def refuse(store: Store, number: int) -> None:
    """Have the server itself answer with an error of that number."""
    async with store.write() as connection:
        await connection.execute(
            text(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'no'")
        )


async def test_writers_of_one_process_take_turns(store: Store) -> None:
    """Also on SQLite nobody hears that the database is locked."""

    async def one(number: int) -> None:
        async with store.write() as connection:
            await add(connection, f"wxid_{number:02}")

    await asyncio.gather(*(one(number) for number in range(40)))

    assert len(await rows_of(store, Contact)) == 40


async def test_json_keeps_every_character(store: Store) -> None:
    """Emoji, NUL, line separators, long integers: out comes what went in."""
    value = {"文": "🐼\x00\u2028\u2029\r\n\"'\\", "n": [2**63 - 1, 1.5, None, True]}
    async with store.write() as connection:
        await connection.execute(
            insert(SettingOverride).values(name="x", value=value, changed_at=utc_now())
        )

    [row] = await rows_of(store, SettingOverride)
    assert row.value == value


async def test_two_transactions_that_block_each_other_are_repeated(
    store_factory: StoreFactory,
) -> None:
    """A deadlock: the database breaks one of them off, and it is carried out again."""
    stores = [store_factory(), store_factory()]
    ids = [await keep(stores[0], make_question()) for _ in range(2)]
    both_hold_one = asyncio.Barrier(2)
    tries = 0

    async def cross(store: Store, order: list[int]) -> None:
        async def work(connection: AsyncConnection) -> None:
            nonlocal tries
            tries += 1
            await bump(connection, order[0])
            if tries <= 2 and not store.is_sqlite:
                await both_hold_one.wait()
            await bump(connection, order[1])

        await store.transact(work)

    await asyncio.gather(cross(stores[0], [*ids]), cross(stores[1], [*reversed(ids)]))

    assert [(await row_of(stores[0], Message, id_)).attempts for id_ in ids] == [2, 2]
    assert tries == (2 if stores[0].is_sqlite else 3)


async def bump(connection: AsyncConnection, message_id: int) -> None:
    await connection.execute(
        update(Message).where(Message.id == message_id).values(attempts=Message.attempts + 1)
    )


async def test_a_conflict_that_does_not_end_is_told(store: Store) -> None:
    """After a few tries the caller decides."""
    calls = 0

    async def work(_connection: AsyncConnection) -> None:
        nonlocal calls
        calls += 1
        raise Conflict("always")

    with pytest.raises(StoreUnavailable):
        await store.transact(work)

    assert calls == 5


@pytest.fixture
async def own_server(mariadb_server: MariadbServer) -> AsyncIterator[tuple[MariadbServer, Store]]:
    """A server that the test may kill, with a migrated database."""
    mariadb_server.start()
    database = mariadb_server.create_database()
    migrate(mariadb_server.url(database))
    reader, writer = make_engines(mariadb_server.url(database))
    store = Store(reader, writer, timeout=3)
    yield mariadb_server, store
    mariadb_server.resume()
    mariadb_server.start()
    await store.close()
    mariadb_server.drop_database(database)


@pytest.mark.mysql
async def test_a_server_that_is_gone_is_unavailable_and_back_when_it_is(
    own_server: tuple[MariadbServer, Store],
) -> None:
    """Connections of the pool are dead after the restart: nobody notices."""
    server, store = own_server
    await asyncio.gather(*(store.ping() for _ in range(8)))
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.ping()
    with pytest.raises(StoreUnavailable):
        async with store.write() as connection:
            await add(connection, "wxid_a")

    await asyncio.to_thread(server.start)

    await asyncio.gather(*(store.ping() for _ in range(8)))
    async with store.write() as connection:
        await add(connection, "wxid_b")
    assert [row.wc_id for row in await rows_of(store, Contact)] == ["wxid_b"]


@pytest.mark.mysql
@pytest.mark.parametrize("moment", ["statement", "commit"])
async def test_a_server_killed_within_a_transaction_is_unavailable(
    own_server: tuple[MariadbServer, Store], moment: str
) -> None:
    """Whether the next statement finds out or the commit: it is our error, and nothing was written."""
    server, store = own_server

    async def interrupted() -> None:
        async with store.write() as connection:
            await add(connection, "wxid_a")
            server.kill()
            if moment == "statement":
                await add(connection, "wxid_b")

    with pytest.raises(StoreUnavailable):
        await interrupted()

    await asyncio.to_thread(server.start)

    assert await rows_of(store, Contact) == []


@pytest.mark.mysql
async def test_a_frozen_server_costs_the_time_out_and_no_more(
    own_server: tuple[MariadbServer, Store],
) -> None:
    """It accepts and does not answer: each caller hears in time, and afterwards all is well."""
    server, store = own_server
    store._timeout = 0.5
    await asyncio.gather(*(store.ping() for _ in range(4)))
    server.suspend()
    started = time.monotonic()
    results = await asyncio.gather(*(store.ping() for _ in range(40)), return_exceptions=True)
    elapsed = time.monotonic() - started
    server.resume()
    store._timeout = 5

    assert {type(result) for result in results} == {StoreUnavailable}
    assert elapsed < 10
    await asyncio.gather(*(store.ping() for _ in range(40)))
    async with store.write() as connection:
        await add(connection, "wxid_a")


@pytest.mark.mysql
@pytest.mark.parametrize("store_url", [MYSQL], indirect=True)
async def test_sessions_are_strict_and_in_utc(store: Store) -> None:
    """Whatever the server is set up for."""
    async with store.read() as connection:
        found = await connection.execute(
            text("SELECT @@time_zone, @@sql_mode, @@innodb_lock_wait_timeout")
        )
        zone, mode, wait = found.one()
        levels = await connection.execute(text("SHOW VARIABLES LIKE '%\\_isolation'"))

    assert (zone, wait) == ("+00:00", 5)
    assert "STRICT_ALL_TABLES" in mode
    of_session = {level for name, level in levels if name.startswith("t")}
    assert of_session == {"READ-COMMITTED"}


@pytest.mark.parametrize("store_url", [MYSQL], indirect=True)
@pytest.mark.parametrize("trusted", [0.0, 60.0], ids=["idle", "used-just-now"])
async def test_connections_that_the_server_ended_cost_one_failure_at_most(
    store: Store, monkeypatch: pytest.MonkeyPatch, trusted: float
) -> None:
    """One that lay idle is replaced unseen; of those used just now the first to fail ends all."""
    monkeypatch.setattr("app.utils.db.TRUSTED_SECONDS", trusted)

    async def look() -> object:
        async with store.read() as connection:
            await asyncio.sleep(0.05)
            return await connection.scalar(text("SELECT CONNECTION_ID()"))

    ids = set(await asyncio.gather(*(look() for _ in range(4))))
    async with store.write() as connection:
        own = await connection.scalar(text("SELECT CONNECTION_ID()"))
        for id_ in ids - {own}:
            await connection.execute(text(f"KILL {id_}"))

    failures = 0
    for _ in range(8):
        try:
            await asyncio.gather(*(look() for _ in range(2)))
        except StoreUnavailable:
            failures += 1
    assert failures <= (1 if trusted else 0)
