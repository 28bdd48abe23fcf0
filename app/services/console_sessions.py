"""Logins to the console: the browser has a secret, the database its digest. Nothing else is believed."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.console import CONSOLE_SESSIONS, OPERATORS
from app.services.audit import Deed, note_deed
from app.services.operators import Operator, operator_of
from app.services.stages import utc_now
from app.services.store import Store

#: Whatever happens, a login is over then.
ABSOLUTE: Final = timedelta(hours=12)
#: Without a request it is over then.
IDLE: Final = timedelta(hours=2)
#: A request is noted no more often than this.
NOTED_EVERY: Final = timedelta(minutes=1)
LONGEST_SECRET: Final = 128

_C = CONSOLE_SESSIONS.c


class ConsoleSessions:
    """
    The logins of one database.

    Every method raises ``StoreUnavailable`` while it is away.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, operator: Operator, *, by: Deed) -> str:
        """Begin a session; gives the secret, which is new each time. Those long over are removed."""
        secret = secrets.token_urlsafe(32)
        now = utc_now()
        row = {
            "digest": digest_of(secret),
            "operator_id": operator.id,
            "created_at": now,
            "expires_at": now + ABSOLUTE,
            "seen_at": now,
        }

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(CONSOLE_SESSIONS).where(_C.expires_at < now))
            await connection.execute(insert(CONSOLE_SESSIONS), row)
            await note_deed(connection, by)

        await self._store.transact(work)
        return secret

    async def is_open(self, secret: str, *, now: datetime) -> bool:
        """Whether the session holds; asking does not make it last longer."""
        return await self._row(secret, now) is not None

    async def operator_of(self, secret: str, *, now: datetime) -> Operator | None:
        """Whose session it is; None: nobody's, or it is over, or they are disabled."""
        row = await self._row(secret, now)
        if row is None:
            return None
        if row.seen_at is None or now - row.seen_at >= NOTED_EVERY:
            await self._note(row.session_id, now)
        return operator_of(row)

    async def _row(self, secret: str, now: datetime) -> Any:
        """The session and its operator; None: it does not hold."""
        if not 0 < len(secret) <= LONGEST_SECRET:
            return None
        statement = (
            select(OPERATORS, _C.id.label("session_id"), _C.expires_at, _C.seen_at)
            .join(CONSOLE_SESSIONS, _C.operator_id == OPERATORS.c.id)
            .where(_C.digest == digest_of(secret))
        )
        async with self._store.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None or row.disabled_at is not None:
            return None
        return None if is_over(row.expires_at, row.seen_at, now) else row

    async def _note(self, session_id: int, now: datetime) -> None:
        async def work(connection: AsyncConnection) -> None:
            seen = update(CONSOLE_SESSIONS).where(_C.id == session_id).values(seen_at=now)
            await connection.execute(seen)

        await self._store.transact(work)

    async def close(self, secret: str, *, by: Deed) -> None:
        """End a session."""

        async def work(connection: AsyncConnection) -> None:
            ended = delete(CONSOLE_SESSIONS).where(_C.digest == digest_of(secret))
            await connection.execute(ended)
            await note_deed(connection, by)

        await self._store.transact(work)


def is_over(expires_at: datetime, seen_at: datetime | None, now: datetime) -> bool:
    """Whether a session has ended by its age or by silence (pure)."""
    return now >= expires_at or (seen_at is not None and now - seen_at >= IDLE)


def digest_of(secret: str) -> str:
    """What the database keeps: whoever reads it cannot log in with it (pure)."""
    return hashlib.sha256(secret.encode()).hexdigest()
