"""What people and groups are called: group nickname, nickname, or their id."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Select, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models.contact import CONTACTS, GROUP_MEMBERS

#: People or groups that one name may mean.
MOST_MATCHES: Final = 50

_C, _G = CONTACTS.c, GROUP_MEMBERS.c


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """Names of the people and groups of one page."""

    contacts: dict[str, str] = field(default_factory=dict)
    #: By group and person.
    members: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, wc_id: str, group_id: str = "", *, told: str = "") -> str:
        """
        What somebody is called, in a group or at all.

        Args:
            told: what the gateway said with the message.
        """
        return self.members.get((group_id, wc_id)) or told or self.contacts.get(wc_id, "") or wc_id


async def read_names(
    connection: AsyncConnection,
    ids: Collection[str],
    members: Collection[tuple[str, str]] = (),
) -> Names:
    """Names of these ids, and of these members of groups."""
    contacts: dict[str, str] = {}
    if wanted := {one for one in ids if one}:
        found = select(_C.wc_id, _C.remark, _C.nick_name).where(_C.wc_id.in_(wanted))
        for row in await connection.execute(found):
            contacts[row.wc_id] = row.remark or row.nick_name
    in_groups: dict[tuple[str, str], str] = {}
    if members:
        pairs = tuple_(_G.group_id, _G.wc_id).in_(list(members))
        named = select(_G.group_id, _G.wc_id, _G.display_name, _G.nick_name).where(pairs)
        for member in await connection.execute(named):
            in_groups[member.group_id, member.wc_id] = member.display_name or member.nick_name
    return Names(contacts=contacts, members=in_groups)


async def find_people(connection: AsyncConnection, text: str) -> Sequence[str]:
    """Ids of the people that a text may mean: an id, or a part of a name."""
    like = contains(text)
    contacts = select(_C.wc_id).where(
        _C.kind == "person",
        or_(_C.nick_name.like(like, escape="!"), _C.remark.like(like, escape="!")),
    )
    members = select(_G.wc_id).where(
        or_(_G.display_name.like(like, escape="!"), _G.nick_name.like(like, escape="!"))
    )
    return await _found(connection, text, (contacts, members))


async def find_groups(connection: AsyncConnection, text: str) -> Sequence[str]:
    """Ids of the groups that a text may mean: an id, or a part of a name."""
    groups = select(_C.wc_id).where(
        _C.kind == "group",
        or_(
            _C.nick_name.like(contains(text), escape="!"),
            _C.remark.like(contains(text), escape="!"),
        ),
    )
    return await _found(connection, text, (groups,))


async def _found(
    connection: AsyncConnection, text: str, statements: Sequence[Select[Any]]
) -> Sequence[str]:
    found = {text}
    for statement in statements:
        found |= set(await connection.scalars(statement.limit(MOST_MATCHES)))
    return sorted(found)


def contains(text: str) -> str:
    """A pattern for LIKE, with ``!`` before what would be a wildcard (pure)."""
    escaped = "".join(f"!{char}" if char in "!%_" else char for char in text)
    return f"%{escaped}%"
