"""Logging in to the console over HTTP: sessions, throttle, tokens of forms, roles on each route."""

import asyncio
import re
from datetime import timedelta
from http import HTTPStatus

import aiohttp
import pytest
from loguru import logger

from app.console.first_operator import make_first_operator
from app.console.gate import Anyone
from app.console.site import PAGES
from app.console.visit import SESSION_COOKIE, form_token
from app.models.roles import OperatorRole
from app.services.audit import Audit, Deed, DeedChoice
from app.services.console_sessions import ABSOLUTE, IDLE, digest_of
from app.services.login_throttle import PER_ACCOUNT, LoginThrottle
from app.services.operators import Operators
from app.services.stages import utc_now
from app.services.store import Store
from app.utils.redis_client import make_redis
from config import ConsoleSettings
from tests.fixtures.console import PASSWORD, Answer, Browser, StartConsole
from tests.fixtures.inside import INSIDE_EMBEDDED
from tests.fixtures.ports import free_port
from tests.fixtures.stores import ON_SQLITE

HTTPS = {"X-Forwarded-Proto": "https"}


async def test_the_password_opens_the_console_and_a_wrong_one_does_not(
    console: StartConsole,
) -> None:
    """Without a session every page leads to the form, and from there back to the page."""
    async with console() as site:
        browser = site.browser()
        sent_off = await browser.get("/console/password?x=1")
        wrong = await browser.log_in(password="wrong")
        right = await browser.log_in(next="/console/password")
        page = await browser.get("/console/")
        deeds = await Audit(site.inside.runtime.store).newest(DeedChoice(), before=None, limit=5)

    assert sent_off.place == "/console/login?next=%2Fconsole%2Fpassword%3Fx%3D1"
    assert (wrong.status, "用户名或密码不对" in wrong.text) == (401, True)
    assert (right.status, right.place) == (303, "/console/password")
    assert (page.status, "等待中" in page.words) == (200, True)
    assert [(one.action, one.subject) for one in deeds] == [
        ("session.open", "admin"),
        ("operator.add", "admin"),
    ]


@INSIDE_EMBEDDED
async def test_a_session_is_new_with_each_login_and_its_secret_is_not_kept(
    console: StartConsole,
) -> None:
    """A cookie that somebody else put into the browser is worth nothing afterwards, either."""
    async with console() as site:
        victim, thief = site.browser(), site.browser()
        victim.forge(SESSION_COOKIE, "planted")
        thief.forge(SESSION_COOKIE, "planted")
        await victim.log_in()
        secret = victim.cookie(SESSION_COOKIE)
        stolen = await thief.get("/console/")
        rows = await site.inside.rows("SELECT digest FROM console_sessions")

    assert secret not in ("", "planted")
    assert stolen.status == 303
    assert [row["digest"] for row in rows] == [digest_of(secret)]


@INSIDE_EMBEDDED
async def test_cookies_are_for_the_console_alone_and_for_no_script(console: StartConsole) -> None:
    """And for HTTPS alone where the browser speaks it."""
    async with console() as site:
        browser = site.browser()
        plain = await browser.log_in()
        form = await site.browser().get("/console/login", **HTTPS)

    [cookie] = [one for one in plain.cookies if one.startswith(SESSION_COOKIE)]
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/console"} <= flags
    assert "secure" not in flags
    assert all("secure" in one.lower() for one in form.cookies)


@INSIDE_EMBEDDED
async def test_a_form_without_the_token_of_its_session_changes_nothing(
    console: StartConsole,
) -> None:
    """Neither without one, nor with somebody else's, nor at the login."""
    async with console() as site:
        browser, other = await site.operator(), site.browser()
        token = form_token(browser.cookie(SESSION_COOKIE))
        answers = [
            await browser.post("/console/logout"),
            await browser.post("/console/logout", token="0" * 64),
            await browser.post("/console/logout", token=form_token("")),
            await other.post("/console/login", name="admin", password=PASSWORD),
            await other.post("/console/login", token=token, name="admin", password=PASSWORD),
        ]
        stays = await browser.get("/console/")
        out = await browser.post("/console/logout", token=token)
        after = await browser.get("/console/")

    assert [one.status for one in answers] == [403] * 5
    assert (stays.status, out.status, after.status) == (200, 303, 303)


async def test_a_password_cannot_be_guessed_by_trying(console: StartConsole) -> None:
    """After some tries even the right one is not looked at; other accounts go on."""
    async with console() as site:
        browser = site.browser()
        found = [(await browser.log_in(password=f"wrong{n}")).status for n in range(PER_ACCOUNT)]
        late = await browser.log_in()
        nobody = await site.browser().log_in("somebody-else")

    assert found == [401] * PER_ACCOUNT
    assert (late.status, "10 分钟" in late.text) == (429, True)
    assert nobody.status == 401


@INSIDE_EMBEDDED
async def test_many_tries_at_once_are_no_way_around_the_throttle(console: StartConsole) -> None:
    """A try counts before it is looked at."""
    async with console() as site:
        browser = site.browser()
        form = await browser.get("/console/login")

        async def guess(number: int) -> int:
            answer = await browser.post(
                "/console/login", token=form.token, name="admin", password=f"wrong{number}"
            )
            return answer.status

        found = await asyncio.gather(*map(guess, range(20)))

    assert sorted(found) == [401] * PER_ACCOUNT + [429] * (20 - PER_ACCOUNT)


async def test_throttle_counts_by_itself_while_redis_is_away() -> None:
    """Nobody gets more tries because something is down."""
    redis = make_redis(f"redis://127.0.0.1:{free_port()}")
    throttle = LoginThrottle(redis)
    waits = [await throttle.admit(account="admin", address="1.2.3.4") for _ in range(12)]
    await throttle.clear(account="admin")
    again = await throttle.admit(account="admin", address="1.2.3.5")
    await redis.aclose()

    assert waits[:PER_ACCOUNT] == [0] * PER_ACCOUNT
    assert all(wait > 500 for wait in waits[PER_ACCOUNT:])
    assert again == 0


@pytest.mark.parametrize(("column", "age"), [("expires_at", ABSOLUTE), ("seen_at", IDLE)])
@INSIDE_EMBEDDED
async def test_a_session_ends_by_age_and_by_silence(
    column: str, age: timedelta, console: StartConsole
) -> None:
    """Whoever comes back later logs in again."""
    async with console() as site:
        browser = await site.operator()
        store = site.inside.runtime.store
        moment = utc_now() if column == "expires_at" else utc_now() - age
        await site.inside.execute(
            f"UPDATE console_sessions SET {column} = :moment", moment=moment.replace(tzinfo=None)
        )
        answer = await browser.get("/console/")
        assert await Operators(store).named("admin") is not None

    assert answer.status == 303


@INSIDE_EMBEDDED
async def test_changing_the_password_ends_all_other_sessions(console: StartConsole) -> None:
    """The browser that changed it goes on with a new session."""
    async with console() as site:
        here, there = await site.operator(), site.browser()
        await there.log_in("a-admin")
        old_secret = here.cookie(SESSION_COOKIE)
        fields = {"old": PASSWORD, "new": "another password", "again": "another password"}
        refused = await here.send("/console/password", **{**fields, "old": "wrong"})
        short = await here.send("/console/password", **{**fields, "new": "x", "again": "x"})
        differs = await here.send("/console/password", **{**fields, "again": "another passwort"})
        changed = await here.send("/console/password", **fields)
        pages = [await one.get("/console/") for one in (here, there)]
        new_secret = here.cookie(SESSION_COOKIE)
        logins = [await site.browser().log_in("a-admin", one) for one in (PASSWORD, fields["new"])]

    assert [one.status for one in (refused, short, differs)] == [422] * 3
    assert (changed.status, changed.place) == (303, "/console/?told=password_changed")
    assert [one.status for one in pages] == [200, 303]
    assert old_secret != new_secret
    assert [one.status for one in logins] == [401, 303]


@INSIDE_EMBEDDED
async def test_a_disabled_operator_is_out_at_once_and_stays_out(console: StartConsole) -> None:
    """Until somebody enables the account again."""
    async with console() as site:
        browser = await site.operator(OperatorRole.VIEWER)
        table = Operators(site.inside.runtime.store)
        one = await table.named("a-viewer")
        assert one is not None
        by = Deed(operator="test", action="operator.disable", subject=one.name)
        await table.set_disabled(one, is_disabled=True, by=by)
        page, login = await browser.get("/console/"), await site.browser().log_in("a-viewer")

    assert (page.status, login.status) == (303, 401)


def test_every_route_has_a_role_and_only_the_way_in_has_none() -> None:
    """What changes something is never open to those who only look."""
    for_anyone = {(page.method, page.path) for page in PAGES if page.role is Anyone}
    may_post = {page.path for page in PAGES if page.method == "POST" and page.role == "viewer"}

    assert for_anyone == {
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/static/{name}"),
        ("GET", "/shown"),
    }
    assert may_post == {"/logout", "/password"}


@INSIDE_EMBEDDED
async def test_each_route_lets_in_those_with_its_role_and_nobody_else(
    console: StartConsole,
) -> None:
    """Nobody without a session; with one too low a role is told so, the least one gets further."""
    async with console() as site:
        roles = list(OperatorRole)
        browsers = {role: await site.operator(role) for role in roles}
        stranger = site.browser()
        for page in PAGES:
            if not isinstance(page.role, OperatorRole) or page.path in ("/logout", "/events"):
                continue
            path = "/console" + re.sub(r"{[^}]+}", "1", page.path)
            assert (await _try(stranger, page.method, path)).status in (303, 401), page
            for role, browser in browsers.items():
                answer = await _try(browser, page.method, path)
                is_refused = "你的角色不能做这件事" in answer.text
                assert is_refused != role.includes(page.role), (page, role)
                assert answer.status < HTTPStatus.INTERNAL_SERVER_ERROR, (page, answer.text)


async def _try(browser: Browser, method: str, path: str) -> Answer:
    """Go there; forms are sent without anything in them but the token."""
    if method == "GET":
        return await browser.get(path)
    return await browser.post(path, token=form_token(browser.cookie(SESSION_COOKIE)))


@INSIDE_EMBEDDED
async def test_pages_run_no_script_but_their_own_and_lie_in_no_frame(console: StartConsole) -> None:
    """Also those that refuse; and nothing is kept by anybody on the way."""
    async with console() as site:
        browser = await site.operator()
        pages = [await browser.get(f"/console{path}") for path in ("/", "/password", "/nowhere")]
        login = await site.browser().get("/console/login")

    for page in (*pages, login):
        policy = dict(
            rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; ")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", page.text)
    assert [page.headers.get("Cache-Control") for page in pages[:2]] == ["no-store"] * 2
    assert [page.status for page in pages] == [200, 200, 404]


@pytest.mark.parametrize(
    "place",
    ["//evil.example", "https://evil.example", "/console/\\evil", "/api/v1/health", "/console//x"],
)
@INSIDE_EMBEDDED
async def test_nobody_is_led_elsewhere_by_a_login_or_a_choice(
    place: str, console: StartConsole
) -> None:
    """An address that is none of the console's becomes its first page."""
    async with console() as site:
        browser = site.browser()
        logged_in = await browser.log_in(next=place)
        chosen = await browser.get(f"/console/shown?theme=dark&next={place}")

    assert (logged_in.place, chosen.place) == ("/console/", "/console/")


@INSIDE_EMBEDDED
async def test_a_form_that_is_too_large_is_refused_unread(console: StartConsole) -> None:
    """Nobody fills the memory with a login."""
    async with console() as site:
        answer = await site.browser().post("/console/login", name="x" * 200_000)

    assert answer.status == 413


@INSIDE_EMBEDDED
async def test_event_stream_ends_at_once_when_the_process_is_to_stop(
    console: StartConsole,
) -> None:
    """An open tab holds nothing up; a new stream is refused meanwhile."""
    async with console() as site:
        browser = await site.operator()
        cookies = {SESSION_COOKIE: browser.cookie(SESSION_COOKIE)}
        async with (
            aiohttp.ClientSession(cookies=cookies) as http,
            http.get(f"{site.url}/console/events") as response,
        ):
            first = await response.content.readuntil(b"\n\n")
            site.stopping.set()
            began = asyncio.get_running_loop().time()
            async with asyncio.timeout(10):
                await response.content.read()
            seconds = asyncio.get_running_loop().time() - began
            async with http.get(f"{site.url}/console/events") as late:
                status = late.status

    assert b'"waiting":0' in first
    assert seconds < 1
    assert status == 503


# The first operator --------------------------------------------------------------------------


async def test_first_start_makes_admin_with_a_password_shown_once_and_never_logged(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """A second start makes nobody."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="DEBUG")
    made = [await make_first_operator(store, ConsoleSettings()) for _ in range(2)]
    logger.remove(sink)
    shown = capfd.readouterr().err
    [password] = re.findall(r"密码    (\S+)", shown)
    [admin] = await Operators(store).all()

    assert made == [True, True]
    assert (admin.name, admin.role) == ("admin", OperatorRole.ADMIN)
    assert admin.password_hash.startswith("$argon2id$")
    assert lines
    assert password not in "".join(lines)


@ON_SQLITE
async def test_a_password_out_of_the_settings_is_not_shown(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is the operator's own."""
    settings = ConsoleSettings(password=PASSWORD)
    await make_first_operator(store, settings)

    assert capfd.readouterr().err == ""


async def test_two_processes_that_start_together_make_one_admin(
    store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """And one password is shown, the one that holds."""
    await asyncio.gather(*(make_first_operator(store, ConsoleSettings()) for _ in range(3)))

    assert len(await Operators(store).all()) == 1
    assert capfd.readouterr().err.count("密码    ") == 1
