"""Operators: who may log in to the console, with which password and role."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.console import CONSOLE_SESSIONS, OPERATORS
from app.models.roles import OperatorRole
from app.services.audit import Deed, note_deed
from app.services.stages import utc_now
from app.services.store import Store

#: Whom the first start makes.
FIRST_NAME: Final = "admin"
LONGEST_NAME: Final = 64

_O = OPERATORS.c


@dataclass(frozen=True, kw_only=True, slots=True)
class Operator:
    """One who may log in, or might once."""

    id: int
    name: str
    role: OperatorRole
    created_at: datetime
    disabled_at: datetime | None
    password_hash: str

    @property
    def is_disabled(self) -> bool:
        """Whether every login is refused."""
        return self.disabled_at is not None


class Operators:
    """
    The operators of one database.

    Every method raises ``StoreUnavailable`` while it is away.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def all(self) -> list[Operator]:
        """Everybody, oldest first."""
        async with self._store.read() as connection:
            rows = await connection.execute(select(OPERATORS).order_by(_O.id))
            return [operator_of(row) for row in rows]

    async def named(self, name: str) -> Operator | None:
        """The one of this name."""
        async with self._store.read() as connection:
            row = (await connection.execute(select(OPERATORS).where(_O.name == name))).first()
        return None if row is None else operator_of(row)

    async def are_none(self) -> bool:
        """Whether nobody was ever added."""
        async with self._store.read() as connection:
            return not await connection.scalar(select(func.count()).select_from(OPERATORS))

    async def add(self, name: str, digest: str, role: OperatorRole, *, by: Deed) -> bool:
        """Add somebody; False: the name is taken."""

        async def work(connection: AsyncConnection) -> None:
            row = {"name": name, "password_hash": digest, "role": role, "created_at": utc_now()}
            await connection.execute(insert(OPERATORS), row)
            await note_deed(connection, by)

        try:
            await self._store.transact(work)
        except IntegrityError:
            return False
        return True

    async def set_password(self, operator: Operator, digest: str, *, by: Deed) -> None:
        """Give a new password and end all sessions that were opened with the old one."""
        await self._change(operator, {"password_hash": digest}, by=by)

    async def set_disabled(self, operator: Operator, *, is_disabled: bool, by: Deed) -> None:
        """Refuse every login from now on and end all sessions, or allow logins again."""
        moment = utc_now() if is_disabled else None
        await self._change(operator, {"disabled_at": moment}, by=by)

    async def _change(self, operator: Operator, values: dict[str, Any], *, by: Deed) -> None:
        async def work(connection: AsyncConnection) -> None:
            await connection.execute(update(OPERATORS).where(_O.id == operator.id).values(values))
            await connection.execute(
                delete(CONSOLE_SESSIONS).where(CONSOLE_SESSIONS.c.operator_id == operator.id)
            )
            await note_deed(connection, by)

        await self._store.transact(work)


def operator_of(row: Any) -> Operator:
    """An operator out of a row that has all columns of the table."""
    return Operator(
        id=row.id,
        name=row.name,
        role=OperatorRole(row.role),
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        password_hash=row.password_hash,
    )
