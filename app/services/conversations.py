"""
Turns and where they are kept: the Dify conversation in force, and the hourly journal.

All functions work on a connection of the caller's transaction, so that a plan, its journal and
its session are one commit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from loguru import logger
from sqlalchemy import bindparam, case, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.conversation import CONVERSATIONS, SESSIONS, Conversation, Session
from app.models.flow import MessageId, Turn
from app.models.message import MESSAGES, UNFINISHED
from app.models.segment import NOT_SENT_STATES, SEGMENTS
from app.services.stages import utc_now
from app.services.store import upsert
from app.services.turn_rows import change_row
from app.utils.ids import id_at

#: Longest id of a Dify conversation that the tables hold.
LONGEST_ID = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnEntry:
    """One turn as the journal shows it."""

    message_id: MessageId
    received_at: datetime
    question: str
    answer: str | None = None
    #: The message's verdict: ``answered``, ``failed:<reason>`` …; None while it is open.
    outcome: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As an element of ``conversations.content``; the id as text, exact in every reader."""
        return {
            "message_id": str(self.message_id),
            "at": self.received_at.isoformat(),
            "question": self.question,
            "answer": self.answer,
            "outcome": self.outcome,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class PastTurn:
    """A question that was answered."""

    question: str
    answer: str


def hour_of(moment: datetime, zone: ZoneInfo) -> str:
    """The journal's hour, YYYYMMDD_HH in the operator's time zone."""
    return moment.astimezone(zone).strftime("%Y%m%d_%H")


_C = CONVERSATIONS.c
_M = MESSAGES.c
_S = SEGMENTS.c
_LOCK_WAITING = (
    select(_M.id, _M.received_at, _M.journal_id, _M.dify_conversation_id)
    .where(_M.id.in_(bindparam("these_ids", expanding=True)), _M.state.in_(UNFINISHED))
    .order_by(_M.id)
    .with_for_update()
)
_THIS_ROW = _C.id == bindparam("this_id")
_MINE = _M.journal_id == _C.id
_HAS_UNFINISHED = exists(
    select(_M.id).where(_MINE, _M.state.in_(UNFINISHED)).correlate(CONVERSATIONS)
)
_HAS_UNSENT = exists(
    select(_S.id)
    .select_from(SEGMENTS.join(MESSAGES, _M.id == _S.message_id))
    .where(_MINE, _S.state.in_(NOT_SENT_STATES))
    .correlate(CONVERSATIONS)
)
_FIND = (
    select(_C.id, _C.content)
    .where(
        _C.from_user == bindparam("this_user"),
        _C.conversation_id == bindparam("this_conversation"),
        _C.group == bindparam("this_group"),
        _C.hour == bindparam("this_hour"),
    )
    .with_for_update()
)
#: Every row has a turn at least.
_PAST = (
    select(_C.content)
    .where(_C.from_user == bindparam("this_user"), _C.group == bindparam("this_group"))
    .order_by(_C.hour.desc(), _C.id.desc())
    .limit(bindparam("most"))
)
_RESET_AT = select(func.max(SESSIONS.c.reset_at)).where(
    SESSIONS.c.from_user == bindparam("this_user"), SESSIONS.c.group_id == bindparam("this_group")
)
_LOCK = select(_C.content).where(_THIS_ROW).with_for_update()
_THESE_ROWS = _C.id.in_(bindparam("these_ids", expanding=True))
_LOCK_ONLY = select(_C.id).where(_THESE_ROWS).order_by(_C.id).with_for_update()
_FLAGS = update(CONVERSATIONS).values(
    is_processed=~_HAS_UNFINISHED, is_sent=~_HAS_UNFINISHED & ~_HAS_UNSENT
)
#: Writes what it is given, and the flags as they are then.
_WRITE = _FLAGS.where(_THIS_ROW)
_WRITE_FLAGS = _FLAGS.where(_THESE_ROWS)
_REMOVE = delete(CONVERSATIONS).where(_THIS_ROW)


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalRow:
    """A row of the journal, locked by the caller's transaction."""

    id: int
    turns: Sequence[Any]


class Journal:
    """Writes turns into ``conversations``, and where they stand into their messages' rows."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    async def open_turns(
        self, connection: AsyncConnection, turns: Mapping[MessageId, Turn]
    ) -> None:
        """Write questions whose answers were not faster. For ``Stages.gather``."""
        waiting = await connection.execute(_LOCK_WAITING, {"these_ids": sorted(turns)})
        for row in waiting.all():
            await self.enter(connection, turns[MessageId(row.id)], row, {})

    async def enter(
        self,
        connection: AsyncConnection,
        turn: Turn,
        row: Any,
        columns: dict[str, Any],
        *,
        answer: str | None = None,
        outcome: str | None = None,
    ) -> None:
        """
        Write a turn as it is now, and *columns* into its message's row.

        Args:
            row: the message's row as ``turn_rows.lock_row`` gives it.
        """
        placed = await self._place(
            connection,
            turn,
            conversation_id=columns.get("dify_conversation_id") or row.dify_conversation_id,
            received_at=row.received_at,
        )
        # Flags are counted over the messages of a row: first the message moves, then they are.
        if row.journal_id != placed.id:
            columns = {**columns, "journal_id": placed.id}
        if columns:
            await change_row(connection, turn.message_id, columns)
        entry = TurnEntry(
            message_id=turn.message_id,
            received_at=row.received_at,
            question=turn.question,
            answer=answer,
            outcome=outcome,
        )
        await self._write(connection, placed, entry, old_journal_id=row.journal_id)

    async def _place(
        self,
        connection: AsyncConnection,
        turn: Turn,
        *,
        conversation_id: str,
        received_at: datetime,
    ) -> JournalRow:
        """The row of a turn's Dify conversation in its hour, made if it is missing, locked either way."""
        key = {
            "this_user": turn.user,
            "this_conversation": conversation_id,
            "this_group": turn.group_id,
            "this_hour": hour_of(received_at, self._zone),
        }
        found = (await connection.execute(_FIND, key)).first()
        if found is None:
            now = utc_now()
            values = {
                "from_user": key["this_user"],
                "conversation_id": key["this_conversation"],
                "group": key["this_group"],
                "hour": key["this_hour"],
                "content": [],
                "is_processed": False,
                "is_sent": False,
                "created_at": now,
                "updated_at": now,
            }
            changes = {"updated_at": now}
            await connection.execute(
                upsert(connection, Conversation, values, key=_JOURNAL_KEY, changes=changes)
            )
            found = (await connection.execute(_FIND, key)).one()
        return JournalRow(id=found.id, turns=list(found.content or []))

    async def _write(
        self,
        connection: AsyncConnection,
        row: JournalRow,
        entry: TurnEntry,
        *,
        old_journal_id: int | None,
    ) -> None:
        """
        Put a turn into its row, and bring the row's flags up to date.

        A turn that stood elsewhere (it had no conversation yet, or the conversation was gone) moves.
        """
        if old_journal_id is not None and old_journal_id != row.id:
            await take_turn_out(connection, old_journal_id, entry.message_id)
        kept = _without(row.turns, entry.message_id)
        content = sorted([*kept, entry.to_json()], key=_id_of)
        values = {"this_id": row.id, "content": content, "updated_at": utc_now()}
        await connection.execute(_WRITE, values)


async def take_turn_out(connection: AsyncConnection, row_id: int, message_id: MessageId) -> None:
    """A row without one of its turns; without any it goes."""
    this = {"this_id": row_id}
    turns = await connection.scalar(_LOCK, this) or []
    kept = _without(turns, message_id)
    if kept:
        await connection.execute(_WRITE, {**this, "content": kept, "updated_at": utc_now()})
    else:
        await connection.execute(_REMOVE, this)


async def recent_turns(connection: AsyncConnection, turn: Turn, *, limit: int) -> list[PastTurn]:
    """
    The last answered turns of a person in a group before this one, the oldest first; none from before
    an operator had the conversation begin anew.
    """
    whose = {"this_user": turn.user, "this_group": turn.group_id, "most": limit}
    rows = await connection.scalars(_PAST, whose)
    reset_at = await connection.scalar(_RESET_AT, whose)
    first_id = 1 if reset_at is None else id_at(reset_at.timestamp())
    found = [
        entry
        for content in rows
        for entry in content or []
        if isinstance(entry, dict) and first_id <= _id_of(entry) < turn.message_id
    ]
    answered = [
        PastTurn(question=entry["question"], answer=entry["answer"])
        for entry in sorted(found, key=_id_of)
        if isinstance(entry.get("question"), str) and entry.get("answer")
    ]
    return answered[-limit:]


async def refresh_flags(connection: AsyncConnection, row_ids: Collection[int]) -> None:
    """Compute ``is_processed`` and ``is_sent`` of journal rows from their messages and segments."""
    if not row_ids:
        return
    these = {"these_ids": sorted(row_ids)}
    # Under the rows' locks, so that of two transactions the later one sees what the former did.
    await connection.execute(_LOCK_ONLY, these)
    await connection.execute(_WRITE_FLAGS, these)


async def reopen_turn(connection: AsyncConnection, row_id: int, message_id: MessageId) -> None:
    """A turn that had its outcome is open again: its message was replayed."""
    await close_turn(connection, row_id, message_id, answer=None, outcome=None)


async def close_turn(
    connection: AsyncConnection,
    row_id: int,
    message_id: MessageId,
    *,
    answer: str | None,
    outcome: str | None,
) -> None:
    """Give a turn that stands in a row another end."""
    this = {"this_id": row_id}
    turns = await connection.scalar(_LOCK, this) or []
    content = [
        {**turn, "answer": answer, "outcome": outcome} if _id_of(turn) == message_id else turn
        for turn in turns
    ]
    await connection.execute(_WRITE, {**this, "content": content, "updated_at": utc_now()})


async def save_session(
    connection: AsyncConnection, *, app: str, turn: Turn, conversation_id: str
) -> None:
    """Make the next question of this person in this group go on with *conversation_id*."""
    if len(conversation_id) > LONGEST_ID:
        # Dify's are UUIDs. Cut short it would name another conversation or none.
        logger.warning("session.odd_id", length=len(conversation_id))
        return
    now = utc_now()
    values = {
        "app": app,
        "bot_wc_id": turn.bot_wc_id,
        "group_id": turn.group_id,
        "from_user": turn.user,
        "conversation_id": conversation_id,
        "key_digest": turn.key_digest,
        "updated_at": now,
    }
    changes: dict[str, Any] = {
        name: values[name] for name in ("conversation_id", "key_digest", "updated_at")
    }
    asking = turn.asking
    if asking is not None and asking.asked_at and asking.conversation_id == conversation_id:
        # It was asked before; what an operator has reset meanwhile does not come back.
        is_reset = SESSIONS.c.reset_at >= asking.asked_at
        changes["conversation_id"] = case(
            (is_reset, SESSIONS.c.conversation_id), else_=conversation_id
        )
    await connection.execute(upsert(connection, Session, values, key=_SESSION_KEY, changes=changes))


def _without(turns: Sequence[Any], message_id: MessageId) -> list[Any]:
    """The turns of a row but one; what somebody's hand put there is left alone."""
    return [turn for turn in turns if _id_of(turn) != message_id]


def _id_of(turn: Any) -> int:
    text = str(turn.get("message_id", "")) if isinstance(turn, dict) else ""
    return int(text) if text.isascii() and text.isdigit() else 0


_JOURNAL_KEY = ["from_user", "conversation_id", "group", "hour"]
_SESSION_KEY = ["app", "bot_wc_id", "group_id", "from_user"]
