"""What a simulator saw and did, kept in order and in bounds, read by tests and by `GET /_sim/log`."""

import asyncio
import heapq
import json
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice, pairwise, takewhile
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

KEEP = 50_000

Entry = TypeVar("Entry")


class Journal(Generic[Entry]):
    """An append-only list that numbers its entries from 1 and forgets all but the newest *keep*."""

    def __init__(self, keep: int = KEEP) -> None:
        self.last = 0
        self._keep = keep
        self._entries: list[Entry] = []
        self._waiting: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry) -> int:
        """Returns the number of the entry."""
        self.last += 1
        self._entries.append(entry)
        if len(self._entries) >= 2 * self._keep:
            del self._entries[: -self._keep]
        self._wake()
        return self.last

    def since(self, number: int, limit: int = KEEP) -> list[tuple[int, Entry]]:
        """The kept entries with a greater number, oldest first."""
        first = self.last - len(self._entries) + 1
        start = max(0, number + 1 - first)
        chosen = self._entries[start : start + limit]
        return list(enumerate(chosen, start=first + start))

    async def wait_beyond(self, number: int) -> None:
        """Returns when an entry with a greater number exists."""
        while self.last <= number:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


@dataclass(slots=True, kw_only=True)
class Record:
    """One thing that happened; `outcome` and `ended` stay None while it is under way."""

    number: int
    kind: str
    name: str
    at: float
    """Wall clock, seconds since 1970."""
    started: float
    """Monotonic clock of the simulator's process, seconds."""
    ended: float | None = None
    outcome: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record as `GET /_sim/log` and the JSONL file show it."""
        return {
            "n": self.number,
            "kind": self.kind,
            "name": self.name,
            "at": self.at,
            "started": self.started,
            "ended": self.ended,
            "outcome": self.outcome,
            **self.facts,
        }


class Recorder:
    """
    Records by kind ("request", "sent", "callback", …), each kind bounded on its own.

    With *path* every finished record is also a line of JSON there, flushed at once, so that
    another process can read along and a killed simulator loses nothing.
    """

    def __init__(self, path: Path | None = None, keep: int = KEEP) -> None:
        self.last = 0
        self._kinds: defaultdict[str, deque[Record]] = defaultdict(lambda: deque(maxlen=keep))
        self._changed: set[asyncio.Future[None]] = set()
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")

    def open(self, kind: str, name: str, **facts: Any) -> Record:
        """Begin a record; `close` ends it."""
        self.last += 1
        record = Record(
            number=self.last,
            kind=kind,
            name=name,
            at=time.time(),
            started=time.monotonic(),
            facts=facts,
        )
        self._kinds[kind].append(record)
        self._wake()
        return record

    def close(self, record: Record, outcome: str, **facts: Any) -> None:
        """End a record; the first outcome stands."""
        if record.outcome is not None:
            return
        record.ended = time.monotonic()
        record.outcome = outcome
        record.facts.update(facts)
        if self._file is not None:
            self._file.write(json.dumps(record.as_json(), ensure_ascii=False, default=str) + "\n")
            self._file.flush()
        self._wake()

    def note(self, kind: str, name: str, outcome: str = "ok", **facts: Any) -> Record:
        """A record of something that took no time."""
        record = self.open(kind, name, **facts)
        self.close(record, outcome)
        return record

    def of(self, kind: str, name: str | None = None) -> list[Record]:
        """The kept records of a kind, oldest first."""
        return [record for record in self._kinds[kind] if name is None or record.name == name]

    def count(self, kind: str) -> int:
        """How many records of a kind are kept."""
        return len(self._kinds[kind])

    def since(self, number: int, limit: int = 1_000) -> list[Record]:
        """The kept records of all kinds with a greater number, in order of beginning."""
        newer = (_newer(records, number) for records in self._kinds.values())
        return list(islice(heapq.merge(*newer, key=lambda record: record.number), limit))

    def gaps(self, name: str) -> list[float]:
        """Seconds between the beginnings of neighbouring requests of one endpoint."""
        starts = [record.started for record in self.of("request", name)]
        return [later - earlier for earlier, later in pairwise(starts)]

    def starts(self, pattern: str, **facts: Any) -> list[float]:
        """When the requests of these endpoints, a shell pattern, and with these facts began."""
        return [
            record.started
            for record in self.of("request")
            if fnmatchcase(record.name, pattern) and facts.items() <= record.facts.items()
        ]

    async def until(self, condition: Callable[[], bool], seconds: float = 40.0) -> None:
        """
        Wait until *condition* holds; it is looked at after each change of the records.

        Raises:
            TimeoutError: it did not hold within *seconds*.
        """
        async with asyncio.timeout(seconds):
            while not condition():
                waiting = asyncio.get_running_loop().create_future()
                self._changed.add(waiting)
                try:
                    await waiting
                finally:
                    self._changed.discard(waiting)

    def finish(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _wake(self) -> None:
        for waiting in self._changed:
            if not waiting.done():
                waiting.set_result(None)


def _newer(records: deque[Record], number: int) -> list[Record]:
    """Looks from the end, so that reading along stays cheap."""
    found = list(takewhile(lambda record: record.number > number, reversed(records)))
    found.reverse()
    return found
