"""``python app/utils/database_init.py``: the README's command, from wherever it is called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from app.models.tables import Base
from app.utils.database_init import create_database, migrate
from app.utils.db import sync_url
from app.utils.revisions import known_revisions, pending_revisions
from tests.fixtures.mariadb import DatabaseServer, unused_database_name
from tests.fixtures.ports import free_port

SCRIPT = Path(__file__).resolve().parents[2] / "app" / "utils" / "database_init.py"
TABLES = set(Base.metadata.tables) | {"alembic_version"}


def start(url: str, folder: Path) -> "subprocess.Popen[str]":
    """The command as an operator types it, in another folder."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
            "PYTHONIOENCODING": "utf-8",
            "DATABASE_URL": url,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def run(url: str, folder: Path) -> tuple[int, str, str]:
    """Its exit code and what it printed."""
    process = start(url, folder)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def tables_of(url: str) -> set[str]:
    engine = create_engine(sync_url(url))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


@pytest.mark.mysql
def test_a_missing_database_is_created_and_migrated_once(
    database_server: DatabaseServer, tmp_path: Path
) -> None:
    """The first run says what it did, the second that there was nothing to do; no password is shown."""
    name = f"{unused_database_name()}-bridge"
    url = database_server.url(name)
    try:
        first = run(url, tmp_path)
        second = run(url, tmp_path)

        assert first[0] == 0, first
        assert "已创建数据库" in first[1]
        assert "已执行迁移 0001" in first[1]
        assert second[0] == 0, second
        assert "已是最新" in second[1]
        assert tables_of(url) == TABLES
        login = f":{database_server.password}@"
        assert login not in "".join((*first[1:], *second[1:]))
        charset = database_server.execute("SELECT @@character_set_database", database=name)
        assert charset == [("utf8mb4",)]
    finally:
        database_server.drop_database(name)


@pytest.mark.mysql
def test_two_at_once_on_a_missing_database_both_succeed(
    database_server: DatabaseServer, tmp_path: Path
) -> None:
    """Compose starts two of them."""
    name = unused_database_name()
    url = database_server.url(name)
    try:
        runs = [start(url, tmp_path) for _ in range(2)]
        outcomes = [(*process.communicate(timeout=100), process.returncode) for process in runs]

        assert [outcome[2] for outcome in outcomes] == [0, 0], outcomes
        assert tables_of(url) == TABLES
    finally:
        database_server.drop_database(name)


@pytest.mark.mysql
def test_a_wrong_password_is_told_in_chinese_and_not_shown(
    database_server: DatabaseServer, tmp_path: Path
) -> None:
    """Exit code 1, the cause, the next step; no traceback."""
    url = database_server.url("x").replace(f":{database_server.password}@", ":s3cr%25t-p%40ss@")

    code, out, err = run(url, tmp_path)

    assert (code, out) == (1, "")
    assert "数据库初始化失败" in err
    assert "请检查 DATABASE_URL" in err
    assert "Access denied" in err
    assert "s3cr" not in err
    assert "Traceback" not in err


def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    """Nobody listens there."""
    code, _, err = run(f"mysql+pymysql://u:hidden@127.0.0.1:{free_port()}/x", tmp_path)

    assert code == 1
    assert "数据库初始化失败" in err
    assert "hidden" not in err
    assert "Traceback" not in err


def test_a_driver_that_is_not_supported_is_told(tmp_path: Path) -> None:
    """Before anything is tried."""
    code, _, err = run("postgresql://u:hidden@127.0.0.1/x", tmp_path)

    assert code == 1
    assert "DATABASE_URL" in err
    assert "hidden" not in err
    assert "Traceback" not in err


def test_sqlite_needs_only_its_folder(tmp_path: Path) -> None:
    """The embedded default, with a space in the path; three at once."""
    url = f"sqlite:///{tmp_path}/new folder/data/bridge.db"

    runs = [start(url, tmp_path) for _ in range(3)]
    outcomes = [(*process.communicate(timeout=100), process.returncode) for process in runs]

    assert [outcome[2] for outcome in outcomes] == [0, 0, 0], outcomes
    assert tables_of(url) == TABLES


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """There is a file where the folder should be."""
    (tmp_path / "data").write_text("in the way")

    code, _, err = run(f"sqlite:///{tmp_path}/data/bridge.db", tmp_path)

    assert code == 1
    assert "数据库初始化失败" in err
    assert "Traceback" not in err


@pytest.mark.mysql
def test_a_table_left_behind_by_a_killed_run_is_no_obstacle(mysql_url: str, tmp_path: Path) -> None:
    """MySQL keeps what a migration that was cut off has made; a table of others is named."""
    migrate(mysql_url)
    engine = create_engine(sync_url(mysql_url))
    with engine.begin() as connection:
        for table in TABLES - {"accounts"}:
            connection.execute(text(f"DROP TABLE `{table}`"))

    again = run(mysql_url, tmp_path)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(text("ALTER TABLE `groups` DROP COLUMN is_enabled"))
    foreign = run(mysql_url, tmp_path)
    engine.dispose()

    assert again[0] == 0, again
    assert "已执行迁移 0001" in again[1]
    assert tables_of(mysql_url) >= TABLES - {"alembic_version"}
    assert foreign[0] == 1
    assert "列不相符的表 groups" in foreign[2]


def test_a_file_that_is_no_database_and_one_of_a_newer_program_are_told(tmp_path: Path) -> None:
    """What is wrong with the file, not that a server may be away."""
    (tmp_path / "notes.db").write_text("no database " * 500)
    newer = f"sqlite:///{tmp_path}/newer.db"
    migrate(newer)
    engine = create_engine(sync_url(newer))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    for url, words in ((f"sqlite:///{tmp_path}/notes.db", "不是 SQLite"), (newer, "(9999)")):
        code, _, err = run(url, tmp_path)
        assert code == 1
        assert words in err
        assert "服务是否已启动" not in err
        assert "Traceback" not in err


def test_the_embedded_start_migrates_by_the_same_functions(tmp_path: Path) -> None:
    """No database, then an up-to-date one."""
    url = f"sqlite:///{tmp_path}/data/bridge.db"
    assert not create_database(sync_url(url))
    assert pending_revisions(url) == list(known_revisions())

    migrate(url)

    assert pending_revisions(url) == []
