"""HTTP answers by fault."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.dify.responses import (
    MAX_DETAIL,
    Reply,
    StreamingRequired,
    clean,
    decipher,
    decipher_asked,
    fault,
    parse_retry_after,
)
from app.services.dify.wire import Failed
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

NOW = 1_700_000_000.0


def error(
    status: int, code: str, message: str = "", *, has_conversation: bool = False
) -> DifyError:
    """The error of one envelope."""
    body = json.dumps({"code": code, "message": message, "status": status}).encode()
    return error_of(Reply(status=status, body=body), has_conversation=has_conversation)


def error_of(reply: Reply, *, has_conversation: bool = False) -> DifyError:
    """The error of one reply."""
    with pytest.raises(DifyError) as caught:
        decipher(reply, has_conversation=has_conversation, now=NOW)
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "invalid_param", "Too many requests. Please try again later. …", DifyOverloaded),
        (429, "too_many_requests", "", DifyOverloaded),
        (429, "", "", DifyOverloaded),
        (429, "rate_limit_error", "plan", DifyRejected),
        (400, "provider_quota_exceeded", "", DifyRejected),
        (401, "unauthorized", "Access token is invalid", DifyRejected),
        (403, "forbidden", "", DifyRejected),
        (404, "not_found", "Conversation Not Exists.", DifyRejected),
        (400, "app_unavailable", "", DifyRejected),
        (400, "invalid_param", "city is required in input form", DifyRejected),
        (400, "provider_not_initialize", "", DifyRejected),
        (413, "file_too_large", "", DifyRejected),
        (415, "unsupported_media_type", "", DifyRejected),
        (408, "", "", DifyUnavailable),
        (500, "internal_server_error", "", DifyUnavailable),
        (500, "unknown", "Internal Server Error", DifyUnavailable),
        (503, "", "", DifyAbsent),
        (503, "internal_server_error", "", DifyUnavailable),
        (
            400,
            "completion_request_error",
            "API request failed with status code 429: {}",
            DifyUnavailable,
        ),
        (400, "completion_request_error", "Error code: 503 - {}", DifyUnavailable),
        (400, "completion_request_error", "Read timed out.", DifyUnavailable),
        (400, "completion_request_error", "Connection reset by peer", DifyUnavailable),
        (400, "completion_request_error", "status code 422: content len", DifyRejected),
        (400, "completion_request_error", "429 You exceeded your current quota", DifyRejected),
        (400, "invalid_param", "Run failed: [Errno 111] Connection refused", DifyUnavailable),
        (400, "invalid_param", "Run failed: unknown variable", DifyRejected),
        (400, "invalid_param", "Agent Chat App does not support blocking mode", StreamingRequired),
        (400, "bad_request", "Agent App only supports streaming response mode.", StreamingRequired),
    ],
)
def test_failures_by_fault(status: int, code: str, message: str, kind: type[DifyError]) -> None:
    """Each case of Dify's releases; its code is kept."""
    failure = error(status, code, message)

    assert type(failure) is kind
    assert failure.peer_code == code


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("not_found", "Conversation Not Exists."),
        (
            "not_found",
            "Conversation Not Exists. You have requested this URI [/v1/chat-messages] but",
        ),
        ("conversation_completed", "Conversation Completed."),
    ],
)
def test_gone_conversation_counts_only_if_one_was_named(code: str, message: str) -> None:
    """Without one there is nothing to leave out."""
    assert type(error(404, code, message, has_conversation=True)) is DifyConversationGone
    assert type(error(404, code, message)) is DifyRejected


@pytest.mark.parametrize(
    ("code", "message", "is_spoilt"),
    [
        ("completion_request_error", "Error: 422 content len should not be 0", True),
        ("completion_request_error", "Incorrect API key provided", True),
        ("completion_request_error", "status code 429: slow down", False),
        ("invalid_param", "Run failed: all messages must have non-empty content", True),
        ("invalid_param", "Run failed: HTTP node: 400", False),
        ("invalid_param", "city is required in input form", False),
        ("provider_not_initialize", "no key", False),
    ],
)
def test_what_a_model_refuses_in_a_conversation_may_be_its_past(
    code: str, message: str, *, is_spoilt: bool
) -> None:
    """Asked once more without it; a graph, which may have done things, only if it says so plainly."""
    kind = type(error(400, code, message, has_conversation=True))

    assert (kind is DifyConversationSpoilt) is is_spoilt
    assert type(error(400, code, message)) is not DifyConversationSpoilt


def test_other_404_with_a_conversation_is_a_rejection() -> None:
    """A wrong path is no reason to forget a conversation."""
    page = Reply(status=404, body=b"<title>404 Not Found</title>")

    assert type(error(404, "not_found", "App not found", has_conversation=True)) is DifyRejected
    assert type(error_of(page, has_conversation=True)) is DifyRejected


def test_proxy_page_is_unavailable_with_its_title() -> None:
    """An operator reads who spoke, not the page."""
    body = b"<html><head><title>502 Bad\n Gateway</title></head><body>" + b"x" * 100_000
    failure = error_of(Reply(status=502, body=body))

    assert type(failure) is DifyAbsent
    assert "502 Bad Gateway" in str(failure)
    assert len(str(failure)) < MAX_DETAIL + 60


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"plain words", b"[1]", b"null", b"{" * 3000])
def test_bodies_that_are_no_envelope_still_have_a_class(body: bytes) -> None:
    """By the status alone."""
    assert type(error_of(Reply(status=503, body=body))) is DifyAbsent
    assert type(error_of(Reply(status=400, body=body))) is DifyRejected
    assert type(error_of(Reply(status=200, body=body))) is DifyProtocolError


def test_redirect_is_a_rejection_that_names_the_host() -> None:
    """The key is not sent on."""
    failure = error_of(Reply(status=308, body=b"", location_host="dify.example"))

    assert type(failure) is DifyRejected
    assert "dify.example" in str(failure)


def test_retry_after_is_passed_on() -> None:
    """From the header of any failure."""
    assert error_of(Reply(status=429, body=b"{}", retry_after="7")).retry_after == 7
    assert error_of(Reply(status=503, body=b"{}", retry_after="7")).retry_after == 7
    assert error_of(Reply(status=429, body=b"{}")).retry_after is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 12 ", 12.0),
        ("999999999999", 3600.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60.0),
        ("Tue, 14 Nov 2022 22:14:20 GMT", 0.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    """Anything else is as if it were not there."""
    assert parse_retry_after(value, now=NOW) == seconds


@given(value=st.text(max_size=40))
def test_any_retry_after_is_read(value: str) -> None:
    """Never an exception, never outside an hour."""
    seconds = parse_retry_after(value, now=NOW)

    assert seconds is None or 0 <= seconds <= 3600


def test_answer_is_read_whatever_the_content_type() -> None:
    """Proxies mislabel."""
    reply = Reply(status=200, body='{"answer":"好","conversation_id":"c"}'.encode())

    assert decipher_asked(reply, has_conversation=False, now=NOW)["answer"] == "好"


def test_failure_envelope_under_200_is_still_the_failure() -> None:
    """Some proxies answer 200 to everything."""
    reply = Reply(status=200, body=b'{"code":"unauthorized","message":"no","status":401}')

    with pytest.raises(DifyRejected):
        decipher_asked(reply, has_conversation=False, now=NOW)


def test_peers_words_are_one_bounded_line_without_keys() -> None:
    """Messages go to logs and tables."""
    assert clean("a\n  b\tc") == "a b c"
    assert len(clean("汉" * 10_000)) == MAX_DETAIL
    assert (
        clean("bad key app-abcdefghij, Bearer sk-proj-abc123456.") == "bad key app-***, Bearer ***"
    )


@pytest.mark.parametrize(
    ("status", "code", "is_told"),
    [
        (400, "completion_request_error", False),
        (400, "invalid_param", False),
        (500, "internal_server_error", False),
        (0, "", False),
        (401, "unauthorized", True),
        (404, "not_found", True),
    ],
)
def test_a_log_holds_no_words_that_may_quote_the_question(
    status: int, code: str, is_told: bool
) -> None:
    """The message row has them; what is about the key or the path is told in the log, too."""
    error = fault(
        Failed(code=code, message="内容不允许:我的密码是八八六六", status=status),
        has_conversation=False,
    )

    assert "八八六六" in str(error)
    assert ("八八六六" in error.loggable) is is_told
    assert code in error.loggable


def test_a_page_that_is_no_json_is_not_quoted_in_the_log() -> None:
    """Whatever a proxy echoes."""
    with pytest.raises(DifyProtocolError) as caught:
        decipher(Reply(status=200, body="回声:我的密码".encode()), has_conversation=False, now=0.0)

    assert "我的密码" in str(caught.value)
    assert "我的密码" not in caught.value.loggable
