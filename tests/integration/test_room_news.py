"""The address book follows what happens to groups."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.models.contact import Contact, GroupMember
from app.models.content import Newcomer, RoomChange, RoomNews
from app.models.flow import WcId
from app.services.contact_rows import Seen
from app.services.contacts import Contacts
from app.services.ecloud.cards import MemberCard
from app.services.errors import StoreUnavailable
from app.services.room_news import LOOKUP_PAUSE, RoomNewsBook
from app.services.store import Store
from tests.fixtures.callbacks import BOT, GROUP, USER, make_origin
from tests.fixtures.stores import SwitchedStore, rows_of

OTHER = WcId("wxid_tiezhu3344m22")
MEMBERS = RoomNews(change=RoomChange.MEMBERS)


@pytest.fixture
async def contacts(store: Store) -> Contacts:
    """``USER`` has written in ``GROUP``, whose members are known."""
    contacts = Contacts(store, max_age=timedelta(days=1))
    contacts.note(Seen(BOT, GROUP, USER))
    await contacts.flush()
    member = MemberCard(group_id=GROUP, wc_id=USER, display_name="阿蓝(行政)")
    await contacts.save_members(GROUP, [member])
    await fetched(store, hours=1)
    return contacts


async def fetched(store: Store, **ago: float) -> None:
    """Everything was looked up so long ago, and nothing is due."""
    at = datetime.now(UTC) - timedelta(**ago)
    async with store.write() as connection:
        await connection.execute(update(Contact).values(fetched_at=at, next_fetch_at=None))


async def hear(store: Store, news: RoomNews, **origin: Any) -> None:
    book = RoomNewsBook(store)
    book.note(make_origin(**origin), news)
    await book.flush()


async def group_row(store: Store) -> Any:
    return next(row for row in await rows_of(store, Contact) if row.wc_id == GROUP)


async def members(store: Store) -> dict[str, tuple[str, str]]:
    return {
        row.wc_id: (row.display_name, row.nick_name) for row in await rows_of(store, GroupMember)
    }


async def test_a_new_name_is_written_at_once_and_the_rest_is_looked_up(
    store: Store, contacts: Contacts
) -> None:
    """The callback says the name; owner and members it does not."""
    await hear(store, RoomNews(change=RoomChange.INFORMATION, name="三楼\u200b 行政"))

    assert (await group_row(store)).nick_name == "三楼 行政"
    assert [one.wc_id for one in await contacts.wanted(limit=9)] == [GROUP]


async def test_whoever_joins_by_id_is_known_at_once_and_nobody_loses_a_name(
    store: Store, contacts: Contacts
) -> None:
    """A name in the group stays; the newcomer has a nickname."""
    await hear(
        store,
        RoomNews(
            change=RoomChange.MEMBERS,
            newcomers=(
                Newcomer(wc_id=OTHER, nick_name="铁柱"),
                Newcomer(wc_id=USER, nick_name="蓝蓝"),
            ),
        ),
    )

    assert await members(store) == {USER: ("阿蓝(行政)", "蓝蓝"), OTHER: ("", "铁柱")}
    assert [one.wc_id for one in await contacts.wanted(limit=9)] == [GROUP]


async def test_many_news_in_a_row_are_one_look_up_and_not_at_once(
    store: Store, contacts: Contacts
) -> None:
    """A storm of callbacks must not get the account logged out."""
    await fetched(store, seconds=1)
    for _ in range(5):
        await hear(store, MEMBERS)

    assert await contacts.wanted(limit=9) == []
    due = (await group_row(store)).next_fetch_at - datetime.now(UTC)
    assert timedelta(seconds=30) < due <= LOOKUP_PAUSE


async def test_news_of_a_group_where_nobody_asked_make_no_contact(store: Store) -> None:
    """A forged callback could name a thousand."""
    await hear(store, RoomNews(change=RoomChange.INFORMATION, name="x"))
    await hear(store, RoomNews(change=RoomChange.MEMBERS, newcomers=(Newcomer(wc_id=OTHER),)))

    assert await rows_of(store, Contact) == []
    assert await rows_of(store, GroupMember) == []


@pytest.mark.parametrize("change", [RoomChange.LEFT, RoomChange.DISSOLVED])
async def test_a_group_that_is_over_has_no_members_and_is_not_looked_up(
    store: Store, contacts: Contacts, change: RoomChange
) -> None:
    """Also if it was due just now."""
    await hear(store, MEMBERS)

    await hear(store, RoomNews(change=change))

    assert await members(store) == {}
    assert await contacts.wanted(limit=9) == []


async def test_a_group_that_another_account_of_ours_is_in_stays_known(
    store: Store, contacts: Contacts
) -> None:
    """One account was removed; the other one saw the last message."""
    await hear(store, RoomNews(change=RoomChange.LEFT), bot_wc_id=WcId("wxid_bot2"))

    assert USER in await members(store)


async def test_whoever_is_not_in_the_next_list_has_left(store: Store, contacts: Contacts) -> None:
    """An empty list is an answer that says nothing."""
    await contacts.save_members(GROUP, [MemberCard(group_id=GROUP, wc_id=OTHER, nick_name="铁柱")])
    assert await members(store) == {OTHER: ("", "铁柱")}

    await contacts.save_members(GROUP, [])
    assert await members(store) == {OTHER: ("", "铁柱")}


async def test_news_wait_while_the_database_is_away(
    switch: SwitchedStore, contacts: Contacts
) -> None:
    """And the later ones of a group win."""
    book = RoomNewsBook(switch)
    for name in ("旧名", "新名"):
        book.note(make_origin(), RoomNews(change=RoomChange.INFORMATION, name=name))
    switch.is_away = True
    with pytest.raises(StoreUnavailable):
        await book.flush()

    switch.is_away = False
    await book.flush()

    assert (await group_row(switch)).nick_name == "新名"
