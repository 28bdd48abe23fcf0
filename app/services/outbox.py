"""
The outbox: what is planned is owed to the group, whatever happens to the process.

Planning is the point where an answer becomes durable: message, segments, journal and session are
one commit, guarded by the fence. From then on Dify is never asked again for this message.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from loguru import logger
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import Answer, Segment, SegmentKind, SentMessage, Turn, WcId
from app.models.message import MESSAGES, MessageState
from app.models.segment import SEGMENTS, SegmentState
from app.services.conversations import Journal, save_session
from app.services.echoes import find_echo
from app.services.errors import QueueUnavailable
from app.services.finishing import finish_sent, finished_messages
from app.services.forms import drop_form, save_form
from app.services.outbox_table import (
    Planned,
    Sent,
    insert_segments,
    live_seqs,
    mark_both,
    mark_sending,
    mark_sent,
    next_seq,
    note_not_sent,
    settle,
)
from app.services.owed_segments import (
    RecentSend,
    count_calls,
    live_segments,
    open_segments,
    owing_accounts,
    recent_sends,
)
from app.services.recall_calls import close, mark_called, put_back, recent_calls
from app.services.stages import Stages, utc_now
from app.services.store import Store
from app.services.taking_back import want_back
from app.services.turn_rows import dify_columns, is_answered_by, lock_row, take_row

ANSWERED = "answered"
ANSWERED_NOTHING = "answered_nothing"
CUT_SHORT = "cut_short"

_M = MESSAGES.c
_S = SEGMENTS.c
_THIS_SEGMENT = _S.id == bindparam("this_id")
_IS_UNWANTED = select(_S.id).where(_THIS_SEGMENT, _S.recall_wanted_at.is_not(None))
_CANCEL_UNWANTED = (
    update(SEGMENTS)
    .where(_THIS_SEGMENT, _S.state == SegmentState.PLANNED, _S.recall_wanted_at.is_not(None))
    .values(state=SegmentState.CANCELLED)
)
_CONVERSATION = select(_M.dify_conversation_id).where(_M.id == bindparam("this_id"))
#: Messages of one look for those that were sent and that nobody has called done.
FINISH_AT_ONCE = 200


class Bell(Protocol):
    """Wakes the sender of an account, in whichever process it runs."""

    async def ring(self, bot: WcId) -> None:
        """Something is planned; raises ``QueueUnavailable`` if nobody could be told."""
        ...


class Outbox:
    """Plans answers and records what became of their segments."""

    def __init__(self, *, store: Store, stages: Stages, journal: Journal, bell: Bell) -> None:
        self._store = store
        self._stages = stages
        self._bell = bell
        self._journal = journal

    async def plan_part(
        self,
        turn: Turn,
        segments: Sequence[Segment],
        answer_so_far: Answer,
        *,
        void: range | None = None,
    ) -> set[int]:
        """
        Plan finished parts of a running stream.

        Args:
            void: numbers of segments that Dify took back; those that are not out yet are cancelled, and
                the others taken back where WeChat still allows it.

        Returns:
            Numbers of the message's segments that the group has or will have; empty without *void*.

        Raises:
            StaleFence: a newer claim has the message.
            StoreUnavailable: it is unknown whether they are planned; the call may be repeated.
        """

        async def work(connection: AsyncConnection) -> set[int]:
            columns = {**dify_columns(answer_so_far), "dify_app": turn.app}
            await take_row(connection, turn, columns)
            await insert_segments(connection, turn, segments)
            if void is None:
                return set()
            await want_back(connection, turn.message_id, void)
            return await live_seqs(connection, turn.message_id)

        live = await self._store.transact(work)
        await self.ring(turn.bot_wc_id)
        return live

    async def plan(
        self,
        turn: Turn,
        segments: Sequence[Segment],
        answer: Answer,
        *,
        is_repeated: bool = False,
    ) -> None:
        """
        Save a whole answer: the message is answered, its last segments are planned.

        Args:
            is_repeated: an earlier call of this claim failed and may have been carried out after all.

        Raises:
            StaleFence: a newer claim has the message; the caller's work is void.
            StoreUnavailable: it is unknown whether it was saved; a next claim will see.
        """
        verdict = (
            CUT_SHORT if answer.is_cut_short else ANSWERED if answer.said else ANSWERED_NOTHING
        )

        async def work(connection: AsyncConnection) -> None:
            columns = {
                **dify_columns(answer),
                "dify_app": turn.app,
                "state": MessageState.ANSWERED,
                "verdict": verdict,
                "answered_at": utc_now(),
                "is_cut_short": answer.is_cut_short,
                "error": "",
                "fence": turn.fence,
            }
            if is_repeated and await is_answered_by(connection, turn):
                return
            row = await lock_row(connection, turn)
            await insert_segments(connection, turn, segments)
            await self._journal.enter(
                connection, turn, row, columns, answer=answer.said, outcome=verdict
            )
            if answer.ends_form:
                await drop_form(connection, turn)
            if answer.form is not None:
                await save_form(connection, turn, answer, answer.form)
            if answer.conversation_id not in ("", turn.conversation_id):
                await save_session(
                    connection, app=turn.app, turn=turn, conversation_id=answer.conversation_id
                )
            if not segments:
                await finish_sent(connection, [turn.message_id])

        await self._store.transact(work)
        await self.ring(turn.bot_wc_id)

    async def bury(
        self, turn: Turn, *, reason: str, error: str, segments: Sequence[Segment]
    ) -> None:
        """
        Give a message up: dead in SQL first, with at most one sentence for the group.

        The sentence is left out where parts of an answer, or a former one, are planned; it is numbered
        behind void ones.

        Raises:
            StaleFence: a newer claim has the message.
            StoreUnavailable: nothing was changed.
        """

        async def work(connection: AsyncConnection) -> None:
            columns = {
                "state": MessageState.DEAD,
                "verdict": f"failed:{reason}"[:40],
                "error": error[:500],
                "done_at": utc_now(),
                "fence": turn.fence,
            }
            row = await lock_row(connection, turn)
            if segments and not await live_seqs(connection, turn.message_id):
                start = await next_seq(connection, turn.message_id)
                own = [
                    replace(one, seq=start + number, kind=SegmentKind.NOTICE)
                    for number, one in enumerate(segments)
                ]
                await insert_segments(connection, turn, own)
            outcome = f"failed:{reason}"
            await self._journal.enter(connection, turn, row, columns, answer=None, outcome=outcome)

        await self._store.transact(work)
        await self.ring(turn.bot_wc_id)

    async def begun(self, turn: Turn) -> tuple[tuple[Segment, ...], str]:
        """What is planned of a turn's answer and not void, and the Dify conversation it is from."""
        async with self._store.read() as connection:
            this = {"this_id": turn.message_id}
            conversation_id = (await connection.execute(_CONVERSATION, this)).scalar_one()
            segments = await live_segments(connection, turn.message_id)
            return segments, conversation_id

    async def ring(self, bot: WcId) -> None:
        """Something is planned: whoever sends for this account looks now."""
        try:
            await self._bell.ring(bot)
        except QueueUnavailable as error:
            # The sender looks by itself every few seconds.
            logger.debug("outbox.nobody_told", error=error)

    async def owing_accounts(self) -> list[WcId]:
        """Accounts that have something to send."""
        async with self._store.read() as connection:
            return await owing_accounts(connection)

    async def open_segments(self, bot: WcId, *, limit: int) -> list[Planned]:
        """What one account owes, in the order of planning."""
        async with self._store.read() as connection:
            return await open_segments(connection, bot, limit=limit)

    async def mark_sending(self, segment: Planned, *, sender: str, sent: Sent | None) -> bool:
        """
        Commit that this segment's call goes out now, and in the same commit what the call before gave.

        So at most one segment of an account is undecided when its sender dies.

        Returns:
            False: somebody cancelled the segment meanwhile, or another sender has it; it must not
            be sent.
        """

        if sent is None:
            return await mark_sending(self._store, segment, sender=sender)
        if await mark_both(self._store, sent, segment, sender=sender):
            self._stages.gather(finish_sent, sent.segment.message_id)
            return True
        await self.mark_sent(sent)
        return await mark_sending(self._store, segment, sender=sender)

    async def mark_sent(self, sent: Sent) -> None:
        """Record what a call gave; the message is finished a little later if it was its last segment."""
        await mark_sent(self._store, sent)
        self._stages.gather(finish_sent, sent.segment.message_id)

    async def finish_lost(self, *, before: datetime) -> int:
        """
        Finish what was sent and whose process died before it called it done.

        Args:
            before: only messages answered before then.

        Returns:
            How many were finished; there may be more if it is ``FINISH_AT_ONCE``.
        """

        # Looked for without a transaction: among many answers that wait for an account it takes a while.
        async with self._store.read() as connection:
            found = await finished_messages(connection, before=before, most=FINISH_AT_ONCE)
        if found:
            await self._store.transact(lambda connection: finish_sent(connection, found))
        return len(found)

    async def put_back(self, segment: Planned, *, error: str) -> None:
        """The last call certainly did not go out, and *segment* does not count it: planned again."""

        async def work(connection: AsyncConnection) -> None:
            await settle(connection, segment, SegmentState.PLANNED, error)
            # Whoever wants it back meanwhile need not wait for it to be sent.
            if (await connection.execute(_CANCEL_UNWANTED, {"this_id": segment.id})).rowcount:
                await finish_sent(connection, [segment.message_id])

        await self._store.transact(work)

    async def give_up(self, segment: Planned, state: SegmentState, *, error: str) -> None:
        """
        Close a segment that will not be sent: ``unknown`` or ``failed``.

        The message says so, too: nobody should read "answered" where the group saw nothing.
        """

        async def work(connection: AsyncConnection) -> None:
            if not await settle(connection, segment, state, error):
                # Handed to another account, or closed already: its outcome is not this one's to tell.
                return
            await note_not_sent(connection, segment, error)
            await finish_sent(connection, [segment.message_id])

        await self._store.transact(work)

    async def is_unwanted(self, segment: Planned) -> bool:
        """Whether it is to be taken back."""
        async with self._store.read() as connection:
            return await connection.scalar(_IS_UNWANTED, {"this_id": segment.id}) is not None

    async def mark_recall(self, segment: Planned) -> bool:
        """As ``recall_calls.mark_called``."""
        return await mark_called(self._store, segment)

    async def recall_later(self, segment: Planned) -> None:
        """As ``recall_calls.put_back``."""
        await put_back(self._store, segment)

    async def close_recall(self, segment: Planned, *, error: str = "") -> None:
        """As ``recall_calls.close``."""
        await close(self._store, segment, error=error)

    async def recent_recalls(
        self, bot: WcId, *, since: datetime, sent_since: datetime
    ) -> list[datetime]:
        """As ``recall_calls.recent_calls``."""
        async with self._store.read() as connection:
            return await recent_calls(connection, bot, since=since, sent_since=sent_since)

    async def find_echo(self, segment: Planned) -> SentMessage | None:
        """What came back from the group of a segment's call; None: nothing yet."""
        async with self._store.read() as connection:
            return await find_echo(connection, segment)

    async def recent_sends(self, bot: WcId, *, since: datetime) -> list[RecentSend]:
        """Calls of this account that went out lately, oldest first, whatever became of them."""
        async with self._store.read() as connection:
            return await recent_sends(connection, bot, since=since)

    async def count_calls(self, bot: WcId, *, since: datetime) -> int:
        """How many calls of this account may have gone out since then."""
        async with self._store.read() as connection:
            return await count_calls(connection, bot, since=since)
