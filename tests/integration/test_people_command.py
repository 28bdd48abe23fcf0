"""``people``: one person's data is shown, and taken out of every table, on both engines."""

import asyncio
import json
from collections.abc import Callable

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from app import cli
from app.models.segment import SEGMENTS, SegmentState
from app.models.tables import Base
from app.services.audit import Audit, Deed
from app.services.erasure import erase, look_up
from app.services.store import Store
from simulators.dify import DifySimulator
from tests.fixtures.inside import Inside, StartInside

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``people`` with a bridge's settings."""

    def invoke(bridge: Inside, *arguments: str, typed: str | None = None) -> Result:
        settings = bridge.runtime.settings
        env = {
            "BRIDGE_ENV_FILE": "",
            "BRIDGE_CONFIG_FILE": "",
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "DIFY_BASE_URL": settings.dify.base_url,
            "DIFY_API_KEY": settings.dify.api_key.get_secret_value(),
        }
        return CliRunner().invoke(cli.app, ["people", *arguments], env=env, input=typed)

    return invoke


async def traces(store: Store, *words: str) -> dict[str, int]:
    """Rows, by table, in which one of the words stands in whichever column."""
    found: dict[str, int] = {}
    async with store.read() as connection:
        for name, table in Base.metadata.tables.items():
            rows = (await connection.execute(select(table))).all()
            count = sum(any(word in str(tuple(row)) for word in words) for row in rows)
            if count:
                found[name] = count
    return found


async def spoken(bridge: Inside) -> tuple[str, str]:
    """Two people, each with an answer; their ids."""
    first = bridge.gateway.speech.find_member(bridge.gateway.speech.find_group("体验群"), "小明")
    second = bridge.gateway.speech.find_member(bridge.gateway.speech.find_group("体验群"), "小红")
    await bridge.hear("我的电话是 13800001234 [[text=记下 13800001234 了]]", person="小明")
    await bridge.hear("别人的问题 [[text=别人的回答]]", person="小红")
    await bridge.until_settled(2)
    # A look-up that is under way would write the person down again.
    await bridge.until_rows(
        "SELECT 1 FROM contacts WHERE (SELECT count(fetched_at) FROM contacts) >= 3"
    )
    return str(first), str(second)


async def test_no_table_knows_the_person_any_more_and_others_are_untouched(
    inside: StartInside, run: Run
) -> None:
    """Neither who it was nor what was said; that a message came stays."""
    async with inside() as bridge:
        store = bridge.runtime.store
        first, second = await spoken(bridge)
        await bridge.hear("没有 newMsgId [[text=好]]", person="小明", newMsgId=0)
        await bridge.until_settled(3)
        for action in ("queue.clear", "queue.free_lease"):
            await Audit(store).note(Deed(operator="admin", action=action, subject=first))
        # The group's members are looked up beside the answers.
        await bridge.until_rows(
            f"SELECT 1 FROM group_members WHERE wc_id = '{second}' AND nick_name <> ''"
        )
        others = await traces(store, second, "别人的")
        counted = await bridge.rows("SELECT count(*) AS n FROM messages")
        assert {"messages", "audit_log"} <= (await traces(store, first)).keys()

        told = await asyncio.to_thread(run, bridge, "erase", first, "--yes", "--json")

        assert await traces(store, first, "13800001234") == {}
        assert await traces(store, second, "别人的") == others
        assert await bridge.rows("SELECT count(*) AS n FROM messages") == counted
    assert told.exit_code == 0
    assert json.loads(told.stdout)["rows"]["messages"] == 2


async def test_waiting_questions_of_the_person_are_not_answered_and_the_next_one_is(
    inside: StartInside, dify: DifySimulator
) -> None:
    """The one in work as well as those behind it; nothing is owed for them."""
    async with inside() as bridge:
        store = bridge.runtime.store
        for text in ("一 [[wait=3]] [[text=甲]]", "二 [[text=乙]]"):
            await bridge.hear(text, person="小明")
        await dify.recorder.until(lambda: bool(dify.questions()))
        person = (await bridge.rows("SELECT from_user FROM messages LIMIT 1"))[0]["from_user"]

        erased = await erase(store, person)
        await bridge.hear("三 [[text=丙]]", person="小明")
        await bridge.gateway.wait_for_sent(1)
        await bridge.until_settled(1)
        rows = await bridge.rows("SELECT state, verdict FROM messages ORDER BY id")

    assert erased.rows["messages"] == 2
    assert [(row["state"], row["verdict"]) for row in rows] == [
        ("ignored", "erased"),
        ("ignored", "erased"),
        ("done", "answered"),
    ]
    assert [sent.content.endswith("丙") for sent in bridge.gateway.sent] == [True]


async def test_a_segment_on_its_way_is_left_and_said(inside: StartInside, run: Run) -> None:
    """It may have to go out again; a second run takes it."""
    async with inside() as bridge:
        store = bridge.runtime.store
        first, _ = await spoken(bridge)
        await _set_segments(store, SegmentState.SENDING)
        told = await asyncio.to_thread(run, bridge, "erase", first, "--yes")
        kept = await traces(store, first)
        await _set_segments(store, SegmentState.SENT)
        again = await asyncio.to_thread(run, bridge, "erase", first, "--yes")
        left = await traces(store, first, "13800001234")

    assert (told.exit_code, again.exit_code) == (1, 0)
    assert "一分钟后再运行一次" in told.output
    assert "messages" in kept
    assert left == {}


async def _set_segments(store: Store, state: SegmentState) -> None:
    async with store.write() as connection:
        await connection.execute(update(SEGMENTS).values(state=state))


async def test_conversations_at_dify_go_with_it_where_that_is_asked_for(
    inside: StartInside, run: Run, dify: DifySimulator
) -> None:
    """Those of other people stay; the second time there is nothing to delete."""
    async with inside() as bridge:
        first, second = await spoken(bridge)
        told = await asyncio.to_thread(run, bridge, "erase", first, "--yes", "--dify", "--json")
        held = await look_up(bridge.runtime.store, second)  # type: ignore[arg-type]

    assert json.loads(told.stdout)["dify_deleted"] == 1
    assert dify.store.of_user(dify.default_app, first) == []
    assert len(dify.store.of_user(dify.default_app, second)) == 1
    assert len(held.conversations) == 1


async def test_nothing_is_erased_without_the_name_typed_again(
    inside: StartInside, run: Run
) -> None:
    """Nor an account of our own, nor a person without a name."""
    async with inside() as bridge:
        first, _ = await spoken(bridge)
        own = next(iter(bridge.gateway.world.accounts))
        shown = await asyncio.to_thread(run, bridge, "show", first, "--json")
        refused = await asyncio.to_thread(run, bridge, "erase", first, typed="yes\n")
        ours = await asyncio.to_thread(run, bridge, "erase", own, "--yes")
        nobody = await asyncio.to_thread(run, bridge, "erase", " ", "--yes")
        kept = await traces(bridge.runtime.store, first)

    assert json.loads(shown.stdout)["rows"]["messages"] == 1
    assert [refused.exit_code, ours.exit_code, nobody.exit_code] == [1, 2, 2]
    assert "没有抹去" in refused.output
    assert "messages" in kept
