"""The gateway's answers: data, or an error that says whether trying again helps."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.ecloud.responses import (
    as_list,
    as_object,
    decipher_response,
    read_retry_after,
)
from app.services.errors import (
    EcloudError,
    EcloudProtocolError,
    EcloudRefused,
    EcloudThrottled,
    EcloudUnauthorized,
    EcloudUnavailable,
    EcloudUndecided,
)


def envelope(code: Any = "1000", data: Any = None, **more: Any) -> bytes:
    return json.dumps({"code": code, "data": data} | more, ensure_ascii=False).encode()


@pytest.mark.parametrize("code", ["1000", 1000, " 1000 "])
@pytest.mark.parametrize("data", [None, {}, {"a": 1}, [], [{"a": 1}], "text", 5, True])
def test_a_success_gives_its_data_whatever_it_is(code: Any, data: Any) -> None:
    """The code is a string in practice and a number in old tables."""
    assert decipher_response(200, envelope(code, data, message="处理成功")) == data


def test_ids_are_exact() -> None:
    """No id passes through a float."""
    data = decipher_response(200, b'{"code":"1000","data":{"newMsgId":18446744073709551617}}')

    assert data["newMsgId"] == 18446744073709551617


def test_a_success_without_data_is_one() -> None:
    """Old versions leave it out."""
    assert decipher_response(200, b'\xef\xbb\xbf{"code":"1000"}') is None


@pytest.mark.parametrize("key", ["message", "msg"])
@pytest.mark.parametrize("code", ["1001", 1001, "10001", "9"])
@pytest.mark.parametrize("status", [200, 400, 404])
def test_a_failure_says_the_gateways_sentence(key: str, code: Any, status: int) -> None:
    """There is no table of codes; the sentence is all there is."""
    with pytest.raises(EcloudRefused, match="系统失败,请重试") as caught:
        decipher_response(status, envelope(code, **{key: "系统失败,请重试"}), is_send=True)

    assert caught.value.peer_code == str(code)


@pytest.mark.parametrize(
    "sentence",
    [
        "触发风控",
        "操作频繁，请稍后",
        "频率过快",
        "发送频率超限",
        "功能限制",
        "Risk control",
        "TOO FREQUENT",
    ],
)
def test_a_sentence_about_frequency_means_slower(sentence: str) -> None:
    """The gateway has no code for it."""
    with pytest.raises(EcloudThrottled):
        decipher_response(200, envelope("1001", message=sentence), is_send=True)


def test_a_failure_within_a_success_is_a_failure() -> None:
    """Some calls succeed in saying that they failed."""
    inner = {"code": "1001", "message": "请重新登录", "data": None}

    with pytest.raises(EcloudRefused, match="请重新登录"):
        decipher_response(200, envelope("1000", inner, message="成功"))


def test_a_success_within_a_success_and_a_plain_code_are_data() -> None:
    """Only an envelope with another code is a failure."""
    assert decipher_response(200, envelope(data={"code": "1000", "message": "x"}))
    assert decipher_response(200, envelope(data={"code": "zh"})) == {"code": "zh"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_authorization_is_the_operators_business(status: int) -> None:
    """Trying again does not help."""
    with pytest.raises(EcloudUnauthorized):
        decipher_response(status, envelope("1000"), is_send=True)


def test_http_429_is_a_throttle_with_its_delay() -> None:
    """A proxy before the gateway may say so."""
    with pytest.raises(EcloudThrottled) as caught:
        decipher_response(429, b"", retry_after=7.0)

    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("604800", 604_800.0),
        ("12345678", 12_345_678.0),
        ("9" * 400, float("inf")),
        ("Wed, 21 Oct 2026 07:30:00 GMT", 120.0),
        ("Wed, 21 Oct 2026 07:30:00", 120.0),
        ("Wed, 21 Oct 2026 15:30:00 +0800", 120.0),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("١٢", None),
        ("soon", None),
        ("Wed, 21 Oct 99999 07:30:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, expected: float | None) -> None:
    """Both forms of RFC 9110, whole; anything else is as good as none."""
    now = datetime(2026, 10, 21, 7, 28, tzinfo=UTC).timestamp()

    assert read_retry_after(value, now=now) == expected


@given(st.text(max_size=60))
def test_no_retry_after_breaks_the_reading(value: str) -> None:
    """A number of seconds from zero on, or nothing."""
    seconds = read_retry_after(value, now=0.0)

    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
def test_a_server_error_leaves_a_send_undecided(status: int) -> None:
    """It may have been carried out; a look-up is simply repeated."""
    with pytest.raises(EcloudUndecided):
        decipher_response(status, envelope("1001", message="错误"), is_send=True)
    with pytest.raises(EcloudUnavailable):
        decipher_response(status, b"<html>")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b'"1000"', b"{}", b'{"code":null}', b'{"code":true}',
     b'{"code":1000.0}', b'{"code":{}}', b'{"code":"1000"', b"\xff", b"[" * 10_000],
)  # fmt: skip
def test_garbage_leaves_a_send_undecided(body: bytes) -> None:
    """An answer of no known shape says neither yes nor no."""
    with pytest.raises(EcloudUndecided):
        decipher_response(200, body, is_send=True)
    with pytest.raises(EcloudProtocolError):
        decipher_response(200, body)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 405, 413])
def test_redirects_and_client_errors_were_not_carried_out(status: int) -> None:
    """A wrong address is no reason to wait for an echo."""
    with pytest.raises(EcloudRefused) as caught:
        decipher_response(status, b"<html>", is_send=True)

    assert caught.value.peer_code == str(status)


def test_a_long_sentence_is_cut() -> None:
    """It goes into a column and a log line."""
    with pytest.raises(EcloudRefused) as caught:
        decipher_response(200, envelope("1" * 5000, message="长\n" * 5000))

    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, []),
        ([], []),
        ({"a": 1}, [{"a": 1}]),
        ([{"a": 1}, None, "x", {"b": 2}], [{"a": 1}, {"b": 2}]),
        ("text", []),
    ],
)
def test_data_of_any_shape_is_a_list_of_objects(data: Any, expected: list[Any]) -> None:
    """The same call gives an object, an array or nothing."""
    assert as_list(data) == expected
    assert as_object(data) == (expected[0] if expected else {})


@given(st.integers(100, 599), st.binary(max_size=60), st.booleans())
def test_any_answer_is_data_or_a_typed_error(
    status: int,
    body: bytes,
    is_send: bool,
) -> None:
    """Nothing else ever escapes."""
    allowed: tuple[type[EcloudError], ...] = (EcloudUnauthorized, EcloudThrottled, EcloudRefused)
    allowed += (EcloudUndecided,) if is_send else (EcloudUnavailable, EcloudProtocolError)

    with suppress(*allowed):
        decipher_response(status, body, is_send=is_send)
