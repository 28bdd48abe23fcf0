"""
Create the database if it is missing, and migrate it: ``python app/utils/database_init.py``.

Run by hand before a new version starts (docs/operations.md), by compose as a one-shot service,
and by the embedded default itself at start. Safe to run twice, and by two processes at once.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    # Run as a script, Python puts app/utils first: `import app` would fail.
    sys.path[0] = str(ROOT)

import pymysql
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, create_engine

from app.utils.database_faults import UNKNOWN_DATABASE, NotMigrated, explain
from app.utils.db import make_parent_folder, sync_url
from app.utils.revisions import pending_revisions


def alembic_config(url: str) -> Config:
    """Alembic's configuration for one database; the URL is passed beside the ini options, which
    would read ``%`` in passwords as their own."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations").replace("%", "%%"))
    config.attributes["url"] = sync_url(url)
    return config


def create_database(url: URL) -> bool:
    """Create the MySQL database that the URL names; True: it was missing. SQLite needs none."""
    if url.get_backend_name() == "sqlite":
        make_parent_folder(url)
        return False
    engine = create_engine(url, connect_args={"connect_timeout": 5})
    try:
        with engine.connect():
            return False
    except Exception as error:
        original = getattr(error, "orig", None)
        if not (isinstance(original, pymysql.Error) and original.args[0] == UNKNOWN_DATABASE):
            raise
    finally:
        engine.dispose()
    # Empty, since None would mean "as it was".
    server = create_engine(url.set(database=""), isolation_level="AUTOCOMMIT")
    name = str(url.database).replace("`", "``")
    with server.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
        )
    server.dispose()
    return True


def migrate(url: str) -> None:
    """
    Bring the schema to the newest revision.

    Raises:
        NotMigrated: it is none of ours, or from a newer program.
    """
    try:
        command.upgrade(alembic_config(url), "head")
    except CommandError as error:
        raise NotMigrated(str(error)) from error


def main() -> int:
    """Create and migrate the database of the settings in force."""
    from config import SettingsError, load_process_settings  # noqa: PLC0415 - after sys.path is set

    try:
        loaded = load_process_settings()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    url = loaded.settings.database_url.get_secret_value()
    shown = sync_url(url).render_as_string(hide_password=True)
    try:
        if create_database(sync_url(url)):
            sys.stdout.write(f"已创建数据库:{shown}\n")
        waiting = pending_revisions(url)
        migrate(url)
    except Exception as error:  # noqa: BLE001 - a script: whatever fails is told, with the next step
        original = getattr(error, "orig", None) or error
        advice = explain(error, sync_url(url)) or (
            "请检查 DATABASE_URL、数据库服务是否已启动,以及用户是否有建库建表的权限。"
        )
        sys.stderr.write(
            f"数据库初始化失败:{shown}\n  {type(original).__name__}: {original}\n  {advice}\n"
        )
        return 1
    done = f"已执行迁移 {'、'.join(waiting)}" if waiting else "数据库已是最新"
    sys.stdout.write(f"{done}:{shown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
