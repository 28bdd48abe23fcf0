"""
Facts about messages that hardly anybody waits for: stage times and the like, written in batches.

What is lost with a crash here is a time in a report, never a message: every state that matters is
written where it is decided.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from loguru import logger
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId
from app.services.errors import StoreUnavailable
from app.services.message_rows import THIS_FENCE, THIS_ID, write_rows
from app.services.store import Store
from app.utils.loops import stopped_within

FLUSH_SECONDS = 0.2
KEEP_AT_MOST = 50_000
#: Most notes, and most messages of works, of one transaction.
BATCH = 200


class Guard(NamedTuple):
    """Which row a note is for, and when it still holds."""

    message_id: MessageId
    fence: int | None
    while_unfinished: bool


Notes = Mapping[Guard, dict[str, Any]]
#: Whether there is a fence, whether the message has to be unfinished, and the names of the columns.
Kind = tuple[bool, bool, tuple[str, ...]]
#: Writes something about messages, each with the value that it was gathered with.
Work = Callable[[AsyncConnection, Mapping[MessageId, Any]], Awaitable[None]]
Works = Mapping[tuple[Work, MessageId], Any]


def utc_now() -> datetime:
    """The present, aware."""
    return datetime.now(UTC)


class Stages:
    """Collects column values per message and writes them every fifth of a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._notes: dict[Guard, dict[str, Any]] = {}
        self._works: dict[tuple[Work, MessageId], Any] = {}
        self._writing = asyncio.Lock()
        #: The next flush that somebody waits for.
        self._gathering: asyncio.Task[None] | None = None

    def note(
        self,
        message_id: MessageId,
        *,
        fence: int | None = None,
        while_unfinished: bool = False,
        **columns: Any,
    ) -> None:
        """
        Remember column values of one message.

        Args:
            fence: written only if no newer claim wrote the row.
            while_unfinished: written only if the message has no outcome yet.
        """
        self._keep(Guard(message_id, fence, while_unfinished), columns)

    def note_owner(self, message_id: MessageId, *, fence: int) -> None:
        """
        Remember that the claim with this fence has the message: no older one may write it any more.

        Nothing where a newer one wrote or the message has its outcome.
        """
        self._keep(Guard(message_id, fence, while_unfinished=True), {"fence": fence})

    def _keep(self, guard: Guard, columns: Mapping[str, Any]) -> None:
        if guard in self._notes or len(self._notes) < KEEP_AT_MOST:
            self._notes.setdefault(guard, {}).update(columns)

    def gather(self, work: Work, message_id: MessageId, value: Any = None) -> None:
        """
        Run *work* in the next batch's transaction, once for all messages it was gathered with.

        It must bear being repeated, and be the same object every time. A newer value of a message
        takes the place of an older one.
        """
        if (work, message_id) in self._works or len(self._works) < KEEP_AT_MOST:
            self._works[work, message_id] = value

    async def flush(self) -> None:
        """
        Write everything noted so far.

        Raises:
            StoreUnavailable: what was not written is kept for the next time.
        """
        async with self._writing:
            await self._flush()

    async def flush_together(self) -> None:
        """
        As ``flush``; whoever asks while one is under way shares the next one, a lone one never waits.

        Raises:
            StoreUnavailable: as ``flush``.
        """
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._flush_gathered(), name="stages-flush")
            self._gathering.add_done_callback(_take_notice)
        await asyncio.shield(self._gathering)

    async def _flush_gathered(self) -> None:
        async with self._writing:
            self._gathering = None
            await self._flush()

    async def _flush(self) -> None:
        notes, self._notes = self._notes, {}
        works, self._works = self._works, {}
        try:
            # Bounded, so that a long outage does not end in a transaction that never fits.
            while notes or works:
                some = dict(islice(notes.items(), BATCH))
                few = dict(islice(works.items(), BATCH)) if len(some) == len(notes) else {}
                await self._flush_some(some, few)
                notes = {guard: notes[guard] for guard in notes if guard not in some}
                works = {key: works[key] for key in works if key not in few}
        except StoreUnavailable:
            self._works = dict(islice({**works, **self._works}.items(), KEEP_AT_MOST))
            self._notes = _newer_wins(notes, self._notes)
            raise

    async def _flush_some(self, notes: Notes, works: Works) -> None:
        try:
            await self._store.transact(lambda connection: _write(connection, notes, works))
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one fact that cannot be written must not hold up the others
            if len(notes) + len(works) == 1:
                logger.opt(exception=error).error("stages.refused")
                return
            for guard, columns in notes.items():
                await self._flush_some({guard: columns}, {})
            for key, value in works.items():
                await self._flush_some({}, {key: value})

    async def run(self, stop: asyncio.Event) -> None:
        """Flush until stopped, then once more."""
        while not stop.is_set():
            if not await stopped_within(stop, FLUSH_SECONDS):
                await self._flush_quietly()
        await self._flush_quietly()

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except StoreUnavailable as error:
            logger.debug("stages.kept", notes=len(self._notes), error=error)


def _take_notice(flushing: "asyncio.Task[None]") -> None:
    """Whoever waits hears of a failure; that nobody waits any more is none."""
    if not flushing.cancelled():
        flushing.exception()


async def _write(connection: AsyncConnection, notes: Notes, works: Works) -> None:
    for (has_fence, while_unfinished, _), rows in _alike(notes).items():
        await write_rows(connection, rows, has_fence=has_fence, while_unfinished=while_unfinished)
    values: dict[Work, dict[MessageId, Any]] = {}
    for (work, message_id), value in works.items():
        values.setdefault(work, {})[message_id] = value
    for work, by_message in values.items():
        await work(connection, by_message)


def _alike(notes: Notes) -> dict[Kind, list[dict[str, Any]]]:
    """
    Values by what they have in common, so that one statement writes many rows (pure).

    Rows in the order of their ids. Notes of a message under several fences, which is rare, are each
    of a kind of their own, oldest first.
    """
    guards = sorted(notes, key=lambda guard: (guard.message_id, guard.fence or 0))
    fences: dict[MessageId, set[int]] = {}
    for guard in guards:
        if guard.fence is not None:
            fences.setdefault(guard.message_id, set()).add(guard.fence)
    kinds: dict[Kind, list[dict[str, Any]]] = {}
    for guard in guards:
        values = {THIS_ID: guard.message_id, **notes[guard]}
        if guard.fence is not None:
            values[THIS_FENCE] = guard.fence
        is_one = len(fences.get(guard.message_id, ())) <= 1
        names = tuple(sorted(values)) if is_one else (*sorted(values), str(guard))
        kind = (guard.fence is not None, guard.while_unfinished, names)
        kinds.setdefault(kind, []).append(values)
    return kinds


def _newer_wins(older: Notes, newer: Notes) -> dict[Guard, dict[str, Any]]:
    merged = {key: {**older.get(key, {}), **newer.get(key, {})} for key in {**older, **newer}}
    return dict(list(merged.items())[:KEEP_AT_MOST])
