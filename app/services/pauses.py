"""
What operators have paused: taking, sending, or single people.

In SQL, so that neither a restart nor a wiped Redis lifts a pause. Every process reads it once a
second; what is over is kept for a while, since the time in it is nobody's fault.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from loguru import logger
from sqlalchemy import ColumnElement, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.flow import WcId
from app.models.pause import PAUSES, PauseKind
from app.services.audit import Deed, note_deed
from app.services.errors import StoreUnavailable
from app.services.queue.breakers import pause_peer
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.loops import stopped_within
from app.utils.periods import Period, merged, overlap

LOOK_SECONDS: Final = 1.0
#: So long a pause is remembered that is over; nothing waits longer.
KEPT: Final = timedelta(days=30)

_P = PAUSES.c


@dataclass(frozen=True, kw_only=True, slots=True)
class PausePeriod:
    """One pause."""

    kind: PauseKind
    #: Of the person; empty: everybody.
    subject: str = ""
    began_at: datetime
    #: None: it lasts.
    ended_at: datetime | None = None
    #: Who began it.
    operator: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """All pauses at one moment."""

    periods: tuple[PausePeriod, ...] = ()
    #: False: nobody has read them yet, and nothing may be done that a pause would forbid.
    is_known: bool = True

    @property
    def lasting(self) -> tuple[PausePeriod, ...]:
        """Those that are not over, the first begun first."""
        return tuple(one for one in self.periods if one.ended_at is None)

    def of(self, kind: PauseKind, subject: str = "") -> PausePeriod | None:
        """The pause of this kind; None: there is none."""
        return next(
            (one for one in self.lasting if (one.kind, one.subject) == (kind, subject)), None
        )

    @property
    def is_taking(self) -> bool:
        """Nothing may be claimed."""
        return not self.is_known or self.of(PauseKind.TAKING) is not None

    @property
    def is_sending(self) -> bool:
        """Nothing may go out."""
        return not self.is_known or self.of(PauseKind.SENDING) is not None

    def holds(self, user: WcId) -> str:
        """For what this person's questions are parked; empty: they may be asked."""
        if self.of(PauseKind.USER, user):
            return pause_peer(PauseKind.USER, user)
        return pause_peer(PauseKind.SENDING) if self.is_sending else ""

    def is_over(self, peer: str) -> bool:
        """Whether those who are parked for this pause may go on."""
        lasting = {pause_peer(one.kind, one.subject) for one in self.lasting}
        return self.is_known and peer not in lasting

    def spans(self, now: datetime, *kinds: PauseKind, user: WcId | None = None) -> list[Period]:
        """When these were in force, up to now; overlapping ones are one."""
        found = (
            (one.began_at, one.ended_at or now)
            for one in self.periods
            if one.kind in kinds and one.subject in ("", user)
        )
        return merged(found)

    def seconds(self, since: datetime, now: datetime, user: WcId) -> float:
        """For how much of the time since then this person's questions had to wait for operators."""
        return overlap([(since, now)], self.spans(now, *PauseKind, user=user))


class PauseTable:
    """
    The pauses of one database.

    Every method raises ``StoreUnavailable`` while it is away; nothing is changed then.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> Paused:
        """Those that last, and those that ended in the last weeks."""
        meant = or_(_P.ended_at.is_(None), _P.ended_at > utc_now() - KEPT)
        async with self._store.read() as connection:
            rows = await connection.execute(
                select(PAUSES).where(meant).order_by(_P.began_at, _P.id)
            )
            return Paused(periods=tuple(_period(row) for row in rows))

    async def begin(self, kind: PauseKind, subject: str = "", *, by: Deed) -> bool:
        """Pause, and write down who did; False: it is paused already."""
        now = utc_now()

        async def work(connection: AsyncConnection) -> bool:
            lasts = _meant(kind, subject)
            if await connection.scalar(select(_P.id).where(lasts).with_for_update()) is not None:
                return False
            await connection.execute(delete(PAUSES).where(_P.ended_at < now - KEPT))
            await connection.execute(
                insert(PAUSES),
                {"kind": kind, "subject": subject, "began_at": now, "operator": by.operator},
            )
            await note_deed(connection, by)
            return True

        return await self._store.transact(work)

    async def end(self, kind: PauseKind, subject: str = "", *, by: Deed) -> bool:
        """Let it go on, and write down who did; False: it was not paused."""

        async def work(connection: AsyncConnection) -> bool:
            statement = update(PAUSES).where(_meant(kind, subject)).values(ended_at=utc_now())
            was_paused = (await connection.execute(statement)).rowcount > 0
            if was_paused:
                await note_deed(connection, by)
            return was_paused

        return await self._store.transact(work)


class Pauses:
    """The pauses as this process knows them."""

    def __init__(self, table: PauseTable) -> None:
        self._table = table
        self._now = Paused(is_known=False)

    def now(self) -> Paused:
        """As they were read last."""
        return self._now

    async def load(self) -> None:
        """
        Read them; what began or ended is told in the log once.

        Raises:
            StoreUnavailable: they stay as they were.
        """
        before, self._now = self._now, await self._table.read()
        _tell(before, self._now)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep in step with the table until stopped."""
        while not stop.is_set():
            try:
                await self.load()
            except StoreUnavailable as error:
                logger.debug("pauses.later", error=error)
            await stopped_within(stop, LOOK_SECONDS)


def _meant(kind: PauseKind, subject: str) -> ColumnElement[bool]:
    return and_(_P.kind == kind, _P.subject == subject, _P.ended_at.is_(None))


def _period(row: Any) -> PausePeriod:
    return PausePeriod(
        kind=PauseKind(row.kind),
        subject=row.subject,
        began_at=row.began_at,
        ended_at=row.ended_at,
        operator=row.operator,
    )


def _tell(before: Paused, after: Paused) -> None:
    """What is news; of single people no more than that."""
    was, lasts = set(before.lasting), set(after.lasting)
    for one in sorted(lasts - was, key=attrgetter("began_at")):
        logger.warning("pause.began 操作员暂停", what=one.kind.value, since=one.began_at)
    for one in sorted(was - lasts, key=attrgetter("began_at")):
        logger.warning("pause.ended 操作员恢复", what=one.kind.value, since=one.began_at)
