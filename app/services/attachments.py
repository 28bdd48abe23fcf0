"""
What a person sent before a question and that goes along with it.

It waits in the row of its own message, so it outlives the process; the question that comes next in
that group takes it, and no later one does.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import IgnoreReason, MemberFile, Turn
from app.models.message import MESSAGES, MessageState
from app.services.inbox_rows import file_of_text
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.ids import id_at

#: Most files of one question.
MAX_FILES = 10
#: Messages of the person that are looked through; further back nothing is looked for.
_MOST_ROWS = 100

_M = MESSAGES.c
#: Questions that took what came before them; refused and given up ones did not.
_TAKERS = (
    MessageState.RECEIVED,
    MessageState.PROCESSING,
    MessageState.ANSWERED,
    MessageState.DONE,
)
_BEFORE = (
    select(_M.id, _M.state, _M.verdict, _M.text, _M.twin_of, _M.dify_run_id)
    .where(
        _M.from_user == bindparam("user"),
        _M.state.in_((MessageState.IGNORED, *_TAKERS)),
        _M.id >= bindparam("since"),
        _M.id < bindparam("this_id"),
        _M.group_id == bindparam("group"),
        _M.bot_wc_id == bindparam("bot"),
    )
    .order_by(_M.id.desc())
    .limit(_MOST_ROWS)
)
#: Which question began each of these runs; whatever else has one of them filled in its form.
_BEGAN = (
    select(func.min(_M.id))
    .where(
        _M.from_user == bindparam("user"),
        _M.state.in_(_TAKERS),
        _M.dify_run_id.in_(bindparam("runs", expanding=True)),
    )
    .group_by(_M.dify_run_id)
)


class Attachments:
    """Finds what waits for a question."""

    def __init__(self, store: Store, wait: float) -> None:
        """
        Args:
            wait: seconds for which something waits; 0: nothing does.
        """
        self._store = store
        self._wait = wait

    async def of(self, turn: Turn) -> tuple[MemberFile, ...]:
        """
        What goes along with a question, in the order in which it was sent.

        Raises:
            StoreUnavailable: the database is away.
        """
        if not self._wait:
            return ()
        asked_at = turn.received_at or utc_now()
        values = {
            "user": turn.user,
            "since": id_at((asked_at - timedelta(seconds=self._wait)).timestamp()),
            "this_id": turn.message_id,
            "group": turn.group_id,
            "bot": turn.bot_wc_id,
        }
        async with self._store.read() as connection:
            rows = (await connection.execute(_BEFORE, values)).all()
            replies = await _replies_to_forms(connection, turn.user, rows)
        return files_before(rows, replies)


async def _replies_to_forms(
    connection: AsyncConnection, user: str, rows: Iterable[Any]
) -> set[int]:
    """Those of the rows that filled in a form: nothing went along with them."""
    with_run = {row.id: row.dify_run_id for row in rows if row.dify_run_id}
    is_of_use = with_run and any(row.verdict == IgnoreReason.ATTACHMENT for row in rows)
    if not is_of_use:
        return set()
    this = {"user": user, "runs": sorted(set(with_run.values()))}
    return with_run.keys() - set(await connection.scalars(_BEGAN, this))


def files_before(rows: Iterable[Any], replies: Collection[int] = ()) -> tuple[MemberFile, ...]:
    """
    What was sent since the last question (pure); rows come newest first, and so go the oldest.

    Args:
        replies: ids of rows that filled in a form; they took nothing.
    """
    files: list[MemberFile] = []
    for row in rows:
        # Another account's copy of a question was given what came before it.
        is_taker = (row.state in _TAKERS and row.id not in replies) or row.twin_of is not None
        if is_taker or len(files) == MAX_FILES:
            break
        file = file_of_text(row.text) if row.verdict == IgnoreReason.ATTACHMENT else None
        if file is not None:
            files.append(file)
    return tuple(reversed(files))
