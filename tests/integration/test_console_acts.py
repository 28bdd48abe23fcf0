"""What operators do in the console beside replays and rules: pausing, muting, resetting, exporting."""

import asyncio
import csv
import io
from datetime import datetime, timedelta
from pathlib import Path

from app.models.flow import WcId
from app.models.pause import PauseKind
from app.models.roles import OperatorRole
from app.services.contact_rows import Seen
from app.services.ecloud.cards import ContactCard
from app.services.pauses import PauseTable
from app.services.stages import utc_now
from tests.fixtures.console import Answer, Site, StartConsole, say
from tests.fixtures.inside import INSIDE_EMBEDDED
from tests.integration.test_console_pages import FRAGMENT, deeds

# Pauses --------------------------------------------------------------------------------------


async def pauses(site: Site) -> list[tuple[str, str]]:
    """What is paused, out of SQL."""
    found = await PauseTable(site.inside.runtime.store).read()
    return [(one.kind.value, one.subject) for one in found.lasting]


@INSIDE_EMBEDDED
async def test_a_switch_is_confirmed_shown_on_every_page_and_kept_in_the_audit(
    console: StartConsole,
) -> None:
    """Who looks sees it, too, and cannot lift it."""
    async with console() as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        viewer = await site.operator(OperatorRole.VIEWER)
        question = await operator.get("/console/pauses/sending")
        before = await pauses(site)
        paused = await operator.post("/console/pauses/sending/pause", token=question.token)
        bars = [(await viewer.get(f"/console/{page}")).words for page in ("", "talks/", "password")]
        live = await viewer.get("/console/pauses/", **FRAGMENT)
        overview = await operator.get("/console/")
        refused = await viewer.send("/console/pauses/sending/resume")
        still = await pauses(site)
        resumed = await operator.send("/console/pauses/sending/resume", next="/console/talks/")
        after = await pauses(site)
        kept = [*await deeds(site, "pause.begin"), *await deeds(site, "pause.end")]

    assert "写好的回答等着" in question.words
    assert before == []
    assert paused.place == "/console/?told=paused"
    assert ["发送已暂停" in words and "a-operator" in words for words in bars] == [True] * 3
    assert "恢复" not in bars[0]
    assert "发送已暂停" in live.words
    assert "已暂停" in overview.words
    assert (refused.status, still) == (403, [("sending", "")])
    assert (resumed.place, after) == ("/console/talks/?told=resumed", [])
    assert kept == [("a-operator", "sending")] * 2


@INSIDE_EMBEDDED
async def test_only_what_there_is_can_be_paused(console: StartConsole) -> None:
    """And nobody is led away from the console."""
    async with console() as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        unknown = [
            (await operator.get("/console/pauses/user")).status,
            (await operator.send("/console/pauses/everything/pause")).status,
        ]
        forged = await operator.post("/console/pauses/taking/pause", token="no")
        led = await operator.send("/console/pauses/taking/pause", next="//elsewhere.example/")
        lasting = await pauses(site)

    assert unknown == [404, 404]
    assert forged.status == 403
    assert led.place == "/console/?told=paused"
    assert lasting == [("taking", "")]


@INSIDE_EMBEDDED
async def test_a_person_is_paused_by_name_and_shown_until_resumed(console: StartConsole) -> None:
    """Also one of whom nothing waits; a group is no person."""
    async with console() as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        await say(site, person="wxid_ming")
        odd = [
            (await operator.send("/console/queues/pause", user=user)).place
            for user in ("", "1@chatroom", "x" * 129, "a\tb")
        ]
        done = await operator.send("/console/queues/pause", user=" wxid_ming ")
        page = await operator.get("/console/queues/")
        lasting = await pauses(site)
        resumed = await operator.send("/console/queues/resume", user="wxid_ming")
        left = await pauses(site)
        kept = [*await deeds(site, "queue.pause"), *await deeds(site, "queue.resume")]

    assert odd == ["/console/queues/?told=no_person"] * 4
    assert done.place == "/console/queues/?told=person_paused"
    assert 'value="wxid_ming"' in page.text
    assert lasting == [(PauseKind.USER.value, "wxid_ming")]
    assert (resumed.place, left) == ("/console/queues/?told=person_resumed", [])
    assert kept == [("a-operator", "wxid_ming")] * 2


# Talks ---------------------------------------------------------------------------------------

GROUP = "1@chatroom"


async def see_group(site: Site) -> None:
    """As if somebody had spoken there."""
    await site.inside.execute(
        "INSERT INTO `groups` (bot_wc_id, group_id, first_seen_at) VALUES ('wxid_bot', :group, :now)",
        group=GROUP,
        now=utc_now().replace(tzinfo=None),
    )


@INSIDE_EMBEDDED
async def test_a_muted_group_is_told_and_its_questions_have_a_verdict_of_their_own(
    console: StartConsole,
) -> None:
    """And the page says how to end it."""
    async with console() as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        await say(site)
        await see_group(site)
        odd = [
            (await operator.send("/console/talks/mute", group=group, minutes=minutes)).place
            for group, minutes in ((GROUP, "7"), (GROUP, "x"), ("", "10"), ("9@chatroom", "10"))
        ]
        muted = await operator.send("/console/talks/mute", group=GROUP, minutes="30")
        page = await operator.get(f"/console/talks/?group={GROUP}")
        rules = site.inside.runtime.groups.settings(WcId("wxid_bot"), WcId(GROUP)).rules
        tried = await operator.get("/console/groups/1?line=几点开门")
        listed = await operator.get("/console/groups/")
        unmuted = await operator.send("/console/talks/mute", group=GROUP, minutes="0")
        after = await operator.get(f"/console/talks/?group={GROUP}")
        listed_after = await operator.get("/console/groups/")
        tried_after = await operator.get("/console/groups/1?line=几点开门")
        kept = await deeds(site, "group.mute")

    assert odd == ["/console/talks/?told=no_group"] * 4
    assert muted.place == "/console/talks/?group=1%40chatroom&told=muted"
    assert "静音到" in page.words
    assert 29 * 60 < rules.muted_until - utc_now().timestamp() <= 30 * 60
    assert "操作员让机器人在这个群里静音" in tried.words
    assert ["静音" in page.words for page in (listed, listed_after)] == [True, False]
    assert unmuted.place.endswith("told=unmuted")
    assert "静音到" not in after.words
    assert "会回答" in tried_after.words
    assert kept == [("a-operator", GROUP)] * 2


@INSIDE_EMBEDDED
async def test_a_conversation_is_reset_for_one_person_or_for_all(console: StartConsole) -> None:
    """The others go on; a form that waits is given up."""
    async with console() as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        for person in ("wxid_a", "wxid_b"):
            await site.inside.execute(
                "INSERT INTO sessions (app, bot_wc_id, group_id, from_user, conversation_id, updated_at)"
                " VALUES ('default', 'wxid_bot', :group, :person, 'c-1', :now)",
                group=GROUP,
                person=person,
                now=utc_now().replace(tzinfo=None),
            )
        one = await operator.send("/console/talks/reset", group=GROUP, user="wxid_a")
        left = await sessions(site)
        again = await operator.send("/console/talks/reset", group=GROUP, user="wxid_a")
        every = await operator.send("/console/talks/reset", group=GROUP)
        none = await operator.send("/console/talks/reset", group="")
        gone = await sessions(site)
        kept = await deeds(site, "conversation.reset")

    assert one.place.endswith("told=talk_reset")
    assert left == [("wxid_a", ""), ("wxid_b", "c-1")]
    assert again.place.endswith("told=talk_new")
    assert every.place.endswith("told=talk_reset")
    assert none.place.endswith("told=no_group")
    assert gone == [("wxid_a", ""), ("wxid_b", "")]
    assert [subject for _, subject in kept] == [GROUP, "wxid_a", "wxid_a"]


async def sessions(site: Site) -> list[tuple[str, str]]:
    """Whose next question goes on with which conversation."""
    found = await site.inside.rows("SELECT from_user, conversation_id FROM sessions ORDER BY 1")
    return [(row["from_user"], row["conversation_id"]) for row in found]


# Exports -------------------------------------------------------------------------------------


def table(answer: Answer) -> list[dict[str, str]]:
    """A downloaded CSV."""
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))


async def test_messages_are_exported_as_the_list_is_filtered(console: StartConsole) -> None:
    """All pages of it, oldest first; no cell is computed by a spreadsheet."""
    async with console() as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        viewer = await site.operator(OperatorRole.VIEWER)
        said = [await say(site, f"第 {n} 句", ago=timedelta(minutes=n)) for n in range(45, 0, -1)]
        formula = await say(site, "=1+1", person="wxid_b", ago=timedelta(seconds=1))
        old = await say(site, "以前", ago=timedelta(days=3))
        token = (await operator.get("/console/messages/")).token
        every = await operator.post("/console/messages/export", token=token)
        week = await operator.post("/console/messages/export", token=token, range="7d", q="以前")
        one = await operator.post("/console/messages/export", token=token, id=str(old))
        computed = await operator.post("/console/messages/export", token=token, person="wxid_b")
        none = await operator.post("/console/messages/export", token=token, q="没有这句")
        refused = await viewer.send("/console/messages/export")
        audit = await site.inside.rows(
            "SELECT `after` AS a FROM audit_log WHERE action = 'export.messages' ORDER BY id"
        )

    assert [row["id"] for row in table(every)] == [str(one) for one in (*said, formula)]
    assert [row["id"] for row in table(week)] == [str(old)]
    assert [row["id"] for row in table(one)] == [str(old)]
    assert [row["text"] for row in table(computed)] == ["'=1+1"]
    assert table(none) == []
    assert refused.status == 403
    assert 'filename="messages-' in every.headers["Content-Disposition"]
    assert [row["a"] for row in audit][1:3] == ["range=7d q=…", "range=24h id=…"]


@INSIDE_EMBEDDED
async def test_the_audit_is_exported_for_those_who_may_read_it(console: StartConsole) -> None:
    """With its filter; the export itself is a deed."""
    async with console() as site:
        admin = await site.operator()
        operator = await site.operator(OperatorRole.OPERATOR)
        await operator.send("/console/pauses/taking/pause")
        token = (await admin.get("/console/audit/")).token
        every = table(await admin.post("/console/audit/export", token=token))
        pauses_only = table(
            await admin.post("/console/audit/export", token=token, action="pause.begin")
        )
        refused = await operator.send("/console/audit/export")

    assert every[0]["action"] == "export.audit"
    assert [(row["operator"], row["subject"]) for row in pauses_only] == [("a-operator", "taking")]
    assert refused.status == 403


@INSIDE_EMBEDDED
async def test_a_talk_is_exported_with_questions_and_answers(
    console: StartConsole,
) -> None:
    """Of that group alone."""
    async with console(works=True) as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        await site.inside.hear("几点 [[text=九点]]")
        await site.inside.hear("几点 [[text=十点]]", fromGroup="999@chatroom")
        rows = await site.inside.until_settled(1)
        group = rows[0]["group_id"]
        found = table(await operator.send("/console/talks/export", group=group, range="7d"))
        kept = await deeds(site, "export.talk")

    assert [(row["question"].split()[0], row["answer"]) for row in found] == [("几点", "九点")]
    assert kept == [("a-operator", group)]


# Log -----------------------------------------------------------------------------------------


@INSIDE_EMBEDDED
async def test_the_part_of_the_log_that_fits_is_downloaded_whole(console: StartConsole) -> None:
    """More than the page shows, across blocks; who did is in the audit."""
    async with console() as site:
        admin = await site.operator()
        operator = await site.operator(OperatorRole.OPERATOR)
        missing = await admin.send("/console/log/download")
        path = Path(site.inside.runtime.settings.log.dir) / "app.log"
        path.parent.mkdir(exist_ok=True)
        line = "2026-11-26 10:00:00 | {level} | a:b:1 | [{n}] event.{n} " + "x" * 200 + "\n"
        levels = ("INFO    ", "WARNING ")
        path.write_text(
            "".join(line.format(n=n, level=levels[n % 2]) for n in range(9000)), "utf-8"
        )
        every = await admin.send("/console/log/download", level="INFO")
        warnings = await admin.send("/console/log/download", level="WARNING", q="event.8")
        refused = await operator.send("/console/log/download")
        kept = await deeds(site, "log.download")

    wanted = [n for n in range(9000) if n % 2 and str(n).startswith("8")]
    assert missing.place == "/console/log/?told=no_log"
    assert len(every.text) > 1024 * 1024
    assert len(every.text.splitlines()) == 9000
    assert [int(one.split("[")[1].split("]")[0]) for one in warnings.text.splitlines()] == wanted
    assert 'filename="app-' in every.headers["Content-Disposition"]
    assert refused.status == 403
    assert kept == [("a-admin", "app.log")] * 2


@INSIDE_EMBEDDED
async def test_a_message_shows_its_lines_of_all_processes_to_those_who_may_read_logs(
    console: StartConsole,
) -> None:
    """In their order; nobody else's line, and no error twice."""
    async with console() as site:
        admin = await site.operator()
        viewer = await site.operator(OperatorRole.VIEWER)
        one = await say(site)
        folder = Path(site.inside.runtime.settings.log.dir)
        folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - a file of the test
        for name, second, event in (
            ("app-api", 1, "callback.accepted"),
            ("app-worker", 2, "message.failed"),
            ("app-worker_error", 2, "message.failed"),
        ):
            (folder / f"{name}.log").write_text(
                f"2026-11-26 10:00:0{second} | INFO | a | [{one}] {event} <b>\n"
                f"2026-11-26 10:00:0{second} | INFO | a | [{one}9] somebody.else\n",
                "utf-8",
            )
        shown = await admin.get(f"/console/messages/{one}")
        hidden = await viewer.get(f"/console/messages/{one}")

    assert "这条消息的日志 (2)" in shown.words
    assert shown.text.index("callback.accepted &lt;b&gt;") < shown.text.index("message.failed")
    assert "somebody.else" not in shown.text
    assert "这条消息的日志" not in hidden.words


# Contacts ------------------------------------------------------------------------------------


async def know(site: Site, *wc_ids: str, kind: str = "person") -> None:
    """Contacts that were looked up long ago."""
    for wc_id in wc_ids:
        await site.inside.execute(
            "INSERT INTO contacts (wc_id, nick_name, user_name, remark, alias, signature, sex, country,"
            " province, city, big_avatar, small_avatar, labels, v1, kind, bot_wc_id, group_id, error,"
            " failures, seen_at, fetched_at) VALUES (:wc_id, :wc_id, '', '', '', '', 0, '', '', '', '',"
            " '', '', '', :kind, 'wxid_bot', '', '', 0, :now, :now)",
            wc_id=wc_id,
            kind=kind,
            now=datetime(2026, 1, 1),  # noqa: DTZ001 - as the table holds it
        )


async def test_contacts_are_refreshed_with_progress_and_what_is_left_is_cancelled(
    console: StartConsole,
) -> None:
    """Only those of the list; a newcomer goes before all of them; a second start joins the first."""
    async with console() as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        viewer = await site.operator(OperatorRole.VIEWER)
        await know(site, *(f"wxid_{n}" for n in range(5)))
        await know(site, "7@chatroom", kind="group")
        token = (await operator.get("/console/contacts/")).token
        nothing = await viewer.get("/console/contacts/refresh")
        none = await operator.post("/console/contacts/refresh", token=token, q="nobody")
        begun = await operator.post("/console/contacts/refresh", token=token, kind="person")
        again = await operator.post("/console/contacts/refresh", token=token)
        contacts = site.inside.runtime.contacts
        contacts.note(Seen(WcId("wxid_bot"), WcId("8@chatroom"), WcId("wxid_new")))
        await contacts.flush()
        wanted = await contacts.wanted(limit=20)
        cards = [
            ContactCard(wc_id=one.wc_id, kind=one.kind)  # type: ignore[arg-type]
            for one in wanted[2:4]
        ]
        await contacts.save(cards)
        await contacts.postpone(wanted[4:5], error="no")
        half = await viewer.get("/console/contacts/refresh", **FRAGMENT)
        cancelled = await operator.post("/console/contacts/refresh/cancel", token=token)
        after = await viewer.get("/console/contacts/refresh", **FRAGMENT)
        due = {one.wc_id for one in await contacts.wanted(limit=20)}
        kept = [*await deeds(site, "contacts.refresh"), *await deeds(site, "contacts.cancel")]

    assert nothing.status == 404
    assert none.place.endswith("told=nothing_to_refresh")
    assert begun.place == again.place == "/console/contacts/refresh"
    assert [one.wc_id for one in wanted[:2]] == ["8@chatroom", "wxid_new"]
    assert {one.wc_id for one in wanted[2:]} == {f"wxid_{n}" for n in range(5)}
    assert ("进行中 3 / 5" in half.words, 'value="3"' in half.text) == (True, True)
    assert cancelled.place == "/console/contacts/refresh"
    assert "已取消,其余没有动 3 / 5" in after.words
    assert due == {"8@chatroom", "wxid_new"}
    assert len(kept) == 2


@INSIDE_EMBEDDED
async def test_a_refresh_goes_on_by_itself_until_all_is_looked_up(console: StartConsole) -> None:
    """By the keeper, from the gateway."""
    async with console(works=True) as site:
        operator = await site.operator(OperatorRole.OPERATOR)
        await site.inside.hear("几点 [[text=九点]]")
        await site.inside.until_rows(
            "SELECT 1 FROM contacts WHERE kind = 'person' AND fetched_at IS NOT NULL"
        )
        await site.inside.execute("UPDATE contacts SET nick_name = 'old', next_fetch_at = NULL")
        await operator.send("/console/contacts/refresh", kind="person")
        await site.inside.until_rows(
            "SELECT 1 FROM contacts WHERE kind = 'person' AND nick_name <> 'old'"
        )
        async with asyncio.timeout(20):
            while True:
                page = await operator.get("/console/contacts/refresh", **FRAGMENT)
                if "已完成 1 / 1" in page.words:
                    break
                await asyncio.sleep(0.05)

    assert "data-running" not in page.text
