"""The ``groups`` table for operators: what is set for each group, and setting it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.account import Group
from app.models.contact import CONTACTS
from app.models.flow import WcId
from app.services.audit import Deed, note_deed
from app.services.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRow:
    """One group as one account sees it; None: the default of the settings."""

    group_id: WcId
    bot_wc_id: WcId
    #: Empty: the gateway was not asked yet.
    name: str
    is_enabled: bool | None
    trigger: str | None
    mention_sender: bool | None
    plain_text: bool | None
    citations: bool | None
    suggestions: bool | None
    dify_app: str | None
    id: int = 0
    prefixes: tuple[str, ...] | None = None
    keywords: tuple[str, ...] | None = None
    pattern: str | None = None
    #: Nothing is answered that is asked before; None or past: it is not muted.
    muted_until: datetime | None = None


class GroupTable:
    """Reads and changes rows beside a bridge that runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def rows(self) -> list[GroupRow]:
        """
        All groups that were ever seen, first seen first.

        Raises:
            StoreUnavailable: nothing is known.
        """
        statement = _with_names().order_by(Group.id)
        async with self._store.read() as connection:
            return [_row_of(row) for row in await connection.execute(statement)]

    async def row(self, row_id: int) -> GroupRow | None:
        """
        One group of one account; None: there is none.

        Raises:
            StoreUnavailable: nothing is known.
        """
        statement = _with_names().where(Group.id == row_id)
        async with self._store.read() as connection:
            found = (await connection.execute(statement)).first()
        return None if found is None else _row_of(found)

    async def change(self, row_id: int, columns: Mapping[str, Any], *, by: Deed) -> None:
        """
        Set what holds in one group of one account, and write down who did.

        Raises:
            StoreUnavailable: nothing is changed.
        """

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(Group).where(Group.id == row_id).values(**columns))
            await note_deed(connection, by)

        await self._store.transact(work)

    async def mute(self, groups: Sequence[str], until: datetime | None, *, by: Deed) -> int:
        """
        Answer nothing that is asked in groups before *until*, whichever account sits in them; None:
        answer again. Who did is written down.

        Returns:
            How many rows are meant.

        Raises:
            StoreUnavailable: nothing is changed.
        """
        meant = Group.group_id.in_(groups)

        async def work(connection: AsyncConnection) -> int:
            found = await connection.scalars(select(Group.id).where(meant).with_for_update())
            ids = list(found)
            if ids:
                changed = update(Group).where(Group.id.in_(ids)).values(muted_until=until)
                await connection.execute(changed)
                await note_deed(connection, by)
            return len(ids)

        return await self._store.transact(work)

    async def unseen(self, groups: Sequence[str]) -> list[str]:
        """
        Those of *groups* that no account ever saw, in their order.

        Raises:
            StoreUnavailable: nothing is known.
        """
        async with self._store.read() as connection:
            statement = select(Group.group_id).where(Group.group_id.in_(groups))
            seen = set(await connection.scalars(statement))
        return [one for one in groups if one not in seen]

    async def choose_app(self, groups: Sequence[str], app: str | None) -> int:
        """
        Let groups ask *app*, whichever account sits in them; None: the default one.

        Returns:
            How many rows are meant.

        Raises:
            StoreUnavailable: nothing is changed.
        """
        return await self._set(groups, dify_app=app)

    async def switch(self, groups: Sequence[str], name: str, *, is_on: bool | None) -> int:
        """
        Switch one of ``SWITCHES`` on or off in groups; None: as the settings say.

        Returns:
            How many rows are meant.

        Raises:
            StoreUnavailable: nothing is changed.
        """
        return await self._set(groups, **{SWITCHES[name]: is_on})

    async def _set(self, groups: Sequence[str], **columns: Any) -> int:
        meant = Group.group_id.in_(groups)

        async def work(connection: AsyncConnection) -> int:
            found = await connection.scalars(select(Group.id).where(meant).with_for_update())
            ids = list(found)
            await connection.execute(update(Group).where(Group.id.in_(ids)).values(**columns))
            return len(ids)

        return await self._store.transact(work)


#: What can be switched for one group, by the command's word for it; and its column.
SWITCHES = {"plain": "plain_text", "citations": "citations", "suggestions": "suggestions"}

_SHOWN = (
    Group.group_id,
    Group.bot_wc_id,
    Group.is_enabled,
    Group.trigger,
    Group.mention_sender,
    Group.plain_text,
    Group.citations,
    Group.suggestions,
    Group.dify_app,
    Group.id,
    Group.prefixes,
    Group.keywords,
    Group.pattern,
    Group.muted_until,
)


def _with_names() -> Select[Any]:
    return select(*_SHOWN, CONTACTS.c.nick_name).outerjoin(
        CONTACTS, CONTACTS.c.wc_id == Group.group_id
    )


def _words(value: list[Any] | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(map(str, value))


def _row_of(row: Any) -> GroupRow:
    return GroupRow(
        group_id=WcId(row.group_id),
        bot_wc_id=WcId(row.bot_wc_id),
        name=row.nick_name or "",
        is_enabled=row.is_enabled,
        trigger=row.trigger,
        mention_sender=row.mention_sender,
        plain_text=row.plain_text,
        citations=row.citations,
        suggestions=row.suggestions,
        dify_app=row.dify_app,
        id=row.id,
        prefixes=_words(row.prefixes),
        keywords=_words(row.keywords),
        pattern=row.pattern,
        muted_until=row.muted_until,
    )
