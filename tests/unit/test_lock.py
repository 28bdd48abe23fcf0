"""One process per data folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.utils.lock import AlreadyRunning, single_process_lock

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, pathlib
from app.utils.lock import single_process_lock
with single_process_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_second_process_is_refused_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    """The text names the holder's pid and the folder, in Chinese."""
    path = tmp_path / "data" / "embedded.lock"
    with start_holder(path) as holder:
        with pytest.raises(AlreadyRunning) as caught, single_process_lock(path):
            pass
        holder.communicate()

    assert caught.value.pid == holder.pid
    assert f"进程 {holder.pid} 正在使用数据目录 {path.parent}" in str(caught.value)


def test_lock_is_free_after_the_holder_ended(tmp_path: Path) -> None:
    """An orderly end lets go of it; the file stays."""
    path = tmp_path / "embedded.lock"
    with start_holder(path) as holder:
        holder.communicate()

    assert path.exists()
    with single_process_lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_lock_is_free_after_the_holder_was_killed(tmp_path: Path) -> None:
    """No stale lock keeps the bridge from starting again."""
    path = tmp_path / "embedded.lock"
    with start_holder(path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()

    with single_process_lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_same_process_cannot_take_it_twice(tmp_path: Path) -> None:
    """Two bridges in one process would share the data just as badly."""
    path = tmp_path / "embedded.lock"

    with single_process_lock(path), pytest.raises(AlreadyRunning), single_process_lock(path):
        pass


def test_lock_is_free_after_an_error_inside(tmp_path: Path) -> None:
    """A failing start does not block the next one."""
    path = tmp_path / "embedded.lock"
    with pytest.raises(ZeroDivisionError), single_process_lock(path):
        _ = 1 / 0

    with single_process_lock(path):
        pass
    assert path.read_text() == ""


def test_unreadable_pid_still_gives_a_clear_message(tmp_path: Path) -> None:
    """Rubbish in the file does not hide that somebody holds the lock."""
    path = tmp_path / "embedded.lock"
    with single_process_lock(path):
        path.write_text("rubbish")
        with (
            pytest.raises(AlreadyRunning, match="另一个进程 正在使用") as caught,
            single_process_lock(path),
        ):
            pass

    assert caught.value.pid is None


def test_folder_that_cannot_be_made_is_told_as_it_is(tmp_path: Path) -> None:
    """An unwritable place is no lock held by somebody."""
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match="file"), single_process_lock(tmp_path / "file" / "x.lock"):
        pass
