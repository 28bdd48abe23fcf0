"""Contacts that cannot be looked up: how often it is tried, and when no more."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.models.contact import Contact
from app.models.flow import WcId
from app.services.contact_rows import GIVE_UP_AFTER, Seen
from app.services.contacts import Contacts
from app.services.ecloud.cards import CardKind, ContactCard
from app.services.store import Store
from tests.fixtures.callbacks import BOT, USER
from tests.fixtures.callbacks import GROUP as ROOM
from tests.fixtures.stores import rows_of

SEEN = Seen(BOT, ROOM, USER)


@pytest.fixture
def contacts(store: Store) -> Contacts:
    """Whoever is seen is written down each time."""
    return Contacts(store, max_age=timedelta(0))


async def see(contacts: Contacts, *seen: Seen) -> None:
    for one in seen:
        contacts.note(one)
    await contacts.flush()


async def fail(store: Store, contacts: Contacts, *, rounds: int = 9) -> int:
    """Let pauses pass and all look-ups fail, so many times; returns how many look-ups there were."""
    count = 0
    for _ in range(rounds):
        async with store.write() as connection:
            has_pause = update(Contact).where(Contact.next_fetch_at.is_not(None))
            await connection.execute(has_pause.values(next_fetch_at=datetime.now(UTC)))
        while wanted := await contacts.wanted(limit=20):
            await contacts.postpone(wanted, error="网关没有返回这个联系人")
            count += len(wanted)
    return count


async def row_of_user(store: Store) -> Any:
    return next(row for row in await rows_of(store, Contact) if row.wc_id == USER)


async def test_a_contact_that_is_never_seen_again_is_tried_five_times(
    store: Store, contacts: Contacts
) -> None:
    """However long the process runs. The reason stays in the row."""
    await see(contacts, SEEN)

    assert await fail(store, contacts) == GIVE_UP_AFTER * len((USER, ROOM))

    row = await row_of_user(store)
    assert (row.failures, row.next_fetch_at) == (GIVE_UP_AFTER, None)
    assert row.error == "网关没有返回这个联系人"


async def test_a_contact_that_was_given_up_gets_one_try_each_time_it_is_seen(
    store: Store, contacts: Contacts
) -> None:
    """After a pause; being seen many times within it changes nothing."""
    await see(contacts, SEEN)
    await fail(store, contacts)
    pauses = []
    for _ in range(3):
        await see(contacts, SEEN)
        await see(contacts, SEEN)
        assert await contacts.wanted(limit=99) == []
        pauses.append((await row_of_user(store)).next_fetch_at - datetime.now(UTC))
        assert await fail(store, contacts) == len((USER, ROOM))

    for pause, minutes in zip(pauses, (8, 16, 32), strict=True):
        assert abs(pause - timedelta(minutes=minutes)) < timedelta(seconds=30)


async def test_a_contact_that_is_found_at_last_starts_anew(
    store: Store, contacts: Contacts
) -> None:
    """Its failures are forgotten; the group, which was not found, has one try."""
    await see(contacts, SEEN)
    await fail(store, contacts)
    await see(contacts, SEEN)
    seen_at = (await row_of_user(store)).seen_at
    await contacts.save([ContactCard(wc_id=USER, kind=CardKind.PERSON, nick_name="阿蓝")])
    row = await row_of_user(store)
    assert (row.next_fetch_at, row.seen_at) == (None, seen_at)

    await see(contacts, SEEN)

    assert [one.wc_id for one in await contacts.wanted(limit=99)] == [USER]
    tries = GIVE_UP_AFTER - 1
    assert await fail(store, contacts, rounds=tries) == tries + len((ROOM,))
    assert (await row_of_user(store)).next_fetch_at is not None


async def test_each_of_many_contacts_that_do_not_exist_is_tried_five_times(
    store: Store, contacts: Contacts
) -> None:
    """A flood of forged callbacks ends by itself; the group they name is looked up once for all."""
    await see(contacts, *(Seen(BOT, ROOM, WcId(f"wxid_{number}")) for number in range(300)))

    assert await fail(store, contacts) == GIVE_UP_AFTER * 301
