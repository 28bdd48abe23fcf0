"""From the gateway's HTTP answer to its data or to a typed error. Pure."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic_core import from_json

from app.services.errors import (
    EcloudError,
    EcloudProtocolError,
    EcloudRefused,
    EcloudThrottled,
    EcloudUnauthorized,
    EcloudUnavailable,
    EcloudUndecided,
)

SUCCESS = "1000"
#: Failure codes of the envelope, newer and older.
FAILURES = frozenset({"1001", "10001"})
#: Words in a failure's sentence that mean: slower. The gateway has no code for it.
THROTTLE_MARKERS = (
    "风控",
    "频繁",
    "频率过快",
    "发送频率",
    "限制",
    "risk",
    "too frequent",
    "frequency",
)
_LONGEST_SENTENCE = 200
_LONGEST_CODE = 16
_UTF8_BOM = b"\xef\xbb\xbf"


def decipher_response(
    status: int, body: bytes, *, is_send: bool = False, retry_after: float | None = None
) -> Any:
    """
    Read one answer of the gateway.

    Args:
        is_send: the request sent a message; an answer that says neither yes nor no is then
            ``EcloudUndecided``.
        retry_after: seconds the answer's header asked to wait.

    Returns:
        The envelope's ``data``: object, array, string or None, as the call gives it.

    Raises:
        EcloudUnauthorized: HTTP 401 or 403.
        EcloudThrottled: HTTP 429, or a sentence about frequency or risk control.
        EcloudRefused: another failure code, also one inside a success, or HTTP 3xx or 4xx.
        EcloudUnavailable: HTTP 5xx or 408 on a look-up.
        EcloudProtocolError: no envelope on a look-up.
        EcloudUndecided: the latter two on a send.
    """
    if status in {401, 403}:
        raise EcloudUnauthorized(
            f"网关不接受 Authorization（HTTP {status}）", peer_code=str(status)
        )
    if status == 429:  # noqa: PLR2004 - Too Many Requests
        raise EcloudThrottled("网关限流（HTTP 429）", peer_code="429", retry_after=retry_after)
    if status == 408 or status >= 500:  # noqa: PLR2004 - Request Timeout, server errors
        raise undecided_or(
            EcloudUnavailable,
            f"网关内部错误（HTTP {status}）",
            is_send=is_send,
            peer_code=str(status),
            retry_after=retry_after,
        )
    envelope = _read_envelope(body)
    if envelope is not None:
        return _open_envelope(envelope)
    if status >= 300:  # noqa: PLR2004 - redirects and client errors were not carried out
        raise EcloudRefused(f"网关没有执行请求（HTTP {status}）", peer_code=str(status))
    raise undecided_or(
        EcloudProtocolError, "网关的应答不是已知的格式", is_send=is_send, peer_code=str(status)
    )


def undecided_or(
    error: type[EcloudError],
    message: str,
    *,
    is_send: bool,
    peer_code: str = "",
    retry_after: float | None = None,
) -> EcloudError:
    """*error* for a look-up; for a send ``EcloudUndecided``, since it may have been carried out."""
    kind = EcloudUndecided if is_send else error
    return kind(message, peer_code=peer_code, retry_after=retry_after)


def read_retry_after(value: str, *, now: float) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as a number or a date; None: unreadable."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - now)
    except (ValueError, OverflowError):
        return None


def as_list(data: Any) -> list[Mapping[str, Any]]:
    """The objects in *data*, which may be an array, a single object, or nothing."""
    items = data if isinstance(data, list) else [data]
    return [item for item in items if isinstance(item, dict)]


def as_object(data: Any) -> Mapping[str, Any]:
    """The first object in *data*; empty if there is none."""
    return next(iter(as_list(data)), {})


def read_url(data: Any) -> str:
    """The address in the answer of a media call, by any of the names that were seen; empty: none."""
    if isinstance(data, str):
        return data.strip()
    found = as_object(data)
    urls = (found.get(name) for name in ("url", "imgUrl", "imageUrl", "src"))
    return next((url.strip() for url in urls if isinstance(url, str) and url.strip()), "")


def _read_envelope(body: bytes) -> Mapping[str, Any] | None:
    try:
        envelope = from_json(body.removeprefix(_UTF8_BOM))
    except ValueError:
        return None
    if not isinstance(envelope, dict) or not _code_of(envelope):
        return None
    return envelope


def _open_envelope(envelope: Mapping[str, Any]) -> Any:
    code = _code_of(envelope)
    if code != SUCCESS:
        raise _failure(code, envelope)
    data = envelope.get("data")
    # A call can succeed in saying that it failed: an envelope within the envelope.
    if isinstance(data, dict) and ("message" in data or "msg" in data):
        inner = _code_of(data)
        if inner not in {"", SUCCESS}:
            raise _failure(inner, data)
    return data


def _code_of(envelope: Mapping[str, Any]) -> str:
    """The code as text; empty if there is none."""
    code = envelope.get("code")
    if isinstance(code, bool) or not isinstance(code, str | int):
        return ""
    return str(code).strip() if isinstance(code, str) or abs(code) < 10**_LONGEST_CODE else ""


def _failure(code: str, envelope: Mapping[str, Any]) -> EcloudError:
    text = next((envelope[key] for key in ("message", "msg") if envelope.get(key)), "")
    sentence = " ".join(str(text).split())[:_LONGEST_SENTENCE] or "没有说明"
    is_throttle = any(marker in sentence.lower() for marker in THROTTLE_MARKERS)
    kind = EcloudThrottled if is_throttle else EcloudRefused
    return kind(f"网关拒绝：{sentence}（{code[:_LONGEST_CODE]}）", peer_code=code[:_LONGEST_CODE])
