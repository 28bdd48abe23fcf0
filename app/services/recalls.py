"""
Questions that were taken back: no longer answered, and what of their answer is not out is dropped.

SQL alone decides, on the row that a plan locks, too: of a recall and a plan whichever commits first is
seen by the other. The queue's entry goes when it is claimed and SQL has its outcome; who is at work
on it asks ``among`` every second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from loguru import logger
from sqlalchemy import bindparam, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.content import Recall
from app.models.flow import IgnoreReason, MessageId, Origin, WcId
from app.models.message import MESSAGES, UNFINISHED, MessageState
from app.models.pending_form import PENDING_FORMS
from app.models.suggestion import SUGGESTIONS
from app.services.conversations import close_turn, take_turn_out
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.finishing import finish_sent
from app.services.outbox_table import ALL_SEGMENTS, cancel_unsent
from app.services.owed_segments import live_segments
from app.services.replacing import text_of
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.clock import Clock
from app.utils.log import message_context

#: Each recall is carried out so many seconds after it was heard: the question may come later than its
#: recall, and a segment whose call failed is planned again.
LOOKS = (0.0, 1.0, 3.0, 10.0, 30.0, 60.0)
#: As long as some process has callbacks that SQL does not know, the last look is repeated so often.
AGAIN_SECONDS = 10.0
PENDING_AT_MOST = 10_000
RECALLED = IgnoreReason.RECALLED
ATTACHMENT = IgnoreReason.ATTACHMENT

_M = MESSAGES.c
#: Nobody has planned an answer yet, here or through another account of ours.
_WAITS = (*UNFINISHED, MessageState.LEFT)
_OPEN = (*_WAITS, MessageState.ANSWERED)
#: What a question has of which nothing is to be kept.
_WORDS = {"text": None, "question": None, "raw": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recalled:
    """A recall as one account heard of it."""

    bot_wc_id: WcId
    from_user: WcId
    recall: Recall


@dataclass(frozen=True, slots=True)
class _Pending:
    heard_at: float
    looks: int = 0

    @property
    def due_at(self) -> float:
        return self.heard_at + LOOKS[self.looks]

    def anew(self, now: float) -> "_Pending":
        """Looks begin from now on: what was spilled meanwhile comes only now."""
        return replace(self, heard_at=now, looks=0)

    def once_more(self, now: float) -> "_Pending":
        """The last look is to be repeated."""
        return replace(self, heard_at=now + AGAIN_SECONDS - LOOKS[self.looks])

    def looked(self) -> "_Pending | None":
        """With one look more; None: that was the last."""
        return replace(self, looks=self.looks + 1) if self.looks + 1 < len(LOOKS) else None


#: By the id that makes deliveries the same message: one look into an index. A group's owner takes back
#: what others wrote.
#: Where another account's copy is answered, that one: its account may not have heard of the recall.
_BY_NEW_ID = select(func.coalesce(_M.twin_of, _M.id)).where(
    _M.bot_wc_id == bindparam("bot"), _M.dedupe_key == bindparam("new_id")
)
#: By the account's own id: among the few messages of whoever took it back that are not through.
_BY_ID = select(_M.id).where(
    _M.from_user == bindparam("user"),
    _M.state.in_((*_OPEN, MessageState.IGNORED)),
    _M.bot_wc_id == bindparam("bot"),
    _M.msg_id == bindparam("msg"),
    or_(_M.state != MessageState.IGNORED, _M.verdict.in_((RECALLED, ATTACHMENT))),
)
_LOCK = (
    select(_M.id, _M.state, _M.verdict, _M.journal_id)
    .where(_M.id == bindparam("this_id"))
    .with_for_update()
)
_CHANGE = MESSAGES.update().where(_M.id == bindparam("this_id"))
#: What the end of an answer offers; nobody can take up what nobody read.
_OFFERS = tuple(
    delete(table).where(table.c.message_id == bindparam("this_id"))
    for table in (PENDING_FORMS, SUGGESTIONS)
)
_AMONG = select(_M.id).where(
    _M.id.in_(bindparam("these_ids", expanding=True)),
    _M.state == MessageState.IGNORED,
    _M.verdict == RECALLED,
)


async def _nobody_spills() -> bool:
    return False


class Recalls:
    """Takes recalls in and carries them out."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        keeps_text: bool,
        is_spilling: Callable[[], Awaitable[bool]] = _nobody_spills,
    ) -> None:
        """
        Args:
            keeps_text: what was taken back is kept, as the text of ignored messages is.
            is_spilling: whether some process has callbacks that SQL does not know yet; may raise
                ``QueueUnavailable``.
        """
        self._is_spilling = is_spilling
        self._was_away = False
        self._store = store
        self._clock = clock
        self._keeps_text = keeps_text
        self._pending: dict[Recalled, _Pending] = {}
        #: Set when something was taken back; whoever looks clears it.
        self.news = asyncio.Event()

    def note(self, origin: Origin, recall: Recall) -> None:
        """Remember a recall; carried out by the next ``flush``. One that is lost costs an answer too many."""
        recalled = Recalled(bot_wc_id=origin.bot_wc_id, from_user=origin.from_user, recall=recall)
        if len(self._pending) < PENDING_AT_MOST:
            self._pending.setdefault(recalled, _Pending(self._clock.monotonic()))

    async def flush(self) -> None:
        """
        Carry out what is due.

        Raises:
            StoreUnavailable: the rest is due as before.
        """
        now = self._clock.monotonic()
        for recalled in [one for one, pending in self._pending.items() if pending.due_at <= now]:
            try:
                await self._look(recalled)
            except StoreUnavailable:
                self._was_away = True
                raise
            if self._was_away:
                self._was_away = False
                self._pending = {key: one.anew(now) for key, one in self._pending.items()}
            pending = self._pending[recalled]
            later = pending.looked()
            if later is None and await self._may_come():
                later = pending.once_more(now)
            if later is None:
                del self._pending[recalled]
            else:
                self._pending[recalled] = later

    async def _look(self, recalled: Recalled) -> None:
        message_id = await self._find(recalled)
        if message_id is not None:
            await self._take_back(message_id)

    async def _may_come(self) -> bool:
        """Whether a question may be on its way from a spill file; so it is, if nobody knows."""
        try:
            return await self._is_spilling()
        except QueueUnavailable:
            return True

    async def among(self, message_ids: Collection[MessageId]) -> set[MessageId]:
        """
        Which of these were taken back before they were answered.

        Raises:
            StoreUnavailable: nobody knows.
        """
        these = {"these_ids": sorted(message_ids)}
        async with self._store.read() as connection:
            return {MessageId(id_) for id_ in await connection.scalars(_AMONG, these)}

    async def _find(self, recalled: Recalled) -> MessageId | None:
        recall = recalled.recall
        async with self._store.read() as connection:
            found = None
            if recall.new_msg_id:
                this = {"bot": recalled.bot_wc_id, "new_id": recall.new_msg_id}
                found = await connection.scalar(_BY_NEW_ID, this)
            if found is None and recall.msg_id and recalled.from_user:
                whose = {"user": recalled.from_user, "bot": recalled.bot_wc_id}
                found = await connection.scalar(_BY_ID, {**whose, "msg": recall.msg_id})
        return None if found is None else MessageId(found)

    async def _take_back(self, message_id: MessageId) -> None:
        words = {} if self._keeps_text else _WORDS
        with message_context(message_id):
            was = await self._store.transact(
                lambda connection: take_back(connection, message_id, words)
            )
            if was is not None:
                logger.info("message.recalled", was=was.state, cancelled=was.cancelled)
                self.news.set()


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What a recall found, and how many segments it kept from the group."""

    state: str
    cancelled: int


async def take_back(
    connection: AsyncConnection, message_id: MessageId, words: dict[str, Any] | None = None
) -> TakenBack | None:
    """
    Carry out a recall on the caller's transaction; may be repeated.

    Args:
        words: columns that are emptied with it.

    Returns:
        None: there was nothing to take back.
    """
    row = (await connection.execute(_LOCK, {"this_id": message_id})).one_or_none()
    if row is None or not (row.state in _OPEN or row.verdict in (RECALLED, ATTACHMENT)):
        return None
    waits_for_question = row.verdict == ATTACHMENT
    is_waiting = row.state in _WAITS or waits_for_question
    if is_waiting:
        outcome = {"state": MessageState.IGNORED, "verdict": RECALLED, "done_at": utc_now()}
        # Of what somebody sent, the text is nothing that he wrote: it is where the file can be had.
        gone = {"text": None} if waits_for_question else {}
        values = {**outcome, "runs_alone": False, **(words or {}), **gone}
        await connection.execute(_CHANGE, {"this_id": message_id, **values})
    cancelled = await cancel_unsent(connection, message_id, ALL_SEGMENTS)
    if not is_waiting and not cancelled:
        return None
    if cancelled:
        for offer in _OFFERS:
            await connection.execute(offer, {"this_id": message_id})
    if row.state == MessageState.ANSWERED:
        await connection.execute(_CHANGE, {"this_id": message_id, "verdict": RECALLED})
    await _enter(connection, message_id, row.journal_id)
    await finish_sent(connection, [message_id])
    return TakenBack(state=row.state, cancelled=cancelled)


async def _enter(
    connection: AsyncConnection, message_id: MessageId, journal_id: int | None
) -> None:
    """The journal tells what the group read; where it read nothing, nothing was asked."""
    if journal_id is None:
        return
    live = await live_segments(connection, message_id)
    if live:
        await close_turn(connection, journal_id, message_id, answer=text_of(live), outcome=RECALLED)
        return
    await connection.execute(_CHANGE, {"this_id": message_id, "journal_id": None})
    await take_turn_out(connection, journal_id, message_id)
