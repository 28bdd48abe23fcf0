"""One request to the console: who asks, what they sent, and how an answer is made."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from app.console.parts import Parts
from app.console.words import Language, Translator
from app.models.roles import OperatorRole
from app.services.audit import Deed
from app.services.operators import Operator

SESSION_COOKIE: Final = "console_session"
#: Before a login: the secret that the login form's token is made of.
LOGIN_COOKIE: Final = "console_login"
LANGUAGE_COOKIE: Final = "console_language"
THEME_COOKIE: Final = "console_theme"
THEMES: Final = ("auto", "light", "dark")
PREFIX: Final = "/console"
HOME: Final = f"{PREFIX}/"
LOGIN: Final = f"{PREFIX}/login"
#: Of a form, in bytes; and how many fields it may have.
LARGEST_FORM: Final = 65_536
MOST_FIELDS: Final = 1000
YEAR_SECONDS: Final = 31_536_000
LONGEST_ADDRESS: Final = 64

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class FormTooLarge(Exception):
    """More than any form of ours has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What was sent; a field may come several times."""

    pairs: Sequence[tuple[str, str]] = ()

    def get(self, name: str) -> str:
        """The last value of a field; empty: there is none."""
        return dict(self.pairs).get(name, "")

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self.pairs if key == name]


@dataclass(kw_only=True, slots=True)
class Visit:
    """One request."""

    request: Request
    parts: Parts
    #: None: nobody is logged in.
    operator: Operator | None
    #: The session's secret, or the one of the login form.
    secret: str
    form: Form = field(default_factory=Form)

    @property
    def language(self) -> Language:
        """In which the page is shown."""
        is_english = self.request.cookies.get(LANGUAGE_COOKIE) == Language.ENGLISH
        return Language.ENGLISH if is_english else Language.CHINESE

    @property
    def theme(self) -> str:
        """Light, dark, or as the system has it."""
        chosen = self.request.cookies.get(THEME_COOKIE, "")
        return chosen if chosen in THEMES else THEMES[0]

    @property
    def say(self) -> Translator:
        """Says things in the visitor's language."""
        return Translator(self.language, self.parts.words)

    @property
    def token(self) -> str:
        """What a form has to bear so that it is ours."""
        return form_token(self.secret)

    @property
    def name(self) -> str:
        """Of the operator."""
        return self.operator.name if self.operator else ""

    @property
    def address(self) -> str:
        """Where the request came from."""
        client, forwarded = self.request.client, self.request.headers.getlist("x-forwarded-for")
        return self.parts.address_of(client.host if client else None, forwarded)[:LONGEST_ADDRESS]

    @property
    def is_secure(self) -> bool:
        """Whether the browser speaks HTTPS, to us or to the proxy before us."""
        forwarded = self.request.headers.get("x-forwarded-proto", "")
        return self.request.url.scheme == "https" or forwarded.startswith("https")

    @property
    def is_fragment(self) -> bool:
        """Whether a script asks for a part of a page."""
        return self.request.headers.get("x-fragment") == "1"

    def may(self, role: str) -> bool:
        """Whether the operator has at least this role."""
        return self.operator is not None and self.operator.role.includes(OperatorRole(role))

    def asked(self, name: str, most: int = 200) -> str:
        """A parameter of the address, trimmed."""
        return self.request.query_params.get(name, "").strip()[:most]

    def deed(self, action: str, subject: str, *, before: str = "", after: str = "") -> Deed:
        """What this operator does, for the audit."""
        return Deed(
            operator=self.name,
            action=action,
            subject=subject,
            before=before,
            after=after,
            address=self.address,
        )

    def page(self, template: str, http: int = 200, **values: Any) -> Response:
        """A page, or a part of one."""
        body = self.parts.templates.get_template(template).render(
            visit=self, t=self.say, path=self.request.url.path, **values
        )
        return HTMLResponse(body, http)

    def go(self, path: str, *, told: str = "") -> Response:
        """
        See another page.

        Args:
            told: key of what is said there.
        """
        if told:
            path += f"{'&' if '?' in path else '?'}told={quote(told)}"
        return RedirectResponse(path, status_code=303)

    def set_cookie(
        self, response: Response, name: str, value: str, *, seconds: int | None = None
    ) -> None:
        """Give the browser a cookie that no script reads; empty: take it away."""
        response.set_cookie(
            name,
            value,
            max_age=seconds if value else 0,
            path=PREFIX,
            secure=self.is_secure,
            httponly=True,
            samesite="lax",
        )


def form_token(secret: str) -> str:
    """The token of all forms of one session (pure)."""
    return hashlib.sha256(f"form:{secret}".encode()).hexdigest()


async def read_form(request: Request) -> Form:
    """
    Read a form as browsers send it.

    Raises:
        FormTooLarge: it is not one of ours.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM:
            raise FormTooLarge
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=MOST_FIELDS,
            errors="strict",
        )
    except ValueError:
        return Form()
    return Form(pairs=pairs)


def inner_path(text: str) -> str:
    """A page of the console that an address names; anything else is the first page (pure)."""
    is_ours = text.startswith(HOME) and text.isascii() and text.isprintable()
    return text if is_ours and "\\" not in text and "//" not in text else HOME


def with_headers(response: Response, headers: Mapping[str, str]) -> Response:
    """The response with these headers where it has none of their own."""
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    return response
