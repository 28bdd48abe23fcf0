"""For the wizard: whether the gateway has posted anything, and the groups that were seen."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from app.models.account import Group
from app.models.contact import CONTACTS
from app.models.message import MESSAGES
from app.services.store import Store
from app.utils.ids import id_at

#: Groups that are shown.
MOST: Final = 8
#: Callbacks that are counted: whoever waits for the first one wants no more.
MOST_COUNTED: Final = 100

_M, _C = MESSAGES.c, CONTACTS.c


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """Callbacks of a time."""

    #: ``MOST_COUNTED``: so many or more.
    count: int
    #: Of the last one; None: there was none.
    last_at: datetime | None
    verdict: str

    @property
    def told(self) -> str:
        """The count as it is shown."""
        return f"{self.count}+" if self.count >= MOST_COUNTED else str(self.count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """A group that was seen."""

    id: int
    group_id: str
    #: Empty: the gateway was not asked yet.
    name: str
    first_seen_at: datetime


async def read_heard(store: Store, *, since: int) -> Heard:
    """
    What was posted since a moment.

    Args:
        since: seconds since 1970.

    Raises:
        StoreUnavailable: the database is away.
    """
    newest = select(_M.received_at, _M.verdict).where(_M.id >= id_at(since)).order_by(_M.id.desc())
    async with store.read() as connection:
        rows = (await connection.execute(newest.limit(MOST_COUNTED))).all()
    last = rows[0] if rows else None
    return Heard(
        count=len(rows),
        last_at=last.received_at if last else None,
        verdict=(last.verdict or "") if last else "",
    )


async def read_rooms(store: Store) -> list[Room]:
    """
    The groups that were seen last, the newest first.

    Raises:
        StoreUnavailable: the database is away.
    """
    statement = (
        select(Group.id, Group.group_id, Group.first_seen_at, _C.nick_name)
        .outerjoin(CONTACTS, _C.wc_id == Group.group_id)
        .order_by(Group.id.desc())
        .limit(MOST)
    )
    async with store.read() as connection:
        rows = (await connection.execute(statement)).all()
    return [
        Room(
            id=row.id,
            group_id=row.group_id,
            name=row.nick_name or "",
            first_seen_at=row.first_seen_at,
        )
        for row in rows
    ]
