"""The console's own files, and how a visitor wants it shown."""

from http import HTTPStatus

from starlette.responses import Response

from app.console.assets import serve
from app.console.gate import refusal
from app.console.visit import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    THEMES,
    YEAR_SECONDS,
    Visit,
    inner_path,
)
from app.console.words import Language


async def show_file(visit: Visit) -> Response:
    """One of the console's own files."""
    asset = visit.parts.assets.get(visit.request.path_params["name"])
    if asset is None:
        return refusal(visit, HTTPStatus.NOT_FOUND, "没有这个页面。")
    return serve(asset, visit.request.headers.get("if-none-match", ""))


async def choose_shown(visit: Visit) -> Response:
    """Language and theme, kept by the browser; nothing of it is secret, nothing is changed here."""
    response = visit.go(inner_path(visit.asked("next", 2000)))
    language, theme = visit.asked("language"), visit.asked("theme")
    if language in set(Language):
        visit.set_cookie(response, LANGUAGE_COOKIE, language, seconds=YEAR_SECONDS)
    if theme in THEMES:
        visit.set_cookie(response, THEME_COOKIE, theme, seconds=YEAR_SECONDS)
    return response
