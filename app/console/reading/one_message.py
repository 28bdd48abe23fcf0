"""Everything of one message: its row, its segments, what was said before and after it in the group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from app.console.reading.messages import names_of, page_of
from app.console.reading.names import Names
from app.models.message import MESSAGES
from app.models.segment import SEGMENTS
from app.services.dead_letters import read_letters
from app.services.letters import Letter
from app.services.store import Store

#: Of each side.
NEIGHBOURS: Final = 3

_M, _S = MESSAGES.c, SEGMENTS.c


@dataclass(frozen=True, kw_only=True, slots=True)
class OneMessage:
    """One message as the drawer shows it."""

    row: Any
    segments: Sequence[Any]
    #: The same as replaying sees it.
    letter: Letter
    #: Of the same group, oldest first; this one stands among them.
    neighbours: Sequence[Any]
    names: Names


async def read_one(store: Store, message_id: int) -> OneMessage | None:
    """
    Read one message; None: there is none with this id.

    Raises:
        StoreUnavailable: the database is away.
    """
    async with store.read() as connection:
        row = (await connection.execute(select(MESSAGES).where(_M.id == message_id))).first()
        if row is None:
            return None
        [letter] = await read_letters(connection, [message_id])
        parts = select(SEGMENTS).where(_S.message_id == message_id).order_by(_S.seq)
        segments = (await connection.execute(parts)).all()
        neighbours: list[Any] = []
        if row.group_id:
            here = _M.group_id == row.group_id
            earlier = page_of([here, _M.id <= message_id], before=None, limit=NEIGHBOURS + 1)
            later = page_of([here, _M.id > message_id], before=None, limit=NEIGHBOURS)
            later = later.order_by(None).order_by(_M.id)
            neighbours = [
                *reversed((await connection.execute(earlier)).all()),
                *(await connection.execute(later)).all(),
            ]
        names = await names_of(connection, [row, *neighbours])
    return OneMessage(row=row, segments=segments, letter=letter, neighbours=neighbours, names=names)
