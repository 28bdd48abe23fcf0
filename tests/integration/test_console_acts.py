"""What operators do in the console beside replays and rules: pausing, muting, resetting, exporting."""

from app.models.pause import PauseKind
from app.models.roles import OperatorRole
from app.services.pauses import PauseTable
from tests.fixtures.console import Site, StartConsole, say
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
