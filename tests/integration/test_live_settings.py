"""Settings of the console in processes that run: what changes at once, and what a start finds."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from app.kept_settings import COPY, settle
from app.models.console import SETTING_OVERRIDES
from app.services import overrides
from app.services.audit import Deed
from app.services.overrides import Overrides, Plan
from app.services.setting_desk import SettingDesk
from app.services.stages import utc_now
from app.workers import settings_keeper
from config import SettingsError, Source, read_outside
from simulators.ecloud import EcloudSimulator
from tests.fixtures.inside import INSIDE_EMBEDDED, Inside, StartInside
from tests.fixtures.sending import texts

BY = Deed(operator="小王", action="", subject="", address="198.51.100.7")
#: Several processes have no embedded default to share.
ON_SERVERS = pytest.mark.parametrize(
    "inside_stores",
    [pytest.param("servers", marks=[pytest.mark.redis, pytest.mark.mysql])],
    indirect=True,
)
#: What "within seconds" means, on a machine with other things to do.
SECONDS = 20.0


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper looks more often than it does outside of tests."""
    monkeypatch.setattr(settings_keeper, "LOOK_SECONDS", 0.1)


async def change(bridge: Inside, **values: Any) -> None:
    """Change settings as the console of this process does; ``__`` stands for the dot."""
    desk = SettingDesk(bridge.runtime.overrides, bridge.read_outside)
    await desk.change({name.replace("__", "."): one for name, one in values.items()}, by=BY)


async def until_live(bridge: Inside, name: str, value: Any) -> None:
    """Wait until a process has taken a value over."""
    section, _, key = name.partition(".")
    async with asyncio.timeout(SECONDS):
        while getattr(getattr(bridge.runtime.live.now, section), key) != value:
            await asyncio.sleep(0.02)


@pytest.fixture
def two(inside: StartInside) -> Any:
    """Starts two processes on the same stores: one that is changed, and one that works."""

    @asynccontextmanager
    async def start(**variables: str) -> AsyncIterator[tuple[Inside, Inside]]:
        async with inside(works=False, **variables) as first, inside(**variables) as second:
            yield first, second

    return start


@ON_SERVERS
async def test_rules_of_all_groups_change_in_another_process(two: Any) -> None:
    """The default trigger, and what stands in the table for a group still goes before it."""
    async with two() as (first, second):
        group = second.gateway.speech.find_group("体验群").group_id
        bot = next(iter(second.gateway.world.accounts))
        await change(first, groups__trigger="prefix", groups__prefixes='["/问"]')
        await until_live(second, "groups.trigger", "prefix")
        settings = second.runtime.groups.settings(bot, group)
        assert settings.rules.trigger == "prefix"
        await second.hear("没有前缀")
        await second.hear("/问 有前缀 [[text=好]]")
        rows = await second.until_settled(1)
        ignored = await second.until_rows("SELECT verdict FROM messages WHERE state = 'ignored'")
        await change(first, groups__trigger=None, groups__prefixes=None)
        await until_live(second, "groups.trigger", "all")

    assert [row["verdict"] for row in rows] == ["answered"]
    assert [row["verdict"] for row in ignored] == ["no_prefix"]


@ON_SERVERS
async def test_the_sentence_after_a_failure_changes_in_another_process(
    two: Any, gateway: EcloudSimulator
) -> None:
    """The next dead letter says the new one."""
    async with two(MESSAGE_PROCESSING_MAX_RETRY_COUNT="0") as (first, second):
        await change(first, message_processing__failure_reply="稍后再试")
        await until_live(second, "message_processing.failure_reply", "稍后再试")
        await second.hear("一 [[fail=400]]")
        await second.until_settled(1)

    assert texts(gateway) == ["稍后再试"]


@ON_SERVERS
async def test_the_pace_and_the_bounds_change_in_another_process(two: Any) -> None:
    """Its sender reads the gap, the rate and the quiet hours anew; its inbox the bounds."""
    async with two() as (first, second):
        pace = second.background._pace
        assert (pace.limits.per_minute, pace.plan.quiet) == (0, None)
        await change(
            first,
            ecloud__target_gap="7",
            ecloud__images_per_minute="5",
            ecloud__files_per_minute="4",
            message_processing__max_queue_length="2",
            message_processing__max_waiting="3",
        )
        await until_live(second, "message_processing.max_waiting", 3)
        bounds = second.runtime.inbox._room._bounds()

    assert (bounds.per_user, bounds.in_all) == (2, 3)
    assert pace.limits.target_gap == 7
    assert sorted(pace.limits.kinds.values()) == [4, 5]


@ON_SERVERS
async def test_every_process_says_what_it_waits_for_until_it_is_started_anew(two: Any) -> None:
    """And says it no more when the change is taken back, or when it has ended."""
    async with two() as (first, second):
        restarts, clock = first.runtime.restarts, first.runtime.clock

        async def until_told(*names: str) -> list[str]:
            async with asyncio.timeout(SECONDS):
                while True:
                    found = await restarts.waiting(now=clock.time())
                    if [one.names for one in found] == ([names] if names else []):
                        return [one.holder for one in found]
                    await asyncio.sleep(0.02)

        await change(first, reply__max_length="700", log__level="debug", reply__citations="true")
        holders = await until_told("log.level", "reply.max_length")
        late = await restarts.waiting(now=clock.time() + 60)
        again = await until_told("log.level", "reply.max_length")
        await change(first, reply__max_length=None, log__level=None)
        await until_told()
        await change(first, reply__max_length="700")
        await until_told("reply.max_length")
        await second.background.stop()
        await until_told()

    assert holders == again == [second.runtime.restarts.holder]
    assert late == []


@INSIDE_EMBEDDED
async def test_whoever_was_held_for_quiet_hours_goes_on_when_they_are_taken_away(
    inside: StartInside, gateway: EcloudSimulator
) -> None:
    """The account is not held to the end of hours that are quiet no more."""
    config = {
        "ecloud": {
            "base_url": gateway.base_url,
            "authorization": "sim-authorization",
            "quiet_hours": "00:00-23:59",
        },
    }
    async with inside(config=config) as bridge:
        peer = "account:wxid_bot"
        await bridge.runtime.breakers.open_for(peer, 3600, "quiet_hours")
        await bridge.runtime.breakers.open_for("account:other", 3600, "ecloud_throttled")
        await change(bridge, ecloud__quiet_hours="")
        async with asyncio.timeout(SECONDS):
            while any(one.peer == peer for one in await bridge.runtime.breakers.states()):
                await asyncio.sleep(0.02)
        left = [one.peer for one in await bridge.runtime.breakers.states()]

    assert left == ["account:other"]


async def test_a_start_finds_what_was_changed_and_a_running_process_leaves_the_rest(
    inside: StartInside,
) -> None:
    """Only what is live changes while it runs; the next start has all of it, and says where from."""
    async with inside(config={"reply": {"max_length": 900}}) as bridge:
        await change(bridge, reply__max_length="700", reply__citations="true")
        await until_live(bridge, "reply.citations", value=True)
        assert bridge.runtime.live.now.reply.max_length == 900
    async with inside(config={"reply": {"max_length": 900}}) as bridge:
        loaded = bridge.runtime.loaded
        assert (loaded.settings.reply.max_length, loaded.settings.reply.citations) == (700, True)
        assert loaded.sources["reply.max_length"] is Source.CONSOLE
        await change(bridge, reply__max_length=None)
        settled = await asyncio.to_thread(settle, bridge.read_outside())

    assert settled.settings.reply.max_length == 900
    assert settled.sources["reply.max_length"] is Source.CONFIG_FILE


@INSIDE_EMBEDDED
async def test_what_the_environment_says_goes_before_the_console(inside: StartInside) -> None:
    """It cannot be changed there, and an older change has no effect."""
    async with inside(works=False) as bridge:
        await change(bridge, reply__max_length="700")
    async with inside(works=False, REPLY_MAX_LENGTH="600") as bridge:
        assert bridge.runtime.settings.reply.max_length == 600
        with pytest.raises(SettingsError, match="环境变量里写着"):
            await change(bridge, reply__max_length="500")
        await change(bridge, reply__max_length=None)
        assert await bridge.runtime.overrides.read() == {}


@INSIDE_EMBEDDED
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"reply.max_length": "viel"}, "reply.max_length.*不小于 1.*管理后台"),
        ({"reply.max_length": "0"}, "reply.max_length.*不小于 1"),
        ({"groups.trigger": "regex"}, "groups.pattern.*必须设置"),
        ({"dify.fallback": "nobody"}, "fallback 必须是另一个应用的名字"),
        ({"alerts.smtp_host": "mail"}, "alerts.mail_from"),
        ({"database_url": "sqlite:///x.db"}, "不能在后台改"),
        ({"server.port": "1"}, "不能在后台改"),
        ({"playground.enabled": "true"}, "不能在后台改"),
        ({"reply.max_lenght": "1"}, "reply.max_lenght.*是不是想写 reply.max_length"),
    ],
)
async def test_what_no_start_would_accept_is_refused(
    inside: StartInside, values: dict[str, Any], told: str
) -> None:
    """With the setting's name and what is allowed; nothing of it is kept."""
    async with inside(works=False) as bridge:
        desk = SettingDesk(bridge.runtime.overrides, bridge.read_outside)
        with pytest.raises(SettingsError, match=told):
            await desk.change({"reply.citations": "true", **values}, by=BY)
        assert await bridge.runtime.overrides.read() == {}
        assert await bridge.rows("SELECT * FROM audit_log") == []


async def test_the_audit_says_from_what_to_what_and_of_a_secret_only_that_it_changed(
    inside: StartInside,
) -> None:
    """With the sources of both values."""
    apps = [{"name": "second", "base_url": "https://d.example/v1", "api_key": "app-secret-two"}]
    async with inside(works=False, config={}) as bridge:
        await change(bridge, ecloud__send_gap=None, reply__max_length="700")
        await change(bridge, dify__api_key="app-secret-one", dify__apps=apps)
        await change(bridge, dify__api_key="app-secret-three")
        await change(bridge, reply__max_length=None)
        deeds = await bridge.rows(
            "SELECT operator, action, subject, `before`, after, address FROM audit_log ORDER BY id"
        )

    assert [(one["action"], one["subject"], one["before"], one["after"]) for one in deeds] == [
        ("setting.change", "reply.max_length", "1500(默认值)", "700(管理后台)"),
        ("setting.change", "dify.api_key", "未设置(默认值)", "已更改(管理后台)"),
        ("setting.change", "dify.apps", "没有(默认值)", "second https://d.example/v1(管理后台)"),
        ("setting.change", "dify.api_key", "已设置(管理后台)", "已更改(管理后台)"),
        ("setting.reset", "reply.max_length", "700(管理后台)", "1500(默认值)"),
    ]
    assert {(one["operator"], one["address"]) for one in deeds} == {("小王", "198.51.100.7")}
    assert "app-secret" not in repr(deeds)


@ON_SERVERS
async def test_changes_that_come_together_are_judged_one_after_the_other(
    inside: StartInside,
) -> None:
    """Of two that only together would stop the next start, the one that comes second is refused."""
    config = {"groups": {"trigger": "all", "prefixes": ["/a"]}}
    async with inside(works=False, config=config) as bridge:
        desk = SettingDesk(bridge.runtime.overrides, bridge.read_outside)
        async with bridge.runtime.store.write() as connection:
            await overrides.take_turn(connection)
            second = asyncio.create_task(desk.change({"groups.prefixes": []}, by=BY))
            await asyncio.wait([second], timeout=1)
            await connection.execute(
                insert(SETTING_OVERRIDES),
                {"name": "groups.trigger", "value": "prefix", "changed_at": utc_now()},
            )
        with pytest.raises(SettingsError, match="必须设置"):
            await second
        stored = await bridge.runtime.overrides.read()

    assert stored == {"groups.trigger": "prefix"}


@ON_SERVERS
async def test_a_start_without_the_database_uses_the_copy_that_only_its_owner_can_read(
    inside: StartInside,
) -> None:
    """It follows every change, each start writes it anew, and the operator is told that it was used."""
    async with inside(config={}) as bridge:
        await change(bridge, dify__api_key="app-secret-one", reply__citations="true")
        await until_live(bridge, "reply.citations", value=True)
        path = Path("data") / COPY
        async with asyncio.timeout(SECONDS):
            while not path.exists():
                await asyncio.sleep(0.02)
        path.unlink()
    async with inside(config={}) as bridge:
        async with asyncio.timeout(SECONDS):
            while not path.exists():
                await asyncio.sleep(0.02)
    mode = stat.S_IMODE(path.stat().st_mode)
    away = read_outside(
        environ={"DATABASE_URL": "mysql+pymysql://u:p@127.0.0.1:1/x"},
        env_file=None,
        config_file=None,
    )
    loaded = await asyncio.to_thread(settle, away)
    path.unlink()
    without = await asyncio.to_thread(settle, away)

    assert mode == 0o600
    assert loaded.settings.dify.api_key.get_secret_value() == "app-secret-one"
    assert any("副本" in one for one in loaded.warnings)
    assert not without.settings.dify.api_key.get_secret_value()
    assert any("没有读到" in one for one in without.warnings)


@INSIDE_EMBEDDED
async def test_a_change_that_keeps_the_bridge_from_starting_tells_how_it_is_undone(
    inside: StartInside,
) -> None:
    """A rule between config.json and the console; a name of another release is only warned of."""
    async with inside(works=False, config={"groups": {"prefixes": ["/a"]}}) as bridge:
        await change(bridge, groups__trigger="prefix")
        await bridge.execute(
            "INSERT INTO setting_overrides (name, value, changed_at) "
            "VALUES ('future.setting', '1', '2026-01-01 00:00:00')"
        )
    async with inside(works=False, config={"groups": {"prefixes": ["/a"]}}) as bridge:
        assert any("future.setting" in one for one in bridge.runtime.loaded.warnings)
    with pytest.raises(SettingsError, match=r"settings unset groups\.trigger"):
        async with inside(works=False, config={}):
            pass


@INSIDE_EMBEDDED
async def test_what_is_wrong_outside_the_console_blames_no_change_of_the_console(
    inside: StartInside,
) -> None:
    """Undoing a change beside it would help nobody."""
    async with inside(works=False, config={}) as bridge:
        await change(bridge, groups__trigger="mention")
    with pytest.raises(SettingsError, match=r"groups\.quote_context") as refused:
        async with inside(works=False, config={}, GROUPS_QUOTE_CONTEXT="perhaps"):
            pass

    assert "settings unset" not in str(refused.value)


@INSIDE_EMBEDDED
async def test_a_process_whose_own_files_do_not_fit_stays_as_it_is(inside: StartInside) -> None:
    """Another replica accepted what this one cannot have."""
    async with inside(config={}) as bridge:
        await Overrides(bridge.runtime.store).change(
            lambda _: Plan(changes={"groups.trigger": "regex", "reply.citations": "true"})
        )
        keeper = bridge.background._settings
        async with asyncio.timeout(SECONDS):
            while "groups.trigger" not in keeper._known:
                await asyncio.sleep(0.02)
        assert bridge.runtime.live.now.reply.citations is False
