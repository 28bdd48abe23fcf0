"""The address book: who is due for a look-up, and what is kept of what the gateway says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from app.models.contact import Contact, GroupMember
from app.models.flow import WcId
from app.services.contact_rows import (
    FIRST_PAUSE,
    GROUP,
    LONGEST_PAUSE,
    MEMBERS_AGE,
    PERSON,
    Seen,
    pause_after,
)
from app.services.contacts import Contacts, Wanted
from app.services.ecloud.cards import CardKind, ContactCard, MemberCard
from app.services.errors import StoreUnavailable
from app.services.store import Store
from tests.fixtures.callbacks import BOT, USER
from tests.fixtures.callbacks import GROUP as ROOM
from tests.fixtures.stores import SwitchedStore, rows_of

MAX_AGE = timedelta(days=1)
SEEN = Seen(BOT, ROOM, USER)


@pytest.fixture
def contacts(store: Store) -> Contacts:
    """Refreshed after a day."""
    return Contacts(store, max_age=MAX_AGE)


async def see(contacts: Contacts, *seen: Seen) -> None:
    """Somebody writes, so long after the last time that it is written down again."""
    contacts._written.clear()
    for one in seen:
        contacts.note(one)
    await contacts.flush()


async def due(contacts: Contacts) -> set[str]:
    return {one.wc_id for one in await contacts.wanted(limit=99)}


async def age(store: Store, table: type[Any], by: timedelta) -> None:
    """Make what was fetched older."""
    async with store.write() as connection:
        await connection.execute(update(table).values(fetched_at=datetime.now(UTC) - by))


def card(wc_id: str = USER, **values: Any) -> ContactCard:
    kind = CardKind.GROUP if wc_id.endswith("@chatroom") else CardKind.PERSON
    return ContactCard(wc_id=WcId(wc_id), kind=kind, **{"nick_name": "阿蓝", **values})


async def test_people_and_groups_seen_for_the_first_time_are_due(
    store: Store, contacts: Contacts
) -> None:
    """With the account that sees them, and the group for strangers."""
    await see(contacts, SEEN)

    wanted = {one.wc_id: one for one in await contacts.wanted(limit=99)}

    assert wanted[USER] == Wanted(wc_id=USER, kind=PERSON, bot_wc_id=BOT, group_id=ROOM, failures=0)
    assert wanted[ROOM] == Wanted(
        wc_id=ROOM, kind=GROUP, bot_wc_id=BOT, group_id=WcId(""), failures=0
    )


async def test_being_seen_again_and_again_changes_nothing(store: Store, contacts: Contacts) -> None:
    """One row each, however often and by whom."""
    for _ in range(3):
        await see(contacts, SEEN, SEEN, Seen(WcId("wxid_other_bot"), ROOM, USER))

    assert len(await rows_of(store, Contact)) == 2


async def test_a_known_contact_is_not_due_before_its_age(store: Store, contacts: Contacts) -> None:
    """Looked up once; asked for again only when it is too old and is seen again."""
    await see(contacts, SEEN)
    await contacts.save([card(USER), card(ROOM)])
    await contacts.save_members(ROOM, [MemberCard(group_id=ROOM, wc_id=USER)])
    await see(contacts, SEEN)
    assert await due(contacts) == set()

    await age(store, Contact, MAX_AGE + timedelta(seconds=5))
    assert await due(contacts) == set()
    await see(contacts, SEEN)
    assert await due(contacts) == {USER, ROOM}

    await contacts.save([card(USER), card(ROOM)])
    assert await due(contacts) == set()


async def test_a_new_member_of_a_known_group_makes_its_list_due(
    store: Store, contacts: Contacts
) -> None:
    """The name in the group is needed behind the @; but not with every message."""
    await see(contacts, SEEN)
    await contacts.save([card(USER), card(ROOM)])
    await see(contacts, SEEN)
    assert await due(contacts) == set()

    await age(store, Contact, MEMBERS_AGE + timedelta(seconds=5))
    await see(contacts, SEEN)

    assert await due(contacts) == {ROOM}
    await contacts.save([card(ROOM)])
    await contacts.save_members(ROOM, [MemberCard(group_id=ROOM, wc_id=USER)])
    await age(store, Contact, MEMBERS_AGE + timedelta(seconds=5))
    await see(contacts, SEEN)
    assert await due(contacts) == set()


async def test_what_cannot_be_looked_up_rests_longer_each_time(
    store: Store, contacts: Contacts
) -> None:
    """The pause doubles, the reason is kept, a success forgets both."""
    await see(contacts, SEEN)
    [person] = [one for one in await contacts.wanted(limit=9) if one.wc_id == USER]

    await contacts.postpone([person], error="不存在" * 400)

    assert await due(contacts) == {ROOM}
    row = next(row for row in await rows_of(store, Contact) if row.wc_id == USER)
    pause = row.next_fetch_at - datetime.now(UTC)
    assert FIRST_PAUSE - timedelta(seconds=5) < pause <= FIRST_PAUSE
    assert (row.failures, len(row.error)) == (1, 500)
    await see(contacts, SEEN)
    assert await due(contacts) == {ROOM}

    await contacts.save([card(USER)])
    row = next(row for row in await rows_of(store, Contact) if row.wc_id == USER)
    assert (row.failures, row.error, row.next_fetch_at) == (0, "", None)


@given(failures=st.integers(0, 10**6))
def test_pauses_grow_and_are_bounded(failures: int) -> None:
    """From half a minute to six hours, however often it failed."""
    assert FIRST_PAUSE <= pause_after(failures) <= pause_after(failures + 1) <= LONGEST_PAUSE
    assert pause_after(failures) in (
        FIRST_PAUSE * 2**failures if failures < 20 else 0,
        LONGEST_PAUSE,
    )


async def test_the_longest_due_comes_first_and_only_so_many(
    store: Store, contacts: Contacts
) -> None:
    """One call of the gateway takes twenty."""
    for number in range(5):
        await see(contacts, Seen(BOT, ROOM, WcId(f"wxid_{number}")))

    wanted = [one.wc_id for one in await contacts.wanted(limit=3)]

    assert set(wanted) == {ROOM, "wxid_0", "wxid_1"}


async def test_all_fields_of_a_card_are_kept(store: Store, contacts: Contacts) -> None:
    """The README's table, with the raw answer."""
    raw = {"userName": USER, "nickName": "阿蓝 🐼\u2028", "odd": [2**63, None, {"a": "\x00"}]}
    full = card(
        nick_name="阿蓝 🐼\u2028",
        user_name=USER,
        remark="售后",
        alias="lan5521",
        signature="你好",
        sex=2,
        country="CN",
        province="Zhejiang",
        city="Hangzhou",
        big_avatar="http://x/b",
        small_avatar="http://x/s",
        labels="1,2",
        v1="v1_abc@stranger",
        raw=raw,
    )

    await contacts.save([full])

    [row] = await rows_of(store, Contact)
    for name in (
        *("nick_name", "user_name", "remark", "alias", "signature", "sex", "country", "province"),
        *("city", "big_avatar", "small_avatar", "labels", "v1", "kind"),
    ):
        assert getattr(row, name) == getattr(full, name), name
    assert row.raw == raw
    assert row.fetched_at is not None


async def test_values_that_are_too_long_are_cut(store: Store, contacts: Contacts) -> None:
    """An odd card is kept as far as it fits; characters are not torn."""
    long = card(
        **dict.fromkeys(
            (
                *("nick_name", "user_name", "remark", "alias", "signature", "country"),
                *("province", "city", "big_avatar", "small_avatar", "labels", "v1"),
            ),
            "🐼" * 5000,
        )
    )
    member = MemberCard(
        group_id=ROOM,
        wc_id=USER,
        display_name="🐼" * 999,
        nick_name="🐼" * 999,
        small_avatar="x" * 9999,
    )

    await contacts.save([long])
    await contacts.save_members(ROOM, [member])

    [row] = await rows_of(store, Contact)
    assert (row.nick_name, row.country) == ("🐼" * 255, "🐼" * 64)
    [kept] = await rows_of(store, GroupMember)
    assert (len(kept.display_name), len(kept.small_avatar)) == (255, 1024)


async def test_an_answer_with_numbers_beyond_64_bits_is_kept(
    store: Store, contacts: Contacts
) -> None:
    """One odd card must not stop the look-ups of all others."""
    await contacts.save([card(raw={"odd": 2**70, "文": "阿蓝"}), card("wxid_b")])

    rows = {row.wc_id: row for row in await rows_of(store, Contact)}
    assert rows[USER].raw["文"] == "阿蓝"
    assert rows.keys() == {USER, "wxid_b"}


async def test_a_member_has_one_name_per_group(store: Store, contacts: Contacts) -> None:
    """A new name replaces the old one; other groups keep theirs."""
    for name in ("小蓝", "蓝总"):
        await contacts.save_members(
            ROOM, [MemberCard(group_id=ROOM, wc_id=USER, display_name=name, nick_name="阿蓝")]
        )
    other = WcId("2@chatroom")
    await contacts.save_members(other, [MemberCard(group_id=other, wc_id=USER)])

    rows = {row.group_id: row.display_name for row in await rows_of(store, GroupMember)}
    assert rows == {ROOM: "蓝总", other: ""}


async def test_a_card_of_somebody_never_seen_is_kept(store: Store, contacts: Contacts) -> None:
    """The gateway may tell more than was asked."""
    await contacts.save([card("wxid_friend")])

    [row] = await rows_of(store, Contact)
    assert (row.wc_id, row.bot_wc_id) == ("wxid_friend", "")
    assert await due(contacts) == set()


async def test_who_was_seen_is_kept_while_sql_is_away(switch: SwitchedStore) -> None:
    """Written with the next flush."""
    contacts = Contacts(switch, max_age=MAX_AGE)
    switch.is_away = True
    with pytest.raises(StoreUnavailable):
        await see(contacts, SEEN)
    switch.is_away = False

    await contacts.flush()

    assert await due(contacts) == {USER, ROOM}


async def test_who_writes_a_lot_is_written_down_once(switch: SwitchedStore) -> None:
    """Until that is too long ago; with a short age already after half of it."""
    contacts = Contacts(switch, max_age=MAX_AGE)
    for _ in range(5):
        contacts.note(SEEN)
        await contacts.flush()
    assert switch.writes == 1

    hasty = Contacts(switch, max_age=timedelta(0))
    for _ in range(3):
        hasty.note(SEEN)
        await hasty.flush()
    assert switch.writes == 4


async def test_nothing_seen_costs_nothing(switch: SwitchedStore) -> None:
    """The flush runs every second."""
    await Contacts(switch, max_age=MAX_AGE).flush()

    assert switch.writes == 0
