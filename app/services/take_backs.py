"""The use case: what the bot said is taken back because somebody wants it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import IgnoreReason, MessageId, WcId
from app.models.message import MESSAGES, MessageState
from app.services.recalls import take_back
from app.services.stages import utc_now
from app.services.store import Store
from app.services.taking_back import RECALL_WITHIN, Fates, fates_of, last_answer, want_back

#: Commands of one look.
PAGE = 100
#: The gateway's clock may be so much behind ours.
GATEWAY_SKEW = timedelta(seconds=60)
TAKING_BACK, TOO_OLD, NOTHING, COPY = "taking_back", "too_old", "nothing", "copy"

_M = MESSAGES.c
_IS_WAITING = _M.state == MessageState.COMMAND
_WAITING = (
    select(
        _M.id,
        _M.bot_wc_id,
        _M.group_id,
        _M.from_user,
        _M.gateway_time,
        _M.quoted_id,
        _M.received_at,
    )
    .where(_IS_WAITING)
    .order_by(_M.id)
    .limit(PAGE)
)
_CLOSE = update(MESSAGES).where(_M.id == bindparam("this_id"), _IS_WAITING)
_NOTE = update(MESSAGES).where(_M.id == bindparam("this_id"))
#: The same command, as another account of ours got it; it is carried out already.
_COPY = (
    select(_M.id)
    .where(
        _M.from_user == bindparam("user"),
        _M.state == MessageState.IGNORED,
        _M.verdict == IgnoreReason.COMMAND,
        _M.group_id == bindparam("group"),
        _M.gateway_time == bindparam("time"),
        _M.bot_wc_id != bindparam("bot"),
    )
    .limit(1)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A command that waits to be carried out."""

    message_id: MessageId
    bot_wc_id: WcId
    group_id: WcId
    user: WcId
    #: Seconds since 1970 as the gateway says; 0 if it does not.
    gateway_time: int
    quoted_id: str
    received_at: datetime

    @property
    def until(self) -> datetime:
        """What was said later is not meant, however late the command came."""
        if not self.gateway_time:
            return self.received_at
        own = datetime.fromtimestamp(self.gateway_time, UTC)
        return min(self.received_at, own + GATEWAY_SKEW)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a command led to."""

    word: str
    answered_id: MessageId | None = None
    fates: Fates = field(default_factory=Fates)


class TakeBacks:
    """Writes down what is to be taken back; the account's sender carries it out."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def last(self, group: WcId) -> MessageId | None:
        """Whose answer was said last in a group and may still be meant."""
        async with self._store.read() as connection:
            return await last_answer(connection, group, until=utc_now())

    async def look(self, message_id: MessageId) -> Fates:
        """What would become of an answer's segments."""
        async with self._store.read() as connection:
            return await fates_of(connection, message_id, since=utc_now() - RECALL_WITHIN)

    async def take(self, message_id: MessageId) -> Fates:
        """
        Have an answer taken back; may be repeated.

        Raises:
            StoreUnavailable: it is unknown whether it is written down.
        """
        return await self._store.transact(lambda connection: _take(connection, message_id))

    async def waiting(self) -> Sequence[Told]:
        """The oldest commands that are not carried out."""
        async with self._store.read() as connection:
            rows = (await connection.execute(_WAITING)).all()
        return [
            Told(
                message_id=MessageId(row.id),
                bot_wc_id=WcId(row.bot_wc_id),
                group_id=WcId(row.group_id),
                user=WcId(row.from_user),
                gateway_time=row.gateway_time,
                quoted_id=row.quoted_id,
                received_at=row.received_at,
            )
            for row in rows
        ]

    async def carry_out(self, told: Told) -> Outcome | None:
        """
        Carry a command out and close it, in one commit; None: somebody else did.

        Raises:
            StoreUnavailable: it is unknown whether it is carried out.
        """

        async def work(connection: AsyncConnection) -> Outcome | None:
            this = {"this_id": told.message_id}
            closing = {"state": MessageState.IGNORED, "done_at": utc_now()}
            if not (await connection.execute(_CLOSE, {**this, **closing})).rowcount:
                return None
            outcome = await _outcome(connection, told)
            await connection.execute(_NOTE, {**this, "detail": outcome.word})
            return outcome

        return await self._store.transact(work)


async def _take(connection: AsyncConnection, message_id: MessageId) -> Fates:
    # An answer that is still being written ends with it.
    await take_back(connection, message_id)
    await want_back(connection, message_id)
    return await fates_of(connection, message_id, since=utc_now() - RECALL_WITHIN)


async def _outcome(connection: AsyncConnection, told: Told) -> Outcome:
    same = {
        "user": told.user,
        "group": told.group_id,
        "time": told.gateway_time,
        "bot": told.bot_wc_id,
    }
    if told.gateway_time and await connection.scalar(_COPY, same) is not None:
        return Outcome(word=COPY)
    found = await last_answer(connection, told.group_id, until=told.until, quoted=told.quoted_id)
    if found is None:
        return Outcome(word=NOTHING)
    fates = await _take(connection, found)
    word = TAKING_BACK if fates.going or fates.cancelled else TOO_OLD
    return Outcome(word=word, answered_id=found, fates=fates)
