"""What was changed in the console, in the ``setting_overrides`` table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.console import SETTING_OVERRIDES, SettingOverride
from app.services.audit import Deed, note_deed
from app.services.stages import utc_now
from app.services.store import Store, upsert_rows

#: The row that whoever changes something holds meanwhile; no setting has this name.
TURN: Final = ""

STORED: Final = select(SettingOverride.name, SettingOverride.value).where(
    SettingOverride.name != TURN
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """One change, and what the audit says of it."""

    #: By dotted name; None: what stands in the table is taken away.
    changes: Mapping[str, Any]
    deeds: Sequence[Deed] = ()


class Overrides:
    """
    The table.

    Every method raises ``StoreUnavailable`` while the database is away.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self) -> dict[str, Any]:
        """Values by dotted name, as they were typed."""
        async with self._store.read() as connection:
            return await _read(connection)

    async def change(self, make_plan: Callable[[Mapping[str, Any]], Plan]) -> None:
        """
        Change the table by a plan that is made of what stands in it; one change at a time.

        Args:
            make_plan: whatever it raises leaves everything as it was.
        """

        async def work(connection: AsyncConnection) -> None:
            await take_turn(connection)
            plan = make_plan(await _read(connection))
            gone = [name for name, value in plan.changes.items() if value is None]
            kept = {name: value for name, value in plan.changes.items() if value is not None}
            if gone:
                meant = SETTING_OVERRIDES.c.name.in_(gone)
                await connection.execute(delete(SETTING_OVERRIDES).where(meant))
            if kept:
                await _upsert(connection, kept)
            for deed in plan.deeds:
                await note_deed(connection, deed)

        await self._store.transact(work)


async def take_turn(connection: AsyncConnection) -> None:
    """Whoever changes something comes after all who did so before: what is judged is what is there."""
    await _upsert(connection, {TURN: 0})


async def _read(connection: AsyncConnection) -> dict[str, Any]:
    return {row.name: row.value for row in await connection.execute(STORED)}


async def _upsert(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    now = utc_now()
    rows = [{"name": name, "value": value, "changed_at": now} for name, value in values.items()]
    statement = upsert_rows(
        connection, SettingOverride, key=("name",), changes=["value", "changed_at"]
    )
    await connection.execute(statement, rows)
