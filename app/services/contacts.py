"""
Contacts: who was seen, what they are called, and which of them are to be looked up.

Nothing here calls the gateway: the keeper (app/workers/contact_keeper.py) does, in the background. An answer
takes the names that are known at that moment and never waits for more.

Many rows are written some at a time: SQLite has one writer, and callbacks and answers need it, too.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.contact import CONTACTS, GROUP_MEMBERS, Contact, GroupMember
from app.models.flow import WcId
from app.services.contact_rows import (
    Known,
    Seen,
    card_row,
    due_again,
    member_row,
    next_try,
    seen_rows,
)
from app.services.ecloud.cards import ContactCard, MemberCard
from app.services.stages import utc_now
from app.services.store import Store, upsert_rows
from app.utils.batches import batches

SEEN_AT_MOST = 10_000
#: Most people, cards or members of one transaction.
BATCH = 100
#: Somebody who writes all the time is written down so often.
ENOUGH_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A contact whose look-up is due."""

    wc_id: WcId
    kind: str
    bot_wc_id: WcId
    group_id: WcId
    failures: int


Rows = Sequence[Mapping[str, Any]]

_C = CONTACTS.c
_M = GROUP_MEMBERS.c
_THIS = _C.wc_id == bindparam("this_wc_id")
_SEEN_CHANGES = ("bot_wc_id", "group_id", "seen_at")
_CARD_KEY = ("wc_id",)
_MEMBER_KEY = ("group_id", "wc_id")
#: Unless somebody else wanted it meanwhile.
_WANT_AGAIN = update(CONTACTS).where(_THIS, _C.next_fetch_at.is_(None))
_LEFT = delete(GROUP_MEMBERS).where(
    _M.group_id == bindparam("this_group"), _M.fetched_at < bindparam("before")
)
_POSTPONE = update(CONTACTS).where(_THIS)


class Contacts:
    """The address book in SQL."""

    def __init__(self, store: Store, *, max_age: timedelta) -> None:
        self._store = store
        self._max_age = max_age
        self._seen: set[Seen] = set()
        #: Who was written lately, and until when that is enough (monotonic seconds).
        self._written: dict[Seen, float] = {}
        self._enough = min(ENOUGH_SECONDS, max_age.total_seconds() / 2)

    def note(self, seen: Seen) -> None:
        """Remember that somebody wrote; written with the next ``flush``. Losing it costs nothing."""
        is_written = self._written.get(seen, 0.0) > time.monotonic()
        if not is_written and len(self._seen) < SEEN_AT_MOST:
            self._seen.add(seen)

    async def flush(self) -> None:
        """
        Write who was seen, and mark as due what is unknown or too old.

        Raises:
            StoreUnavailable: who was not written is kept for the next time.
        """
        if not self._seen:
            return
        now = time.monotonic()
        self._written = {one: until for one, until in self._written.items() if until > now}
        told: set[WcId] = set()
        for some in batches(sorted(self._seen, key=lambda one: (one.group_id, one.user)), BATCH):
            await self._flush_some(some, told)
            self._seen.difference_update(some)
            if len(self._written) < SEEN_AT_MOST:
                self._written |= dict.fromkeys(some, time.monotonic() + self._enough)

    async def _flush_some(self, some: Sequence[Seen], told: set[WcId]) -> None:
        """One transaction, and before it a look at what is known; *told* were in an earlier one."""
        now = utc_now()
        rows = {wc_id: row for wc_id, row in seen_rows(some, now).items() if wc_id not in told}
        again = await self._due_again(some, now)

        async def work(connection: AsyncConnection) -> None:
            if rows:
                statement = upsert_rows(connection, Contact, key=_CARD_KEY, changes=_SEEN_CHANGES)
                await connection.execute(statement, [rows[wc_id] for wc_id in sorted(rows)])
            if again:
                await connection.execute(_WANT_AGAIN, again)

        if rows or again:
            await self._store.transact(work)
        told.update(rows)

    async def _due_again(self, some: Sequence[Seen], now: datetime) -> list[dict[str, Any]]:
        """Known contacts among these that are to be looked up again, and when."""
        ids = seen_rows(some, now).keys()
        async with self._store.read() as connection:
            known = await _known(connection, ids)
            crowded = await _groups_with_strangers(connection, some)
        dues = {
            wc_id: due_again(one, now, max_age=self._max_age, has_strangers=wc_id in crowded)
            for wc_id, one in known.items()
        }
        return [
            {"this_wc_id": wc_id, "next_fetch_at": due}
            for wc_id, due in sorted(dues.items())
            if due is not None
        ]

    async def wanted(self, *, limit: int) -> list[Wanted]:
        """Due look-ups: of whom nothing is known yet first, then longest due first."""
        columns = (_C.wc_id, _C.kind, _C.bot_wc_id, _C.group_id, _C.failures)
        due = select(*columns).where(_C.next_fetch_at <= utc_now())
        # Many may be refreshed at once; a newcomer's name is not kept waiting for that.
        due = due.order_by(_C.fetched_at.is_not(None), _C.next_fetch_at)
        async with self._store.read() as connection:
            return [
                Wanted(
                    wc_id=WcId(row.wc_id),
                    kind=row.kind,
                    bot_wc_id=WcId(row.bot_wc_id),
                    group_id=WcId(row.group_id),
                    failures=row.failures,
                )
                for row in await connection.execute(due.limit(limit))
            ]

    async def save(self, cards: Sequence[ContactCard]) -> frozenset[WcId]:
        """
        Keep what the gateway says of people and groups; they are fresh now.

        Returns:
            Whose cards the database refuses; one odd card takes no other with it.
        """
        now = utc_now()
        rows = [card_row(card, now) for card in sorted(cards, key=lambda card: card.wc_id)]
        refused: set[WcId] = set()
        for some in batches(rows, BATCH):
            refused |= await self._save_some(some)
        return frozenset(refused)

    async def _save_some(self, rows: Rows) -> set[WcId]:
        try:
            await self._upsert(Contact, rows, key=_CARD_KEY, kept=("seen_at",))
        except (DBAPIError, ValueError, OverflowError) as error:
            if len(rows) == 1:
                return await self._save_plain(rows[0], error)
        else:
            return set()
        return set().union(*[await self._save_some([row]) for row in rows])

    async def _save_plain(self, row: Mapping[str, Any], error: Exception) -> set[WcId]:
        """Without the gateway's own words, if that was what was refused."""
        logger.error("contacts.card_refused", wc_id=row["wc_id"], error=type(error).__name__)
        if not row["raw"]:
            return {row["wc_id"]}
        return await self._save_some([{**row, "raw": {}}])

    async def save_members(self, group: WcId, members: Sequence[MemberCard]) -> None:
        """
        Keep what people are called in one group; whoever is not in the list has left it.

        An empty list is no news: the gateway gives one when it does not know.
        """
        now = utc_now()
        ordered = sorted(members, key=lambda member: member.wc_id)
        for some in batches([member_row(member, group, now) for member in ordered], BATCH):
            await self._upsert(GroupMember, some, key=_MEMBER_KEY)
        if ordered:
            left = {"this_group": group, "before": now}
            await self._store.transact(lambda connection: _remove(connection, left))

    async def _upsert(
        self, table: type[Any], rows: Rows, *, key: Sequence[str], kept: Sequence[str] = ()
    ) -> None:
        """One transaction; rows that are there already take the new values except in *kept*."""
        changes = [name for name in rows[0] if name not in {*key, *kept}]

        async def work(connection: AsyncConnection) -> None:
            statement = upsert_rows(connection, table, key=key, changes=changes)
            await connection.execute(statement, rows)

        await self._store.transact(work)

    async def postpone(self, wanted: Sequence[Wanted], *, error: str) -> None:
        """
        A look-up gave nothing: try again later, each time after a longer pause.

        After some failures in a row not before it is seen again: frequent look-ups get the account
        logged out, and a contact that a forged callback named does not exist.
        """
        now = utc_now()
        rows = [
            {
                "this_wc_id": one.wc_id,
                "failures": one.failures + 1,
                "error": error[:500],
                "next_fetch_at": next_try(one.failures + 1, now),
            }
            for one in sorted(wanted, key=lambda one: one.wc_id)
        ]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(_POSTPONE, rows)

        if rows:
            await self._store.transact(work)
            given_up = sum(row["next_fetch_at"] is None for row in rows)
            logger.info("contacts.postponed", contacts=len(rows), given_up=given_up, error=error)


async def _remove(connection: AsyncConnection, left: Mapping[str, Any]) -> None:
    await connection.execute(_LEFT, left)


async def _known(connection: AsyncConnection, ids: Iterable[WcId]) -> dict[WcId, Known]:
    columns = select(_C.wc_id, _C.failures, _C.fetched_at, _C.next_fetch_at)
    return {
        WcId(row.wc_id): Known(
            failures=row.failures, fetched_at=row.fetched_at, next_fetch_at=row.next_fetch_at
        )
        for row in await connection.execute(columns.where(_C.wc_id.in_(ids)))
    }


async def _groups_with_strangers(connection: AsyncConnection, some: Sequence[Seen]) -> set[WcId]:
    """Groups in which somebody wrote who is not in the member list."""
    users: dict[WcId, set[WcId]] = defaultdict(set)
    for one in some:
        users[one.group_id].add(one.user)
    # Not as pairs: for many of them SQLite would read the whole table.
    are_known = [(_M.group_id == group) & _M.wc_id.in_(sorted(of)) for group, of in users.items()]
    members = await connection.execute(select(_M.group_id, _M.wc_id).where(or_(*are_known)))
    for row in members:
        users[WcId(row.group_id)].discard(WcId(row.wc_id))
    return {group for group, unknown in users.items() if unknown}
