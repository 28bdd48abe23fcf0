"""The audit: who changed what, from what, to what. Rows are only ever added."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.console import AUDIT_LOG
from app.services.stages import utc_now
from app.services.store import Store

#: Who acts on the machine itself, by a command or at a start.
ON_THE_MACHINE = "cli"
LONGEST_SUBJECT = 255
#: Of before and after, in characters.
LONGEST_VALUE = 4000

_A = AUDIT_LOG.c


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """One change."""

    #: Name of the operator.
    operator: str
    #: ``<noun>.<verb>``, e.g. ``group.change``.
    action: str
    subject: str
    before: str = ""
    after: str = ""
    address: str = ""

    def about(self, before: str) -> "Deed":
        """The same deed, with what there was before."""
        return replace(self, before=before)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptDeed(Deed):
    """One change as it is read."""

    id: int
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class DeedChoice:
    """Which are meant; empty: whichever."""

    operator: str = ""
    action: str = ""


async def note_deed(connection: AsyncConnection, deed: Deed) -> None:
    """Write a deed down in the transaction that does it."""
    await connection.execute(
        insert(AUDIT_LOG),
        {
            "at": utc_now(),
            "operator": deed.operator,
            "action": deed.action,
            "subject": deed.subject[:LONGEST_SUBJECT],
            "before": deed.before[:LONGEST_VALUE],
            "after": deed.after[:LONGEST_VALUE],
            "address": deed.address,
        },
    )


class Audit:
    """
    The audit of one database.

    Every method raises ``StoreUnavailable`` while it is away.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def note(self, deed: Deed) -> None:
        """Write down what is not a transaction of this database."""

        async def work(connection: AsyncConnection) -> None:
            await note_deed(connection, deed)

        await self._store.transact(work)

    async def newest(
        self, choice: DeedChoice, *, before: int | None, limit: int
    ) -> Sequence[KeptDeed]:
        """The newest of the chosen, those with an id below *before* only."""
        statement = select(AUDIT_LOG).order_by(_A.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(_A.id < before)
        if choice.operator:
            statement = statement.where(_A.operator == choice.operator)
        if choice.action:
            statement = statement.where(_A.action == choice.action)
        async with self._store.read() as connection:
            rows = (await connection.execute(statement)).all()
        return [
            KeptDeed(
                id=row.id,
                at=row.at,
                operator=row.operator,
                action=row.action,
                subject=row.subject,
                before=row.before or "",
                after=row.after or "",
                address=row.address,
            )
            for row in rows
        ]
