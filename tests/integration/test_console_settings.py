"""Settings in the console: seen with their source, changed, given back; further logins and apps; the wizard."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.models.roles import OperatorRole
from app.services.ecloud.callback_url import CALLBACK_PATH
from app.services.queue.restarts import Restarts
from app.workers import settings_keeper
from simulators.dify import API_KEY, DifySimulator
from simulators.ecloud import AUTHORIZATION, EcloudSimulator
from tests.fixtures.console import Answer, Browser, Site, StartConsole, say
from tests.fixtures.inside import INSIDE_EMBEDDED

SECRET = "app-a-very-secret-key"
HERE = "/console/settings/"
WIZARD = "/console/settings/wizard"


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper looks more often than it does outside of tests."""
    monkeypatch.setattr(settings_keeper, "LOOK_SECONDS", 0.1)


def configured(gateway: EcloudSimulator, dify: DifySimulator) -> dict[str, Any]:
    """What config.json says of the peers."""
    return {
        "ecloud": {"base_url": gateway.base_url, "authorization": AUTHORIZATION},
        "dify": {"base_url": dify.base_url, "api_key": API_KEY},
    }


async def save(browser: Browser, name: str, value: str, **fields: str) -> Answer:
    """Type a value into the page of a setting and save it."""
    path = f"{HERE}edit/{name}"
    return await browser.send(path, at=path, value=value, **fields)


async def stored(site: Site) -> dict[str, Any]:
    """What the console has changed."""
    return await site.inside.runtime.overrides.read()


async def test_a_setting_is_changed_and_given_back_in_its_page(
    console: StartConsole, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """The list says what holds, where it is from, and what waits for a restart."""
    async with console(config=configured(gateway, dify)) as site:
        browser = await site.operator()
        live = await save(browser, "reply.citations", "true")
        restart = await save(browser, "reply.max_length", "700")
        words = await save(browser, "groups.keywords", " 你好 \n\n小助手\n")
        page = await browser.get(live.place)
        rows = await browser.get(f"{HERE}?show=console")
        kept = await stored(site)
        back = await browser.send(f"{HERE}reset/reply.max_length", at=restart.place)
        after = await browser.get(f"{HERE}?q=reply.max_length")
        deeds = await browser.get("/console/audit/?action=setting.change")

    assert [one.status for one in (live, restart, words, back)] == [303] * 4
    assert "几秒内在所有进程里生效" in page.words
    assert kept == {
        "reply.citations": "true",
        "reply.max_length": "700",
        "groups.keywords": ["你好", "小助手"],
    }
    assert "有 1 项要重启才生效" in rows.words
    assert re.search(r"reply.max_length .{1,60} 700 重启之前.1500", rows.words)
    assert re.search(r"reply.max_length .{1,60} 1500 默认值", after.words)
    assert "要重启才生效" not in after.words
    assert "1500(默认值)" in deeds.words
    assert "700(管理后台)" in deeds.words


@INSIDE_EMBEDDED
async def test_a_live_change_holds_in_the_process_that_serves_the_page(
    console: StartConsole, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """And nothing waits for a restart then."""
    async with console(works=True, config=configured(gateway, dify)) as site:
        browser = await site.operator()
        await save(browser, "reply.plain_text", "true")
        runtime = site.inside.runtime
        async with asyncio.timeout(20):
            while not runtime.groups.settings("a", "b").is_plain:  # type: ignore[arg-type]
                await asyncio.sleep(0.02)
        page = await browser.get(HERE)

    assert "要重启才生效" not in page.words


@INSIDE_EMBEDDED
async def test_a_wrong_value_is_refused_with_what_is_allowed(
    console: StartConsole, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """It stands in its field again, and nothing was saved."""
    async with console(config=configured(gateway, dify), REPLY_MAX_LENGTH="600") as site:
        browser = await site.operator()
        wrong = await save(browser, "ecloud.target_gap", "lang")
        trigger = await save(browser, "groups.trigger", "prefix")
        fixed = await browser.get(f"{HERE}edit/reply.max_length")
        forced = await browser.send(f"{HERE}edit/reply.max_length", value="700")
        outside = await browser.get(f"{HERE}edit/database_url")
        unknown = await browser.get(f"{HERE}edit/no.such")
        kept = await stored(site)

    assert (wrong.status, 'value="lang"' in wrong.text) == (422, True)
    assert "不大于 3600" in wrong.words
    assert "groups.prefixes" in trigger.words
    assert ('name="value"' in fixed.text, "优先于后台" in fixed.words) == (False, True)
    assert (forced.status, "环境变量里写着" in forced.words) == (422, True)
    assert 'name="value"' not in outside.text
    assert unknown.status == 404
    assert kept == {}


async def test_a_secret_is_never_seen_again(
    console: StartConsole, gateway: EcloudSimulator, dify: DifySimulator, log_lines: list[str]
) -> None:
    """Not in a page, not in the audit, not in the log; empty leaves it, and it can be emptied."""
    async with console(config=configured(gateway, dify)) as site:
        browser = await site.operator()
        answers = [await save(browser, "dify.api_key", SECRET)]
        answers.append(await save(browser, "dify.api_key", f"{SECRET}\u4e2d"))
        answers.append(await save(browser, "dify.api_key", ""))
        kept = await stored(site)
        paths = [HERE, f"{HERE}edit/dify.api_key", f"{WIZARD}/dify", "/console/audit/"]
        answers += [await browser.get(path) for path in paths]
        rows = await site.inside.rows("SELECT * FROM audit_log")
        await save(browser, "dify.api_key", "", **{"value.clear": "1"})
        emptied = await stored(site)

    assert answers[1].status == 422
    assert kept == {"dify.api_key": SECRET}
    assert emptied == {"dify.api_key": ""}
    assert SECRET not in "".join(one.text for one in answers) + repr(rows) + "".join(log_lines)
    assert "已更改(管理后台)" in answers[-1].words


@INSIDE_EMBEDDED
async def test_other_processes_that_wait_for_a_restart_are_named(console: StartConsole) -> None:
    """Also where the one that serves the page has everything."""
    async with console() as site:
        browser = await site.operator()
        runtime = site.inside.runtime
        other = Restarts(runtime.redis, holder="host2-77-abc", role="worker")
        await other.show(["dify.api_key"], now=runtime.clock.time())
        page = await browser.get(HERE)

    assert "还有 1 个进程等着重启: host2-77-abc (worker)" in page.words
    assert "要重启才生效" not in page.words


@INSIDE_EMBEDDED
async def test_only_an_admin_sees_and_changes_settings(console: StartConsole) -> None:
    """Every path of it."""
    async with console() as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        for path in (HERE, f"{HERE}edit/log.level", f"{WIZARD}/gateway", f"{HERE}apps"):
            assert (await browser.get(path)).status == 403
        for path in (
            f"{HERE}edit/log.level",
            f"{HERE}reset/log.level",
            f"{HERE}accounts/+",
            f"{HERE}accounts/+/test",
            f"{HERE}apps/x/remove",
            f"{WIZARD}/gateway",
            f"{WIZARD}/gateway/test",
            f"{WIZARD}/callback/register",
        ):
            assert (await browser.send(path, value="DEBUG")).status == 403
        admin = await site.operator()
        assert (await admin.post(f"{HERE}edit/log.level", value="DEBUG")).status == 403
        assert await stored(site) == {}


async def test_logins_and_apps_are_added_changed_and_taken_away(
    console: StartConsole, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """A key that is left empty stays; what the form does not have stays, too."""
    config = configured(gateway, dify)
    config["dify"]["apps"] = [
        {
            "name": "old",
            "base_url": "https://a.example/v1",
            "api_key": SECRET,
            "blocking_timeout": 9,
        }
    ]
    async with console(config=config) as site:
        browser = await site.operator()
        apps, accounts = f"{HERE}apps", f"{HERE}accounts"
        added = await browser.send(
            f"{accounts}/+",
            at=f"{accounts}/+",
            name="second",
            base_url="https://g.example",
            authorization="another-secret",
        )
        twice = await browser.send(
            f"{accounts}/+", name="second", base_url="https://h.example", authorization="x"
        )
        changed = await browser.send(
            f"{apps}/old", at=f"{apps}/old", base_url="https://b.example/v1", kind="chat"
        )
        listed = await browser.get(apps)
        kept = await stored(site)
        unsure = await browser.send(f"{apps}/old/remove", typed="ol")
        gone = await browser.send(f"{apps}/old/remove", typed="old")
        after = await stored(site)
        pages = [added, twice, changed, listed, await browser.get(f"{apps}/nobody")]

    assert (added.status, changed.status, gone.status) == (303, 303, 303)
    assert (twice.status, "重复" in twice.words) == (422, True)
    assert "told=name_not_typed" in unsure.place
    assert kept["ecloud.accounts"] == [
        {
            "name": "second",
            "base_url": "https://g.example",
            "authorization": "another-secret",
        }
    ]
    assert kept["dify.apps"] == [
        {
            "name": "old",
            "base_url": "https://b.example/v1",
            "api_key": SECRET,
            "blocking_timeout": 9,
            "kind": "chat",
        }
    ]
    assert after["dify.apps"] == []
    assert pages[-1].status == 404
    assert not any(secret in one.text for one in pages for secret in (SECRET, "another-secret"))


@INSIDE_EMBEDDED
async def test_a_connection_is_tested_with_what_is_typed_and_not_saved(
    console: StartConsole, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """Logins, apps, and the steps of the wizard; a key is not repeated by what the peer says."""
    async with console(config={}) as site:
        browser = await site.operator()

        async def test(path: str, **fields: str) -> Answer:
            return await browser.send(f"{HERE}{path}/test", at=f"{HERE}{path}", **fields)

        account = await test(
            "accounts/+", name="a", base_url=gateway.base_url, authorization=AUTHORIZATION
        )
        app = await test("apps/+", name="a", base_url=dify.base_url, api_key=API_KEY)
        wrong_app = await test("apps/+", name="a", base_url=dify.base_url, api_key=SECRET)
        odd = await test("apps/+", name="a b", base_url="nowhere", api_key="x")
        flat = {"ecloud.base_url": gateway.base_url, "ecloud.authorization": AUTHORIZATION}
        login = await test("wizard/gateway", **flat)
        refused = await test("wizard/gateway", **{**flat, "ecloud.authorization": SECRET})
        away = await test("wizard/gateway", **{**flat, "ecloud.base_url": "http://127.0.0.1:1"})
        empty = await test("wizard/dify")
        kept = await stored(site)

    assert [("✓" in one.words, "✗" in one.words) for one in (app, login)] == [(True, False)] * 2
    assert "✗" not in account.words
    assert all("✗" in one.words for one in (wrong_app, odd, refused, away, empty))
    assert "dify_refused" not in wrong_app.words
    assert "不接受这个应用的密钥" in wrong_app.words
    assert "请检查 ecloud.base_url" in away.words
    assert "dify.base_url" in empty.words
    assert kept == {}
    assert SECRET not in wrong_app.text + refused.text


@INSIDE_EMBEDDED
async def test_what_a_peer_says_in_a_test_is_shown_without_the_key(console: StartConsole) -> None:
    """Some repeat what they were sent; and nobody is followed to another address."""
    asked: list[str] = []

    async def repeat(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path.startswith("/away"):
            raise web.HTTPFound("/elsewhere")
        key = request.headers["Authorization"].removeprefix("Bearer ")
        if request.path.startswith("/v1"):
            return web.json_response(
                {"code": f"no {key}", "message": key, "status": 401}, status=401
            )
        return web.json_response({"code": "1001", "message": f"no such {key}", "data": None})

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", repeat)
    async with TestServer(application) as peer, console(config={}) as site:
        browser = await site.operator()

        async def test(base: str) -> Answer:
            fields = {"ecloud.base_url": base, "ecloud.authorization": SECRET}
            return await browser.send(f"{WIZARD}/gateway/test", at=f"{WIZARD}/gateway", **fields)

        said = await test(str(peer.make_url("/")))
        of_dify = await browser.send(
            f"{WIZARD}/dify/test",
            at=f"{WIZARD}/dify",
            **{"dify.base_url": str(peer.make_url("/v1")), "dify.api_key": SECRET},
        )
        away = await test(str(peer.make_url("/away")))

    assert "no such ***" in said.words
    assert "no ***" in of_dify.words
    assert SECRET not in said.text + of_dify.text
    assert ("✗" in away.words, "/elsewhere" in asked) == (True, False)


async def test_the_wizard_saves_what_it_has_tested_step_by_step(
    console: StartConsole, gateway: EcloudSimulator, dify: DifySimulator
) -> None:
    """A first login leads there; the callback that arrives is seen; at the end a restart is due."""
    async with console(config={}) as site:
        admin = await site.operator()
        first = await site.browser().log_in("a-admin")
        gateway_step = await admin.send(
            f"{WIZARD}/gateway",
            at=f"{WIZARD}/gateway",
            **{"ecloud.base_url": gateway.base_url, "ecloud.authorization": AUTHORIZATION},
        )
        dify_step = await admin.send(
            f"{WIZARD}/dify",
            **{
                "dify.base_url": dify.base_url,
                "dify.api_key": API_KEY,
                "dify.streaming_enabled": "true",
            },
        )
        mine = "http://bot.example:8000"
        told = await admin.send(f"{WIZARD}/callback/register", **{"ecloud.callback_url": mine})
        registered = gateway.callback_url
        page = await admin.get(f"{WIZARD}/callback")
        live = re.search(r'data-live="([^"]+)"', page.text)
        assert live is not None
        silent = await admin.get(live[1])
        await say(site, ago=timedelta(0))
        heard = await admin.get(live[1])
        callback_step = await admin.send(f"{WIZARD}/callback", **{"ecloud.callback_url": mine})
        groups = await admin.send(
            f"{WIZARD}/groups", **{"groups.trigger": "mention", "groups.prefixes": ""}
        )
        done = await admin.get(f"{WIZARD}/done")
        kept = await stored(site)
        second = await site.browser().log_in("a-admin")

    assert first.place == WIZARD
    assert gateway_step.place == f"{WIZARD}/dify?told=wizard_saved"
    assert dify_step.place == f"{WIZARD}/callback?told=wizard_saved"
    assert "已登记" in told.words
    assert registered == f"{mine}{CALLBACK_PATH}"
    assert "等待第一条回调" in silent.words
    assert "收到了:1 条回调" in heard.words
    assert callback_step.place == f"{WIZARD}/groups?told=wizard_saved"
    assert groups.place == f"{WIZARD}/done?told=group_changed"
    assert "重启服务" in done.words
    assert kept == {
        "ecloud.base_url": gateway.base_url,
        "ecloud.authorization": AUTHORIZATION,
        "dify.base_url": dify.base_url,
        "dify.api_key": API_KEY,
        "dify.streaming_enabled": "true",
        "ecloud.callback_url": mine,
        "groups.trigger": "mention",
    }
    assert second.place == "/console/"


@INSIDE_EMBEDDED
async def test_the_wizard_saves_what_failed_only_on_demand_and_shows_lines_for_what_is_fixed(
    console: StartConsole, gateway: EcloudSimulator
) -> None:
    """A value of the environment is tested with what is typed, and written there by hand."""
    async with console(config={}, ECLOUD_AUTHORIZATION="of-the-environment") as site:
        admin = await site.operator()
        fields = {"ecloud.base_url": "http://127.0.0.1:1", "ecloud.authorization": ""}
        failed = await admin.send(f"{WIZARD}/gateway", at=f"{WIZARD}/gateway", **fields)
        before = await stored(site)
        insisted = await admin.send(f"{WIZARD}/gateway", **fields, anyway="1")
        after = await stored(site)
        typed = {"ecloud.base_url": gateway.base_url, "ecloud.authorization": AUTHORIZATION}
        fixed = await admin.send(f"{WIZARD}/gateway", **typed)
        kept = await stored(site)

    assert (failed.status, 'name="anyway"' in failed.text) == (422, True)
    assert "✗" in failed.words
    assert (before, insisted.status) == ({}, 303)
    assert insisted.place.endswith("?told=setting_restart")
    assert after == {"ecloud.base_url": "http://127.0.0.1:1"}
    assert "ECLOUD_AUTHORIZATION=<刚才输入的>" in fixed.words
    assert AUTHORIZATION not in fixed.text
    assert kept == {"ecloud.base_url": gateway.base_url}


@INSIDE_EMBEDDED
async def test_the_wizard_goes_on_past_lists_that_are_fixed_and_shows_changed_ones_as_env_reads_them(
    console: StartConsole,
) -> None:
    """Lists are JSON there."""
    async with console(config={}, GROUPS_PREFIXES='["/a"]') as site:
        admin = await site.operator()
        place = f"{WIZARD}/groups"
        same = {"groups.trigger": "prefix", "groups.prefixes": "/a", "groups.keywords": ""}
        as_it_is = await admin.send(place, at=place, **same)
        other = await admin.send(place, **{**same, "groups.prefixes": "/a\n/b"})

    assert as_it_is.place == f"{WIZARD}/done?told=group_changed"
    assert 'GROUPS_PREFIXES=["/a", "/b"]' in other.words


@INSIDE_EMBEDDED
async def test_an_entry_that_somebody_took_away_is_not_said_to_be_saved(
    console: StartConsole,
) -> None:
    """Neither is it made again."""
    async with console(config={}) as site:
        admin = await site.operator()
        place = f"{HERE}accounts/second"
        fields = {"base_url": "http://127.0.0.1:1", "authorization": "a-key"}
        made = await admin.send(
            f"{HERE}accounts/+", at=f"{HERE}accounts/+", name="second", **fields
        )
        gone = await admin.send(f"{place}/remove", at=place, typed="second")
        late = await admin.send(place, **fields)
        kept = await stored(site)

    assert (made.status, gone.status) == (303, 303)
    assert late.status == 404
    assert kept.get("ecloud.accounts", []) == []
