"""
Replaying dead letters: SQL alone is changed, one message per transaction.

The index finds the message as it finds any other that it lacks, and the senders find the segments
that are planned again. So it is the same whether the bridge runs, stands still or has many
replicas, and an operator who is killed, or who meets another one, leaves nothing half done.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import MessageId
from app.models.message import MESSAGES, MessageState
from app.models.segment import SEGMENTS, SegmentState
from app.services.conversations import refresh_flags, reopen_turn
from app.services.dead_letters import read_letters
from app.services.errors import StoreUnavailable
from app.services.letters import (
    Letter,
    Refusal,
    ReplayOptions,
    Resumption,
    Way,
    decide_replay,
)
from app.services.outbox import ANSWERED, CUT_SHORT
from app.services.outbox_table import NOT_SENT
from app.services.stages import utc_now
from app.services.store import Store

#: Between tries of one message while the database is away or its one writer is busy.
PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
#: On SQLite the bridge has to take turns with us, and whoever waits there only looks from time to
#: time: after each message it is left alone for so many times as long as that one took.
BREATHS: Final = 2.0

_M = MESSAGES.c
_S = SEGMENTS.c
_RESUME = update(MESSAGES).where(
    _M.id == bindparam("this_id"),
    _M.state == bindparam("known_state"),
    _M.fence == bindparam("known_fence"),
)
_CHANGE_PARTS = update(SEGMENTS).where(
    _S.message_id == bindparam("this_id"), _S.seq == bindparam("this_seq")
)
#: As a message that was just received; claims of the time before may not write any more.
_ANEW: Final[dict[str, Any]] = {
    "state": MessageState.RECEIVED,
    "verdict": "",
    "error": "",
    "attempts": 0,
    "crashes": 0,
    "sole_crashes": 0,
    "runs_alone": False,
    "queued_epoch": None,
    "queued_at": None,
    "claimed_at": None,
    "asked_at": None,
    "first_text_at": None,
    "answered_at": None,
    "done_at": None,
    "is_cut_short": False,
}
#: Dify's side of an answer that is void; its conversation stays, the next question goes on with it.
_NO_ANSWER: Final[dict[str, Any]] = {
    "dify_message_id": "",
    "dify_task_id": "",
    "dify_run_id": "",
    "total_tokens": None,
    "total_price": "",
    "currency": "",
}


class Replay:
    """Lets dead letters go on."""

    def __init__(self, store: Store, options: ReplayOptions) -> None:
        self._store = store
        self._options = options

    async def run(
        self, message_ids: Iterable[MessageId]
    ) -> AsyncIterator[tuple[MessageId, Resumption | Refusal]]:
        """
        Replay messages in this order; what became of each as soon as it is committed.

        Raises:
            StoreUnavailable: the database is away; those not named yet are as they were, but the one
                in hand may have been replayed.
        """
        for message_id in message_ids:
            started = time.monotonic()
            yield message_id, await self._patiently(message_id)
            if self._store.is_sqlite:
                await asyncio.sleep(BREATHS * (time.monotonic() - started))

    async def _patiently(self, message_id: MessageId) -> Resumption | Refusal:
        for pause in PAUSES:
            try:
                return await self.one(message_id)
            except StoreUnavailable:
                await asyncio.sleep(pause)
        return await self.one(message_id)

    async def one(self, message_id: MessageId) -> Resumption | Refusal:
        """
        Replay one message.

        Raises:
            StoreUnavailable: as ``run``.
        """

        async def work(connection: AsyncConnection) -> Resumption | Refusal:
            found = await read_letters(connection, [message_id], for_update=True)
            if not found:
                return Refusal.NOT_FOUND
            decision = decide_replay(found[0], self._options)
            if isinstance(decision, Resumption):
                return await _carry_out(connection, found[0], decision)
            return decision

        return await self._store.transact(work)


async def _carry_out(
    connection: AsyncConnection, letter: Letter, resumption: Resumption
) -> Resumption | Refusal:
    known = {"this_id": letter.id, "known_state": letter.state, "known_fence": letter.fence}
    values = _columns(letter, resumption.way)
    result = await connection.execute(_RESUME, {**known, **values})
    if result.rowcount != 1:
        # Somebody was faster, on a database that does not lock what is read.
        return Refusal.NOT_DEAD
    now = utc_now()
    await _change_parts(connection, letter, resumption.void, {"state": SegmentState.CANCELLED})
    again = {"state": SegmentState.PLANNED, "error": "", "planned_at": now}
    await _change_parts(connection, letter, resumption.again, again)
    if letter.journal_id is None:
        return resumption
    if resumption.way is Way.SEND:
        await refresh_flags(connection, [letter.journal_id])
    else:
        await reopen_turn(connection, letter.journal_id, letter.id)
    return resumption


def _columns(letter: Letter, way: Way) -> dict[str, Any]:
    """What becomes of the message's row (pure)."""
    replayed = {"replays": letter.replays + 1, "replayed_at": utc_now()}
    if way is Way.SEND:
        answered = CUT_SHORT if letter.is_cut_short else ANSWERED
        return {
            **replayed,
            "state": MessageState.ANSWERED,
            "verdict": answered if letter.verdict == NOT_SENT else letter.verdict,
            "error": "",
            "done_at": None,
        }
    anew = {**_ANEW, **replayed, "fence": letter.fence + 1}
    return {**anew, **_NO_ANSWER} if way is Way.ASK else anew


async def _change_parts(
    connection: AsyncConnection, letter: Letter, numbers: Iterable[int], values: dict[str, Any]
) -> None:
    rows = [{"this_id": letter.id, "this_seq": seq, **values} for seq in numbers]
    if rows:
        await connection.execute(_CHANGE_PARTS, rows)
