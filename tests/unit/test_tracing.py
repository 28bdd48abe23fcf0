"""Steps of messages, and when spans of them are wanted; without the SDK."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from app.models.flow import MessageId
from app.opening import StartRefused
from app.services.errors import DifyUnavailable
from app.services.metrics import Metrics
from app.services.tracing import NoTracer, Span, Step, traced
from app.telemetry.opening import open_tracer, refuse_unfit, wanted_by
from app.utils.clock import SystemClock

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


class Notebook:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def record(self, span: Span) -> None:
        """See ``Tracer``."""
        self.spans.append(span)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (DifyUnavailable("x"), "dify_unavailable"),
        (RuntimeError("x"), "RuntimeError"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_what_a_step_raises_is_its_error_and_goes_on(raised: BaseException, code: str) -> None:
    """A code, never the text."""
    book = Notebook()

    with (
        pytest.raises(type(raised)),
        traced(book, SystemClock(), Step.ASK, MessageId(7), {"app": "default"}),
    ):
        raise raised

    [span] = book.spans
    assert (span.step, span.message_id, span.error) == (Step.ASK, 7, code)
    assert span.facts == {"app": "default"}
    assert span.started_at <= span.ended_at


def test_a_step_that_ends_well_has_no_error() -> None:
    """And facts that became known during it are told."""
    book, facts = Notebook(), {"app": "default"}

    with traced(book, SystemClock(), Step.SEND, MessageId(7), facts):
        facts["kind"] = "text"

    assert [(one.error, dict(one.facts)) for one in book.spans] == [
        ("", {"app": "default", "kind": "text"})
    ]


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, ""),
        ({ENDPOINT: "http://c:4318"}, ENDPOINT),
        ({TRACES: "http://c:4318/v1/traces", ENDPOINT: "http://c:4318"}, TRACES),
        ({ENDPOINT: "  "}, ""),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, ""),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "True"}, ""),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
    ],
)
def test_spans_are_wanted_by_an_address_for_traces(environ: dict[str, str], name: str) -> None:
    """Unless they are switched off by the variables that OpenTelemetry has for it."""
    assert wanted_by(environ) == name


@pytest.mark.parametrize(
    "environ",
    [
        {ENDPOINT: "c:4318"},
        {ENDPOINT: "http://"},
        {ENDPOINT: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {ENDPOINT: "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
    ],
)
def test_what_cannot_work_refuses_the_start(environ: dict[str, str]) -> None:
    """In a sentence that names the variable or what to write."""
    with pytest.raises(StartRefused, match="OTEL_EXPORTER_OTLP"):
        refuse_unfit(environ, ENDPOINT)


def test_the_protocol_that_is_spoken_may_be_named() -> None:
    """The more exact variable goes first."""
    refuse_unfit(
        {
            ENDPOINT: "https://c",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        },
        ENDPOINT,
    )


async def test_nobody_is_told_where_nothing_is_wanted() -> None:
    """And there is nothing to close."""
    async with AsyncExitStack() as stack:
        tracer = await open_tracer(stack, {}, role="all", metrics=Metrics(version="1"))

    assert isinstance(tracer, NoTracer)
