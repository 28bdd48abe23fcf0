"""Private Redis and MariaDB of a run: killed, wiped, frozen, and replaced by a replica."""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import redis
from redis.exceptions import RedisError

from app.utils.database_init import create_database, migrate
from app.utils.db import sync_url
from tests.fixtures.mariadb import DatabaseServer, MariadbServer
from tests.fixtures.redis_server import RedisServer

SYNC_SECONDS = 15.0


class RedisPair:
    """
    A primary and its replica; whoever is primary listens where clients are led.

    ``cut_off`` makes the replica deaf; ``fail_over`` kills the primary and promotes the replica with
    what it knew when it was cut off. The old primary comes back empty, as the new replica.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0
        self.primary = self._make()
        self.replica = self._make()

    def _make(self) -> RedisServer:
        self._made += 1
        folder = self._folder / f"redis-{self._made}"
        folder.mkdir()
        return RedisServer(folder)

    def start(self) -> None:
        """Start both and wait until the replica follows."""
        self.primary.start()
        self.replica.start()
        self._follow()

    def _follow(self) -> None:
        with redis.Redis(port=self.replica.port) as client:
            client.replicaof("127.0.0.1", self.primary.port)

    async def until_synced(self) -> None:
        """Wait until the replica has all the primary has had."""
        with redis.Redis(port=self.replica.port) as client:
            async with asyncio.timeout(SYNC_SECONDS):
                while client.info("replication").get("master_link_status") != "up":
                    await asyncio.sleep(0.02)

    def cut_off(self) -> None:
        """From now on the replica hears nothing more, and is a primary that nobody knows."""
        with redis.Redis(port=self.replica.port) as client:
            client.replicaof("NO", "ONE")

    def fail_over(self) -> int:
        """Kill the primary; the port of the new one."""
        self.primary.kill()
        self.primary, self.replica = self.replica, self.primary
        return self.primary.port

    def bring_back(self) -> None:
        """The old primary starts empty and follows the new one."""
        self.replica.start()
        self._follow()

    def close(self) -> None:
        """Kill both."""
        self.primary.kill()
        self.replica.kill()


def wipe(server: RedisServer) -> None:
    """FLUSHALL."""
    with contextlib.suppress(RedisError), redis.Redis(port=server.port) as client:
        client.flushall()


@contextmanager
def redis_server(folder: Path, *, aof: bool) -> Iterator[RedisServer]:
    """A started Redis."""
    folder.mkdir(parents=True, exist_ok=True)
    server = RedisServer(folder, aof=aof)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class MariadbSource(Protocol):
    """Where runs get their databases."""

    def get(self) -> DatabaseServer:
        """The server, started; whatever the run before did to it."""

    def fresh_database(self) -> str:
        """Address of a database with all tables, empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LentMariadb:
    """Another process's server, and a migrated database on it that is copied."""

    host: str
    port: int
    user: str
    password: str
    template: str

    def get(self) -> DatabaseServer:
        """The server; it runs."""
        return DatabaseServer(
            host=self.host, port=self.port, user=self.user, password=self.password
        )

    def fresh_database(self) -> str:
        """Address of a database with all tables, empty."""
        return _copy(self.get(), self.template)


def _copy(server: DatabaseServer, template: str) -> str:
    """Address of a new database with the tables of another one."""
    copy = server.create_database()
    for (table,) in server.execute("SHOW TABLES", database=template):
        server.execute(f"CREATE TABLE `{copy}`.`{table}` LIKE `{template}`.`{table}`")
    server.execute(
        f"INSERT INTO `{copy}`.alembic_version SELECT * FROM `{template}`.alembic_version"
    )
    return server.url(copy)


class SharedMariadb:
    """One server for all runs of this process, one after the other; each has a database of its own."""

    def __init__(self) -> None:
        self._server: MariadbServer | None = None
        self._template = ""

    def get(self) -> MariadbServer:
        """The server, started; whatever the run before did to it."""
        if self._server is None:
            self._server = MariadbServer()
        self._server.resume()
        try:
            self._server.start()
        except RuntimeError:
            # Its folder may be half made: the next run gets a new one.
            self.close()
            raise
        return self._server

    def fresh_database(self) -> str:
        """
        Address of a database with all tables, empty.

        Migrated once as an operator does; later ones have the same tables, made in less time.
        """
        return _copy(self.get(), self._migrated())

    def lend(self) -> LentMariadb:
        """The same for other processes."""
        server = self.get()
        return LentMariadb(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            template=self._migrated(),
        )

    def _migrated(self) -> str:
        server = self.get()
        if not self._template:
            self._template = server.create_database()
            url = server.url(self._template)
            create_database(sync_url(url))
            migrate(url)
        return self._template

    def close(self) -> None:
        """Kill it and remove its folder."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._template = ""


def missing_servers() -> str:
    """Why no private servers can be started here; empty if they can."""
    programs = {"redis-server": ["redis-server"], "MariaDB 或 MySQL": ["mariadbd", "mysqld"]}
    path = "/usr/sbin:/usr/local/sbin:/usr/bin:/bin:/usr/local/bin"
    lacking = [
        name
        for name, some in programs.items()
        if not any(shutil.which(one) or shutil.which(one, path=path) for one in some)
    ]
    return f"{'、'.join(lacking)} is not installed on this machine" if lacking else ""
