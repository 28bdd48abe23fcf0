"""What must not be seen in a log, and what must not break its lines. Pure."""

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "***"
#: A shorter secret is not searched for by itself: as a part of common words it would blot out
#: everything. In an address or behind its name it is hidden all the same.
MIN_SECRET_LENGTH = 6

# Control characters, line separators, direction overrides and lone surrogates.
_UNSAFE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
_SECRET_NAME = re.compile(
    r"(?:authorization|cookie|password|passwd|secret|api[_-]?key|token)$", re.IGNORECASE
)
# Between a name and its value, as text, JSON, repr of a dict or a tuple, of str or bytes.
_IS = r"(?:b(?=['\"]))?['\"]?\s*[:=,]\s*(?:b(?=['\"]))?['\"]?"
_PATTERNS: Final = (
    # user:password@ in an address; a raw @ in the password too.
    (re.compile(r"(://[^\s/:@'\"]*:)(?:[^\s/@]+@)+"), rf"\g<1>{HIDDEN}@"),
    (
        re.compile(
            rf"\b((?:proxy-)?authorization|x-api-key)\b({_IS})"
            r"(?:(?:bearer|basic|digest|token)\s+)?[^\s'\",;)\]}]+",
            re.IGNORECASE,
        ),
        rf"\g<1>\g<2>{HIDDEN}",
    ),
    (
        re.compile(rf"\b((?:set-)?cookie)\b({_IS})[^\r\n'\"]+", re.IGNORECASE),
        rf"\g<1>\g<2>{HIDDEN}",
    ),
    # "using password: YES" is MySQL's and says nothing.
    (
        re.compile(
            r"\b(\w*(?:password|passwd|secret|api_?key|api-key|"
            rf"(?:access|callback|csrf|session)_token))({_IS})"
            r"(?!(?:yes|no|none|null|true|false)\b)[^\s'\",;&)\]}]+",
            re.IGNORECASE,
        ),
        rf"\g<1>\g<2>{HIDDEN}",
    ),
    (re.compile(r"\b(bearer\s+)[\w.~+/=-]{6,}", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    # A Dify key, configured or not.
    (re.compile(r"\bapp-[A-Za-z0-9_-]{10,}"), f"app-{HIDDEN}"),
    # The callback's token stands in the path.
    (re.compile(r"(/callback/)[^\s/?#'\"]+"), rf"\g<1>{HIDDEN}"),
)


class Redactor:
    """Hides given secrets, in all the ways they may be written, and what looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {
            form
            for secret in secrets
            if len(secret) >= MIN_SECRET_LENGTH
            for form in _written_forms(secret)
        }
        longest_first = sorted(forms, key=len, reverse=True)
        self._longest = max(map(len, forms), default=0)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def hide(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def hide_and_cut(self, text: str, limit: int) -> str:
        """At most about *limit* characters of it, without secrets; cheap for any length."""
        start = text[: 4 * limit]
        hidden = self.hide(start)
        if len(start) < len(text):  # a secret that is cut in two is not known any more
            hidden = hidden[: max(0, len(hidden) - self._longest)]
        if len(hidden) <= limit and len(start) == len(text):
            return hidden
        return f"{hidden[:limit]}…({len(text)})"


def is_secret_name(name: str) -> bool:
    """A value of this name is a secret whatever it looks like."""
    return _SECRET_NAME.search(name) is not None


def escape_controls(text: str) -> str:
    """The text on one line, printable and encodable: ``\\n`` for a newline, ``\\ud800`` and so on."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def _written_forms(secret: str) -> set[str]:
    return {
        secret,
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
    }
