"""
One person's data, taken out of every table on request.

What the bridge counts stays (that a message came, when, and what became of it); who wrote it and
what is said in it does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import (
    BindParameter,
    String,
    bindparam,
    cast,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.account import Account
from app.models.console import AUDIT_LOG
from app.models.contact import CONTACTS, GROUP_MEMBERS
from app.models.conversation import CONVERSATIONS, SESSIONS
from app.models.flow import WcId
from app.models.message import MESSAGES, UNFINISHED, MessageState
from app.models.pause import PAUSES
from app.models.pending_form import PENDING_FORMS
from app.models.segment import SEGMENTS, SegmentState
from app.models.suggestion import SUGGESTIONS
from app.services.store import Store

#: What is owed for a message that was erased: nothing.
ERASED = "erased"
#: Messages of one transaction.
PAGE = 200

_M = MESSAGES.c
_S = SEGMENTS.c
_NO_LONGER_OWED = (
    *UNFINISHED,
    MessageState.LEFT,
    MessageState.RATING,
    MessageState.COMMAND,
    MessageState.DEAD,
)
_PAGE = (
    select(_M.id)
    .where(_M.from_user == bindparam("whose"), _M.id > bindparam("after"))
    .order_by(_M.id)
    .limit(PAGE)
)
_THESE: BindParameter[Sequence[int]] = bindparam("these_ids", expanding=True)
_GIVE_UP = (
    update(MESSAGES)
    .where(_M.id.in_(_THESE), _M.state.in_(_NO_LONGER_OWED))
    .values(state=MessageState.IGNORED, verdict=ERASED)
)
_CANCEL = (
    update(SEGMENTS)
    .where(_S.message_id.in_(_THESE), _S.state == SegmentState.PLANNED)
    .values(state=SegmentState.CANCELLED)
)
#: One that is under way may have to go out again, and is erased when it is over.
_BLANK_SEGMENTS = (
    update(SEGMENTS)
    .where(_S.message_id.in_(_THESE), _S.state != SegmentState.SENDING)
    .values(content="", mention="", text_digest="", error="")
)
_STILL_SENDING = select(_S.message_id).where(
    _S.message_id.in_(_THESE), _S.state == SegmentState.SENDING
)
_BLANK_MESSAGES = (
    update(MESSAGES)
    .where(_M.id.in_(_THESE))
    .values(
        from_user="",
        sender_name="",
        text=None,
        question=None,
        raw=None,
        text_digest=None,
        twin_text=None,
        twin_no=None,
        detail="",
        error="",
        journal_id=None,
        dify_conversation_id="",
        dify_message_id="",
        dify_task_id="",
        dify_run_id="",
        rating="",
        quoted_id="",
    )
)
#: Where the gateway gives no newMsgId, the wcId is a part of the key; the row's id in its place is as
#: unique.
_BLANK_KEYS = (
    update(MESSAGES)
    .where(_M.id.in_(_THESE), func.instr(_M.dedupe_key, bindparam("whose")) > 0)
    .values(dedupe_key=literal("#") + cast(_M.id, String(20)))
)
#: That somebody did something stays, not with whose queue.
_BLANK_DEEDS = (
    update(AUDIT_LOG)
    .where(
        or_(AUDIT_LOG.c.action.like("queue.%"), AUDIT_LOG.c.action == "conversation.reset"),
        AUDIT_LOG.c.subject == bindparam("whose"),
    )
    .values(subject=ERASED)
)
_TABLES = {
    "conversations": (CONVERSATIONS, CONVERSATIONS.c.from_user),
    "sessions": (SESSIONS, SESSIONS.c.from_user),
    "suggestions": (SUGGESTIONS, SUGGESTIONS.c.from_user),
    "pending_forms": (PENDING_FORMS, PENDING_FORMS.c.from_user),
    "contacts": (CONTACTS, CONTACTS.c.wc_id),
    "group_members": (GROUP_MEMBERS, GROUP_MEMBERS.c.wc_id),
    "pauses": (PAUSES, PAUSES.c.subject),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What is kept of a person."""

    #: Rows by table.
    rows: dict[str, int]
    #: Conversations that Dify keeps: names of apps and ids.
    conversations: tuple[tuple[str, str], ...]
    #: It is an account of our own: erasing it is no request of a person.
    is_own: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """What was taken out."""

    rows: dict[str, int]
    #: Messages of which a segment is just being sent: a minute later they can be erased, too.
    under_way: int


async def look_up(store: Store, user: WcId) -> Held:
    """
    What is kept of a person; reads only.

    Raises:
        StoreUnavailable: nothing is known.
    """
    sessions, messages = SESSIONS.c, _M
    known = select(sessions.app, sessions.conversation_id).where(sessions.from_user == user)
    spoken = (
        select(messages.dify_app, messages.dify_conversation_id)
        .where(messages.from_user == user, messages.dify_conversation_id != "")
        .distinct()
    )
    rows = {}
    async with store.read() as connection:
        counted = {"messages": (MESSAGES, _M.from_user), **_TABLES}
        for name, (table, column) in counted.items():
            statement = select(func.count()).select_from(table).where(column == user)
            rows[name] = int(await connection.scalar(statement) or 0)
        own = await connection.scalar(
            select(func.count()).select_from(Account).where(Account.wc_id == user)
        )
        found = {
            (str(row[0]), str(row[1]))
            for statement in (known, spoken)
            for row in await connection.execute(statement)
            if row[1]
        }
    return Held(rows=rows, conversations=tuple(sorted(found)), is_own=bool(own))


async def erase(store: Store, user: WcId) -> Erased:
    """
    Take a person out of every table; waiting questions are not answered any more.

    May be repeated, also after it broke off. A bridge that runs meanwhile goes on: what it answers
    just now is refused by the row's new state.

    Raises:
        StoreUnavailable: a part may have been erased.
    """
    messages, segments, under_way, after = 0, 0, 0, -1
    while ids := await _page(store, user, after):
        found = await store.transact(partial(_erase_messages, user=user, ids=ids))
        messages, segments = messages + found[0], segments + found[1]
        under_way += found[2]
        after = ids[-1]
    rows = {"messages": messages, "segments": segments}
    for name, (table, column) in _TABLES.items():
        rows[name] = await store.change(delete(table).where(column == user), {})
    await store.change(_BLANK_DEEDS, {"whose": user})
    return Erased(rows=rows, under_way=under_way)


async def _page(store: Store, user: WcId, after: int) -> list[int]:
    async with store.read() as connection:
        return list(await connection.scalars(_PAGE, {"whose": user, "after": after}))


async def _erase_messages(
    connection: AsyncConnection, *, user: WcId, ids: Sequence[int]
) -> tuple[int, int, int]:
    """Messages and segments that were blanked, and messages that were left for now."""
    these = {"these_ids": list(ids)}
    await connection.execute(_GIVE_UP, these)
    await connection.execute(_CANCEL, these)
    segments = await connection.execute(_BLANK_SEGMENTS, these)
    sending = set(await connection.scalars(_STILL_SENDING, these))
    done = [one for one in ids if one not in sending]
    if done:
        await connection.execute(_BLANK_KEYS, {"these_ids": done, "whose": user})
        await connection.execute(_BLANK_MESSAGES, {"these_ids": done})
    return len(done), segments.rowcount, len(sending)
