"""Logging in and out, and the password."""

import secrets
from http import HTTPStatus
from typing import Final

from loguru import logger
from starlette.responses import Response

from app.console.first_operator import make_first_operator
from app.console.setting_state import look_at_settings
from app.console.visit import (
    HOME,
    LOGIN,
    LOGIN_COOKIE,
    SESSION_COOKIE,
    Visit,
    form_token,
    inner_path,
)
from app.models.roles import OperatorRole
from app.services.operators import LONGEST_NAME, Operator
from app.utils.passwords import LONGEST, SHORTEST, is_allowed

WIZARD: Final = "/console/settings/wizard"
#: A login form that was opened longer ago is opened anew.
FORM_SECONDS: Final = 3600


async def show_login(visit: Visit) -> Response:
    """The form."""
    await _see_to_first_operator(visit)
    return _form(visit)


async def log_in(visit: Visit) -> Response:
    """Look at a name and a password; a session is new with each login."""
    await _see_to_first_operator(visit)
    name, password = visit.form.get("name").strip(), visit.form.get("password")
    seconds = await visit.parts.throttle.admit(account=name, address=visit.address)
    if seconds:
        logger.warning("console.login_throttled", address=visit.address)
        return _form(
            visit,
            HTTPStatus.TOO_MANY_REQUESTS,
            visit.say("尝试太多,请在 {minutes} 分钟后再试。", minutes=-(-seconds // 60)),
        )
    operator = await _matching(visit, name, password)
    if operator is None:
        logger.warning("console.login_refused", address=visit.address)
        return _form(visit, HTTPStatus.UNAUTHORIZED, visit.say("用户名或密码不对。"))
    await visit.parts.throttle.clear(account=name)
    return await _enter(visit, operator)


async def _enter(visit: Visit, operator: Operator) -> Response:
    visit.operator = operator
    by = visit.deed("session.open", operator.name)
    secret = await visit.parts.sessions.open(operator, by=by)
    response = visit.go(await _first_page(visit))
    visit.set_cookie(response, SESSION_COOKIE, secret)
    visit.set_cookie(response, LOGIN_COOKIE, "")
    logger.info("console.login", operator=operator.name, address=visit.address)
    return response


async def _first_page(visit: Visit) -> str:
    """What was asked for; whoever may set the bridge up where nothing is set up begins with that."""
    asked = inner_path(visit.form.get("next"))
    if asked != HOME or not visit.may(OperatorRole.ADMIN):
        return asked
    state = await look_at_settings(visit)
    return WIZARD if state.is_unconfigured else asked


async def log_out(visit: Visit) -> Response:
    """End the session here and in the database."""
    by = visit.deed("session.close", visit.name)
    await visit.parts.sessions.close(visit.secret, by=by)
    response = visit.go(LOGIN)
    visit.set_cookie(response, SESSION_COOKIE, "")
    return response


async def show_password(visit: Visit) -> Response:
    """The form for a new password."""
    return visit.page("password.html", problem="", shortest=SHORTEST)


async def change_password(visit: Visit) -> Response:
    """Change one's own password: all sessions end, and a new one begins."""
    operator = visit.operator
    assert operator is not None  # noqa: S101 - the gate has let nobody else in
    old, new, again = (visit.form.get(name) for name in ("old", "new", "again"))
    problem = ""
    if not is_allowed(new):
        problem = visit.say(
            "新密码要 {shortest} 到 {longest} 个字符。", shortest=SHORTEST, longest=LONGEST
        )
    elif new != again:
        problem = visit.say("两次输入的新密码不一样。")
    elif await visit.parts.throttle.admit(account=operator.name, address=visit.address):
        problem = visit.say("尝试太多,请稍后再试。")
    elif not await visit.parts.passwords.check(operator.password_hash, old[:LONGEST]):
        problem = visit.say("现在的密码不对。")
    if problem:
        return visit.page(
            "password.html", HTTPStatus.UNPROCESSABLE_ENTITY, problem=problem, shortest=SHORTEST
        )
    digest = await visit.parts.passwords.hash(new)
    by = visit.deed("operator.password", operator.name)
    await visit.parts.operators.set_password(operator, digest, by=by)
    secret = await visit.parts.sessions.open(operator, by=visit.deed("session.open", operator.name))
    response = visit.go(HOME, told="password_changed")
    visit.set_cookie(response, SESSION_COOKIE, secret)
    return response


async def _see_to_first_operator(visit: Visit) -> None:
    """The database may have been away when the process started."""
    parts = visit.parts
    if parts.has_operators.is_set():
        return
    if await make_first_operator(parts.runtime.store, parts.runtime.settings.console):
        parts.has_operators.set()


async def _matching(visit: Visit, name: str, password: str) -> Operator | None:
    """The operator with this name and password who may log in."""
    if len(name) > LONGEST_NAME or len(password) > LONGEST:
        return None
    operator = await visit.parts.operators.named(name)
    digest = operator.password_hash if operator and not operator.is_disabled else None
    return operator if await visit.parts.passwords.check(digest, password) else None


def _form(visit: Visit, status: int = HTTPStatus.OK, problem: str = "") -> Response:
    secret = visit.secret or secrets.token_urlsafe(24)
    asked = visit.form.get("next") or visit.asked("next", 2000)
    response = visit.page(
        "login.html",
        status,
        problem=problem,
        login_token=form_token(secret),
        next=inner_path(asked),
        name=visit.form.get("name")[:LONGEST_NAME],
    )
    visit.set_cookie(response, LOGIN_COOKIE, secret, seconds=FORM_SECONDS)
    return response
