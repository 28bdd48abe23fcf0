"""
Turns and where they are kept: the Dify conversation in force, and the hourly journal.

All functions work on a connection of the caller's transaction, so that a plan, its journal and
its session are one commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from loguru import logger
from sqlalchemy import bindparam, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.conversation import CONVERSATIONS, Conversation, Session
from app.models.flow import MessageId, Turn
from app.models.message import MESSAGES, UNFINISHED
from app.models.segment import NOT_SENT_STATES, SEGMENTS
from app.services.stages import utc_now
from app.services.store import upsert

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


def hour_of(moment: datetime, zone: ZoneInfo) -> str:
    """The journal's hour, YYYYMMDD_HH in the operator's time zone."""
    return moment.astimezone(zone).strftime("%Y%m%d_%H")


_C = CONVERSATIONS.c
_M = MESSAGES.c
_S = SEGMENTS.c
_THIS_ROW = _C.id == bindparam("this_id")
_MINE = _M.journal_id == bindparam("this_id")
_HAS_UNFINISHED = exists(select(_M.id).where(_MINE, _M.state.in_(UNFINISHED)))
_HAS_UNSENT = exists(
    select(_S.id)
    .select_from(SEGMENTS.join(MESSAGES, _M.id == _S.message_id))
    .where(_MINE, _S.state.in_(NOT_SENT_STATES))
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
_LOCK = select(_C.content).where(_THIS_ROW).with_for_update()
_LOCK_ONLY = select(_C.id).where(_THIS_ROW).with_for_update()
#: Writes what it is given, and the flags as they are then.
_WRITE = (
    update(CONVERSATIONS)
    .where(_THIS_ROW)
    .values(is_processed=~_HAS_UNFINISHED, is_sent=~_HAS_UNFINISHED & ~_HAS_UNSENT)
)
_REMOVE = delete(CONVERSATIONS).where(_THIS_ROW)
_MOVE = update(MESSAGES).where(_M.id == bindparam("this_id"))


class Journal:
    """Writes turns into ``conversations``, and keeps ``sessions``."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone

    async def write(
        self,
        connection: AsyncConnection,
        entry: TurnEntry,
        *,
        turn: Turn,
        conversation_id: str,
        old_journal_id: int | None,
    ) -> None:
        """
        Put a turn into the row of its Dify conversation.

        A turn that stood elsewhere (it had no conversation yet, or the conversation was gone) moves.
        """
        key = {
            "this_user": turn.user,
            "this_conversation": conversation_id,
            "this_group": turn.group_id,
            "this_hour": hour_of(entry.received_at, self._zone),
        }
        row_id, turns = await self._locked_row(connection, key)
        kept = _without(turns, entry.message_id)
        # Flags are counted over the messages of a row: first the message moves, then they are.
        if old_journal_id != row_id:
            moved = {"this_id": entry.message_id, "journal_id": row_id}
            await connection.execute(_MOVE, moved)
        if old_journal_id not in (None, row_id):
            await self._take_out(connection, old_journal_id, entry.message_id)
        content = sorted([*kept, entry.to_json()], key=_id_of)
        values = {"this_id": row_id, "content": content, "updated_at": utc_now()}
        await connection.execute(_WRITE, values)

    async def _locked_row(
        self, connection: AsyncConnection, key: dict[str, str]
    ) -> tuple[int, list[Any]]:
        """Id and turns of the row with this key, made if it is missing, locked either way."""
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
        return found.id, list(found.content or [])

    async def _take_out(
        self, connection: AsyncConnection, row_id: int, message_id: MessageId
    ) -> None:
        this = {"this_id": row_id}
        turns = await connection.scalar(_LOCK, this) or []
        kept = _without(turns, message_id)
        if kept:
            await connection.execute(_WRITE, {**this, "content": kept, "updated_at": utc_now()})
        else:
            await connection.execute(_REMOVE, this)


async def refresh_flags(connection: AsyncConnection, row_id: int) -> None:
    """Compute ``is_processed`` and ``is_sent`` of a journal row from its messages and segments."""
    this = {"this_id": row_id}
    # Under the row's lock, so that of two transactions the later one sees what the former did.
    await connection.execute(_LOCK_ONLY, this)
    await connection.execute(_WRITE, this)


async def reopen_turn(connection: AsyncConnection, row_id: int, message_id: MessageId) -> None:
    """A turn that had its outcome is open again: its message was replayed."""
    this = {"this_id": row_id}
    turns = await connection.scalar(_LOCK, this) or []
    content = [
        {**turn, "answer": None, "outcome": None} if _id_of(turn) == message_id else turn
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
        "updated_at": now,
    }
    changes = {"conversation_id": conversation_id, "updated_at": now}
    await connection.execute(upsert(connection, Session, values, key=_SESSION_KEY, changes=changes))


def _without(turns: Sequence[Any], message_id: MessageId) -> list[Any]:
    """The turns of a row but one; what somebody's hand put there is left alone."""
    return [turn for turn in turns if _id_of(turn) != message_id]


def _id_of(turn: Any) -> int:
    text = str(turn.get("message_id", "")) if isinstance(turn, dict) else ""
    return int(text) if text.isascii() and text.isdigit() else 0


_JOURNAL_KEY = ["from_user", "conversation_id", "group", "hour"]
_SESSION_KEY = ["app", "bot_wc_id", "group_id", "from_user"]
