"""Suggested questions: the list that a group reads, and which one a number means. In SQL: any replica may be asked."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import IgnoreReason, Origin, Segment, Turn
from app.models.message import MESSAGES, UNFINISHED, MessageState
from app.models.suggestion import SUGGESTIONS, Suggestion
from app.services.outbox_table import insert_segments, next_seq
from app.services.stages import utc_now
from app.services.store import Store, upsert
from app.services.text import clean_nickname
from app.services.turn_rows import change_row

#: Most questions of a list; each has one digit.
MOST_SUGGESTIONS = 5
#: A longer question is left out: what is asked has to be what was read.
MAX_SUGGESTION = 200
#: So long a list is in force.
VALID = timedelta(minutes=30)
HEADING = "你还可以问:"

_M = MESSAGES.c
_S = SUGGESTIONS.c
_ANSWERED = (MessageState.ANSWERED, MessageState.DONE)
#: A question of a person, whatever became of it; what was ignored or refused is none.
_QUESTIONS = (*UNFINISHED, *_ANSWERED, MessageState.DEAD)


def _newer_than(message_id: Any) -> Any:
    """Whether somebody asked again in this group; one look into the index of his messages per state."""
    return exists(
        select(_M.id).where(
            _M.from_user == bindparam("this_user"),
            _M.state.in_(_QUESTIONS),
            _M.id > message_id,
            _M.bot_wc_id == bindparam("this_bot"),
            _M.group_id == bindparam("this_group"),
        )
    )


_IN_FORCE = select(_S.questions).where(
    _S.bot_wc_id == bindparam("this_bot"),
    _S.group_id == bindparam("this_group"),
    _S.from_user == bindparam("this_user"),
    _S.offered_at > bindparam("since"),
    ~_newer_than(_S.message_id),
)
_LOCK = (
    select(_M.id)
    .where(
        _M.id == bindparam("this_id"),
        _M.fence == bindparam("this_fence"),
        # Neither taken back nor erased: that leaves nobody as its author.
        _M.verdict != IgnoreReason.RECALLED,
        _M.from_user == bindparam("this_user"),
        _M.state.in_(_ANSWERED),
        ~_newer_than(bindparam("this_id")),
    )
    .with_for_update()
)
_KEY = ["bot_wc_id", "group_id", "from_user"]


def shown_suggestions(questions: Sequence[str], *, limit: int) -> tuple[str, ...]:
    """Those that a list of at most *limit* characters can have, as one line each (pure)."""
    lines = (clean_nickname(one, limit=MAX_SUGGESTION + 1) for one in questions)
    fitting = [one for one in dict.fromkeys(lines) if 0 < len(one) <= MAX_SUGGESTION]
    shown = fitting[:MOST_SUGGESTIONS]
    while shown and len(list_of(shown)) > limit:
        shown.pop()
    return tuple(shown)


def list_of(questions: Sequence[str]) -> str:
    """The list as a group reads it (pure)."""
    lines = (f"{number}. {question}" for number, question in enumerate(questions, 1))
    return "\n".join((HEADING, *lines))


class Suggestions:
    """Lists that were offered."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def in_force(self, origin: Origin) -> tuple[str, ...]:
        """
        What was suggested to the person who speaks, and may be asked by number; mostly nothing.

        Raises:
            StoreUnavailable: nothing is known.
        """
        this = {
            "this_bot": origin.bot_wc_id,
            "this_group": origin.group_id,
            "this_user": origin.from_user,
            "since": utc_now() - VALID,
        }
        async with self._store.read() as connection:
            questions = await connection.scalar(_IN_FORCE, this)
        return tuple(map(str, questions or ()))

    async def offer(self, turn: Turn, questions: Sequence[str]) -> bool:
        """
        Plan the list as the last segment of the answer, which is planned already.

        Returns:
            False: the person has asked again, took the question back or was erased, or somebody else
            has the message; nothing was planned.

        Raises:
            StoreUnavailable: it is unknown whether it is planned.
        """
        this = {
            "this_bot": turn.bot_wc_id,
            "this_group": turn.group_id,
            "this_user": turn.user,
            "this_id": turn.message_id,
            "this_fence": turn.fence,
        }
        values = {
            "bot_wc_id": turn.bot_wc_id,
            "group_id": turn.group_id,
            "from_user": turn.user,
            "message_id": turn.message_id,
            "questions": list(questions),
            "offered_at": utc_now(),
        }
        changes = {name: values[name] for name in values if name not in _KEY}

        async def work(connection: AsyncConnection) -> bool:
            if await connection.scalar(_LOCK, this) is None:
                return False
            seq = await next_seq(connection, turn.message_id)
            await insert_segments(connection, turn, [Segment(seq=seq, content=list_of(questions))])
            # It owes something once more; what is done is brought up to date when that is sent.
            await change_row(connection, turn.message_id, {"state": MessageState.ANSWERED})
            await connection.execute(
                upsert(connection, Suggestion, values, key=_KEY, changes=changes)
            )
            return True

        return await self._store.transact(work)
