"""Backup and restore as docs/guide/first-month.md says them: its own lines, on both databases."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from app.utils.database_init import migrate
from app.utils.db import sync_url
from simulators.dify import DifySimulator
from simulators.ecloud import EcloudSimulator
from tests.fixtures.bridge import Bridge, embedded_stores, peer_variables, server_stores
from tests.fixtures.mariadb import DatabaseServer
from tests.fixtures.redis_server import RedisServer
from tests.integration.test_readme import ROOT, blocks

GUIDE = ROOT / "docs/guide/first-month.md"
DATABASE, RESTORED = "ecloud_dify", "ecloud_dify_2"
ENDED = "SELECT state FROM messages WHERE state = 'done'"


def lines_of(heading: str, program: str) -> list[str]:
    """The commands below a heading, of the block in which a program is called."""
    [found] = [
        one.commands
        for one in blocks(GUIDE)
        if one.heading == heading and any(program in line for line in one.commands)
    ]
    return found


def run(lines: list[str], folder: Path, **variables: str) -> None:
    """Type them into a shell, one after the other; each must succeed."""
    subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **variables},
        check=True,
        capture_output=True,
    )


async def leave_one_answered_and_one_waiting(bridge: Bridge, gateway: EcloudSimulator) -> None:
    """The first is in the group; the second is saved, and Dify has not answered."""
    gateway.say("体验群", "小红", "第一句 [[text=第一个回答]]")
    await bridge.until_rows(ENDED)
    gateway.say("体验群", "小红", "第二句 [[wait=600]]")
    await bridge.until_rows("SELECT id FROM messages WHERE state = 'processing'")


async def wait_for_the_second(
    bridge: Bridge, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """It is answered, the first is not answered again, and the books are in order."""
    await gateway.wait_for_sent(2, seconds=90)
    async with asyncio.timeout(60):
        while len(await bridge.rows(ENDED)) < 2:
            await asyncio.sleep(0.05)
    told = [one.content for one in gateway.sent]
    assert sum("第一个回答" in one for one in told) == 1
    assert len(told) == 2
    queries = [record.facts["query"] for record in dify.questions()]
    assert sum("第一句" in query for query in queries) == 1


@pytest.mark.redis
@pytest.mark.mysql
async def test_a_dump_of_the_server_is_restored_by_the_lines_of_the_guide(
    bridge_redis: RedisServer,
    tmp_path: Path,
    mariadb_server: DatabaseServer,
    gateway: EcloudSimulator,
    dify: DifySimulator,
) -> None:
    """While the bridge runs it is saved; what waited then is answered out of the new database."""
    for name in (DATABASE, RESTORED):
        mariadb_server.drop_database(name)
    mariadb_server.create_database(DATABASE)
    (tmp_path / ".my.cnf").write_text(
        f"[client]\nhost={mariadb_server.host}\nport={mariadb_server.port}\n"
        f"user={mariadb_server.user}\npassword={mariadb_server.password}\n",
        "ascii",
    )
    stores = server_stores(tmp_path, bridge_redis, mariadb_server.url(DATABASE))
    bridge = Bridge(stores, {**peer_variables(gateway, dify), "SERVER_DRAIN_DELAY": "0"})
    gateway.callback_url = bridge.callback_url
    try:
        await bridge.start()
        await leave_one_answered_and_one_waiting(bridge, gateway)
        run(lines_of("备份", "mysqldump"), tmp_path)
        bridge.kill()
        restoring = lines_of("恢复", "mysql -e")
        assert restoring[-1].startswith("redis-cli ")
        restoring[-1] = restoring[-1].replace("redis-cli", f"redis-cli -p {bridge_redis.port}")
        run(restoring, tmp_path)
        stores.database_url = mariadb_server.url(RESTORED)
        await answer_quickly(bridge)
        migrate(stores.database_url)
        await bridge.start()
        await wait_for_the_second(bridge, gateway, dify)
    finally:
        bridge.kill()
        for name in (DATABASE, RESTORED):
            mariadb_server.drop_database(name)


async def answer_quickly(bridge: Bridge) -> None:
    """From now on Dify answers the second question at once: the order in its text is gone."""
    for column in ("question", "text"):
        await asyncio.to_thread(
            execute,
            bridge.stores.database_url,
            f"UPDATE messages SET {column} = REPLACE({column}, '[[wait=600]]', '')",
        )


def execute(url: str, statement: str) -> None:
    """Run one statement beside the bridge."""
    engine = create_engine(sync_url(url))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


async def test_a_copy_of_the_file_is_restored_by_the_lines_of_the_guide(
    tmp_path: Path, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The embedded database is saved while it is written to, and put back when it is lost."""
    if not shutil.which("sqlite3"):
        pytest.skip("sqlite3 is not installed on this machine")
    stores = embedded_stores(tmp_path)
    bridge = Bridge(stores, peer_variables(gateway, dify))
    gateway.callback_url = bridge.callback_url
    try:
        await bridge.start()
        await leave_one_answered_and_one_waiting(bridge, gateway)
        run(lines_of("备份", "sqlite3"), tmp_path)
        bridge.kill()
        (tmp_path / "data/bridge.db").write_bytes(b"lost")
        run(lines_of("恢复", "rm -f"), tmp_path)
        await answer_quickly(bridge)
        await bridge.start()
        await wait_for_the_second(bridge, gateway, dify)
    finally:
        bridge.kill()
