"""Conversations with Dify begin anew: the next question of a person or of a whole group."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.conversation import SESSIONS
from app.models.flow import WcId
from app.models.pending_form import PENDING_FORMS
from app.services.audit import Deed, note_deed
from app.services.stages import utc_now
from app.services.store import Store


async def reset_conversations(
    store: Store, group: WcId, user: WcId | None = None, *, by: Deed
) -> int:
    """
    Let the next question of a person in a group, or of everybody in it, begin a new conversation.

    What is recalled of former turns goes no further back, and forms that wait are given up. Answers
    that are under way are finished as they are.

    Args:
        user: None: everybody in the group.

    Returns:
        How many conversations were in force.

    Raises:
        StoreUnavailable: nothing is changed.
    """

    async def work(connection: AsyncConnection) -> int:
        meant = _of(SESSIONS, group, user)
        in_force = select(func.count()).select_from(SESSIONS).where(*meant)
        count = await connection.scalar(in_force.where(SESSIONS.c.conversation_id != ""))
        changed = update(SESSIONS).where(*meant).values(conversation_id="", reset_at=utc_now())
        await connection.execute(changed)
        await connection.execute(delete(PENDING_FORMS).where(*_of(PENDING_FORMS, group, user)))
        await note_deed(connection, by)
        return int(count or 0)

    return await store.transact(work)


def _of(table: Table, group: WcId, user: WcId | None) -> Sequence[ColumnElement[Any]]:
    conditions: list[ColumnElement[Any]] = [table.c.group_id == group]
    return conditions if user is None else [*conditions, table.c.from_user == user]
