"""Exactly one process on one data folder."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: Windows keeps others from reading a locked byte, so it locks one far behind the text.
LOCK_OFFSET = 1 << 30


class AlreadyRunning(RuntimeError):
    """Another process holds the lock; the text is for the operator."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = f"进程 {pid}" if pid else "另一个进程"
        super().__init__(
            f"{holder} 正在使用数据目录 {path.parent}(锁文件 {path})。"
            "内置的 SQLite/Redis 只能由一个进程使用:请先停止它,或改用 MySQL 和 Redis。"
        )
        self.path = path
        #: Of the holder, if the file says so.
        self.pid = pid


@contextmanager
def single_process_lock(path: Path) -> Iterator[None]:
    """
    Hold the lock file while inside; the system lets go of it also when the process is killed.

    The file stays behind: removing it would let two processes lock two files of one name.

    Raises:
        AlreadyRunning: Somebody else holds it.
        OSError: The folder cannot be written.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not try_lock(descriptor):
            raise AlreadyRunning(path, _read_pid(descriptor))
        _write_pid(descriptor, f"{os.getpid()}\n")
        try:
            yield
        finally:
            _write_pid(descriptor, "")
            unlock(descriptor)
    finally:
        os.close(descriptor)


def _read_pid(descriptor: int) -> int | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, 32)
    return int(text) if text.strip().isdigit() else None


def _write_pid(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text.encode("ascii"))


if sys.platform == "win32":

    def try_lock(descriptor: int) -> bool:
        """Lock an open file for this process; False: somebody else has it."""
        os.lseek(descriptor, LOCK_OFFSET, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

    def unlock(descriptor: int) -> None:
        """Let go of an open file."""
        os.lseek(descriptor, LOCK_OFFSET, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:

    def try_lock(descriptor: int) -> bool:
        """Lock an open file for this process; False: somebody else has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Let go of an open file."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
