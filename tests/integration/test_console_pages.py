"""The console's pages over HTTP: what they show, what they change, and what nobody can make them do."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import pytest

from app.console.reading import messages
from app.console.replays import JobState
from app.models.flow import IgnoreReason, MessageId, WcId
from app.models.message import MessageState
from app.models.roles import OperatorRole
from app.services.audit import Audit, DeedChoice
from app.services.queue.protocol import Entry
from app.services.stages import utc_now
from tests.fixtures.console import Browser, Site, StartConsole, plan, say
from tests.fixtures.inside import INSIDE_EMBEDDED

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
DEAD: dict[str, Any] = {
    "state": MessageState.DEAD,
    "verdict": "failed:dify_rejected",
    "error": "dify_rejected: 401",
}
FRAGMENT = {"X-Fragment": "1"}


def ids_of(page: str) -> list[str]:
    """The messages that a list shows, in its order."""
    return re.findall(r'<tr data-open="/console/messages/(\d+)"', page)


async def deeds(site: Site, action: str) -> list[tuple[str, str]]:
    """Operator and subject of the kept deeds of one kind, newest first."""
    found = await Audit(site.inside.runtime.store).newest(
        DeedChoice(action=action), before=None, limit=50
    )
    return [(one.operator, one.subject) for one in found]


# Messages ------------------------------------------------------------------------------------


async def test_messages_are_found_by_each_filter_and_by_all_together(console: StartConsole) -> None:
    """Text, person, group, state, verdict, range, our id and the gateway's."""
    async with console() as site:
        browser = await site.operator(OperatorRole.VIEWER)
        plain = await say(site, "退款 100% 到账了吗")
        dead = await say(site, "几点开门", person="wxid_b", group="2@chatroom", **DEAD)
        quiet = await say(site, ignored=IgnoreReason.NOT_MENTIONED)
        old = await say(site, "几点开门", ago=timedelta(days=3))
        key = (await site.inside.rows(f"SELECT dedupe_key AS k FROM messages WHERE id = {dead}"))[
            0
        ]["k"]
        await site.inside.execute(
            "INSERT INTO accounts (wc_id, w_id, w_id_time, w_id_source, refused_w_id, state, since) "
            "SELECT bot_wc_id, '', 0, '', '', 'online', received_at FROM messages WHERE id = :id",
            id=plain,
        )
        asked = {
            "": [dead, plain, quiet],
            "?q=100%25": [plain],
            "?q=100_": [],
            "?person=wxid_b": [dead],
            "?group=2@chatroom": [dead],
            "?state=dead": [dead],
            "?state=ignored": [quiet],
            "?verdict=answered": [plain],
            "?range=7d&q=几点": [dead, old],
            f"?id={old}": [old],
            f"?id={key}": [dead],
            "?id=nonsense&state=x&range=y&before=z": [],
            "?state=dead&verdict=answered": [],
        }
        found = {
            query: ids_of((await browser.get(f"/console/messages/{query}")).text) for query in asked
        }

    assert {query: set(ids) for query, ids in found.items()} == {
        query: {str(one) for one in ids} for query, ids in asked.items()
    }


async def test_list_is_paged_by_id_without_gap_or_repetition(console: StartConsole) -> None:
    """Twenty a page, newest first; what comes in meanwhile does not shift the pages."""
    async with console() as site:
        browser = await site.operator(OperatorRole.VIEWER)
        said = [await say(site, ago=timedelta(minutes=n)) for n in range(45)]
        shown: list[str] = []
        place = "/console/messages/"
        while place:
            page = await browser.get(place)
            await say(site, ago=timedelta(0))
            shown += ids_of(page.text)
            following = re.search(r'rel="next" href="([^"]+)"', page.text)
            place = following[1].replace("&amp;", "&") if following else ""

    assert shown == [str(one) for one in said]


@INSIDE_EMBEDDED
async def test_a_search_says_how_far_back_it_has_looked_and_goes_on_from_there(
    console: StartConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no index finds is looked for a stretch at a time; the last page says that there is no more."""
    monkeypatch.setattr(messages, "MOST_SEEN", 2)
    async with console() as site:
        browser = await site.operator(OperatorRole.VIEWER)
        rare = await say(site, "发票抬头", ago=timedelta(hours=3))
        for number in range(4):
            await say(site, "几点开门", ago=timedelta(hours=2, minutes=-number))
        pages = [await browser.get("/console/messages/?q=发票")]
        while following := re.search(r'rel="next" href="([^"]+)"', pages[-1].text):
            pages.append(await browser.get(following[1].replace("&amp;", "&")))

    assert "到这里为止没有符合条件的" in pages[0].words
    assert ["已往前找到" in page.words for page in pages] == [True, False]
    assert [ids_of(page.text) for page in pages] == [[], [str(rare)]]
    assert "没有更早的了" in pages[-1].words


@INSIDE_EMBEDDED
async def test_drawer_tells_why_what_next_and_the_whole_way(console: StartConsole) -> None:
    """With stations in milliseconds, segments and neighbours; ids are whole."""
    async with console() as site:
        browser = await site.operator(OperatorRole.VIEWER)
        before = await say(site, "前一句", ago=timedelta(minutes=6))
        failed = await say(site, "为什么不回答", **DEAD)
        quiet = await say(site, ignored=IgnoreReason.NOT_MENTIONED)
        await plan(site, before, "第一段", "第二段")
        dead = await browser.get(f"/console/messages/{failed}", **FRAGMENT)
        ignored = await browser.get(f"/console/messages/{quiet}", **FRAGMENT)
        answered = await browser.get(f"/console/messages/{before}")
        missing = await browser.get("/console/messages/1", **FRAGMENT)

    assert "Dify 拒绝回答" in dead.words
    assert "在 Dify 里检查应用的密钥" in dead.words
    assert "收到回调 0 ms" in dead.words
    assert f"/console/messages/{before}" in dead.text
    assert "没有 @ 它" in ignored.words
    assert "改为「每条」" in ignored.words
    assert [one in answered.words for one in ("发送第 1 段", "发送第 2 段", "第二段")] == [True] * 3
    assert not dead.text.startswith("<!doctype")
    assert answered.text.startswith("<!doctype")
    assert missing.status == 404


@INSIDE_EMBEDDED
async def test_what_anybody_wrote_is_text_on_every_page(console: StartConsole) -> None:
    """Names, messages, answers, errors, and what stands in the address."""
    async with console() as site:
        browser = await site.operator()
        one = await say(
            site,
            HOSTILE,
            name=HOSTILE,
            person=f"wxid_{HOSTILE}",
            **{**DEAD, "error": HOSTILE, "raw": HOSTILE},
        )
        await plan(site, one, HOSTILE)
        await site.inside.execute(
            "INSERT INTO contacts (wc_id, nick_name, kind, bot_wc_id, group_id, error, failures, seen_at,"
            " user_name, remark, alias, signature, sex, country, province, city, big_avatar, small_avatar, labels, v1)"
            " VALUES ('1@chatroom', :name, 'group', '', '', '', 0, '2026-01-01', '', '', '', '', 0, '', '', '', '', '', '', '')",
            name=HOSTILE,
        )
        paths = [
            "/console/messages/",
            f"/console/messages/{one}",
            f"/console/messages/?q={HOSTILE}&person={HOSTILE}",
            "/console/failures/",
            f"/console/failures/?cause={HOSTILE}",
            "/console/",
            f"/console/?told={HOSTILE}",
            f"/console/queues/?user={HOSTILE}",
            f"/console/login?next=/console/{HOSTILE}",
        ]
        pages = [await browser.get(path) for path in paths]

    assert [page.status for page in pages] == [200] * len(pages)
    for page in pages:
        assert "<script>alert" not in page.text, page
        assert "<img src=x" not in page.text, page
    assert "alert(&#39;x&#39;)" in pages[0].text


@INSIDE_EMBEDDED
async def test_empty_pages_say_what_will_be_there(console: StartConsole) -> None:
    """A newcomer sees no empty table."""
    async with console() as site:
        browser = await site.operator()
        pages = [
            await browser.get(f"/console{path}")
            for path in ("/messages/", "/failures/", "/queues/")
        ]

    assert [
        one in page.words
        for page, one in zip(
            pages, ("最近 24 小时没有消息", "这段时间没有失败", "没有人在等"), strict=True
        )
    ] == [True] * 3


# Failures ------------------------------------------------------------------------------------


async def replayed(browser: Browser, answer_place: str) -> str:
    """The page of a replay when it is over."""
    async with asyncio.timeout(20):
        while True:
            page = await browser.get(answer_place, **FRAGMENT)
            if "data-running" not in page.text:
                return page.words
            await asyncio.sleep(0.02)


async def test_a_cause_is_replayed_after_an_estimate_and_leaves_its_trace(
    console: StartConsole,
) -> None:
    """Others stay; the audit tells who; those replayed wait again under their ids."""
    async with console() as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        dead = [await say(site, **DEAD) for _ in range(3)]
        other = await say(site, **{**DEAD, "verdict": "failed:crashed"})
        page = await browser.get("/console/failures/")
        until = re.search(r'name="until" value="([^"]+)"', page.text)
        assert until is not None
        fields = {"cause": "dify_rejected", "since": "", "until": until[1]}
        estimate = await browser.send("/console/failures/estimate", **fields)
        untouched = await site.inside.rows("SELECT id FROM messages WHERE state = 'received'")
        started = await browser.send("/console/failures/replay", **fields)
        told = await replayed(browser, started.place)
        rows = await site.inside.rows("SELECT id, state FROM messages ORDER BY id")
        traces = await deeds(site, "failures.replay")

    assert re.search(r"会重放 3 1 个人", estimate.words)
    assert untouched == []
    assert "已重放 3 条" in told
    assert {row["id"] for row in rows if row["state"] == "received"} == set(dead)
    assert {row["id"] for row in rows if row["state"] == "dead"} == {other}
    assert traces == [("a-operator", "3 条")]


@INSIDE_EMBEDDED
async def test_one_is_replayed_by_name_and_nothing_twice(console: StartConsole) -> None:
    """A second click finds nothing to do; nothing chosen changes nothing."""
    async with console() as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        one = await say(site, **DEAD)
        first = await browser.send("/console/failures/replay", id=str(one))
        await replayed(browser, first.place)
        second = await browser.send("/console/failures/replay", id=str(one))
        nothing = await browser.send("/console/failures/replay")

    assert second.place.endswith("told=nothing_to_replay")
    assert nothing.place.endswith("told=nothing_chosen")


@INSIDE_EMBEDDED
async def test_a_replay_is_cancelled_and_the_rest_stays_as_it_was(console: StartConsole) -> None:
    """What was replayed stays so."""
    async with console() as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        dead = [await say(site, **DEAD) for _ in range(300)]
        started = await browser.send(
            "/console/failures/replay", *(("id", str(one)) for one in dead)
        )
        cancelled = await browser.send(f"{started.place}/cancel")
        told = await replayed(browser, started.place)
        left = await site.inside.rows("SELECT id FROM messages WHERE state = 'dead'")

    assert cancelled.status == 303
    assert "已取消" in told
    assert 0 < len(left) < len(dead)
    assert JobState.CANCELLED


# Queues --------------------------------------------------------------------------------------


async def enqueued(site: Site, user: str, count: int) -> list[MessageId]:
    """Messages that wait, in SQL and in the index."""
    waiting: dict[str, Any] = {"state": MessageState.RECEIVED, "verdict": ""}
    ids = [
        await say(site, f"第 {n} 句", person=user, ago=timedelta(minutes=9 - n), **waiting)
        for n in range(count)
    ]
    rows = await site.inside.rows("SELECT id, bot_wc_id, dedupe_key FROM messages ORDER BY id")
    entries = [
        Entry(
            user=WcId(user),
            message_id=MessageId(row["id"]),
            bot_wc_id=WcId(row["bot_wc_id"]),
            dedupe_key=row["dedupe_key"],
        )
        for row in rows
        if row["id"] in ids
    ]
    queue = site.inside.runtime.queue
    assert await queue.begin_rebuild("test", seconds=30)
    assert await queue.finish_rebuild("test", "epoch")
    await queue.enqueue(entries, user_bound=0, all_bound=0)
    return ids


async def test_an_answer_is_taken_back_from_its_page_and_the_deed_is_kept(
    console: StartConsole,
) -> None:
    """Within two minutes, by whoever may; a later one is said to be too old."""
    ids = {"msg_id": "7", "new_msg_id": "8", "created_time": 9}
    async with console() as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        viewer = await site.operator(OperatorRole.VIEWER)
        fresh, old = await say(site), await say(site)
        await plan(site, fresh, "甲", "乙", **ids)
        await plan(site, old, "丙", **ids, sent_at=utc_now() - timedelta(minutes=3))
        pages = [
            (await who.get(f"/console/messages/{one}")).words
            for who, one in ((browser, fresh), (viewer, fresh), (browser, old))
        ]
        taken = await browser.send(f"/console/messages/{fresh}/recall")
        late = await browser.send(f"/console/messages/{old}/recall")
        refused = await viewer.send(f"/console/messages/{fresh}/recall")
        rows = await site.inside.rows("SELECT content, state FROM segments ORDER BY content")
        kept = await deeds(site, "answer.recall")

    assert ["从群里撤回回答" in page for page in pages] == [True, False, False]
    assert taken.place == f"/console/messages/{fresh}?told=recalling"
    assert late.place == f"/console/messages/{old}?told=nothing_to_recall"
    assert refused.status == 403
    assert {row["content"]: row["state"] for row in rows} == {
        "甲": "recalling",
        "乙": "recalling",
        "丙": "sent",
    }
    assert [subject for _, subject in kept] == [str(old), str(fresh)]


async def test_a_queue_is_cleared_and_nothing_is_lost(console: StartConsole) -> None:
    """Only with the id typed; what is in hand stays, the rest are dead letters that can be replayed."""
    async with console() as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        held, *others = await enqueued(site, "wxid_person", 4)
        queue = site.inside.runtime.queue
        [claim] = (await queue.claim(limit=1, may_take_suspect=False)).claims
        page = await browser.get("/console/queues/wxid_person")
        listed = await browser.get("/console/queues/")
        wrong = await browser.send("/console/queues/wxid_person/clear", typed="wxid")
        still = await queue.depths([WcId("wxid_person")])
        done = await browser.send("/console/queues/wxid_person/clear", typed="wxid_person")
        rows = await site.inside.rows("SELECT id, state, verdict FROM messages ORDER BY id")
        depth = await queue.depths([WcId("wxid_person")])
        figures = await queue.figures()
        failures = await browser.get("/console/failures/")
        traces = await deeds(site, "queue.clear")

    assert claim.message_id == held
    assert "租约剩" in page.words
    assert "LRANGE" in page.words
    assert "wxid_person" in listed.text
    assert (wrong.place.endswith("told=not_typed"), still) == (True, [4])
    assert done.status == 303
    assert [(row["id"], row["state"]) for row in rows] == [
        (held, "received"),
        *((one, "dead") for one in others),
    ]
    assert {row["verdict"] for row in rows[1:]} == {"failed:cleared"}
    assert (depth, figures.waiting) == ([1], 1)
    assert "队列被清空" in failures.words
    assert traces == [("a-operator", "wxid_person")]


@INSIDE_EMBEDDED
async def test_a_lease_is_taken_back_only_if_it_is_the_one_that_was_shown(
    console: StartConsole,
) -> None:
    """The next claim gets the same message under a new lease."""
    async with console() as site:
        browser = await site.operator(OperatorRole.OPERATOR)
        [one] = await enqueued(site, "wxid_person", 1)
        queue = site.inside.runtime.queue
        await queue.claim(limit=1, may_take_suspect=False)
        page = await browser.get("/console/queues/wxid_person")
        token = re.search(r'name="lease" value="([^"]+)"', page.text)
        assert token is not None
        other = await browser.send("/console/queues/wxid_person/lease", lease="1:nobody:2")
        freed = await browser.send("/console/queues/wxid_person/lease", lease=token[1])
        [again] = (await queue.claim(limit=1, may_take_suspect=False)).claims

    assert other.place.endswith("told=lease_gone")
    assert freed.place.endswith("told=lease_freed")
    assert again.message_id == one
