"""
Who may come in: every route of the console has a role, and passes here first.

A route without a role cannot be made; forms without the session's token are refused.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from loguru import logger
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.console.parts import Parts
from app.console.visit import (
    HOME,
    LOGIN,
    LOGIN_COOKIE,
    POLICY,
    SESSION_COOKIE,
    FormTooLarge,
    Visit,
    form_token,
    read_form,
    with_headers,
)
from app.models.roles import OperatorRole
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.operators import Operator
from app.services.stages import utc_now

Handler = Callable[[Visit], Awaitable[Response]]

POST: Final = "POST"
LONGEST_LOGIN_SECRET: Final = 64


class Anyone:
    """Whoever comes, logged in or not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One route."""

    path: str
    handler: Handler
    #: The least role that may use it; ``Anyone`` stands only before the login.
    role: OperatorRole | type[Anyone]
    method: str = "GET"


def make_route(page: Page, parts: Parts) -> Route:
    """The route behind the gate."""

    async def endpoint(request: Request) -> Response:
        response = await _answer(page, parts, request)
        return with_headers(
            response, {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}
        )

    return Route(page.path, endpoint, methods=[page.method])


async def _answer(page: Page, parts: Parts, request: Request) -> Response:
    visit = Visit(request=request, parts=parts, operator=None, secret="")
    try:
        return await _admit(page, visit) or await page.handler(visit)
    except (StoreUnavailable, QueueUnavailable) as error:
        logger.warning("console.unavailable", error=error)
        return _unavailable(visit, error)


async def _admit(page: Page, visit: Visit) -> Response | None:
    """Fill in who asks and what was sent; an answer where they may not."""
    request = visit.request
    if isinstance(page.role, OperatorRole):
        visit.operator, visit.secret = await _operator(visit.parts, request)
        if visit.operator is None:
            return _to_login(page, visit)
        if not visit.operator.role.includes(page.role):
            return refusal(visit, HTTPStatus.FORBIDDEN, "你的角色不能做这件事。")
    else:
        visit.secret = request.cookies.get(LOGIN_COOKIE, "")[:LONGEST_LOGIN_SECRET]
    if page.method != POST:
        return None
    try:
        visit.form = await read_form(request)
    except FormTooLarge:
        return refusal(visit, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "提交的内容太大。")
    sent = visit.form.get("token")
    if not visit.secret or not secrets.compare_digest(
        sent.encode(), form_token(visit.secret).encode()
    ):
        return refusal(visit, HTTPStatus.FORBIDDEN, "这个页面已经过期,请刷新后再试。")
    return None


async def _operator(parts: Parts, request: Request) -> tuple[Operator | None, str]:
    secret = request.cookies.get(SESSION_COOKIE, "")
    if not secret:
        return None, ""
    return await parts.sessions.operator_of(secret, now=utc_now()), secret


def _to_login(page: Page, visit: Visit) -> Response:
    """Whoever reads a page logs in and comes back; a script is told."""
    if page.method == POST or visit.is_fragment or page.path == "/events":
        return refusal(visit, HTTPStatus.UNAUTHORIZED, "登录已经过期,请重新登录。")
    url = visit.request.url
    here = f"{url.path}?{url.query}" if url.query else url.path
    return visit.go(LOGIN if here == HOME else f"{LOGIN}?next={quote(here, safe='')}")


def refusal(visit: Visit, status: HTTPStatus, reason: str) -> Response:
    """A page that says why not."""
    template = "refusal_part.html" if visit.is_fragment else "refusal.html"
    return visit.page(template, status, status=status.value, reason=visit.say(reason))


def _unavailable(visit: Visit, error: StoreUnavailable | QueueUnavailable) -> Response:
    is_store = isinstance(error, StoreUnavailable)
    reason = (
        "数据库暂时不可用,消息照常收下;请稍后刷新。"
        if is_store
        else "Redis 暂时不可用,请稍后刷新。"
    )
    return refusal(visit, HTTPStatus.SERVICE_UNAVAILABLE, reason)
