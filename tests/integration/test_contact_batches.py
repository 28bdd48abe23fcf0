"""Many contacts at once: all are written, some at a time, and nobody who writes waits for the rest."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from app.models.contact import Contact, GroupMember
from app.models.flow import WcId
from app.services.contact_rows import MEMBERS_AGE, Seen
from app.services.contacts import Contacts
from app.services.ecloud.cards import CardKind, ContactCard, MemberCard
from app.services.errors import StoreUnavailable
from app.services.store import Store
from tests.fixtures.callbacks import BOT
from tests.fixtures.callbacks import GROUP as ROOM
from tests.fixtures.stores import SwitchedStore, WriteRecorder, rows_of

#: More than one transaction takes within the time-out of the store, one by one.
MANY = 3000
GROUPS = 40
#: Most people of one transaction.
BATCH = 100
TRANSACTIONS = -(-MANY // BATCH)


def crowd(count: int = MANY) -> list[Seen]:
    """So many people in forty groups."""
    return [
        Seen(BOT, WcId(f"{number % GROUPS}@chatroom"), WcId(f"wxid_{number}"))
        for number in range(count)
    ]


def noted(store: Store, seen: list[Seen]) -> Contacts:
    """An address book that has yet to write who was seen."""
    contacts = Contacts(store, max_age=timedelta(days=1))
    for one in seen:
        contacts.note(one)
    return contacts


def members(count: int) -> list[MemberCard]:
    return [MemberCard(group_id=ROOM, wc_id=WcId(f"wxid_{number}")) for number in range(count)]


async def test_thousands_of_people_are_written_a_hundred_at_a_time(store: Store) -> None:
    """One statement each time; every group and every person once, though the groups are in all."""
    contacts, recorder = noted(store, crowd()), WriteRecorder(store)

    await contacts.flush()

    rows = {row.wc_id: row for row in await rows_of(store, Contact)}
    assert len(rows) == MANY + GROUPS
    person, group = rows["wxid_41"], rows["1@chatroom"]
    assert (person.kind, person.bot_wc_id, person.group_id) == ("person", BOT, "1@chatroom")
    assert (group.kind, group.bot_wc_id, group.group_id) == ("group", BOT, "")
    assert {len(statements) for statements in recorder.transactions} == {1}
    assert len(recorder.transactions) == TRANSACTIONS
    written = [statements[0] for statements in recorder.transactions]
    assert max(written) <= 2 * BATCH
    assert sum(written) == MANY + GROUPS


async def test_whoever_writes_meanwhile_gets_its_turn_between_them(store: Store) -> None:
    """Callbacks and plans: they find the crowd half written, and more of it each time."""
    contacts = noted(store, crowd())
    found: list[int] = []

    async def another() -> None:
        async with store.write() as connection:
            await connection.execute(update(Contact).values(sex=1).where(Contact.id == 0))
            found.append(await connection.scalar(select(func.count()).select_from(Contact)) or 0)

    flushing = asyncio.create_task(contacts.flush())
    while not flushing.done():
        await another()
    await flushing

    assert found == sorted(found)
    steps = {count for count in found if 0 < count < MANY + GROUPS}
    assert len(steps) > TRANSACTIONS // 3


async def test_somebody_who_writes_in_many_groups_is_written_once(store: Store) -> None:
    """The second time only the group of the last one is new."""
    seen = [Seen(BOT, WcId(f"{number:04}@chatroom"), WcId("wxid_a")) for number in range(BATCH + 1)]
    contacts, recorder = noted(store, seen), WriteRecorder(store)

    await contacts.flush()

    assert recorder.transactions == [[BATCH + 1], [1]]
    assert len(await rows_of(store, Contact)) == BATCH + 2


async def test_somebody_whom_many_accounts_see_is_written_once(switch: SwitchedStore) -> None:
    """There is nothing left for a second transaction."""
    seen = [Seen(WcId(f"wxid_bot{number}"), ROOM, WcId("wxid_a")) for number in range(2 * BATCH)]
    contacts = noted(switch, seen)

    await contacts.flush()

    assert {row.wc_id for row in await rows_of(switch, Contact)} == {ROOM, "wxid_a"}
    assert switch.writes == 1


async def test_what_was_written_before_sql_went_away_is_not_written_again(
    switch: SwitchedStore,
) -> None:
    """The rest is kept, with those who write meanwhile."""
    contacts = noted(switch, crowd(5 * BATCH))
    switch.writes_left = 2
    with pytest.raises(StoreUnavailable):
        await contacts.flush()
    before = len(await rows_of_present(switch))
    contacts.note(Seen(BOT, ROOM, WcId("wxid_late")))
    recorder = WriteRecorder(switch)

    await contacts.flush()

    assert 2 * BATCH < before < 3 * BATCH
    after = len(await rows_of(switch, Contact))
    assert after == 5 * BATCH + GROUPS + 2
    # A group that stood on both sides of the break is written twice.
    assert after - before <= sum(map(sum, recorder.transactions)) <= after - before + 1
    await contacts.flush()
    assert len(recorder.transactions) == 4


async def rows_of_present(switch: SwitchedStore) -> list[object]:
    """All contacts, as soon as the store is there again."""
    switch.is_away, switch.writes_left = False, None
    return await rows_of(switch, Contact)


async def test_only_the_group_in_which_a_stranger_wrote_has_its_list_read_again(
    store: Store,
) -> None:
    """Many groups and people are looked at together; they are not mixed up."""
    calm, crowded = WcId("1@chatroom"), WcId("2@chatroom")
    known, stranger = WcId("wxid_known"), WcId("wxid_stranger")
    contacts = noted(store, [])
    cards = [(calm, CardKind.GROUP), (crowded, CardKind.GROUP), (known, CardKind.PERSON)]
    await contacts.save([ContactCard(wc_id=wc_id, kind=kind) for wc_id, kind in cards])
    both = [MemberCard(group_id=calm, wc_id=one) for one in (known, stranger)]
    await contacts.save_members(calm, both)
    await contacts.save_members(crowded, [MemberCard(group_id=crowded, wc_id=known)])
    async with store.write() as connection:
        old = datetime.now(UTC) - MEMBERS_AGE - timedelta(seconds=5)
        await connection.execute(update(Contact).values(fetched_at=old))
    for group, user in ((calm, known), (calm, stranger), (crowded, known), (crowded, stranger)):
        contacts.note(Seen(BOT, group, user))

    await contacts.flush()

    assert {one.wc_id for one in await contacts.wanted(limit=9)} == {crowded, stranger}


async def test_the_members_of_a_big_group_are_written_a_hundred_at_a_time(store: Store) -> None:
    """A group has 500."""
    contacts, recorder = noted(store, []), WriteRecorder(store)

    await contacts.save_members(ROOM, members(500))

    assert len(await rows_of(store, GroupMember)) == 500
    assert recorder.transactions == [[BATCH]] * (500 // BATCH)


async def test_nothing_to_save_costs_nothing(switch: SwitchedStore) -> None:
    """A gateway that names no members, and nobody to be looked up later."""
    contacts = noted(switch, [])

    await contacts.save([])
    await contacts.save_members(ROOM, [])
    await contacts.postpone([], error="")

    assert switch.writes == 0
