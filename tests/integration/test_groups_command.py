"""``python -m app.cli groups``: what holds in each group, and choosing its Dify app."""

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from app import cli
from app.models.flow import WcId
from app.services.decide import GroupRules
from app.services.group_table import GroupTable
from app.services.groups import Groups, GroupSettings
from app.services.store import Store

Run = Callable[..., Result]
BOT = WcId("wxid_bot")
FIRST, SECOND = WcId("1@chatroom"), WcId("2@chatroom")
APPS = json.dumps([{"name": "support", "base_url": "http://dify/v1", "api_key": "key"}])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, store_url: str) -> Run:
    """Runs ``groups`` on the store's database, with one more app."""
    monkeypatch.setenv("BRIDGE_ENV_FILE", "")
    monkeypatch.setenv("BRIDGE_CONFIG_FILE", "")
    variables = {"DATABASE_URL": store_url, "DIFY_APPS": APPS, "GROUPS_TRIGGER": "mention"}

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli.app, ["groups", *arguments], env=variables)

    return invoke


async def apps_of(store: Store) -> list[str | None]:
    """What is chosen for each group, first seen first."""
    return [row.dify_app for row in await GroupTable(store).rows()]


@pytest.fixture(autouse=True)
async def seen(store: Store) -> None:
    """Two groups that spoke."""
    groups = Groups(store, GroupSettings(rules=GroupRules()))
    groups.note(BOT, FIRST)
    groups.note(BOT, SECOND)
    await groups.save()


async def test_the_list_tells_what_holds_and_what_is_the_groups_own(store: Store, run: Run) -> None:
    """A star marks what was set for it; an app that is not in the settings is named."""
    async with store.write() as connection:
        await connection.execute(
            text("UPDATE `groups` SET dify_app = 'gone', is_enabled = 0 WHERE group_id = :id"),
            {"id": FIRST},
        )
    told = await asyncio.to_thread(run, "list")
    as_json = await asyncio.to_thread(run, "list", "--json")

    assert told.exit_code == as_json.exit_code == 0, told.output + as_json.output
    first, second = (line.split() for line in told.output.split("\n")[1:3])
    assert first == [FIRST, BOT, "gone*(没有配置)", "否*", "mention", "是", "否", "否", "否"]
    assert second == [SECOND, BOT, "default(没有配置)", "是", "mention", "是", "否", "否", "否"]
    shown = json.loads(as_json.stdout)
    assert shown["total"] == 2
    assert shown["groups"][0]["own"] == ["app", "is_enabled"]
    assert shown["groups"][1]["app"] == "default"


async def test_an_app_is_chosen_for_some_groups_and_taken_back(store: Store, run: Run) -> None:
    """Whichever account sees them."""
    chosen = await asyncio.to_thread(run, "app", "support", FIRST, SECOND)
    both = await apps_of(store)
    back = await asyncio.to_thread(run, "app", "default", FIRST)

    assert (chosen.exit_code, chosen.output.strip()) == (0, "2 个群向 support 提问")
    assert both == ["support", "support"]
    assert (back.exit_code, back.output.strip()) == (0, "1 个群向 default 提问")
    assert await apps_of(store) == [None, "support"]


async def test_an_unknown_app_or_group_changes_nothing_and_says_why(store: Store, run: Run) -> None:
    """A slip must not take a group from its app."""
    no_app = await asyncio.to_thread(run, "app", "supporter", FIRST)
    no_group = await asyncio.to_thread(run, "app", "support", FIRST, "3@chatroom")

    assert no_app.exit_code == 2
    assert "没有名为 supporter 的应用" in no_app.output
    assert "default、support" in no_app.output
    assert no_group.exit_code == 1
    assert "3@chatroom" in no_group.output
    assert await apps_of(store) == [None, None]


async def test_a_group_is_muted_for_minutes_and_answers_again(store: Store, run: Run) -> None:
    """It is written down who did; a group that nobody saw changes nothing."""
    groups = Groups(store, GroupSettings(rules=GroupRules()))
    muted = await asyncio.to_thread(run, "mute", "30", FIRST, "--json")
    await groups.load()
    until = groups.settings(BOT, FIRST).rules.muted_until
    other = groups.settings(BOT, SECOND).rules.muted_until
    unknown = await asyncio.to_thread(run, "mute", "30", "9@chatroom")
    unmuted = await asyncio.to_thread(run, "unmute", FIRST)
    await groups.load()
    async with store.read() as connection:
        deeds = (await connection.execute(text("SELECT action, subject FROM audit_log"))).all()

    assert json.loads(muted.stdout)["groups"] == 1
    assert 29 * 60 < until - time.time() <= 30 * 60
    assert other == 0
    assert unknown.exit_code == 1
    assert "不再静音" in unmuted.stdout
    assert groups.settings(BOT, FIRST).rules.muted_until == 0
    assert [tuple(one) for one in deeds] == [("group.mute", FIRST)] * 2
