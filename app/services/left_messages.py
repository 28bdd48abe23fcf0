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

#: Messages of one look.
AT_ONCE = 200
#: Looks of one call, while others write the same between look and change.
RACE_TRIES = 5

_M = MESSAGES.c
_LEFT = (
    select(
        _M.id,
        _M.bot_wc_id,
        _M.dedupe_key,
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
        keys = [twin_keys(row) for row in rows]
        copies = await known_copies(connection, keys, self._shared_ids)
        declined = await _declined(connection, rows)
        for row, own in zip(rows, keys, strict=True):
            message_id = MessageId(row["id"])
            outcome = _declined_by(row, declined) or copies.settle(
                message_id, row["bot_wc_id"], own
            )
            if isinstance(outcome, Yielded):
                values = yield_columns(own, outcome)
            else:
                asked = {"state": MessageState.RECEIVED, "verdict": "", "detail": ""}
                values = {**asked, **claim_columns(outcome)}
                logger.info("message.taken_up", message_id=message_id, meant=row["detail"])
            await connection.execute(_SETTLE, {"this_id": message_id, **values})
        return len(rows)


async def _declined(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str], MessageId]:
    bots = {bot for row in rows for bot in row["detail"].split(",")}
    wanted = {"bots": sorted(bots), "keys": [row["dedupe_key"] for row in rows]}
    found = await connection.execute(_DECLINED, wanted)
    return {(row.bot_wc_id, row.dedupe_key): MessageId(row.id) for row in found}


def _declined_by(
    row: Mapping[str, Any], declined: dict[tuple[str, str], MessageId]
) -> Yielded | None:
    """The copy of an account that is meant and does not answer (pure); None: there is none."""
    for bot in row["detail"].split(","):
        if (message_id := declined.get((bot, row["dedupe_key"]))) is not None:
            return Yielded(message_id, bot, is_first=False)
    return None
