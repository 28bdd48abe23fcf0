"""
Spans by OpenTelemetry's SDK, to a collector over OTLP/HTTP.

All spans of a message are one trace, whichever process tells them: the ids of the trace and of its
first span are made of the message's id. The first span need not have been told, or told yet.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from loguru import logger
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from typing_extensions import override

from app.models.flow import MessageId
from app.services.metrics import Metrics
from app.services.tracing import Span, Step

SERVICE: Final = "ecloud-dify"
NANOSECONDS: Final = 1_000_000_000
#: Spans that wait to be sent; more are dropped. The SDK's own number.
KEEP_AT_MOST: Final = 2048
_KINDS: Final[Mapping[Step, SpanKind]] = {
    Step.CALLBACK: SpanKind.SERVER,
    Step.WAIT: SpanKind.INTERNAL,
    Step.ASK: SpanKind.CLIENT,
    Step.FETCH: SpanKind.CLIENT,
    Step.SEND: SpanKind.CLIENT,
}


def trace_id_of(message_id: MessageId) -> int:
    """The same in every process, and as good as random: samplers go by it (pure)."""
    return _digest(b"trace", message_id, 16)


def first_span_id_of(message_id: MessageId) -> int:
    """The span that all others of the message belong to (pure)."""
    return _digest(b"first-span", message_id, 8)


def _digest(use: bytes, message_id: MessageId, size: int) -> int:
    text = str(int(message_id)).encode()
    # Zero is no id; it comes about as rarely as a collision.
    return int.from_bytes(hashlib.blake2b(text, digest_size=size, person=use).digest()) or 1


class _Ids(RandomIdGenerator):
    """Random ids, but for the next span where its ids are given."""

    def __init__(self) -> None:
        self.next_ids: tuple[int, int] | None = None

    @override
    def generate_trace_id(self) -> int:
        return self.next_ids[0] if self.next_ids else super().generate_trace_id()

    @override
    def generate_span_id(self) -> int:
        return self.next_ids[1] if self.next_ids else super().generate_span_id()


class _LastWord(logging.Handler):
    """Keeps what the SDK said last: its logs would repeat it for every batch."""

    text = ""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class CountedExporter(SpanExporter):
    """Passes batches on, counts what became of them, and says once that the collector is away."""

    def __init__(self, exporter: SpanExporter, metrics: Metrics) -> None:
        self._exporter = exporter
        self._metrics = metrics
        self._lock = threading.Lock()
        self._waiting = 0
        self._is_away = False
        self._is_closing = False
        self._last_word = _LastWord()

    def take_over_logs(self) -> None:
        """From now on the SDK's own lines are kept from the log."""
        sdk = logging.getLogger("opentelemetry")
        sdk.handlers, sdk.propagate = [self._last_word], False

    def has_room(self) -> bool:
        """Whether one more span may wait; then it counts as waiting."""
        with self._lock:
            if self._waiting >= KEEP_AT_MOST:
                return False
            self._waiting += 1
            return True

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the SDK's thread."""
        is_lost = self._is_closing and self._is_away
        result = SpanExportResult.FAILURE if is_lost else self._pass_on(spans)
        with self._lock:
            self._waiting -= len(spans)
        is_away = result is not SpanExportResult.SUCCESS
        outcome = "failed" if is_away else "exported"
        self._metrics.spans.labels(outcome=outcome).inc(len(spans))
        if is_away and not self._is_away:
            logger.warning("trace.not_exported", spans=len(spans), reason=self._last_word.text)
        elif self._is_away and not is_away:
            logger.info("trace.exported_again")
        self._is_away = is_away
        return result

    def _pass_on(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            return self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, the bridge's work is not concerned
            self._last_word.text = repr(error)
            return SpanExportResult.FAILURE

    def hurry(self) -> None:
        """The process ends: a collector that is away is not tried again."""
        self._is_closing = True

    @override
    def shutdown(self) -> None:
        self._exporter.shutdown()


class OtlpTracer:
    """See ``Tracer``. Batches go out by a thread of the SDK's every few seconds."""

    def __init__(self, *, role: str, version: str, metrics: Metrics) -> None:
        """
        Reads the other variables of OpenTelemetry by the SDK: headers, sampler, attributes …

        Raises:
            ValueError, OSError: one of them cannot be used.
        """
        self._metrics = metrics
        self._ids = _Ids()
        self._exporter = CountedExporter(OTLPSpanExporter(), metrics)
        self._processor = BatchSpanProcessor(self._exporter, max_queue_size=KEEP_AT_MOST)
        own = Resource(
            {
                "service.name": SERVICE,
                "service.version": version,
                "bridge.role": role,
                "process.pid": os.getpid(),
            }
        )
        # What the environment names goes before what is ours.
        named = OTELResourceDetector().detect()
        self._provider = TracerProvider(
            id_generator=self._ids,
            resource=Resource.create().merge(own).merge(named),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer(SERVICE, version)
        self._exporter.take_over_logs()

    def record(self, span: Span) -> None:
        """See ``Tracer``; called in the loop's thread."""
        trace_id, first_id = trace_id_of(span.message_id), first_span_id_of(span.message_id)
        if not self._is_sampled(trace_id, span):
            return
        if not self._exporter.has_room():
            self._metrics.spans.labels(outcome="dropped").inc()
            return
        context = Context()
        if not span.is_first:
            first = SpanContext(trace_id, first_id, is_remote=True, trace_flags=TraceFlags(1))
            context = set_span_in_context(NonRecordingSpan(first), context)
        self._ids.next_ids = (trace_id, first_id) if span.is_first else None
        facts = {f"bridge.{name}": value for name, value in span.facts.items()}
        one = self._tracer.start_span(
            span.step,
            context,
            _KINDS[span.step],
            # As text: 63 bits are more than what shows it can count to.
            {"bridge.message_id": str(span.message_id), **facts},
            start_time=int(span.started_at * NANOSECONDS),
        )
        if span.error:
            one.set_status(Status(StatusCode.ERROR, span.error))
        one.end(int(span.ended_at * NANOSECONDS))

    def _is_sampled(self, trace_id: int, span: Span) -> bool:
        """By the trace alone: either all of a message is told or nothing, whichever process has it."""
        decision = self._provider.sampler.should_sample(None, trace_id, span.step).decision
        return decision is Decision.RECORD_AND_SAMPLE

    def close(self) -> None:
        """Send what waits; takes long where the collector is away."""
        self._exporter.hurry()
        self._provider.shutdown()
