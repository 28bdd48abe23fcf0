"""The schema: migrations and models say the same, and its keys fit the smallest server."""

import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    inspect,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator

from app.models.base import exact
from app.models.tables import Base
from app.services.stages import utc_now
from app.utils.database_faults import ForeignTable
from app.utils.database_init import alembic_config, migrate
from app.utils.db import sync_url
from app.utils.revisions import VERSIONS, known_revisions, pending_revisions

#: MySQL 8, InnoDB, DYNAMIC rows.
LONGEST_KEY = 3072
BYTES_PER_CHARACTER = 4
TABLES = set(Base.metadata.tables)
ROOT = Path(__file__).resolve().parents[2]


def tables_of(url: str) -> set[str]:
    engine = create_engine(sync_url(url))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.mysql)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database on both engines."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("mysql_url"))


def test_up_check_down_and_up_again(empty_url: str) -> None:
    """From nothing to the newest and back to nothing; the models have nothing to add."""
    assert pending_revisions(empty_url)
    migrate(empty_url)
    assert tables_of(empty_url) == TABLES | {"alembic_version"}
    assert pending_revisions(empty_url) == []
    command.check(alembic_config(empty_url))
    migrate(empty_url)

    command.downgrade(alembic_config(empty_url), "base")

    assert tables_of(empty_url) == {"alembic_version"}
    migrate(empty_url)
    assert tables_of(empty_url) == TABLES | {"alembic_version"}


def test_a_database_of_a_newer_program_has_nothing_pending(empty_url: str) -> None:
    """While replicas are updated one by one, the old ones can still start."""
    migrate(empty_url)
    engine = create_engine(sync_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    assert pending_revisions(empty_url) == []


def test_two_migrations_at_once_are_one(empty_url: str) -> None:
    """Two processes start on an empty database: both succeed, the schema is there once."""
    script = "import sys; from app.utils.database_init import migrate; migrate(sys.argv[1])"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, empty_url],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    outcomes = [(run.communicate(timeout=100)[1], run.returncode) for run in runs]

    assert [code for _, code in outcomes] == [0, 0, 0], outcomes
    assert tables_of(empty_url) == TABLES | {"alembic_version"}


#: Migrates and kills itself behind the nth CREATE, or ALTER; the first CREATE is Alembic's own table.
CUT_OFF = """
import os, signal, sys
from sqlalchemy import Engine, event
from app.utils.database_init import migrate
left, word = int(sys.argv[2]), sys.argv[3]

@event.listens_for(Engine, "after_cursor_execute")
def count(_connection, _cursor, statement, *_rest):
    global left
    left -= statement.lstrip().startswith(word)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

migrate(sys.argv[1])
"""


@pytest.mark.parametrize("creations", [1, 2, 3, 13, 19])
def test_a_migration_that_was_killed_is_taken_up_again(empty_url: str, creations: int) -> None:
    """Behind a table, between a table and its index: the next run makes what is missing."""
    killed = subprocess.run(
        [sys.executable, "-c", CUT_OFF, empty_url, str(creations), "CREATE"], cwd=ROOT, check=False
    )
    left = tables_of(empty_url)

    migrate(empty_url)

    assert killed.returncode == -signal.SIGKILL
    assert left < TABLES | {"alembic_version"}
    assert pending_revisions(empty_url) == []
    command.check(alembic_config(empty_url))


def test_columns_are_added_to_rows_that_are_there_also_in_two_goes(empty_url: str) -> None:
    """A database in use, killed between two columns; the rows stay and get the defaults."""
    command.upgrade(alembic_config(empty_url), "0001")
    engine = create_engine(sync_url(empty_url))
    table = Table("messages", MetaData(), autoload_with=engine)
    row: dict[str, Any] = {
        column.name: 0 if isinstance(column.type, (Integer, Boolean)) else ""
        for column in table.columns
        if not column.nullable
    }
    with engine.begin() as connection:
        connection.execute(table.insert().values(**{**row, "id": 7, "received_at": utc_now()}))
    killed = subprocess.run(
        [sys.executable, "-c", CUT_OFF, empty_url, "1", "ALTER"], cwd=ROOT, check=False
    )

    migrate(empty_url)

    with engine.connect() as connection:
        kept = connection.execute(text("SELECT id, replays, replayed_at FROM messages")).all()
    engine.dispose()
    assert killed.returncode == -signal.SIGKILL
    assert kept == [(7, 0, None)]
    command.check(alembic_config(empty_url))


def test_leftovers_of_a_migration_keep_their_rows(empty_url: str) -> None:
    """Some tables and some indexes are there, the revision is not: nothing is made anew."""
    migrate(empty_url)
    engine = create_engine(sync_url(empty_url))
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO stats_minutes (minute, name, value) VALUES (1, 'x', 2)",
            "DROP TABLE segments",
            "DELETE FROM alembic_version",
        ):
            connection.execute(text(statement))
    migrate(empty_url)
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT value FROM stats_minutes")).all()
    engine.dispose()

    assert kept == [(2,)]
    command.check(alembic_config(empty_url))


def test_a_table_of_somebody_else_stops_the_migration(empty_url: str) -> None:
    """Our names are common ones; what is not ours is named and left alone."""
    engine = create_engine(sync_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)"))

    with pytest.raises(ForeignTable, match="accounts,它不是本程序建的"):
        migrate(empty_url)

    columns = [column["name"] for column in inspect(engine).get_columns("accounts")]
    engine.dispose()
    assert columns == ["id", "balance"]
    assert pending_revisions(empty_url)[:1] == ["0001"]


@pytest.mark.mysql
def test_ids_are_compared_byte_for_byte_and_texts_take_everything(mysql_url: str) -> None:
    """Two people may differ in the case of one letter; nicknames hold emoji."""
    migrate(mysql_url)
    engine = create_engine(sync_url(mysql_url))
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT table_name, column_name, collation_name FROM information_schema.columns"
                " WHERE table_schema = DATABASE() AND collation_name IS NOT NULL"
                " AND table_name != 'alembic_version'"
            )
        ).all()
    engine.dispose()
    collations = {(table, column): collation for table, column, collation in found}

    for (table, column), collation in collations.items():
        if column.endswith(("wc_id", "_id", "from_user", "dedupe_key", "hour", "state")):
            assert collation == "utf8mb4_bin", (table, column)
    assert all(collation.startswith("utf8mb4") for collation in collations.values())
    assert collations["contacts", "nick_name"] == "utf8mb4_unicode_ci"


def key_bytes(columns: Iterable[Column[Any]]) -> int:
    """The longest key over these columns, as InnoDB counts it for utf8mb4."""
    return sum(_column_bytes(column) for column in columns)


def _column_bytes(column: Column[Any]) -> int:
    kind = column.type.dialect_impl(mysql.dialect())
    if isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    if isinstance(kind, Text) or (isinstance(kind, String) and kind.length is None):
        pytest.fail(f"{column} cannot be a part of a key")
    if isinstance(kind, String):
        return int(kind.length or 0) * BYTES_PER_CHARACTER + 2 + int(bool(column.nullable))
    sizes = {BigInteger: 8, Boolean: 1, Integer: 4}
    return next((size for cls, size in sizes.items() if isinstance(kind, cls)), 8)


def keys_of(metadata: MetaData) -> dict[str, int]:
    """Every key of every table with its size."""
    found = {}
    for table in metadata.tables.values():
        keys: list[PrimaryKeyConstraint | UniqueConstraint | Index] = [
            constraint
            for constraint in table.constraints
            if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
        ]
        keys += table.indexes
        for key in keys:
            columns = list(key.columns)
            found[f"{table.name}: {', '.join(c.name for c in columns)}"] = key_bytes(columns)
    return found


def test_every_key_fits_mysql() -> None:
    """3072 bytes, computed: MariaDB here would take what MySQL refuses."""
    keys = keys_of(Base.metadata)

    assert {name: size for name, size in keys.items() if size > LONGEST_KEY} == {}
    assert keys["messages: bot_wc_id, dedupe_key"] == (128 + 191) * 4 + 4
    assert len(keys) > len(TABLES)


def test_a_key_that_is_too_long_would_be_seen() -> None:
    """Seven ids of 128 characters do not fit."""
    metadata = MetaData()
    columns = [Column(f"c{n}", exact(128)) for n in range(7)]
    Table("t", metadata, *columns, UniqueConstraint(*(column.name for column in columns)))

    assert max(keys_of(metadata).values()) > LONGEST_KEY


def test_every_table_is_made_for_four_byte_text() -> None:
    """InnoDB, utf8mb4, DYNAMIC rows: said by each table, not left to the server."""
    for table in Base.metadata.tables.values():
        options = table.dialect_options["mysql"]
        assert options["engine"] == "InnoDB", table.name
        assert options["charset"] == "utf8mb4", table.name
        assert options["row_format"] == "DYNAMIC", table.name


def test_the_chain_that_a_start_reads_is_alembics_own() -> None:
    """A start compares without Alembic; a revision that it misread would never be applied."""
    script = ScriptDirectory.from_config(alembic_config("sqlite://"))
    chain = [revision.revision for revision in script.walk_revisions()]

    assert list(known_revisions()) == chain[::-1]
    assert len(chain) == len(list(VERSIONS.glob("*.py")))
