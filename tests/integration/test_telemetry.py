"""Spans on their way to a collector: which are told, and what becomes of those that cannot be."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from typing_extensions import override

from app.models.flow import MessageId
from app.opening import StartRefused
from app.services.metrics import Metrics
from app.services.tracing import Span, Step, Tracer
from app.telemetry.opening import open_tracer
from tests.fixtures.collector import Collector

pytest.importorskip("opentelemetry.sdk", reason="needs requirements-otel.txt")


def span(number: int, step: Step = Step.ASK, *, is_first: bool = False) -> Span:
    """A step of a message."""
    return Span(
        step=step, message_id=MessageId(number), started_at=1.0, ended_at=2.0, is_first=is_first
    )


def spans(metrics: Metrics, outcome: str) -> float:
    """How many had this outcome."""
    return metrics.registry.get_sample_value("bridge_spans_total", {"outcome": outcome}) or 0.0


@asynccontextmanager
async def tracing(metrics: Metrics, **variables: str) -> AsyncIterator[Tracer]:
    """A tracer as a process has it; the SDK reads the variables out of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        async with AsyncExitStack() as stack:
            yield await open_tracer(stack, variables, role="all", metrics=metrics)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what the SDK's thread does."""
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_a_sampler_takes_all_of_a_message_or_nothing_in_whichever_process(
    collector: Collector,
) -> None:
    """Two processes with the same ratio: half of the messages, each with both spans."""
    ratio = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    metrics = Metrics(version="1")
    async with (
        tracing(metrics, **collector.variables, **ratio) as api,
        tracing(metrics, **collector.variables, **ratio) as worker,
    ):
        for number in range(400):
            # Neighbours, as ids that are made within one second are.
            api.record(span(7_000_000_000 + number, Step.CALLBACK, is_first=True))
            worker.record(span(7_000_000_000 + number))

    counts = Counter(one.trace for one in collector.spans)
    assert set(counts.values()) == {2}
    assert 120 < len(counts) < 280


async def test_what_the_environment_names_goes_along(collector: Collector) -> None:
    """The service's own name and attributes, the key for the collector, compression."""
    async with tracing(
        Metrics(version="1"),
        **collector.variables,
        OTEL_RESOURCE_ATTRIBUTES="service.name=bridge-a,deployment.environment=prod",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20key",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    ) as tracer:
        tracer.record(span(1))

    [one] = collector.spans
    assert one.resource["service.name"] == "bridge-a"
    assert one.resource["deployment.environment"] == "prod"
    assert one.resource["bridge.role"] == "all"
    assert collector.headers["Authorization"] == "Bearer key"
    assert (one.started_at, one.ended_at) == (1.0, 2.0)


async def test_a_collector_that_comes_back_is_told_of_and_gets_what_comes_then(
    collector: Collector, log_lines: list[str]
) -> None:
    """One line for its absence, however many batches fail; one for its return."""
    metrics = Metrics(version="1")
    async with tracing(metrics, **collector.variables) as tracer:
        collector.status = 400
        for number in (1, 2, 3):
            tracer.record(span(number))
            await until(lambda number=number: spans(metrics, "failed") == number)  # type: ignore[misc]
        collector.status = 200
        tracer.record(span(4))
        await until(lambda: spans(metrics, "exported") == 1)

    words = [line.split()[1] for line in log_lines]
    assert [word for word in words if word.startswith("trace.")] == [
        "trace.on",
        "trace.not_exported",
        "trace.exported_again",
    ]
    assert [one.facts["bridge.message_id"] for one in collector.spans] == ["4"]


class Stuck:
    """An exporter that does not come back before it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def export(self, batch: Any) -> Any:  # noqa: ARG002 - as the SDK's
        """Wait."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.let_go.wait(30)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to do."""


async def test_while_a_collector_hangs_spans_are_dropped_and_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    """A bounded number is kept; recording stays quick; a stop gives it up after its time."""
    stuck, metrics = Stuck(), Metrics(version="1")
    monkeypatch.setattr("app.telemetry.otlp.OTLPSpanExporter", lambda: stuck)
    monkeypatch.setattr("app.telemetry.opening.CLOSE_SECONDS", 0.3)
    async with tracing(metrics, **collector.variables) as tracer:
        began = time.monotonic()
        for number in range(3000):
            tracer.record(span(number))
        seconds = time.monotonic() - began
        dropped = spans(metrics, "dropped")
        leaving = time.monotonic()
    left = time.monotonic() - leaving
    stuck.let_go.set()

    assert dropped == 3000 - 2048
    assert seconds < 2
    assert 0.3 <= left < 5


async def test_an_exporter_that_raises_costs_its_batch_alone(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, log_lines: list[str]
) -> None:
    """It is counted and told like any other failure."""

    class Broken(Stuck):
        @override
        def export(self, batch: Any) -> Any:
            raise KeyError("unforeseen")

    metrics = Metrics(version="1")
    monkeypatch.setattr("app.telemetry.otlp.OTLPSpanExporter", Broken)
    async with tracing(metrics, **collector.variables) as tracer:
        tracer.record(span(1))
        await until(lambda: spans(metrics, "failed") == 1)

    [failure] = [line for line in log_lines if "trace.not_exported" in line]
    assert "unforeseen" in failure


async def test_a_variable_that_cannot_be_used_refuses_the_start(collector: Collector) -> None:
    """In the operator's words, with the SDK's."""
    with pytest.raises(StartRefused, match="OTEL_"):
        async with tracing(
            Metrics(version="1"),
            **collector.variables,
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="100000",
        ):
            pass
