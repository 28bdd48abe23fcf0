"""The console's routes in one table: path, handler, and the role that it takes."""

from http import HTTPStatus
from typing import Any, Final

from loguru import logger
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app.console.entry_form import ACCOUNTS, APPS
from app.console.gate import POST, Anyone, Page, make_route, refusal
from app.console.pages import (
    audit,
    contacts,
    entries,
    events,
    failures,
    groups,
    log,
    login,
    messages,
    overview,
    own,
    pauses,
    queues,
    settings,
    talks,
    wizard,
)
from app.console.parts import Parts
from app.console.visit import POLICY, Visit, with_headers
from app.models.roles import OperatorRole

VIEWER, OPERATOR, ADMIN = OperatorRole.VIEWER, OperatorRole.OPERATOR, OperatorRole.ADMIN

PAGES: Final = (
    Page(path="/login", handler=login.show_login, role=Anyone),
    Page(path="/login", handler=login.log_in, role=Anyone, method=POST),
    Page(path="/static/{name}", handler=own.show_file, role=Anyone),
    Page(path="/shown", handler=own.choose_shown, role=Anyone),
    Page(path="/logout", handler=login.log_out, role=VIEWER, method=POST),
    Page(path="/password", handler=login.show_password, role=VIEWER),
    Page(path="/password", handler=login.change_password, role=VIEWER, method=POST),
    Page(path="/events", handler=events.stream_events, role=VIEWER),
    Page(path="/", handler=overview.show_overview, role=VIEWER),
    Page(path="/pauses/", handler=pauses.show_bar, role=VIEWER),
    Page(path="/pauses/{kind}", handler=pauses.show_switch, role=OPERATOR),
    Page(path="/pauses/{kind}/pause", handler=pauses.pause, role=OPERATOR, method=POST),
    Page(path="/pauses/{kind}/resume", handler=pauses.resume, role=OPERATOR, method=POST),
    Page(path="/messages/", handler=messages.list_messages, role=VIEWER),
    Page(path="/messages/export", handler=messages.export_messages, role=OPERATOR, method=POST),
    Page(path="/messages/{id}", handler=messages.show_message, role=VIEWER),
    Page(path="/messages/{id}/recall", handler=messages.recall_answer, role=OPERATOR, method=POST),
    Page(path="/failures/", handler=failures.list_failures, role=VIEWER),
    Page(path="/failures/estimate", handler=failures.estimate, role=OPERATOR, method=POST),
    Page(path="/failures/replay", handler=failures.start, role=OPERATOR, method=POST),
    Page(path="/failures/jobs/{job}", handler=failures.show_job, role=VIEWER),
    Page(path="/failures/jobs/{job}/cancel", handler=failures.cancel, role=OPERATOR, method=POST),
    Page(path="/queues/", handler=queues.list_queues, role=VIEWER),
    Page(path="/queues/pause", handler=queues.pause_user, role=OPERATOR, method=POST),
    Page(path="/queues/resume", handler=queues.resume_user, role=OPERATOR, method=POST),
    Page(path="/queues/{user}", handler=queues.show_queue, role=VIEWER),
    Page(path="/queues/{user}/clear", handler=queues.clear_queue, role=OPERATOR, method=POST),
    Page(path="/queues/{user}/lease", handler=queues.free_lease, role=OPERATOR, method=POST),
    Page(path="/groups/", handler=groups.list_groups, role=VIEWER),
    Page(path="/groups/{id}", handler=groups.show_group, role=VIEWER),
    Page(path="/groups/{id}", handler=groups.change_group, role=OPERATOR, method=POST),
    Page(path="/talks/", handler=talks.show_talk, role=VIEWER),
    Page(path="/talks/reset", handler=talks.reset, role=OPERATOR, method=POST),
    Page(path="/talks/mute", handler=talks.mute, role=OPERATOR, method=POST),
    Page(path="/talks/export", handler=talks.export_talk, role=OPERATOR, method=POST),
    Page(path="/contacts/", handler=contacts.list_contacts, role=VIEWER),
    Page(path="/contacts/refresh", handler=contacts.show_refresh, role=VIEWER),
    Page(path="/contacts/refresh", handler=contacts.start_refresh, role=OPERATOR, method=POST),
    Page(
        path="/contacts/refresh/cancel",
        handler=contacts.cancel_refresh,
        role=OPERATOR,
        method=POST,
    ),
    Page(path="/log/", handler=log.show_log, role=ADMIN),
    Page(path="/log/download", handler=log.download_log, role=ADMIN, method=POST),
    Page(path="/settings/", handler=settings.list_settings, role=ADMIN),
    Page(path="/settings/edit/{name}", handler=settings.show_setting, role=ADMIN),
    Page(path="/settings/edit/{name}", handler=settings.change_setting, role=ADMIN, method=POST),
    Page(path="/settings/reset/{name}", handler=settings.reset_setting, role=ADMIN, method=POST),
    Page(path="/settings/wizard", handler=wizard.begin, role=ADMIN),
    Page(path="/settings/wizard/heard", handler=wizard.show_heard, role=ADMIN),
    Page(path="/settings/wizard/rooms", handler=wizard.show_rooms, role=ADMIN),
    Page(
        path="/settings/wizard/callback/register", handler=wizard.register, role=ADMIN, method=POST
    ),
    Page(path="/settings/wizard/{step}", handler=wizard.show_step, role=ADMIN),
    Page(path="/settings/wizard/{step}", handler=wizard.save_step, role=ADMIN, method=POST),
    Page(path="/settings/wizard/{step}/test", handler=wizard.test_step, role=ADMIN, method=POST),
    *entries.pages(ACCOUNTS),
    *entries.pages(APPS),
    Page(path="/audit/", handler=audit.list_deeds, role=ADMIN),
    Page(path="/audit/export", handler=audit.export_deeds, role=ADMIN, method=POST),
)


def make_site(parts: Parts) -> Starlette:
    """The application that the process mounts under ``/console``."""

    async def missing(request: Request, error: Exception) -> Response:
        status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 404)
        visit = Visit(request=request, parts=parts, operator=None, secret="")
        response = refusal(visit, status, "没有这个页面。")
        return with_headers(response, {"Content-Security-Policy": POLICY})

    async def unforeseen(request: Request, error: Exception) -> Response:
        route: Any = request.scope.get("route")
        logger.opt(exception=error).error("http.unforeseen", route=getattr(route, "path", "?"))
        return PlainTextResponse("internal error", HTTPStatus.INTERNAL_SERVER_ERROR)

    return Starlette(
        routes=[make_route(page, parts) for page in PAGES],
        exception_handlers={HTTPException: missing, Exception: unforeseen},
    )
