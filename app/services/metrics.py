"""What Prometheus is told. Labels never name a person or a group."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from app.models.flow import RefuseReason, Usage

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120)
FAST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4)
#: From receipt to answer: what waits for a peer that is away waits for long.
LONG_SECONDS = (*SECONDS, 300, 900, 3600)
#: What somebody is woken for has its zero from the start: a counter that begins with 1 has not
#: grown, as far as Prometheus can tell.
_TOLD_OF = ("unavailable", "wrong_token", "wrong_source", "wrong_time", *map(str, RefuseReason))


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self, *, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.callbacks = Counter(
            "bridge_callbacks_total",
            "Callbacks by verdict",
            ["verdict"],
            registry=self.registry,
        )
        self.unrecorded = Counter(
            "bridge_callbacks_unrecorded_total",
            "Ignored callbacks of which no store has a row",
            ["verdict"],
            registry=self.registry,
        )
        self.callback_seconds = self._histogram(
            "bridge_callback_seconds",
            "From the callback's first byte to its answer",
            [],
            FAST_SECONDS,
        )
        self.outcomes = Counter(
            "bridge_messages_total",
            "Messages by what became of the try",
            ["outcome"],
            registry=self.registry,
        )
        self.dify_seconds = self._histogram(
            "bridge_dify_seconds", "One question to Dify", ["mode", "outcome"], SECONDS
        )
        self.first_token_seconds = self._histogram(
            "bridge_dify_first_token_seconds",
            "Waiting for Dify until a streamed answer's first text",
            [],
            SECONDS,
        )
        self.answer_seconds = self._histogram(
            "bridge_answer_seconds",
            "From a question's receipt until its whole answer is planned",
            [],
            LONG_SECONDS,
        )
        self.retries = Counter(
            "bridge_retries_total",
            "What is tried again: asking Dify, or sending a segment",
            ["stage"],
            registry=self.registry,
        )
        self.dify_tokens = Counter(
            "bridge_dify_tokens_total",
            "Tokens of answers, as Dify counts them",
            ["app", "part"],
            registry=self.registry,
        )
        self.recovered = Counter(
            "bridge_dify_recovered_total",
            "Answers whose end nobody heard, by what Dify had of them",
            ["outcome"],
            registry=self.registry,
        )
        self.stops = Counter(
            "bridge_dify_stops_total",
            "Runs given up that Dify was told to stop",
            ["outcome"],
            registry=self.registry,
        )
        self.limit = Gauge(
            "bridge_dify_limit",
            "Questions that all processes together may ask an app at once",
            ["app"],
            registry=self.registry,
        )
        self.limit_share = Gauge(
            "bridge_dify_limit_share",
            "This process' part of that limit",
            ["app"],
            registry=self.registry,
        )
        self.limit_in_use = Gauge(
            "bridge_dify_limit_in_use",
            "Questions that this process is asking an app",
            ["app"],
            registry=self.registry,
        )
        self.limit_cuts = Counter(
            "bridge_dify_limit_cuts_total",
            "How often news of this process lowered an app's limit",
            ["app", "cause"],
            registry=self.registry,
        )
        self.send_seconds = self._histogram(
            "bridge_send_seconds", "One segment to the gateway", ["outcome"], SECONDS
        )
        self.throttled = Counter(
            "bridge_throttled_total",
            "Times that an account was told that it is too fast",
            registry=self.registry,
        )
        self.held = Gauge(
            "bridge_sending_held",
            "Accounts that owe something and send nothing now, by what holds them back",
            ["reason"],
            registry=self.registry,
        )
        self.paused = Gauge(
            "bridge_paused",
            "Whether operators have paused taking or sending; of people how many are paused",
            ["what"],
            registry=self.registry,
        )
        self.slowed = self._gauge(
            "bridge_sending_slowed",
            "How many times slower than the settings the slowest account is",
        )
        self.in_flight = self._gauge("bridge_inflight", "Messages in work in this process")
        self.waiting = self._gauge(
            "bridge_queue_depth", "Messages that wait, those in work included"
        )
        self.oldest = self._gauge(
            "bridge_queue_oldest_seconds", "Age of the oldest waiting message"
        )
        self.dead = self._gauge("bridge_dead_letters", "Messages that were given up")
        self.spilled = self._gauge("bridge_spilled", "Callbacks that only the spill file has")
        self.unsent = self._gauge("bridge_segments_open", "Segments planned and not sent")
        self.breakers = Gauge(
            "bridge_breaker_open",
            "Breakers that are open: the peer is left alone but for a probe",
            ["peer"],
            registry=self.registry,
        )
        self.parked = self._gauge(
            "bridge_parked_users", "Users who wait until a peer is well or has a place"
        )
        self.accounts = Gauge(
            "bridge_accounts",
            "Our accounts by what is known of them",
            ["state"],
            registry=self.registry,
        )
        self.stores_up = Gauge(
            "bridge_store_up",
            "Whether a store answered the last look at these figures in time",
            ["store"],
            registry=self.registry,
        )
        self.disk_free = self._gauge(
            "bridge_disk_free_bytes", "Room on the disk with the data folder"
        )
        self.redis_memory = self._gauge(
            "bridge_redis_memory_bytes", "Memory that the Redis server uses; 0: not known"
        )
        self.redis_memory_limit = self._gauge(
            "bridge_redis_memory_limit_bytes", "Its maxmemory; 0: none, or not known"
        )
        self.alerts = Counter(
            "bridge_alerts_total",
            "Notices to the operator by channel and what became of them",
            ["channel", "outcome"],
            registry=self.registry,
        )
        self.spans = Counter(
            "bridge_spans_total",
            "Spans for OpenTelemetry by what became of them",
            ["outcome"],
            registry=self.registry,
        )
        self.scrape_failures = Counter(
            "bridge_figures_unavailable_total",
            "Looks at the gauges while a store was away",
            registry=self.registry,
        )
        info = Gauge("bridge_build_info", "Which version runs", ["version"], registry=self.registry)
        info.labels(version=version).set(1)
        self._begin_with_zero()

    def _begin_with_zero(self) -> None:
        for verdict in _TOLD_OF:
            self.callbacks.labels(verdict=verdict)
        for outcome in ("answered", "dead"):
            self.outcomes.labels(outcome=outcome)
        for stage in ("ask", "send"):
            self.retries.labels(stage=stage)
        for mode in ("blocking", "streaming"):
            for outcome in ("answered", "failed"):
                self.dify_seconds.labels(mode=mode, outcome=outcome)
        self.send_seconds.labels(outcome="sent")
        for outcome in ("exported", "failed", "dropped"):
            self.spans.labels(outcome=outcome)

    def count_tokens(self, app: str, usage: Usage) -> None:
        """What one answer of an app took; of some kinds only the sum is known."""
        parts = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
        parts["unknown"] = max(0, usage.total_tokens - sum(parts.values()))
        for part, tokens in parts.items():
            if tokens:
                self.dify_tokens.labels(app=app, part=part).inc(tokens)

    def count_notices(self, channel: str, outcome: str, notices: int = 1) -> None:
        """What became of a try to tell the operator something."""
        self.alerts.labels(channel=channel, outcome=outcome).inc(notices)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)
