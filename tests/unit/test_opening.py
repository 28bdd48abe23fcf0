"""What a start opens: whatever is set up wrongly is one sentence that names the setting."""

import contextlib
import socket
import sqlite3
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from alembic.util import CommandError
from sqlalchemy import create_engine, text

from app.opening import (
    StartRefused,
    connect_redis,
    hold_data_folder,
    open_store,
    prepare_schema,
)
from app.utils.database_faults import explain
from app.utils.database_init import migrate
from app.utils.db import sync_url
from app.utils.lock import AlreadyRunning
from tests.fixtures.ports import free_port

#: Longer than SQLite's own header, which is looked at first.
NO_DATABASE = b"plain text, and no database at all. " * 200


def refusal_of(url: str) -> str:
    """The sentence that preparing the schema ends in."""
    with pytest.raises(StartRefused) as refused:
        prepare_schema(url)
    return str(refused.value)


def test_file_that_is_no_database_stops_the_start_and_stays_as_it_is(tmp_path: Path) -> None:
    """Somebody's file; the sentence names it, the setting and the way out."""
    file = tmp_path / "notes.txt"
    file.write_bytes(NO_DATABASE)

    said = refusal_of(f"sqlite:///{file}")

    assert f"{file} 不是 SQLite 数据库" in said
    assert "DATABASE_URL" in said
    assert file.read_bytes() == NO_DATABASE


def test_damaged_database_stops_the_start(tmp_path: Path) -> None:
    """With the way to the backup."""
    file = tmp_path / "bridge.db"
    migrate(f"sqlite:///{file}")
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"\xff" * 3000)

    said = refusal_of(f"sqlite:///{file}")

    assert f"{file} 已损坏" in said
    assert "备份" in said


def test_database_of_a_newer_program_stops_the_start(tmp_path: Path) -> None:
    """An older program would not know its tables."""
    url = f"sqlite:///{tmp_path}/bridge.db"
    migrate(url)
    engine = create_engine(sync_url(url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    said = refusal_of(url)

    assert "更新的版本建的(9999)" in said
    assert "DATABASE_URL" in said


def test_folder_in_the_place_of_the_file_stops_the_start(tmp_path: Path) -> None:
    """And so does a file in the place of its folder."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.db").mkdir()

    assert "folder.db 不能打开" in refusal_of(f"sqlite:///{tmp_path}/folder.db")
    assert "file/x.db 的目录不可用" in refusal_of(f"sqlite:///{tmp_path}/file/x.db")


def test_file_that_cannot_be_written_stops_the_start_at_once(tmp_path: Path) -> None:
    """It is not waited for, as a file would be that another program is writing."""
    file = tmp_path / "bridge.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE x (y)")
    started = time.monotonic()

    # As on a read-only mount, which root cannot write either.
    said = refusal_of(f"sqlite:///file:{file}?mode=ro&uri=true")

    assert "只读" in said
    assert time.monotonic() - started < 10


async def test_data_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    """One that somebody holds is another matter."""
    (tmp_path / "file").touch()
    async with AsyncExitStack() as stack:
        with pytest.raises(StartRefused, match=r"file 不可写.*DATABASE_URL"):
            hold_data_folder(stack, tmp_path / "file")

        hold_data_folder(stack, tmp_path / "data")
        with pytest.raises(AlreadyRunning):
            hold_data_folder(stack, tmp_path / "data")


@pytest.mark.parametrize(
    "parameter", ["foo=1", "ssl_ca=/no/such/file", "connect_timeout=soon", "ssl=true"]
)
def test_parameter_that_no_driver_takes_stops_the_start(parameter: str) -> None:
    """The server is not to blame, and may not be waited for."""
    said = refusal_of(f"mysql+pymysql://u:hidden@127.0.0.1:{free_port()}/x?{parameter}")

    assert said.startswith("DATABASE_URL 不能用")
    assert "hidden" not in said


def test_server_that_is_away_does_not_stop_the_start() -> None:
    """It may come back; health says so meanwhile."""
    prepare_schema(f"mysql+pymysql://u:p@127.0.0.1:{free_port()}/x")


async def test_address_without_an_engine_stops_the_start() -> None:
    """Whatever SQLAlchemy thinks of it."""
    async with AsyncExitStack() as stack:
        with pytest.raises(StartRefused, match="DATABASE_URL 不能用"):
            open_store(stack, "sqlite://")


async def test_redis_address_without_a_client_stops_the_start() -> None:
    """And so does an embedded port that somebody else has."""
    async with AsyncExitStack() as stack:
        with pytest.raises(StartRefused, match=r"REDIS_URL 里的参数不能用.*foo"):
            await connect_redis(stack, "redis://127.0.0.1?foo=1")
        with contextlib.closing(socket.socket()) as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(StartRefused, match=r"不能监听 REDIS_URL 里的端口"):
                await connect_redis(stack, f"embedded://127.0.0.1:{taken.getsockname()[1]}")


async def test_redis_that_is_away_does_not_stop_the_start() -> None:
    """Nothing is sent yet."""
    async with AsyncExitStack() as stack:
        await connect_redis(stack, f"redis://127.0.0.1:{free_port()}/0")


def test_fault_that_is_not_known_is_not_explained() -> None:
    """Then the error speaks for itself."""
    assert explain(RuntimeError("x"), sync_url("mysql://u:p@db/x")) == ""
    assert explain(sqlite3.OperationalError("odd"), sync_url("sqlite:///x.db")) == ""


def test_a_refusal_of_alembic_that_nobody_explains_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence for the operator, no traceback."""

    def upgrade(*_: object) -> None:
        raise CommandError("multiple heads are present")

    monkeypatch.setattr("app.utils.database_init.command.upgrade", upgrade)

    with pytest.raises(StartRefused, match=r"数据库迁移失败.*multiple heads are present"):
        prepare_schema(f"sqlite:///{tmp_path}/x.db")
