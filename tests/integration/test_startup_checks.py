"""The checks on real servers: what is set up wrongly is found, and what is as it should be is not."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from typing_extensions import override

from app.opening import database_look, redis_look
from app.services.errors import QueueUnavailable
from app.services.findings import Look
from app.services.store import Store
from app.utils.clock import SystemClock
from app.utils.database_init import migrate
from app.utils.db import make_engines
from app.utils.redis_client import open_redis
from tests.fixtures.mariadb import DatabaseServer, MariadbServer
from tests.fixtures.redis_server import RedisServer
from tests.fixtures.stores import StoreFactory

# ── Redis ───────────────────────────────────────────────────────────────────


class FastClock(SystemClock):
    """Of a machine whose clock is ahead."""

    @override
    def time(self) -> float:
        return super().time() + 90


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of a server of the test's own."""
    async with open_redis(redis_server.url) as client:
        yield client


async def look_at(
    redis: Redis, *, clock: SystemClock | None = None, allow_eviction: bool = False
) -> Look:
    return await redis_look(redis, clock or SystemClock(), allow_eviction=allow_eviction)()


def codes(look: Look) -> list[str]:
    return [one.code for one in look.findings]


@pytest.mark.redis
async def test_plain_server_is_fine_and_tells_that_it_keeps_no_file(redis: Redis) -> None:
    """Redis' own defaults."""
    look = await look_at(redis)

    assert look.findings == ()
    assert look.facts["version"].startswith("redis ")
    assert (look.facts["maxmemory_policy"], look.facts["aof"]) == ("noeviction", False)
    assert abs(look.facts["clock_ahead_seconds"]) < 1


@pytest.mark.redis
async def test_append_only_file_is_told(redis: Redis) -> None:
    """With how often it is synchronised and how the last write went."""
    await redis.config_set("appendonly", "yes")

    facts = (await look_at(redis)).facts

    assert (facts["aof"], facts["appendfsync"], facts["aof_last_write"]) == (True, "everysec", "ok")


@pytest.mark.redis
async def test_evicting_policy_is_found_and_a_mended_one_is_fine_at_once(redis: Redis) -> None:
    """By the very command that the sentence names."""
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    refused, allowed = await look_at(redis), await look_at(redis, allow_eviction=True)
    await redis.config_set("maxmemory-policy", "noeviction")

    assert [one.code for one in refused.refusals] == ["redis_evicts"]
    assert (codes(allowed), allowed.refusals) == (["redis_evicts"], ())
    assert (await look_at(redis)).findings == ()


@pytest.mark.redis
async def test_server_that_hides_config_still_tells_its_policy(tmp_path: Path) -> None:
    """As managed ones do: INFO has it. One that hides both is warned of."""
    for hidden, expected in (
        (("CONFIG",), ["redis_evicts"]),
        (("CONFIG", "INFO"), ["redis_policy_unknown"]),
    ):
        names = [word for name in hidden for word in ("--rename-command", name, "")]
        server = RedisServer(tmp_path, options=["--maxmemory-policy", "volatile-lru", *names])
        server.start()
        try:
            async with open_redis(server.url) as redis:
                assert codes(await look_at(redis)) == expected
        finally:
            server.kill()


@pytest.mark.redis
async def test_user_without_the_right_to_ask_gets_a_warning_and_no_refusal(
    redis: Redis, redis_server: RedisServer
) -> None:
    """An ACL for the keys alone."""
    await redis.acl_setuser(
        "bridge",
        enabled=True,
        passwords=["+pw"],
        keys=["ecloud*"],
        categories=["+@all"],
        commands=["-info", "-config"],
    )
    async with open_redis(redis_server.url.replace("//", "//bridge:pw@")) as limited:
        assert codes(await look_at(limited)) == ["redis_policy_unknown"]


@pytest.mark.redis
async def test_replica_refuses_writes_and_is_well_once_it_is_promoted(
    redis: Redis, tmp_path: Path
) -> None:
    """A failover: nothing that keeps a process from starting."""
    (tmp_path / "replica").mkdir()
    port = redis.connection_pool.connection_kwargs["port"]
    replica = RedisServer(tmp_path / "replica", options=["--replicaof", f"127.0.0.1 {port}"])
    replica.start()
    try:
        async with open_redis(replica.url) as client:
            before = await look_at(client)
            await client.replicaof("NO", "ONE")
            after = await look_at(client)
    finally:
        replica.kill()

    assert (codes(before), before.refusals) == (["redis_refuses_writes"], ())
    assert "READONLY" in before.findings[0].text
    assert after.findings == ()


@pytest.mark.redis
async def test_full_server_is_found(redis: Redis) -> None:
    """It answers, and takes nothing."""
    await redis.config_set("maxmemory", "1")

    assert codes(await look_at(redis)) == ["redis_refuses_writes", "redis_nearly_full"]


@pytest.mark.redis
async def test_cluster_is_refused(tmp_path: Path) -> None:
    """A script changes keys of several slots."""
    server = RedisServer(tmp_path, options=["--cluster-enabled", "yes"])
    server.start()
    try:
        async with open_redis(server.url) as redis:
            look = await look_at(redis)
    finally:
        server.kill()

    assert [one.code for one in look.refusals] == ["redis_cluster"]


@pytest.mark.redis
async def test_clock_that_differs_is_found(redis: Redis) -> None:
    """Ours is ahead, so Redis' is behind."""
    [found] = (await look_at(redis, clock=FastClock())).findings

    assert (found.code, found.refuses) == ("redis_clock", False)
    assert "慢 90" in found.text


@pytest.mark.redis
async def test_server_that_is_away_raises_our_own_error(
    redis: Redis, redis_server: RedisServer
) -> None:
    """Whoever looks comes again."""
    redis_server.kill()

    with pytest.raises(QueueUnavailable):
        await look_at(redis)


# ── Databases ───────────────────────────────────────────────────────────────


async def test_migrated_database_is_fine(store: Store) -> None:
    """What the bridge sets on its connections has taken effect, on both kinds."""
    look = await database_look(store)()

    assert look.findings == ()
    if store.is_sqlite:
        assert (look.facts["journal_mode"], look.facts["synchronous"]) == ("wal", "2")
    else:
        assert look.facts["isolation"] == "read-committed"


async def test_schema_of_a_newer_program_is_told(store_factory: StoreFactory) -> None:
    """On servers the bridge works beside it."""
    store = store_factory()
    async with changed(store, "UPDATE alembic_version SET version_num = '9999'"):
        look = await database_look(store)()

    expected = [] if store.is_sqlite else ["schema_newer"]
    assert (codes(look), look.facts["revision"]) == (expected, "9999")


@asynccontextmanager
async def changed(store: Store, statement: str) -> AsyncIterator[None]:
    """The revision is another one for a while; MariaDB's database is shared by the tests."""
    async with store.write() as connection:
        old = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        await connection.execute(text(statement))
    try:
        yield
    finally:
        async with store.write() as connection:
            restore = text("UPDATE alembic_version SET version_num = :old")
            await connection.execute(restore, {"old": old})


@contextlib.contextmanager
def global_value(server: MariadbServer, name: str, value: str) -> Iterator[None]:
    """A server set up otherwise."""
    [(old,)] = server.execute(f"SELECT @@GLOBAL.{name}")
    server.execute(f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        server.execute(
            f"SET GLOBAL {name} = '{old}'" if isinstance(old, str) else f"SET GLOBAL {name} = {old}"
        )


@pytest.fixture(scope="module")
def own_url(mariadb_server: MariadbServer) -> Iterator[str]:
    """A migrated database on a server of our own, whatever server the other tests were given."""
    mariadb_server.start()
    database = mariadb_server.create_database()
    migrate(mariadb_server.url(database))
    yield mariadb_server.url(database)
    mariadb_server.start()
    mariadb_server.drop_database(database)


async def look_at_server(url: str) -> Look:
    """A look over connections of its own: global values hold for new ones."""
    store = Store(*make_engines(url))
    try:
        return await database_look(store)()
    finally:
        await store.close()


@pytest.mark.mysql
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("innodb_flush_log_at_trx_commit", "2", ["database_flush"]),
        ("max_allowed_packet", "1048576", ["database_packet"]),
        # The bridge's own session settings go before the server's.
        ("tx_isolation", "'REPEATABLE-READ'", []),
        ("sql_mode", "''", []),
        ("character_set_server", "'latin1'", []),
    ],
)
async def test_server_that_is_set_up_otherwise(
    mariadb_server: MariadbServer, own_url: str, name: str, value: str, expected: list[str]
) -> None:
    """Told where it costs safety, and nowhere else."""
    with global_value(mariadb_server, name, value):
        assert codes(await look_at_server(own_url)) == expected


@pytest.mark.mysql
async def test_session_settings_that_a_proxy_drops_are_found(
    migrated_mysql: tuple[DatabaseServer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the connection were another one by the time it is used."""
    server, database = migrated_mysql
    store = Store(*make_engines(server.url(database)))
    read = store.read

    @asynccontextmanager
    async def dropped() -> AsyncIterator[object]:
        async with read() as connection:
            await connection.execute(
                text("SET SESSION sql_mode = '', SESSION character_set_client = 'latin1'")
            )
            await connection.execute(
                text("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            )
            yield connection

    monkeypatch.setattr(store, "read", dropped)
    try:
        look = await database_look(store)()
    finally:
        await store.close()

    assert codes(look) == ["database_isolation", "database_not_strict", "database_charset"]
    assert look.refusals == ()


@pytest.mark.mysql
async def test_database_without_tables_lacks_all_migrations(mysql_url: str) -> None:
    """The command is named."""
    look = await look_at_server(mysql_url)

    assert [one.code for one in look.refusals] == ["schema_behind"]


@pytest.mark.mysql
async def test_table_of_another_engine_is_found(mysql_url: str) -> None:
    """By its name."""
    store = Store(*make_engines(mysql_url))
    try:
        async with store.write() as connection:
            await connection.execute(text("CREATE TABLE segments (id INT) ENGINE=MyISAM"))
        look = await database_look(store)()
    finally:
        await store.close()

    assert "segments" in next(one.text for one in look.refusals if one.code == "database_engine")


@pytest.mark.mysql
async def test_read_only_server_is_found(mariadb_server: MariadbServer, own_url: str) -> None:
    """A replica, or a failover under way: nothing that keeps a process from starting."""
    with global_value(mariadb_server, "read_only", "1"):
        look = await look_at_server(own_url)

    assert (codes(look), look.refusals) == (["database_read_only"], ())
