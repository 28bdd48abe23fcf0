"""What can be switched to go wrong at the simulated Dify."""

from simulators.dify_endpoint import Endpoint
from simulators.faults import FaultKind

ASKED = tuple(one.value for one in Endpoint)
KINDS = {
    "latency": FaultKind(explanation="begin later", unit="seconds", endpoints=ASKED),
    "pace": FaultKind(explanation="time between deltas", unit="seconds", endpoints=ASKED),
    "http_429": FaultKind(
        explanation="HTTP 429; the value is its Retry-After, 0 = none",
        unit="seconds",
        endpoints=ASKED,
    ),
    "http_500": FaultKind(explanation="HTTP 500", endpoints=ASKED),
    "http_502": FaultKind(explanation="HTTP 502, the proxy's page", endpoints=ASKED),
    "http_503": FaultKind(explanation="HTTP 503, the proxy's page", endpoints=ASKED),
    "http_504": FaultKind(explanation="HTTP 504, the proxy's page", endpoints=ASKED),
    "hang": FaultKind(explanation="no byte of an answer", endpoints=ASKED),
    "cut": FaultKind(explanation="break the connection before the answer", endpoints=ASKED),
    "down": FaultKind(explanation="break every connection"),
    "cut_midway": FaultKind(explanation="break the connection half-way", endpoints=ASKED),
    "eof_midway": FaultKind(explanation="end half-way without a last event", endpoints=ASKED),
    "error_midway": FaultKind(explanation="an error half-way", endpoints=ASKED),
    "stall": FaultKind(explanation="half-way only pings remain", endpoints=ASKED),
}
STATUS_FAULTS = ("http_429", "http_500", "http_502", "http_503", "http_504")
