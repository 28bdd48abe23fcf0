"""Copies of one message as rows of ``messages``; each function works on the caller's connection."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import IgnoreReason, MessageId
from app.models.message import MESSAGES, MessageState
from app.services.twins import Claimed, Copies, Copy, SharedIds, TwinKeys, Yielded

_M = MESSAGES.c
_COPY = (_M.id, _M.bot_wc_id, _M.twin_id, _M.twin_text, _M.twin_no, _M.twin_of)
#: By an index each; "the one or the other" in one condition would be a look at every row.
_KNOWN = union_all(
    select(*_COPY).where(_M.twin_id.in_(bindparam("ids", expanding=True))),
    select(*_COPY).where(_M.twin_text.in_(bindparam("texts", expanding=True))),
)
#: Columns of a row that claims nothing.
NO_CLAIM: Mapping[str, Any] = {
    "twin_id": None,
    "twin_text": None,
    "twin_no": None,
    "twin_of": None,
}


def claim_columns(claimed: Claimed) -> dict[str, Any]:
    """What stands in the row that is answered (pure)."""
    return {
        "twin_id": claimed.keys.by_id,
        "twin_text": claimed.keys.by_text,
        "twin_no": claimed.number,
        "twin_of": None,
    }


def yield_columns(keys: TwinKeys, yielded: Yielded) -> dict[str, Any]:
    """What stands in the row of another copy (pure); the text is that of the one that is answered."""
    return {
        "state": MessageState.IGNORED,
        "verdict": IgnoreReason.OTHER_ACCOUNT,
        "detail": f"{yielded.bot} {yielded.to}",
        "sender_name": "",
        "text": None,
        "question": None,
        "raw": None,
        "twin_id": None,
        "twin_text": keys.by_text,
        "twin_no": None,
        "twin_of": yielded.to if yielded.is_first else None,
    }


async def known_copies(
    connection: AsyncConnection, keys: Sequence[TwinKeys], shared_ids: SharedIds
) -> Copies:
    """The copies that are there of messages with these keys."""
    wanted = {
        "ids": [one.by_id for one in keys if one.by_id is not None],
        "texts": [one.by_text for one in keys if one.by_text is not None],
    }
    if not any(wanted.values()):
        return Copies((), shared_ids)
    found = await connection.execute(_KNOWN, wanted)
    known = (
        Copy(
            MessageId(row.id),
            row.bot_wc_id,
            TwinKeys(row.twin_id, row.twin_text),
            row.twin_no,
            None if row.twin_of is None else MessageId(row.twin_of),
        )
        for row in found
    )
    return Copies(known, shared_ids)
