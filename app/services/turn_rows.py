"""The row of a message whose turn is open: who may write it, and what; on the caller's transaction."""

from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import Answer, MessageId, Turn
from app.models.message import MESSAGES, UNFINISHED, MessageState
from app.services.errors import StaleFence

_M = MESSAGES.c
_THIS_MESSAGE = _M.id == bindparam("this_id")
_LOCK = (
    select(_M.fence, _M.state, _M.received_at, _M.journal_id, _M.dify_conversation_id)
    .where(_THIS_MESSAGE)
    .with_for_update()
)
_CHANGE = update(MESSAGES).where(_THIS_MESSAGE)
_TAKE = update(MESSAGES).where(
    _THIS_MESSAGE, _M.fence <= bindparam("this_fence"), _M.state.in_(UNFINISHED)
)
_OUTCOME = select(_M.fence, _M.state).where(_THIS_MESSAGE)


def dify_columns(answer: Answer) -> dict[str, Any]:
    """What is known of Dify's side of an answer; nothing that is known already is blanked (pure)."""
    columns: dict[str, Any] = {
        "dify_conversation_id": answer.conversation_id[:64],
        "dify_message_id": answer.dify_message_id[:64],
        "dify_task_id": answer.task_id[:64],
        "dify_run_id": answer.workflow_run_id[:64],
        "total_tokens": answer.usage.total_tokens or None,
        "prompt_tokens": answer.usage.prompt_tokens or None,
        "completion_tokens": answer.usage.completion_tokens or None,
        "model_seconds": answer.usage.seconds or None,
        "total_price": answer.usage.total_price[:32],
        "currency": answer.usage.currency[:8],
    }
    return {name: value for name, value in columns.items() if value}


async def take_row(connection: AsyncConnection, turn: Turn, columns: dict[str, Any]) -> None:
    """
    Compare-and-set on the fence: here, and by ``lock_row``, a stale worker is found out.

    Raises:
        StaleFence: a newer claim wrote the row, or the message has its outcome.
    """
    this = {"this_id": turn.message_id, "this_fence": turn.fence, "fence": turn.fence}
    result = await connection.execute(_TAKE, {**this, **columns})
    if result.rowcount != 1:
        raise _stale(turn)


async def lock_row(connection: AsyncConnection, turn: Turn) -> Any:
    """
    As ``take_row``, where more is to be read before the row is written: it is locked.

    Raises:
        StaleFence: a newer claim wrote the row, or the message has its outcome.
    """
    row = (await connection.execute(_LOCK, {"this_id": turn.message_id})).one_or_none()
    if row is None or row.fence > turn.fence or row.state not in UNFINISHED:
        raise _stale(turn)
    return row


def _stale(turn: Turn) -> StaleFence:
    return StaleFence(f"message {turn.message_id}: not ours under fence {turn.fence}")


async def change_row(
    connection: AsyncConnection, message_id: MessageId, columns: dict[str, Any]
) -> None:
    """Write columns of a row that the transaction has locked."""
    await connection.execute(_CHANGE, {"this_id": message_id, **columns})


async def is_answered_by(connection: AsyncConnection, turn: Turn) -> bool:
    """Whether the message has its answer from this very claim."""
    row = (await connection.execute(_OUTCOME, {"this_id": turn.message_id})).one_or_none()
    is_over = row is not None and row.state in (MessageState.ANSWERED, MessageState.DONE)
    return row is not None and is_over and row.fence == turn.fence
