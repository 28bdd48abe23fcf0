"""The private database server does what the tests that use it rely on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pymysql
import pytest

from tests.fixtures.mariadb import MariadbServer

pytestmark = pytest.mark.mysql


def test_a_fresh_database_is_empty_and_speaks_utf8mb4(
    mariadb_server: MariadbServer, private_mysql_url: str
) -> None:
    """Each test starts from nothing, with four-byte characters."""
    database = private_mysql_url.rsplit("/", 1)[1]

    assert mariadb_server.execute("SHOW TABLES", database=database) == []
    charset = mariadb_server.execute("SELECT @@character_set_database", database=database)
    assert charset == [("utf8mb4",)]


def test_committed_rows_survive_a_killed_server(
    mariadb_server: MariadbServer, private_mysql_url: str
) -> None:
    """SIGKILL and start again: same port, same rows."""
    database = private_mysql_url.rsplit("/", 1)[1]
    port = mariadb_server.port
    mariadb_server.execute("CREATE TABLE t (n INT)", database=database)
    mariadb_server.execute("INSERT INTO t VALUES (7)", database=database)

    mariadb_server.kill()
    with pytest.raises(pymysql.err.OperationalError):
        mariadb_server.execute("SELECT 1")
    mariadb_server.start()

    assert mariadb_server.port == port
    assert mariadb_server.execute("SELECT n FROM t", database=database) == [(7,)]


def test_the_server_dies_with_a_killed_test_run(tmp_path: Path) -> None:
    """A run that is killed leaves neither process nor folder behind."""
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, time\n"
        "from tests.fixtures.mariadb import MariadbServer\n"
        "server = MariadbServer()\n"
        "server.start()\n"
        "print((server.folder / 'server.pid').read_text().strip(), server.folder, flush=True)\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    root = Path(__file__).resolve().parents[2]
    run = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert run.stdout is not None
    pid, folder = run.stdout.readline().split()

    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (_lives(int(pid)) or Path(folder).exists()):
        time.sleep(0.05)
    assert not _lives(int(pid))
    assert not Path(folder).exists()


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
