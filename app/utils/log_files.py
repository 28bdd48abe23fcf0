"""
Closed log files: compressed beside the program, since 50 MB take about a second, and deleted in time.

Both work on one folder at once, so each takes it that a file is gone when it comes to it.
"""

import gzip
import shutil
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from loguru import logger


class BackgroundGzip:
    """Compresses one file per thread; used as loguru's ``compression``."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def __call__(self, path: str) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=compress_file, args=(Path(path),), name="log-gzip")
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """Wait until everything is compressed."""
        for thread in self._threads:
            thread.join()


def compress_file(path: Path) -> None:
    """Replace the file by ``<name>.gz``; if that fails, the file stays as it is."""
    part = path.with_name(path.name + ".gz.part")
    try:
        with path.open("rb") as source, gzip.open(part, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        shutil.copystat(path, part)
        part.replace(path.with_name(path.name + ".gz"))
        path.unlink()
    except OSError as error:
        part.unlink(missing_ok=True)
        logger.warning("log.compress_failed", file=path.name, reason=error.strerror)


class DeleteOlder:
    """
    Deletes files older than an age; used as loguru's ``retention``.

    Loguru's own one breaks on a file that is compressed under its hands, and the line that was to be
    written is lost.
    """

    def __init__(self, age: timedelta) -> None:
        self._seconds = age.total_seconds()

    def __call__(self, paths: Sequence[str]) -> None:
        limit = time.time() - self._seconds
        for path in map(Path, paths):
            try:
                if path.stat().st_mtime <= limit:
                    path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                _warn("log.delete_failed", path, error)


def _warn(event: str, path: Path, error: OSError) -> None:
    """
    Say it from a thread of its own.

    Whoever rotates holds the sink's lock: a line logged there would wait for itself.
    """
    fields = {"file": path.name, "reason": error.strerror}
    threading.Thread(target=lambda: logger.warning(event, **fields), name="log-warning").start()
