"""
The last store before a refusal: lines on the local disk while SQL cannot take messages.

One file per process, locked while it lives. A line counts once it is fsynced; a torn last line
was never acknowledged and is skipped. Files of dead processes are replayed by whoever starts next.
A file with a line that is not one of ours, or that SQL will never take, is kept as ``*.odd``.
"""

import asyncio
import os
import secrets
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
from loguru import logger

from app.services.errors import StoreUnavailable
from app.utils.lock import try_lock, unlock

SUFFIX = ".spill"
ODD_SUFFIX = ".odd"


@dataclass(eq=False, kw_only=True, slots=True)
class SpillFile:
    """One file whose lock this process holds."""

    path: Path
    handle: IO[bytes]
    #: Lines in it, a torn one included.
    lines: int = 0
    #: Bytes in it.
    size: int = 0

    def records(self) -> Iterator[dict[str, Any] | None]:
        """Its whole lines, oldest first; None: not a line of ours."""
        with self.path.open("rb") as reader:
            for number, line in enumerate(reader, start=1):
                if line.endswith(b"\n"):
                    yield _parse(line)
                else:
                    logger.warning("spill.torn_line", file=self.path.name, line=number)

    def remove(self) -> None:
        """Delete the file; everything in it is in SQL."""
        self.path.unlink(missing_ok=True)
        self.close()

    def set_aside(self) -> None:
        """Keep the file for a person to look at; nobody replays it again."""
        self.path.rename(self.path.with_suffix(ODD_SUFFIX))
        self.close()

    def close(self) -> None:
        """Let go of the file; whoever starts next may adopt it."""
        if not self.handle.closed:
            unlock(self.handle.fileno())
            self.handle.close()


class Spill:
    """The spill files that this process has to bring to SQL, its own and adopted ones."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        #: Oldest first; lines are appended to ``_current`` only.
        self._files: deque[SpillFile] = deque()
        self._current: SpillFile | None = None
        #: On its way to SQL; until that is done its lines count as pending.
        self._replayed: SpillFile | None = None
        self._writing = asyncio.Lock()

    @property
    def pending(self) -> int:
        """Lines that SQL does not have yet."""
        return sum(file.lines for file in self._kept())

    def _kept(self) -> list[SpillFile]:
        return [*([self._replayed] if self._replayed else []), *self._files]

    def is_usable(self) -> bool:
        """Whether lines could be written now, as far as one can know without writing."""
        folder = self._folder
        while not folder.exists():
            folder = folder.parent
        return os.access(folder, os.W_OK)

    async def append(self, records: list[dict[str, Any]]) -> None:
        """
        Write and fsync records, in order.

        Raises:
            StoreUnavailable: the disk refuses, or the files would pass their bound.
        """
        data = b"".join(orjson.dumps(record) + b"\n" for record in records)
        async with self._writing:
            if sum(file.size for file in self._kept()) + len(data) > self._max_bytes:
                raise StoreUnavailable(f"spill: {self._folder} would pass {self._max_bytes} bytes")
            try:
                if self._current is None:
                    self._current = await asyncio.to_thread(_make_file, self._folder)
                    self._files.append(self._current)
                await asyncio.to_thread(_write, self._current.handle, data)
            except OSError as error:
                self._leave_current()
                raise StoreUnavailable(f"spill: {error}") from error
            self._current.lines += len(records)
            self._current.size += len(data)

    def _leave_current(self) -> None:
        """What follows goes into a new file, whatever is left of the failed lines in this one."""
        file, self._current = self._current, None
        if file is not None and not file.lines:
            # Nothing in it was ever promised; a full disk must not cost a file and a handle a try.
            self._files.remove(file)
            file.remove()

    async def take(self) -> SpillFile | None:
        """Hand over the oldest file for replay; if it is the current one, later lines get a new one."""
        async with self._writing:
            if not self._files:
                return None
            file = self._files.popleft()
            if file is self._current:
                self._current = None
            self._replayed = file
            return file

    def give_back(self, file: SpillFile) -> None:
        """Replay did not end: the file is the oldest again."""
        self._replayed = None
        self._files.appendleft(file)

    def finish(self, file: SpillFile, *, odd: bool) -> None:
        """
        Replay ended: the file goes, unless a line of it is *odd*; then a person has to look at it.

        Raises:
            OSError: the disk refuses; the file counts as before.
        """
        if odd:
            file.set_aside()
        else:
            file.remove()
        self._replayed = None

    def adopt(self) -> int:
        """Take over the files that dead processes left behind; returns how many."""
        if not self._folder.is_dir():
            return 0
        ours = {file.path for file in self._kept()}
        paths = [path for path in self._folder.glob(f"*{SUFFIX}") if path not in ours]
        found = [file for path in paths if (file := _adopted(path)) is not None]
        found.sort(key=lambda file: os.fstat(file.handle.fileno()).st_mtime_ns)
        self._files.extendleft(reversed(found))
        return len(found)

    def close(self) -> None:
        """Let go of all files."""
        for file in self._kept():
            file.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _make_file(folder: Path) -> SpillFile:
    _make_folder(folder)
    while True:
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        handle = path.open("xb", buffering=0)
        if try_lock(handle.fileno()):
            _sync_folder(folder)
            return SpillFile(path=path, handle=handle)
        # Somebody who looks for orphans was faster: the empty file is theirs.
        handle.close()


def _write(handle: IO[bytes], data: bytes) -> None:
    start = handle.seek(0, os.SEEK_END)
    try:
        written = 0
        while written < len(data):
            written += handle.write(data[written:])
        os.fsync(handle.fileno())
    except OSError:
        # A part may be on the disk; nobody was told that it is durable.
        handle.truncate(start)
        raise


def _adopted(path: Path) -> SpillFile | None:
    """The file with its lock, unless its process lives or it is gone meanwhile."""
    try:
        handle = path.open("r+b", buffering=0)
    except OSError as error:
        logger.warning("spill.not_adopted", file=path.name, error=repr(error))
        return None
    if try_lock(handle.fileno()) and _is_still(path, handle):
        with path.open("rb") as reader:
            lines = sum(1 for _ in reader)
        return SpillFile(path=path, handle=handle, lines=max(1, lines), size=path.stat().st_size)
    handle.close()
    return None


def _is_still(path: Path, handle: IO[bytes]) -> bool:
    """Whether the path still leads to the open file: its owner may have removed it."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    """Make it and what it lies in; each new name is durable in the folder above."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync_folder(one.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in it durable."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
