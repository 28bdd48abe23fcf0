"""What somebody wrote, or put into an address, never becomes a part of any page of the console."""

import asyncio
import json
import re
from html.parser import HTMLParser
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from typing_extensions import override

from app.console.entry_form import ACCOUNTS, APPS
from app.console.gate import Anyone, Page
from app.console.pages import events
from app.console.pages.wizard import STEPS
from app.console.site import PAGES
from app.console.visit import SESSION_COOKIE
from app.models.flow import WcId
from app.models.message import MessageState
from app.models.roles import OperatorRole
from app.services.audit import Audit, Deed
from app.services.operators import Operators
from app.services.queue.protocol import Entry
from tests.fixtures.console import Browser, Site, StartConsole, plan, say
from tests.fixtures.inside import INSIDE_EMBEDDED

#: Breaks out of text, of an attribute in either kind of quotes, of a script, and of an address.
HOSTILE = "</script><evil>'\" evil=1 onload=evil()><img src=x onerror=evil()>javascript:evil()"
#: Parameters that a page may read out of its address.
ASKED = [
    "q",
    "person",
    "group",
    "user",
    "state",
    "verdict",
    "id",
    "range",
    "before",
    "page",
    "kind",
    "operator",
    "action",
    "level",
    "cause",
    "told",
    "next",
    "line",
    "mention",
    "changed",
    "language",
    "theme",
    "since",
    "until",
    "show",
]
#: Fields that a form may have, beside those that a setting or an entry of a list has.
FIELDS = [
    "name",
    "password",
    "old",
    "new",
    "again",
    "next",
    "typed",
    "lease",
    "trigger",
    "prefixes",
    "keywords",
    "pattern",
    "dify_app",
    "cause",
    "since",
    "until",
    "user",
    "id",
    "ask_again",
    "line",
    "anyway",
    "resend_unknown",
    "group",
    "minutes",
    "range",
    "q",
    "kind",
    "operator",
    "action",
    "level",
    "state",
    "verdict",
    "person",
    "value",
    "base_url",
    *(name for kind in (ACCOUNTS, APPS) for name in (kind.secret, *kind.texts)),
    *(name for kind in (ACCOUNTS, APPS) for name in (*kind.switches, *kind.choices)),
    *(name for step in STEPS for name in step.names),
]
#: What else stands in a path, by its parameter: a switch, a setting of each shape, a step, an entry.
PLACES = {
    "{kind}": ("taking",),
    "{name}": ("reply.max_length", "groups.prefixes", "dify.api_key", "groups.trigger"),
    "{step}": (*(step.key for step in STEPS), "done"),
    "{entry}": ("+", "other"),
}
#: One further login and one further app; nobody is at home anywhere.
CONFIG = {
    "ecloud": {
        "base_url": "http://127.0.0.1:9",
        "authorization": "one",
        "accounts": [{"name": "other", "base_url": "http://127.0.0.1:9", "authorization": "two"}],
    },
    "dify": {
        "base_url": "http://127.0.0.1:9/v1",
        "api_key": "one",
        "apps": [{"name": "other", "base_url": "http://127.0.0.1:9/v1", "api_key": "two"}],
    },
}


class Parsed(HTMLParser):
    """What a browser makes of a page: its elements and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    @property
    def evils(self) -> list[str]:
        """Elements that somebody else has made, or has given something to run."""
        return [
            f"<{tag} {attributes}>"
            for tag, attributes in self.elements
            if tag == "evil"
            or any(name == "evil" or name.startswith("on") for name in attributes)
            or (
                tag == "script" and not (attributes.get("src") or "").startswith("/console/static/")
            )
            or any(
                (attributes.get(name) or "").strip().lower().startswith(("javascript:", "data:"))
                for name in ("href", "src", "action")
            )
        ]


async def fill(site: Site) -> dict[str, int]:
    """Everything that others decide upon is hostile; gives ids for the parameters of paths."""
    person = WcId(f"wxid_{HOSTILE}"[:100])
    dead: dict[str, Any] = {"state": MessageState.DEAD, "verdict": f"failed:{HOSTILE}"[:40]}
    texts: dict[str, Any] = {"error": HOSTILE, "raw": HOSTILE, "detail": HOSTILE, "w_id": HOSTILE}
    one = await say(site, HOSTILE, name=HOSTILE, person=person, **dead, **texts)
    answered = await say(site, HOSTILE, name=HOSTILE, person=person, **texts)
    for message in (one, answered):
        await plan(site, message, HOSTILE, error=HOSTILE, mention=person)
    waiting = await say(site, HOSTILE, person="wxid_waits", state=MessageState.RECEIVED, verdict="")
    entry = Entry(
        user=WcId("wxid_waits"), message_id=waiting, bot_wc_id=WcId("wxid_bot"), dedupe_key="1"
    )
    await site.inside.runtime.queue.restore([entry])
    for wc_id, kind in (("1@chatroom", "group"), ("wxid_waits", "person"), (str(person), "person")):
        await site.inside.execute(
            "INSERT INTO contacts (wc_id, nick_name, kind, bot_wc_id, group_id, error, failures, seen_at,"
            " user_name, remark, alias, signature, sex, country, province, city, big_avatar,"
            " small_avatar, labels, v1) VALUES (:id, :name, :kind, '', '', :name, 0, '2026-01-01', :name,"
            " :name, :name, :name, 0, :name, :name, :name, :name, :name, :name, '')",
            id=wc_id,
            kind=kind,
            name=HOSTILE,
        )
    await site.inside.execute(
        "INSERT INTO `groups` (bot_wc_id, group_id, first_seen_at, `trigger`, prefixes, keywords, pattern,"
        " dify_app) VALUES ('wxid_bot', '1@chatroom', '2026-01-01', 'prefix', :list, :list, :text, :app)",
        list=json.dumps([HOSTILE]),
        text=HOSTILE,
        app=HOSTILE[:64],
    )
    await Audit(site.inside.runtime.store).note(
        Deed(
            operator=HOSTILE[:64],
            action=HOSTILE[:64],
            subject=HOSTILE,
            before=HOSTILE,
            after=HOSTILE,
            address=HOSTILE[:64],
        )
    )
    log = Path(site.inside.runtime.settings.log.dir) / "app.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"2026-11-26 10:00:00 | ERROR    | a:b:1 | [-] {HOSTILE}\n", "utf-8")
    return {"message": one, "answered": answered}


def places(page: Page) -> tuple[str, ...]:
    """What may stand in the path of a page, beside ids and wcIds (pure)."""
    parameter = re.search(r"{[^}]+}", page.path)
    return PLACES.get(parameter[0], ()) if parameter else ()


def addresses(ids: dict[str, int]) -> list[str]:
    """Every page that is read: plain, and with something hostile wherever it may be asked (pure)."""
    hostile = quote(HOSTILE, safe="")
    found = []
    for page in PAGES:
        if page.method == "POST" or page.path in ("/events", "/static/{name}"):
            continue
        for value in (ids["message"], ids["answered"], 1, "wxid_waits", hostile, *places(page)):
            path = "/console" + re.sub(r"{[^}]+}", str(value), page.path)
            found += [path, *(f"{path}?{name}={hostile}" for name in ASKED)]
    return list(dict.fromkeys(found))


@INSIDE_EMBEDDED
async def test_nothing_hostile_becomes_part_of_any_page(console: StartConsole) -> None:
    """Names, texts, answers, errors, rules, deeds, the log, and whatever stands in an address."""
    async with console(config=CONFIG) as site:
        ids = await fill(site)
        browser = await site.operator()
        shown = 0
        for address in addresses(ids):
            for headers in ({}, {"X-Fragment": "1"}):
                page = await browser.get(address, **headers)
                assert page.status < HTTPStatus.INTERNAL_SERVER_ERROR, (address, page.text)
                assert Parsed(page.text).evils == [], address
                assert HOSTILE not in page.text, address
                assert "\n" not in page.place, address
                shown += "evil" in page.words

    assert shown > len(PAGES)


@INSIDE_EMBEDDED
async def test_nothing_hostile_in_a_form_becomes_part_of_the_answer(console: StartConsole) -> None:
    """Also where the form is refused, and what was typed is shown again."""
    async with console(config=CONFIG) as site:
        ids = await fill(site)
        browser = await site.operator()
        token = (await browser.get("/console/password")).token
        for page in PAGES:
            if page.method != "POST" or page.path == "/logout":
                continue
            for value in (ids["message"], 1, "wxid_waits", *places(page)):
                path = "/console" + re.sub(r"{[^}]+}", str(value), page.path)
                answer = await browser.post(path, token=token, **dict.fromkeys(FIELDS, HOSTILE))
                assert answer.status < HTTPStatus.INTERNAL_SERVER_ERROR, (path, answer.text)
                if answer.headers.get("Content-Type", "text/html").startswith("text/html"):
                    assert Parsed(answer.text).evils == [], path
                else:
                    # A file to keep: the browser does not read it as a page.
                    assert answer.headers["Content-Disposition"].startswith("attachment"), path
                    assert answer.headers["X-Content-Type-Options"] == "nosniff", path
                assert answer.place.startswith("/console/") or not answer.place, path


@INSIDE_EMBEDDED
async def test_no_form_is_taken_without_the_token_of_its_session(console: StartConsole) -> None:
    """Every route that changes something, without a token and with somebody else's."""
    async with console() as site:
        browser, other = await site.operator(), await site.operator(OperatorRole.OPERATOR)
        foreign = (await other.get("/console/password")).token
        before = await site.inside.rows("SELECT COUNT(*) AS n FROM audit_log")
        for page in PAGES:
            if page.method != "POST" or page.role is Anyone:
                continue
            path = "/console" + re.sub(r"{[^}]+}", "1", page.path)
            for sent in ({}, {"token": ""}, {"token": foreign}, {"token": "é"}):
                answer = await browser.post(path, **sent)
                assert answer.status == HTTPStatus.FORBIDDEN, (path, sent)
        after = await site.inside.rows("SELECT COUNT(*) AS n FROM audit_log")

    assert before == after


@INSIDE_EMBEDDED
async def test_every_cookie_is_kept_from_scripts_and_from_other_sites(
    console: StartConsole,
) -> None:
    """Of every page that sets one; behind HTTPS they are for HTTPS alone."""
    async with console() as site:
        browser = site.browser()
        answers = [
            await browser.get("/console/login"),
            await browser.get("/console/shown?theme=dark&language=en"),
            await browser.log_in(),
            await browser.send("/console/logout"),
            await site.browser().get("/console/login", **{"X-Forwarded-Proto": "https"}),
        ]
    cookies = [cookie.lower() for one in answers for cookie in one.cookies]

    assert len(cookies) >= 6
    for cookie in cookies:
        assert {"httponly", "samesite=lax", "path=/console"} <= set(cookie.split("; ")), cookie
    assert all("secure" in cookie.lower() for cookie in answers[-1].cookies)


# The event stream ----------------------------------------------------------------------------


@INSIDE_EMBEDDED
async def test_nobody_hears_the_figures_without_a_session(console: StartConsole) -> None:
    """Neither a stranger nor a session that was made up."""
    async with console() as site:
        stranger, liar = site.browser(), site.browser()
        liar.forge(SESSION_COOKIE, "made-up")
        refused = [await one.get("/console/events") for one in (stranger, liar)]

    assert [one.status for one in refused] == [HTTPStatus.UNAUTHORIZED] * 2
    assert all("figures" not in one.text for one in refused)


@INSIDE_EMBEDDED
async def test_a_stream_ends_with_the_session_that_opened_it(
    console: StartConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is disabled hears nothing more; it says numbers only, and nobody keeps it."""
    monkeypatch.setattr(events, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(events, "SESSION_SECONDS", 0.05)
    async with console() as site:
        await fill(site)
        browser: Browser = await site.operator(OperatorRole.VIEWER)
        cookies = {SESSION_COOKIE: browser.cookie(SESSION_COOKIE)}
        async with (
            aiohttp.ClientSession(cookies=cookies) as http,
            http.get(f"{site.url}/console/events") as response,
        ):
            first = await response.content.readuntil(b"\n\n")
            table = Operators(site.inside.runtime.store)
            viewer = await table.named("a-viewer")
            assert viewer is not None
            by = Deed(operator="test", action="operator.disable", subject=viewer.name)
            await table.set_disabled(viewer, is_disabled=True, by=by)
            async with asyncio.timeout(20):
                await response.content.read()
            headers = response.headers

    figures = json.loads(first.partition(b"data: ")[2])
    assert figures.pop("newest").isdecimal()
    assert figures.pop("paused") == ""
    assert all(isinstance(number, int) for number in figures.values())
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"].startswith("text/event-stream")
