"""Groups appear in the table by themselves, and what is set there holds everywhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import update

from app.models.account import Group
from app.models.flow import Trigger, WcId
from app.services import groups as groups_module
from app.services.decide import GroupRules
from app.services.errors import StoreUnavailable
from app.services.groups import Groups, GroupSettings
from app.services.store import Store
from tests.fixtures.callbacks import BOT, GROUP
from tests.fixtures.stores import StoreFactory, SwitchedStore, WriteRecorder, rows_of

DEFAULTS = GroupSettings(rules=GroupRules(trigger=Trigger.MENTION))
OTHER_BOT = WcId("wxid_other_bot")


def make_groups(store: Store) -> Groups:
    return Groups(store, DEFAULTS)


async def set_rules(store: Store, **values: Any) -> None:
    """As the console does."""
    async with store.write() as connection:
        await connection.execute(
            update(Group).where(Group.group_id == GROUP, Group.bot_wc_id == BOT).values(**values)
        )


async def seen(store: Store) -> Groups:
    """A process that has seen the group and saved it."""
    groups = make_groups(store)
    groups.note(BOT, GROUP)
    await groups.save()
    return groups


async def test_a_new_group_appears_in_the_table_with_nothing_set(store: Store) -> None:
    """So that the operator finds it there; two processes see it, it is there once per account."""
    here, there = make_groups(store), make_groups(store)
    for groups in (here, there):
        groups.note(BOT, GROUP)
        groups.note(OTHER_BOT, GROUP)
        await groups.save()

    rows = await rows_of(store, Group)
    assert sorted((row.bot_wc_id, row.group_id) for row in rows) == sorted(
        [(BOT, GROUP), (OTHER_BOT, GROUP)]
    )
    assert {row.is_enabled for row in rows} == {None}
    assert here.settings(BOT, GROUP) == DEFAULTS


async def test_a_change_holds_in_every_process_after_its_next_look(
    store_factory: StoreFactory,
) -> None:
    """For that group of that account only."""
    store = store_factory()
    await seen(store)
    there = make_groups(store_factory())
    await set_rules(store, is_enabled=False, keywords=["退货", "🐼"], trigger="keyword")

    await there.load()

    rules = there.settings(BOT, GROUP).rules
    assert (rules.is_enabled, rules.trigger, rules.keywords) == (
        False,
        Trigger.KEYWORD,
        ("退货", "🐼"),
    )
    assert there.settings(OTHER_BOT, GROUP) == DEFAULTS
    await set_rules(store, is_enabled=None, keywords=None, trigger=None)
    await there.load()
    assert there.settings(BOT, GROUP) == DEFAULTS


async def test_many_groups_with_nothing_set_are_read_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty thousand rows every five seconds would stall everything; what is set is read always."""
    monkeypatch.setattr(groups_module, "PAGE", 4)
    groups = make_groups(store)
    for number in range(10):
        groups.note(BOT, WcId(f"{number}@chatroom"))
    groups.note(BOT, GROUP)
    await groups.save()
    await set_rules(store, is_enabled=False)
    fresh, read = make_groups(store), 0
    original = fresh._pages

    async def counted(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
        nonlocal read
        async for rows in original(*arguments, **options):
            assert len(rows) <= 4
            read += len(rows)
            yield rows

    monkeypatch.setattr(fresh, "_pages", counted)
    await fresh.load()
    assert read == 11 + 1
    await fresh.load()
    assert read == 11 + 1 + 1

    fresh.note(BOT, WcId("3@chatroom"))
    assert not fresh._unseen
    groups.note(BOT, WcId("new@chatroom"))
    await groups.save()
    await fresh.load()
    fresh.note(BOT, WcId("new@chatroom"))
    assert not fresh._unseen
    assert not fresh.settings(BOT, GROUP).rules.is_enabled


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("is_enabled", False),
        ("trigger", "prefix"),
        ("prefixes", ["/ai"]),
        ("keywords", ["退货"]),
        ("pattern", "^问"),
        ("mention_sender", False),
    ],
)
async def test_each_column_alone_is_a_rule(store: Store, column: str, value: object) -> None:
    """Also where it is false."""
    groups = await seen(store)
    await set_rules(store, **{column: value})

    await groups.load()

    assert groups.settings(BOT, GROUP) != DEFAULTS


async def test_rules_on_more_rows_than_a_page_hold_and_are_built_anew_only_where_they_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling a pattern is dear."""
    monkeypatch.setattr(groups_module, "PAGE", 2)
    groups, names = make_groups(store), [WcId(f"{number}@chatroom") for number in range(5)]
    for name in names:
        groups.note(BOT, name)
    await groups.save()
    async with store.write() as connection:
        await connection.execute(update(Group).values(keywords=["退货"]))
    built: list[str] = []
    original = groups_module.overlaid

    def overlaid(defaults: GroupSettings, row: Any) -> GroupSettings:
        built.append(row.group_id)
        return original(defaults, row)

    monkeypatch.setattr(groups_module, "overlaid", overlaid)
    await groups.load()
    await groups.load()
    async with store.write() as connection:
        await connection.execute(
            update(Group).where(Group.group_id == names[3]).values(keywords=["价格"])
        )
    await groups.load()

    assert built == [*names, names[3]]
    held = [groups.settings(BOT, name).rules.keywords for name in names]
    assert held == [("退货",)] * 3 + [("价格",)] + [("退货",)]


async def test_a_silent_group_with_an_odd_row_stays_silent(store: Store) -> None:
    """A pattern that does not compile must not make the bot talk."""
    groups = await seen(store)
    await set_rules(store, is_enabled=False, pattern="(", trigger="regex")

    await groups.load()

    assert not groups.settings(BOT, GROUP).rules.is_enabled


async def test_groups_and_rules_outlive_a_database_that_is_away(switch: SwitchedStore) -> None:
    """Rules stay as they were; new groups are written later."""
    groups = await seen(switch)
    await set_rules(switch, is_enabled=False)
    await groups.load()
    switch.is_away = True
    groups.note(BOT, WcId("new@chatroom"))
    with pytest.raises(StoreUnavailable):
        await groups.load()
    with pytest.raises(StoreUnavailable):
        await groups.save()
    assert not groups.settings(BOT, GROUP).rules.is_enabled
    switch.is_away = False

    await groups.save()

    assert len(await rows_of(switch, Group)) == 2


async def test_thousands_of_groups_are_written_a_hundred_at_a_time(switch: SwitchedStore) -> None:
    """SQL goes away in the middle: what was written is not written again."""
    groups, recorder = make_groups(switch), WriteRecorder(switch)
    for number in range(2000):
        groups.note(BOT, WcId(f"{number}@chatroom"))
    switch.writes_left = 5
    with pytest.raises(StoreUnavailable):
        await groups.save()
    switch.is_away, switch.writes_left = False, None

    await groups.save()

    assert recorder.transactions == [[100]] * 20
    assert len(await rows_of(switch, Group)) == 2000


async def test_the_loop_saves_loads_and_ends_when_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process sets is in force by itself."""
    monkeypatch.setattr(groups_module, "REFRESH_SECONDS", 0.02)
    groups, stop = make_groups(store), asyncio.Event()
    loop = asyncio.create_task(groups.run(stop))
    groups.note(BOT, GROUP)

    async with asyncio.timeout(30):
        while not await rows_of(store, Group):
            await asyncio.sleep(0.01)
        await set_rules(store, is_enabled=False)
        while groups.settings(BOT, GROUP).rules.is_enabled:
            await asyncio.sleep(0.01)
        stop.set()
        await loop
