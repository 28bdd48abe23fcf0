"""Answers of the simulated Dify that are no answers: JSON errors, HTML pages."""

from typing import Any

from aiohttp import web

from simulators.dify_release import Release, body_json

PATH_404 = (
    "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
    "<p>The requested URL was not found on the server. If you entered the URL manually please "
    "check your spelling and try again.</p>\n"
)
DECORATION = (
    " You have requested this URI [/v1/chat-messages] but did you mean /v1/chat-messages or "
    "/api/chat-messages or /v1/chat-messages/<string:task_id>/stop ?"
)
HTML_STATUS = {
    404: "Not Found",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}
CODES = {
    400: ("invalid_param", "模拟的错误"),
    401: ("unauthorized", "Access token is invalid"),
    403: ("forbidden", "The app's API service has been disabled."),
    413: ("file_too_large", "File size exceeded."),
    429: ("too_many_requests", "Too many requests. Please try again later."),
    500: ("internal_server_error", "Internal Server Error, please contact support."),
}


class DifyRefused(Exception):
    """The request is answered with an error body."""

    def __init__(self, status: int, code: str, message: str, *, params: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.params = params
        """Only errors of the older release's argument parser have it; they lack `status`."""

    def body(self) -> dict[str, Any]:
        """The error envelope."""
        if self.params is not None:
            return {"code": self.code, "message": str(self), "params": self.params}
        return {"code": self.code, "message": str(self), "status": self.status}


def refused_response(release: Release, refused: DifyRefused) -> web.Response:
    """The error as the release writes it."""
    headers = {}
    if refused.status == 401 and release is Release.NEW:  # noqa: PLR2004  # the number is the name
        headers["WWW-Authenticate"] = 'Bearer realm="api"'
    return web.Response(
        body=body_json(release, refused.body()),
        status=refused.status,
        headers={"Content-Type": "application/json", **headers},
    )


PASSED_ON = "completion_request_error"


def failing(release: Release, status: int, code: str = "", query: str = "") -> web.Response:
    """
    An error by its HTTP status, as an app or the proxy before it would give it.

    What a model's provider says is passed on, and providers quote the question.
    """
    if status in HTML_STATUS and not code:
        page = PATH_404 if status == 404 else proxy_page(status)  # noqa: PLR2004  # as above
        return web.Response(text=page, status=status, content_type="text/html")
    known, message = CODES.get(status, CODES[400])
    if code == PASSED_ON and query:
        message = f"[openai_api_compatible] Bad request: content not allowed: {query!r}"
    return refused_response(release, DifyRefused(status, code or known, message))


def proxy_page(status: int) -> str:
    """What nginx shows."""
    title = f"{status} {HTML_STATUS[status]}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>"
        "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )


def conversation_missing(release: Release) -> DifyRefused:
    """404, decorated by the newer release's framework."""
    extra = DECORATION if release is Release.NEW else ""
    return DifyRefused(404, "not_found", f"Conversation Not Exists.{extra}")


def too_many(release: Release, app_id: str, limit: int) -> DifyRefused:
    """The app's limit of concurrent requests: an HTTP 400."""
    which = f" for {app_id}" if release is Release.NEW else ""
    return DifyRefused(
        400,
        "invalid_param",
        "Too many requests. Please try again later. The current maximum concurrent requests "
        f"allowed{which} is {limit}.",
    )
