"""The rules by which an HTTP answer or a failure event of Dify is a value or a typed error. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from app.services.dify.parsing import load_object
from app.services.dify.wire import BAD_ENDS, Failed, WorkflowFinished
from app.services.errors import (
    DifyAbsent,
    DifyConversationGone,
    DifyConversationSpoilt,
    DifyError,
    DifyOverloaded,
    DifyProtocolError,
    DifyRejected,
    DifyUnavailable,
)

#: Longest text of a peer that goes into an error message, in characters.
MAX_DETAIL = 300
#: Longest time a peer may ask us to wait, in seconds.
MAX_RETRY_AFTER = 3600.0

_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_SECRET = re.compile(r"\b((?:app|sk|dataset)-|Bearer\s+)[\w.-]{6,}", re.IGNORECASE)
#: Said by a node or a model provider when asking again may help.
_PASSING = re.compile(
    r"(?<![\d.])(?:429|500|502|503|504|52\d)(?![\d.])"
    r"|time[ds]?[ -]?out|connection|temporar|overload|rate.?limit|too many requests|unreachable"
    r"|try again|disconnected|max retries",
    re.IGNORECASE,
)
#: Said when it will not, though a 429 stands next to it.
_LASTING = re.compile(
    r"insufficient_quota|exceeded your current quota|credit balance", re.IGNORECASE
)
_WRONG_KIND_CODES = frozenset({"not_chat_app", "not_workflow_app"})
_NO_BLOCKING = re.compile(r"not support blocking mode|only supports? streaming", re.IGNORECASE)

_OVERLOADED = "too_many_requests"
_LASTING_CODES = frozenset({"rate_limit_error", "provider_quota_exceeded", "insufficient_quota"})
#: What Dify says with these is about the key, the path or its load, never about the question.
_ABOUT_ACCESS = frozenset({401, 403, 404, 429})
#: Without a code of Dify's a proxy said it, which found nobody behind it.
_PROXY_ALONE = frozenset({502, 503, 504})
#: Of proxies that wait no longer: the run behind them goes on, and its answer is saved.
_PROXY_IMPATIENT = frozenset({504, 524})
#: Codes under which Dify passes on what a model or a node said.
_REFUSED_BY_MODEL = "completion_request_error"
_PASSED_ON = frozenset({_REFUSED_BY_MODEL, "workflow_failed"})
#: How models say that a conversation holds a turn without words.
_EMPTY_TURN = re.compile(
    r"non-?empty content|content len should not be 0|content blocks must be non-?empty"
    r"|content or tool_calls must be set|content (?:cannot|can't|must not|should not) be empty"
    r"|parts must not be empty|(?:content|messages?) is empty|内容不能为空|消息不能为空",
    re.IGNORECASE,
)


class WrongKind(DifyRejected):
    """The app is of another kind: it has to be asked at another endpoint."""


class StreamingRequired(DifyRejected):
    """The app does not answer in blocking mode; it has to be asked by streaming."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An HTTP answer, read to its end."""

    status: int
    body: bytes
    #: Header ``Retry-After`` as it stands; empty if there is none.
    retry_after: str = ""
    #: Host of the header ``Location``; empty if there is none.
    location_host: str = ""


def decipher(reply: Reply, *, has_conversation: bool, now: float) -> dict[str, Any]:
    """
    The JSON object of a successful answer.

    Args:
        has_conversation: the request named a conversation.
        now: seconds since 1970, for a ``Retry-After`` that is a date.

    Raises:
        DifyError: the subclass says who is at fault.
    """
    body = load_object(reply.body)
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        if reply.status == HTTPStatus.NO_CONTENT and not reply.body:
            return {}
        if body is None:
            raise DifyProtocolError("Dify 的应答不是 JSON", words=_page_text(reply))
        return body
    if HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST:
        host = reply.location_host or "未知地址"
        raise DifyRejected(f"Dify 要求跳转到 {host}（{reply.status}），请检查 dify.base_url")
    failed = Failed(
        code=_word(body, "code"),
        message=_word(body, "message") if body else _page_text(reply),
        status=reply.status,
    )
    raise fault(
        failed,
        has_conversation=has_conversation,
        retry_after=parse_retry_after(reply.retry_after, now=now),
    )


def decipher_asked(reply: Reply, *, has_conversation: bool, now: float) -> dict[str, Any]:
    """As ``decipher``, for a question: a failure that a proxy turned into 200 is one all the same."""
    body = decipher(reply, has_conversation=has_conversation, now=now)
    if not body:
        raise DifyProtocolError("Dify 的应答是空的", words=_page_text(reply))
    status = body.get("status")
    is_answer = "answer" in body or isinstance(body.get("data"), dict)
    if not is_answer and isinstance(status, int) and status >= HTTPStatus.BAD_REQUEST:
        failed = Failed(code=_word(body, "code"), message=_word(body, "message"), status=status)
        raise fault(failed, has_conversation=has_conversation)
    return body


def stream_fault(event: Failed | WorkflowFinished, *, has_conversation: bool) -> DifyError:
    """The error that a stream's failure event stands for."""
    if isinstance(event, WorkflowFinished):
        if event.unclear_outputs and event.status not in BAD_ENDS:
            names = "、".join(clean(name) for name in event.unclear_outputs)
            return DifyRejected(
                f"不知道工作流的哪个输出是回答({names}),请设置 dify.output_key",
                peer_code="output_unclear",
            )
        code = "workflow_stopped" if event.status == "stopped" else "workflow_failed"
        event = Failed(code=code, message=event.error or event.status)
    return fault(event, has_conversation=has_conversation)


def fault(failed: Failed, *, has_conversation: bool, retry_after: float | None = None) -> DifyError:
    """
    The error by fault for one failure, be it an HTTP status or an event in a stream.

    Dify's code outweighs the status, and where its releases share one code, the beginning of
    the message decides: a full app answers 400 ``invalid_param`` "Too many requests…".
    """
    kind = _kind(failed, has_conversation=has_conversation)
    about = " ".join(part for part in (str(failed.status or ""), failed.code) if part)
    message = f"Dify 应答失败（{about or '无错误码'}）"
    words = clean(failed.message)
    if failed.status in _ABOUT_ACCESS:
        return kind(f"{message}:{words}", retry_after=retry_after, peer_code=failed.code)
    return kind(
        message,
        words=words,
        retry_after=retry_after,
        peer_code=failed.code,
        may_run=failed.status in _PROXY_IMPATIENT and not failed.code,
    )


def _kind(failed: Failed, *, has_conversation: bool) -> type[DifyError]:
    if failed.code in _LASTING_CODES:
        return DifyRejected
    if _is_overload(failed):
        return DifyOverloaded
    if has_conversation and _is_conversation_gone(failed):
        return DifyConversationGone
    if not _may_pass(failed):
        is_spoilt = has_conversation and _may_be_spoilt(failed)
        return DifyConversationSpoilt if is_spoilt else _kind_of_refusal(failed)
    return DifyAbsent if failed.status in _PROXY_ALONE and not failed.code else DifyUnavailable


def _may_be_spoilt(failed: Failed) -> bool:
    """
    Whether a model refused what goes along with the question.

    A graph may have done things before its model refused; so there it has to be said plainly.
    """
    if failed.code == _REFUSED_BY_MODEL:
        return True
    is_passed_on = failed.code in _PASSED_ON or failed.message.startswith("Run failed")
    return is_passed_on and bool(_EMPTY_TURN.search(failed.message))


def _kind_of_refusal(failed: Failed) -> type[DifyRejected]:
    """Two refusals say that the app is asked the wrong way."""
    if failed.code in _WRONG_KIND_CODES:
        return WrongKind
    if failed.status == HTTPStatus.BAD_REQUEST and _NO_BLOCKING.search(failed.message):
        return StreamingRequired
    return DifyRejected


def _is_overload(failed: Failed) -> bool:
    return (
        failed.code == _OVERLOADED
        or failed.status == HTTPStatus.TOO_MANY_REQUESTS
        or failed.message.startswith("Too many requests")
    )


def _is_conversation_gone(failed: Failed) -> bool:
    if failed.code == "conversation_completed":
        return True
    return failed.code == "not_found" and failed.message.startswith("Conversation Not Exists")


def _may_pass(failed: Failed) -> bool:
    """Whether the same question may be answered later."""
    is_passed_on = failed.code in _PASSED_ON or failed.message.startswith("Run failed")
    if is_passed_on:
        return bool(_PASSING.search(failed.message)) and not _LASTING.search(failed.message)
    if not failed.status and not failed.code:
        return True
    return (
        failed.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or failed.status == HTTPStatus.REQUEST_TIMEOUT
        or failed.code == "internal_server_error"
    )


def parse_retry_after(value: str, *, now: float) -> float | None:
    """Seconds of a ``Retry-After`` header (a number or a date), at most an hour; None: unreadable."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(moment.timestamp() - now, 0.0), MAX_RETRY_AFTER)


def clean(text: str) -> str:
    """A peer's words for an error message: one line, bounded, without keys."""
    line = _SECRET.sub(r"\1***", " ".join(text[: MAX_DETAIL * 4].split()))
    return line if len(line) <= MAX_DETAIL else line[: MAX_DETAIL - 1] + "…"


def _page_text(reply: Reply) -> str:
    """What a page that is no JSON says: its title, else its beginning."""
    text = reply.body[:65536].decode("utf-8", "replace")
    title = _TITLE.search(text)
    return clean(title[1] if title else text) or "空应答"


def _word(body: Mapping[str, Any] | None, key: str) -> str:
    value = (body or {}).get(key)
    return value if isinstance(value, str) else ""
