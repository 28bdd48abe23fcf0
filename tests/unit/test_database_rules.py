"""What the database has to be like: each fault is one sentence with a remedy."""

from dataclasses import replace

import pytest

from app.services.checks.database_facts import DatabaseFacts
from app.services.checks.database_rules import judge_database
from app.services.findings import Effect, Finding

KNOWN = ("0001", "0002", "0003")
VARIABLES = {
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_results": "utf8mb4",
    "innodb_flush_log_at_trx_commit": "1",
    "log_bin": "ON",
    "max_allowed_packet": "67108864",
    "read_only": "OFF",
    "sql_mode": "STRICT_TRANS_TABLES,STRICT_ALL_TABLES",
    "sync_binlog": "1",
    "transaction_isolation": "READ-COMMITTED",
    "version": "8.4.3",
}
SOUND = DatabaseFacts(
    kind="mysql",
    version="8.4.3",
    variables=VARIABLES,
    tables={"messages": "InnoDB", "alembic_version": "InnoDB"},
    revision="0003",
)
FILE = DatabaseFacts(
    kind="sqlite",
    version="3.46.0",
    variables={"journal_mode": "wal", "synchronous": "2"},
    tables={"messages": "", "alembic_version": ""},
    revision="0003",
)


def with_variables(**changes: str) -> DatabaseFacts:
    """A sound server with these values; an empty one: it has no such variable."""
    variables = {name: value for name, value in {**VARIABLES, **changes}.items() if value}
    return replace(SOUND, variables=variables)


def only(facts: DatabaseFacts) -> Finding:
    """The one finding."""
    [found] = judge_database(facts, KNOWN).findings
    return found


@pytest.mark.parametrize("facts", [SOUND, FILE])
def test_sound_database_has_no_findings_and_shows_its_migration(facts: DatabaseFacts) -> None:
    """For the health report."""
    look = judge_database(facts, KNOWN)

    assert look.findings == ()
    assert (look.facts["revision"], look.facts["head"]) == ("0003", "0003")


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"innodb_flush_log_at_trx_commit": "2"}, "database_flush"),
        ({"innodb_flush_log_at_trx_commit": "0"}, "database_flush"),
        ({"sync_binlog": "0"}, "database_binlog"),
        ({"transaction_isolation": "REPEATABLE-READ"}, "database_isolation"),
        ({"transaction_isolation": "", "tx_isolation": "SERIALIZABLE"}, "database_isolation"),
        ({"sql_mode": "NO_ENGINE_SUBSTITUTION"}, "database_not_strict"),
        ({"character_set_connection": "utf8mb3"}, "database_charset"),
        ({"max_allowed_packet": "1048576"}, "database_packet"),
        ({"read_only": "ON"}, "database_read_only"),
    ],
)
def test_setup_that_is_less_safe_is_a_warning(variables: dict[str, str], code: str) -> None:
    """The bridge runs, and says what to change."""
    found = only(with_variables(**variables))

    assert (found.code, found.effect, found.refuses) == (code, Effect.RISK, False)
    assert "请" in found.text


def test_binlog_that_is_off_needs_no_sync() -> None:
    """MariaDB's own default."""
    assert judge_database(with_variables(log_bin="OFF", sync_binlog="0"), KNOWN).findings == ()


def test_server_that_tells_nothing_is_not_complained_of() -> None:
    """A proxy or a server of another make may know none of these variables."""
    assert judge_database(replace(SOUND, variables={}), KNOWN).findings == ()


def test_uncommitted_reads_refuse_the_start() -> None:
    """A row that is rolled back later would be answered with 200."""
    found = only(with_variables(transaction_isolation="READ-UNCOMMITTED"))

    assert found.refuses


def test_table_without_transactions_refuses_the_start_and_is_named() -> None:
    """A restored dump, or a server that substituted the engine."""
    found = only(replace(SOUND, tables={"messages": "MyISAM", "alembic_version": "MyISAM"}))

    assert found.refuses
    assert "ALTER TABLE `messages` ENGINE=InnoDB" in found.text


@pytest.mark.parametrize(
    ("kind", "version", "is_old"),
    [
        ("mysql", "5.7.44-log", True),
        ("mysql", "8.0.11", False),
        ("mysql", "9.7.4", False),
        ("mariadb", "10.3.39-MariaDB", True),
        ("mariadb", "5.5.5-10.11.19-MariaDB", False),
        ("mariadb", "12.0.2-MariaDB", False),
        ("mysql", "", False),
    ],
)
def test_version_that_was_never_tried_is_a_warning(kind: str, version: str, is_old: bool) -> None:
    """No refusal: a proxy may say any version."""
    found = judge_database(replace(SOUND, kind=kind, version=version), KNOWN).findings

    assert [(one.code, one.refuses) for one in found] == [("database_version", False)] * is_old


@pytest.mark.parametrize(
    ("revision", "missing"), [("0001", "0002、0003"), (None, "0001、0002、0003")]
)
def test_missing_migrations_are_named_with_the_command(revision: str | None, missing: str) -> None:
    """Nothing works before."""
    found = only(replace(SOUND, revision=revision))

    assert (found.effect, found.refuses) == (Effect.BROKEN, True)
    assert missing in found.text
    assert "app/utils/database_init.py" in found.text


def test_file_is_migrated_by_the_start_itself() -> None:
    """So nothing is missing."""
    assert judge_database(replace(FILE, revision="0001"), KNOWN).findings == ()


def test_schema_of_a_newer_program_is_a_warning() -> None:
    """While an upgrade goes on both run side by side."""
    found = only(replace(SOUND, revision="0009"))

    assert (found.code, found.effect, found.refuses) == ("schema_newer", Effect.RISK, False)
    assert "0009" in found.text


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("journal_mode", "delete", "sqlite_journal"),
        ("synchronous", "1", "sqlite_synchronous"),
    ],
)
def test_file_that_does_not_keep_what_is_set_is_warned_of(name: str, value: str, code: str) -> None:
    """A file on a share has no write-ahead log."""
    assert only(replace(FILE, variables={**FILE.variables, name: value})).code == code
