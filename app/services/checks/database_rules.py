"""What the database has to be like. Pure; every sentence says what was found and what to do."""

import re
from collections.abc import Sequence
from typing import Any, Final

from app.services.checks.database_facts import REVISIONS, DatabaseFacts
from app.services.findings import Finding, Look, broken, risk
from app.utils.revisions import revisions_after

OLDEST: Final = {"mysql": (8, 0), "mariadb": (10, 5)}
OLDEST_WORDS: Final = "MySQL 8.0 或 MariaDB 10.5"
#: One callback of 1 MiB stands twice in its row, every byte perhaps escaped, behind a batch of 1 MB.
LEAST_PACKET: Final = 8 * 1024 * 1024
TEXT_SETS: Final = ("character_set_client", "character_set_connection", "character_set_results")
#: SQLite's number for FULL; 3 is EXTRA, which is safer still.
SYNCHRONOUS_FULL: Final = 2
_ISOLATION: Final = ("transaction_isolation", "tx_isolation")


def judge_database(facts: DatabaseFacts, known: Sequence[str]) -> Look:
    """
    What is wrong with a database, and what to show of it.

    Args:
        known: all revisions of this program's schema, oldest first.
    """
    rules = _file_rules(facts) if facts.kind == "sqlite" else _server_rules(facts)
    found = [finding for finding in (*rules, _schema(facts, known)) if finding is not None]
    identity: dict[str, Any] = {
        "version": f"{facts.kind} {facts.version}".strip(),
        "revision": facts.revision,
        "head": known[-1] if known else None,
        **_shown(facts),
    }
    return Look(findings=tuple(found), identity=identity, facts=identity)


def _shown(facts: DatabaseFacts) -> dict[str, Any]:
    if facts.kind == "sqlite":
        return dict(facts.variables)
    return {
        "isolation": facts.get(*_ISOLATION) or "unknown",
        "innodb_flush_log_at_trx_commit": facts.get("innodb_flush_log_at_trx_commit") or "unknown",
        # Without a binary log it means nothing.
        "sync_binlog": facts.get("sync_binlog") if _has_binlog(facts) else "no binlog",
        "read_only": _is_on(facts.get("read_only")),
    }


def _has_binlog(facts: DatabaseFacts) -> bool:
    return _is_on(facts.get("log_bin"))


def _is_on(value: str) -> bool:
    return value not in ("", "off", "0")


def _schema(facts: DatabaseFacts, known: Sequence[str]) -> Finding | None:
    if facts.revision in known[-1:] or facts.kind == "sqlite":
        # A file is migrated at the start.
        return None
    if facts.revision is not None and facts.revision not in known:
        return risk(
            "schema_newer",
            f"数据库的表结构是更新的版本建的({facts.revision}),这个程序不认识。"
            "升级途中可以并存;否则请换成那个版本的程序。",
        )
    missing = "、".join(revisions_after(facts.revision, known))
    return broken(
        "schema_behind",
        f"数据库缺少迁移 {missing}。请运行:python app/utils/database_init.py",
        refuses=True,
    )


def _file_rules(facts: DatabaseFacts) -> tuple[Finding | None, ...]:
    mode, synchronous = facts.get("journal_mode"), facts.get("synchronous")
    return (
        risk(
            "sqlite_journal",
            f"SQLite 不能用 WAL(journal_mode 是 {mode}):读和写会互相等待。"
            "数据库文件多半在网络盘上,请放到本机磁盘(DATABASE_URL)。",
        )
        if mode != "wal"
        else None,
        risk(
            "sqlite_synchronous",
            f"SQLite 的 synchronous 是 {synchronous},应为 2(FULL):断电会丢掉已收下的消息。",
        )
        if not synchronous.isdigit() or int(synchronous) < SYNCHRONOUS_FULL
        else None,
    )


def _server_rules(facts: DatabaseFacts) -> tuple[Finding | None, ...]:
    return (
        _version(facts),
        _engines(facts),
        _isolation(facts),
        _flush(facts),
        _binlog(facts),
        _strict(facts),
        _charset(facts),
        _packet(facts),
        _read_only(facts),
    )


def _version(facts: DatabaseFacts) -> Finding | None:
    # Old MariaDB calls itself 5.5.5-10.x to old clients; a proxy may say anything: no refusal.
    text = facts.version.removeprefix("5.5.5-")
    numbers = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    if not numbers or numbers >= OLDEST[facts.kind]:
        return None
    return risk(
        "database_version",
        f"数据库的版本是 {facts.version},本程序只在 {OLDEST_WORDS} 以上试过。请升级数据库。",
    )


def _engines(facts: DatabaseFacts) -> Finding | None:
    odd = sorted(
        name
        for name, engine in facts.tables.items()
        if engine.lower() != "innodb" and name != REVISIONS
    )
    if not odd:
        return None
    return risk(
        "database_engine",
        f"表 {'、'.join(odd)} 不是 InnoDB:没有事务,崩溃会丢消息。"
        f"请逐个执行 ALTER TABLE `{odd[0]}` ENGINE=InnoDB。",
        refuses=True,
    )


def _isolation(facts: DatabaseFacts) -> Finding | None:
    level = facts.get(*_ISOLATION)
    if level in ("", "read-committed"):
        return None
    is_dirty = level == "read-uncommitted"
    effect = "会把没有提交的行当作已收下" if is_dirty else "锁的范围更大,写入会互相等待、死锁"
    return risk(
        "database_isolation",
        f"事务隔离级别是 {level.upper()},本程序设的 READ-COMMITTED 没有生效({effect})。"
        "连接多半经过代理:请让它按会话保持设置(ProxySQL:关掉 multiplexing),或直连数据库。",
        refuses=is_dirty,
    )


def _flush(facts: DatabaseFacts) -> Finding | None:
    value = facts.get("innodb_flush_log_at_trx_commit")
    if value in ("", "1"):
        return None
    return risk(
        "database_flush",
        f"innodb_flush_log_at_trx_commit 是 {value}:数据库那台机器断电会丢掉最后约一秒已收下的消息。"
        "请执行 SET GLOBAL innodb_flush_log_at_trx_commit=1 并写进配置。",
    )


def _binlog(facts: DatabaseFacts) -> Finding | None:
    value = facts.get("sync_binlog")
    if not _has_binlog(facts) or value in ("", "1"):
        return None
    return risk(
        "database_binlog",
        f"开着 binlog 而 sync_binlog 是 {value}:断电后可能回滚已收下的消息。"
        "请执行 SET GLOBAL sync_binlog=1 并写进配置。",
    )


def _strict(facts: DatabaseFacts) -> Finding | None:
    mode = facts.get("sql_mode")
    if "sql_mode" not in facts.variables or "strict_" in mode:
        return None
    return risk(
        "database_not_strict",
        "sql_mode 不是严格模式,本程序设的 STRICT_ALL_TABLES 没有生效:放不下的文字会被悄悄截断。"
        "连接多半经过代理:请让它按会话保持设置,或在数据库上设 STRICT_TRANS_TABLES。",
    )


def _charset(facts: DatabaseFacts) -> Finding | None:
    odd = {facts.get(name) for name in TEXT_SETS} - {"", "utf8mb4"}
    if not odd:
        return None
    return risk(
        "database_charset",
        f"连接的字符集是 {'、'.join(sorted(odd))},不是 utf8mb4:表情等字符存不进去。"
        "请检查代理或数据库的 init_connect。",
    )


def _packet(facts: DatabaseFacts) -> Finding | None:
    value = facts.get("max_allowed_packet")
    if not value.isdigit() or int(value) >= LEAST_PACKET:
        return None
    return risk(
        "database_packet",
        f"max_allowed_packet 是 {int(value) // 1024} KiB,很长的消息会被拒绝。"
        "请设为 16M 以上(SET GLOBAL max_allowed_packet=16777216,并写进配置)。",
    )


def _read_only(facts: DatabaseFacts) -> Finding | None:
    if not _is_on(facts.get("read_only")):
        return None
    return risk(
        "database_read_only",
        "数据库是只读的(read_only):多半是从库,或正在切换。其间消息写进本机的溢出文件。"
        "请让 DATABASE_URL 指向主库;切换完会自动恢复。",
    )
