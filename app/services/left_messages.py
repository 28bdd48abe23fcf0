"""
Messages that were left to another account of ours because they mention it.

Its own copy says what became of it. Where none has come, because it is not online after all or its
callback was lost, the copy that is here is answered.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from loguru import logger
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import IgnoreReason, MessageId
from app.models.message import MESSAGES, MessageState
from app.services.errors import StoreUnavailable
from app.services.store import Store
from app.services.twin_rows import claim_columns, known_copies, yield_columns
from app.services.twins import SharedIds, Yielded, twin_keys
from app.utils.ids import id_at, id_milliseconds

#: Messages of one look.
AT_ONCE = 200
#: How much earlier than the copy that is here the other one may have come, in seconds.
EARLIER_SECONDS = 300
#: Looks of one call, while others write the same between look and change.
RACE_TRIES = 5

_M = MESSAGES.c
_LEFT = (
    select(
        _M.id,
        _M.bot_wc_id,
        _M.dedupe_key,
        _M.message_type,
        _M.detail,
        _M.group_id,
        _M.from_user,
        _M.new_msg_id,
        _M.gateway_time,
        _M.text,
        _M.question,
    )
    .where(_M.state == MessageState.LEFT, _M.id < bindparam("before"))
    .order_by(_M.id)
    .limit(AT_ONCE)
)
#: Copies that the account that was meant got, and did not take for a question by its own rules, or took
#: for what somebody thinks of its answer.
_DECLINED = select(_M.id, _M.bot_wc_id, _M.dedupe_key).where(
    _M.bot_wc_id.in_(bindparam("bots", expanding=True)),
    _M.dedupe_key.in_(bindparam("keys", expanding=True)),
    _M.twin_id.is_(None),
    _M.state != MessageState.LEFT,
    _M.verdict != IgnoreReason.OTHER_ACCOUNT,
)
_NOT_ASKED = (
    MessageState.IGNORED,
    MessageState.REFUSED,
    MessageState.RATING,
    MessageState.COMMAND,
)
#: The same where the gateway gives each account other ids: what the person sent in that second. A row
#: that is not answered keeps no text.
_DECLINED_ALIKE = select(
    _M.id, _M.bot_wc_id, _M.group_id, _M.from_user, _M.gateway_time, _M.message_type
).where(
    _M.from_user.in_(bindparam("users", expanding=True)),
    _M.state.in_(_NOT_ASKED),
    _M.id >= bindparam("since"),
    _M.bot_wc_id.in_(bindparam("bots", expanding=True)),
    _M.twin_id.is_(None),
    _M.verdict != IgnoreReason.OTHER_ACCOUNT,
)
_SETTLE = update(MESSAGES).where(_M.id == bindparam("this_id"), _M.state == MessageState.LEFT)


class LeftMessages:
    """Finds out what became of them."""

    def __init__(self, store: Store, shared_ids: SharedIds) -> None:
        self._store = store
        self._shared_ids = shared_ids

    async def settle(self, *, before: int) -> int:
        """
        Settle those with smaller ids, at most ``AT_ONCE``; how many.

        Raises:
            StoreUnavailable: nothing is known; they are left for the next time.
        """
        for left in reversed(range(RACE_TRIES)):
            try:
                async with self._store.read() as connection:
                    if not (await connection.execute(_LEFT, {"before": before})).first():
                        return 0
                return await self._store.transact(lambda one: self._settle(one, before))
            except IntegrityError as error:
                if not left:
                    raise StoreUnavailable("copies: somebody was always faster") from error
        raise AssertionError("unreachable")

    async def _settle(self, connection: AsyncConnection, before: int) -> int:
        found = await connection.execute(_LEFT, {"before": before})
        rows = [dict(row) for row in found.mappings()]
        if not rows:
            # Another process was faster.
            return 0
        keys = [twin_keys(row) for row in rows]
        copies = await known_copies(connection, keys, self._shared_ids)
        declined = await self._declined(connection, rows)
        for row, own in zip(rows, keys, strict=True):
            message_id = MessageId(row["id"])
            outcome = declined.get(message_id) or copies.settle(message_id, row["bot_wc_id"], own)
            if isinstance(outcome, Yielded):
                values = yield_columns(own, outcome)
            else:
                asked = {"state": MessageState.RECEIVED, "verdict": "", "detail": ""}
                values = {**asked, **claim_columns(outcome)}
                logger.info("message.taken_up", message_id=message_id, meant=row["detail"])
            await connection.execute(_SETTLE, {"this_id": message_id, **values})
        return len(rows)

    async def _declined(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> dict[MessageId, Yielded]:
        """By message: the copy of an account that is meant and does not answer."""
        bots = sorted({bot for row in rows for bot in _meant(row)})
        by_key = await connection.execute(
            _DECLINED, {"bots": bots, "keys": [row["dedupe_key"] for row in rows]}
        )
        found: dict[_Said, MessageId] = {
            (row.bot_wc_id, row.dedupe_key): MessageId(row.id) for row in by_key
        }
        alike = await connection.execute(
            _DECLINED_ALIKE,
            {
                "bots": bots,
                "users": sorted({row["from_user"] for row in rows}),
                "since": id_at(id_milliseconds(rows[0]["id"]) / 1000 - EARLIER_SECONDS),
            },
        )
        found |= {
            (row["bot_wc_id"], *_said(dict(row))): MessageId(row["id"]) for row in alike.mappings()
        }
        return {
            MessageId(row["id"]): outcome
            for row in rows
            if (outcome := self._declined_by(row, found)) is not None
        }

    def _declined_by(
        self, row: Mapping[str, Any], declined: Mapping["_Said", MessageId]
    ) -> Yielded | None:
        for bot in _meant(row):
            message_id = declined.get((bot, row["dedupe_key"]))
            may_differ = row["gateway_time"] and not self._shared_ids.has(row["bot_wc_id"], bot)
            if message_id is None and may_differ:
                message_id = declined.get((bot, *_said(row)))
            if message_id is not None:
                return Yielded(message_id, bot, is_first=False)
        return None


#: An account, and what tells a message that came through it.
_Said = tuple[object, ...]


def _said(row: Mapping[str, Any]) -> _Said:
    """What is the same in every copy of a message but its text."""
    return row["group_id"], row["from_user"], row["gateway_time"], row["message_type"]


def _meant(row: Mapping[str, Any]) -> list[str]:
    return list(row["detail"].split(","))
