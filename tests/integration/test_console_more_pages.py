"""The rest of the console's pages over HTTP: overview, groups, talks, contacts, log, settings, audit."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.console.menu import ENTRIES
from app.console.pages.log import MOST_LINES
from app.console.reading.log import TAIL_BYTES, read_tail
from app.models.flow import IgnoreReason, WcId
from app.models.message import MessageState
from app.models.roles import OperatorRole
from app.services.audit import Audit, DeedChoice
from tests.fixtures.console import PASSWORD, Site, StartConsole, plan, say
from tests.fixtures.inside import INSIDE_EMBEDDED

BOT, GROUP = WcId("wxid_bot"), WcId("1@chatroom")
DEAD: dict[str, Any] = {"state": MessageState.DEAD, "verdict": "failed:dify_rejected"}
WAITS: dict[str, Any] = {"state": MessageState.RECEIVED, "verdict": ""}


async def see_group(site: Site) -> str:
    """A group that spoke; gives its page."""
    groups = site.inside.runtime.groups
    groups.note(BOT, GROUP)
    await groups.save()
    await groups.load()
    [row] = await site.inside.rows("SELECT id FROM `groups`")
    return f"/console/groups/{row['id']}"


@INSIDE_EMBEDDED
async def test_every_entry_of_the_menu_leads_to_a_page_that_works(console: StartConsole) -> None:
    """Each role sees its own; in both languages."""
    async with console() as site:
        for role in OperatorRole:
            browser = await site.operator(role)
            home = await browser.get("/console/")
            shown = set(re.findall(r'<li><a href="(/console/[a-z]*/?)"', home.text))
            assert shown == {one.path for one in ENTRIES if role.includes(one.role)}
            for path in shown:
                page = await browser.get(path)
                assert page.status == 200, (role, path, page.text)
        browser = await site.browser_of("a-admin")
        await browser.get("/console/shown?language=en&next=/console/")
        english = [await browser.get(entry.path) for entry in ENTRIES]

    for page in english:
        assert (page.status, 'lang="en"' in page.text) == (200, True)
        assert "Overview" in page.words


async def test_overview_counts_what_was_received_and_what_became_of_it(
    console: StartConsole,
) -> None:
    """On both engines: by id alone, an hour and a day."""
    async with console() as site:
        browser = await site.operator(OperatorRole.VIEWER)
        for _ in range(3):
            await say(site, ago=timedelta(minutes=5))
        await say(site, ago=timedelta(minutes=7), **DEAD)
        await say(site, ago=timedelta(minutes=8), ignored=IgnoreReason.NOT_MENTIONED)
        await say(site, ago=timedelta(minutes=9), **WAITS)
        await say(site, ago=timedelta(hours=30))
        runtime = site.inside.runtime
        gate = runtime.apps["default"].gate
        await runtime.limits.exchange("default", gate.news(), start=9, maximum=gate.maximum)
        hour = await browser.get("/console/")
        week = await browser.get("/console/?range=7d")
        odd = await browser.get("/console/?range=nonsense")

    assert "1 小时内 6 条" in hour.words
    assert "7 天内 7 条" in week.words
    assert "75.0 %" in hour.words
    assert "同时问 default 0 / 上限 9" in " ".join(hour.words.split())
    assert re.search(r"等得最久 (9:0\d|8:5\d)", hour.words)
    assert re.search(r"失败 1 可以重放", hour.words)
    assert re.findall(r"· (已回答|等待中|失败或未接受|不回答) (\d+)</title>", hour.text) != []
    assert "数据库 正常" in " ".join(hour.words.split())
    assert "1 小时内 6 条" in odd.words


@INSIDE_EMBEDDED
async def test_overview_still_tells_what_is_wrong_while_redis_is_away(
    console: StartConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at most when something is down."""
    from app.services.errors import QueueUnavailable
    from app.services.queue.redis_queue import RedisQueue

    async def away(_self: RedisQueue) -> None:
        raise QueueUnavailable("away")

    async with console() as site:
        browser = await site.operator(OperatorRole.VIEWER)
        monkeypatch.setattr(RedisQueue, "figures", away)
        home, queues = await browser.get("/console/"), await browser.get("/console/queues/")

    assert (home.status, "Redis 暂时不可用" in home.words) == (200, True)
    assert (queues.status, "Redis 暂时不可用" in queues.words) == (503, True)


# Groups --------------------------------------------------------------------------------------


async def test_rules_of_a_group_are_changed_live_and_noted(console: StartConsole) -> None:
    """The bridge's own rules follow; the audit tells from what to what."""
    async with console(GROUPS_TRIGGER="mention") as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        place = await see_group(site)
        fields = {
            "is_enabled": "on",
            "trigger": "keyword",
            "keywords": "退款\n 发票 \n\n",
            "mention_sender": "off",
            "plain_text": "on",
            "citations": "on",
            "suggestions": "on",
            "dify_app": "default",
        }
        changed = await browser.send(place, **fields)
        groups = site.inside.runtime.groups
        await groups.load()
        own = groups.settings(BOT, GROUP)
        off = await browser.send(place, is_enabled="off")
        await groups.load()
        silent = groups.settings(BOT, GROUP)
        listed = await browser.get("/console/groups/")
        deeds = await Audit(site.inside.runtime.store).newest(
            DeedChoice(action="group.change"), before=None, limit=5
        )

    assert changed.place == f"{place}?told=group_changed"
    assert (own.rules.trigger, own.rules.keywords) == ("keyword", ("退款", "发票"))
    assert (own.mention_sender, own.is_plain, own.rules.is_enabled) == (False, True, True)
    assert (own.cites, own.suggests) == (True, True)
    assert off.status == 303
    assert (silent.rules.is_enabled, silent.rules.trigger) == (False, "mention")
    assert "@ 机器人时 默认" in listed.words
    assert [(one.operator, one.before) for one in deeds][1] == ("a-operator", "(默认)")
    assert "keywords=退款,发票" in deeds[1].after


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"trigger": "prefix"}, "要写前缀"),
        ({"trigger": "keyword", "keywords": " \n "}, "要写关键词"),
        ({"trigger": "regex"}, "要写正则表达式"),
        ({"trigger": "regex", "pattern": "(?=x)"}, "不是有效的 RE2 正则表达式"),
        ({"pattern": "x" * 1001}, "最多 1000 个字符"),
        ({"prefixes": "x\n" * 51}, "最多 50 个"),
        ({"dify_app": "nobody"}, "没有这个应用"),
    ],
)
@INSIDE_EMBEDDED
async def test_rules_that_cannot_hold_are_refused_with_the_reason(
    fields: dict[str, str], problem: str, console: StartConsole
) -> None:
    """What was typed stays in the form; nothing is changed."""
    async with console() as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        place = await see_group(site)
        refused = await browser.send(place, **fields)
        [row] = await site.inside.rows("SELECT * FROM `groups`")

    assert (refused.status, problem in refused.words) == (422, True)
    assert [row[name] for name in ("trigger", "prefixes", "pattern", "dify_app")] == [None] * 4


@INSIDE_EMBEDDED
async def test_a_line_is_tried_by_the_rules_that_hold(console: StartConsole) -> None:
    """It tells why not and what to do, or what Dify would be asked; nothing is sent."""
    async with console(GROUPS_TRIGGER="mention") as site:
        browser = await site.operator(OperatorRole.VIEWER)
        place = await see_group(site)
        without = await browser.get(f"{place}?line=几点开门")
        mentioned = await browser.get(f"{place}?line=几点开门&mention=1")
        missing = await browser.get("/console/groups/999")
        rows = await site.inside.rows("SELECT id FROM messages")

    assert "没有 @ 它" in without.words
    assert "改为「每条」" in without.words
    assert "会回答 问 Dify 的是:几点开门" in mentioned.words
    assert missing.status == 404
    assert rows == []


# Talks and contacts --------------------------------------------------------------------------


@INSIDE_EMBEDDED
async def test_a_talk_shows_questions_and_answers_in_their_order(console: StartConsole) -> None:
    """What was void is left out; what failed bears its tag."""
    async with console() as site:
        browser = await site.operator(OperatorRole.VIEWER)
        await see_group(site)
        first = await say(site, "第一问", ago=timedelta(minutes=9))
        await plan(site, first, "第一答")
        await say(site, "第二问", ago=timedelta(minutes=8), **DEAD)
        third = await say(site, "第三问", ago=timedelta(minutes=7))
        await plan(site, third, "作废的", state="cancelled")
        await say(site, "别处的", group="2@chatroom")
        await say(site, ignored=IgnoreReason.NOT_MENTIONED)
        page = await browser.get("/console/talks/")
        other = await browser.get("/console/talks/?group=2@chatroom")

    places = [page.words.index(word) for word in ("第一问", "第一答", "第二问", "第三问")]
    assert places == sorted(places)
    assert "作废的" not in page.words
    assert "别处的" not in page.words
    assert "别处的" in other.words
    assert "失败" in page.words[places[1] : places[2]]


@pytest.fixture
async def contacts(console: StartConsole) -> AsyncIterator[Site]:
    """A site with two people and a group."""
    async with console() as site:
        for wc_id, name, kind in (
            ("wxid_a", "小明%", "person"),
            ("wxid_b", "小红", "person"),
            (GROUP, "产品群", "group"),
        ):
            await site.inside.execute(
                "INSERT INTO contacts (wc_id, nick_name, kind, bot_wc_id, group_id, error, failures,"
                " seen_at, user_name, remark, alias, signature, sex, country, province, city,"
                " big_avatar, small_avatar, labels, v1) VALUES (:id, :name, :kind, '', '', '', 0,"
                " '2026-01-01', '', '', '', '', 0, '', '', '', 'http://x/y.png', '', '', '')",
                id=wc_id,
                name=name,
                kind=kind,
            )
        yield site


async def test_contacts_are_found_by_name_id_and_kind(contacts: Site) -> None:
    """A sign that is a wildcard elsewhere is none here; no picture is fetched from anywhere."""
    browser = await contacts.operator(OperatorRole.VIEWER)
    found = {}
    for query in ("", "?q=小", "?q=%25", "?q=wxid_b", "?kind=group", "?q=nobody"):
        page = await browser.get(f"/console/contacts/{query}")
        found[query] = [
            name for name in ("wxid_a", "wxid_b", GROUP) if f">{name}</td>" in page.text
        ]
        assert "http://x" not in page.text

    assert found == {
        "": ["wxid_a", "wxid_b", GROUP],
        "?q=小": ["wxid_a", "wxid_b"],
        "?q=%25": ["wxid_a"],
        "?q=wxid_b": ["wxid_b"],
        "?kind=group": [GROUP],
        "?q=nobody": [],
    }


async def test_names_stand_where_ids_would(contacts: Site) -> None:
    """Also a person is found in messages by their nickname."""
    browser = await contacts.operator(OperatorRole.VIEWER)
    await say(contacts, "谁问的", person="wxid_b", name="")
    by_name = await browser.get("/console/messages/?person=小红&group=产品")

    assert "谁问的" in by_name.words
    assert "小红 产品群" in by_name.words


# Log, settings, audit ------------------------------------------------------------------------


@INSIDE_EMBEDDED
async def test_log_is_shown_by_level_and_text(console: StartConsole) -> None:
    """A traceback's lines go with an error; without a file the page says so."""
    async with console() as site:
        browser = await site.operator()
        nothing = await browser.get("/console/log/")
        path = Path(site.inside.runtime.settings.log.dir) / "app.log"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "2026-11-26 10:00:00 | INFO     | a:b:1 | [-] reply.sent\n"
            "2026-11-26 10:00:01 | WARNING  | a:b:1 | [77] dify.slow <b>\n"
            "2026-11-26 10:00:02 | ERROR    | a:b:1 | [-] message.buried\nTraceback\n",
            "utf-8",
        )
        pages = {
            query: (await browser.get(f"/console/log/{query}")).text
            for query in ("", "?level=WARNING", "?level=ERROR", "?q=77", "?level=x")
        }

    events = ("reply.sent", "dify.slow", "message.buried", "Traceback")
    assert "没有日志文件" in nothing.words
    assert {query: [one for one in events if one in text] for query, text in pages.items()} == {
        "": [*events],
        "?level=WARNING": [*events[1:]],
        "?level=ERROR": [*events[2:]],
        "?q=77": ["dify.slow"],
        "?level=x": [*events],
    }
    assert "dify.slow &lt;b&gt;" in pages[""]


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    """And its first line, which is cut, is left out."""
    path = tmp_path / "app.log"
    path.write_text("".join(f"line {n:09}\n" for n in range(100_000)), "utf-8")
    lines = read_tail(path)

    assert lines is not None
    assert lines[-1] == "line 000099999"
    assert all(len(line) == len(lines[-1]) for line in lines)
    assert MOST_LINES < len(lines) < TAIL_BYTES / 14
    assert read_tail(tmp_path / "none.log") is None


@INSIDE_EMBEDDED
async def test_settings_say_where_they_come_from_and_hide_secrets(console: StartConsole) -> None:
    """Every one is there; those that were changed can be seen alone."""
    async with console(DIFY_STREAMING_ENABLED="true") as site:
        browser = await site.operator()
        everything = await browser.get("/console/settings/")
        changed = await browser.get("/console/settings/?show=changed&q=streaming_enabled")

    assert PASSWORD not in everything.text
    assert "console.password" in everything.words
    assert "message_processing.max_retry_count" in everything.words
    assert re.search(r"dify.streaming_enabled .{1,60}true 环境变量", changed.words)
    assert "max_retry_count" not in changed.words


@INSIDE_EMBEDDED
async def test_audit_is_filtered_and_paged(console: StartConsole) -> None:
    """Newest first, twenty a page."""
    async with console() as site:
        browser = await site.operator()
        place = await see_group(site)
        await asyncio.gather(*(browser.send(place, plain_text="on") for _ in range(22)))
        first = await browser.get("/console/audit/?action=group.change")
        following = re.search(r'rel="next" href="([^"]+)"', first.text)
        assert following is not None
        second = await browser.get(following[1].replace("&amp;", "&"))
        nobody = await browser.get("/console/audit/?operator=nobody")
        logins = await browser.get("/console/audit/?action=session.open")

    assert [page.text.count("<td") // 6 for page in (first, second)] == [20, 2]
    assert "没有记录" in nobody.words
    assert "127.0.0.1" in logins.words
