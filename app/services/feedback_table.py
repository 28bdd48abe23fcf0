"""Feedback that Dify has still to be told: rows of the inbox, with the answers that they are about."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, bindparam, select, update

from app.models.flow import MessageId, Rating, WcId
from app.models.message import MESSAGES, MessageState
from app.models.segment import SEGMENTS
from app.services.stages import utc_now
from app.services.store import Store

#: Rows that are read at a time.
PAGE = 100

_M = MESSAGES.c
_S = SEGMENTS.c
_ANSWERED = MESSAGES.alias("answered")
_IS_QUOTED = and_(
    _S.new_msg_id == _M.quoted_id,
    _S.bot_wc_id == _M.bot_wc_id,
    _S.group_id == _M.group_id,
)
_WAITING = (
    select(
        _M.id,
        _M.rating,
        _M.attempts,
        _M.received_at,
        _ANSWERED.c.id.label("answered_id"),
        _ANSWERED.c.from_user,
        _ANSWERED.c.dify_app,
        _ANSWERED.c.dify_message_id,
    )
    .select_from(
        MESSAGES.outerjoin(SEGMENTS, _IS_QUOTED).outerjoin(
            _ANSWERED, _ANSWERED.c.id == _S.message_id
        )
    )
    .where(_M.state == MessageState.RATING, _M.id > bindparam("after"))
    .order_by(_M.id)
    .limit(bindparam("limit"))
)
_THIS = update(MESSAGES).where(_M.id == bindparam("this_id"), _M.state == MessageState.RATING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rated:
    """One feedback and what it is about."""

    message_id: MessageId
    rating: Rating
    #: Tries so far that Dify gave no answer to.
    attempts: int
    received_at: datetime
    #: The question whose answer is rated; None: no segment of ours is known under the quoted id.
    answered_id: MessageId | None
    #: Who asked it: Dify knows the answer only under him.
    user: WcId
    app: str
    #: Empty: Dify has no message for it.
    dify_message_id: str


class FeedbackTable:
    """Reads them and closes them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def waiting(self) -> AsyncIterator[Rated]:
        """
        All of them, the oldest first: those that one app does not take hold up no other's.

        Raises:
            StoreUnavailable: the rest is not known.
        """
        after, limit = -1, PAGE
        while True:
            page = await self._page(after, limit)
            for one in page:
                yield one
            if len(page) < limit:
                return
            after = page[-1].message_id

    async def _page(self, after: int, limit: int) -> list[Rated]:
        async with self._store.read() as connection:
            this = {"after": after, "limit": limit}
            rows = (await connection.execute(_WAITING, this)).all()
        return [
            Rated(
                message_id=MessageId(row.id),
                rating=Rating(row.rating),
                attempts=row.attempts,
                received_at=row.received_at,
                answered_id=None if row.answered_id is None else MessageId(row.answered_id),
                user=WcId(row.from_user or ""),
                app=row.dify_app or "",
                dify_message_id=row.dify_message_id or "",
            )
            for row in rows
        ]

    async def note_try(self, one: Rated) -> None:
        """
        Dify gave no answer once more.

        Raises:
            StoreUnavailable: it is unknown whether it is noted.
        """
        await self._store.change(_THIS, {"this_id": one.message_id, "attempts": one.attempts + 1})

    async def close(self, one: Rated, outcome: str) -> None:
        """
        Nothing more is done about it.

        Args:
            outcome: a word for the operator.

        Raises:
            StoreUnavailable: it is unknown whether it is closed; Dify may be told once more.
        """
        values = {"state": MessageState.IGNORED, "detail": outcome, "done_at": utc_now()}
        await self._store.change(_THIS, {"this_id": one.message_id, **values})
