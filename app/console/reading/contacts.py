"""People and groups as the gateway knows them: searched, a page at a time by id."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, or_, select

from app.console.reading.names import contains
from app.models.contact import CONTACTS
from app.services.store import Store

PAGE: Final = 20
KINDS: Final = ("person", "group")

_C = CONTACTS.c


def conditions_of(*, text: str, kind: str) -> list[ColumnElement[bool]]:
    """What a name or an id, and a kind, choose; empty: whichever (pure)."""
    conditions: list[ColumnElement[bool]] = [_C.kind == kind] if kind else []
    if text:
        like = contains(text)
        names = (_C.nick_name, _C.remark, _C.alias)
        by_name = (name.like(like, escape="!") for name in names)
        conditions.append(or_(_C.wc_id == text, *by_name))
    return conditions


async def read_contacts(
    store: Store, *, text: str, kind: str, before: int | None
) -> tuple[Sequence[Any], int | None]:
    """
    One page, the newest first, and the id behind which the next one begins.

    Raises:
        StoreUnavailable: the database is away.
    """
    statement = select(CONTACTS).order_by(_C.id.desc()).limit(PAGE + 1)
    if before is not None:
        statement = statement.where(_C.id < before)
    statement = statement.where(*conditions_of(text=text, kind=kind))
    async with store.read() as connection:
        rows = (await connection.execute(statement)).all()
    return rows[:PAGE], rows[PAGE - 1].id if len(rows) > PAGE else None
