"""The two releases the simulated Dify can be, the kinds of apps, and how each release writes its JSON."""

import json
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any


class Release(StrEnum):
    """A release whose behaviour on the wire is imitated."""

    OLD = "0.15.3"
    NEW = "1.13.0"


class Kind(StrEnum):
    """An app's type, by the word of the command line."""

    CHAT = "chat"
    AGENT = "agent"
    CHATFLOW = "chatflow"
    WORKFLOW = "workflow"
    COMPLETION = "completion"

    @property
    def mode(self) -> str:
        """Dify's own word."""
        return {Kind.AGENT: "agent-chat", Kind.CHATFLOW: "advanced-chat"}.get(self, self.value)

    @property
    def converses(self) -> bool:
        """Whether it has conversations."""
        return self not in (Kind.WORKFLOW, Kind.COMPLETION)

    @property
    def has_graph(self) -> bool:
        """Whether it runs nodes."""
        return self in (Kind.CHATFLOW, Kind.WORKFLOW)


PING = b"event: ping\n\n"


def frame_bytes(release: Release, frame: dict[str, Any]) -> bytes:
    """A frame as it stands on the wire: ASCII with spaces, or compact raw UTF-8."""
    return b"data: " + frame_json(release, frame) + b"\n\n"


def frame_json(release: Release, value: Any) -> bytes:
    """A value as the frames of the release write it."""
    if release is Release.OLD:
        return json.dumps(value).encode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def body_json(release: Release, value: Any) -> bytes:
    """A body that is not a stream: a line, ASCII in both; the newer one escapes slashes too."""
    if release is Release.OLD:
        return json.dumps(value).encode() + b"\n"
    text = json.dumps(value, separators=(",", ":")).replace("/", "\\/")
    return text.encode() + b"\n"


def usage(
    release: Release,
    kind: Kind,
    *,
    prompt: int,
    completion: int,
    latency: float,
    price: str = "",
) -> dict[str, Any]:
    """Token counts; prices are strings. The older release does not add up an agent's."""
    old_agent = release is Release.OLD and kind is Kind.AGENT
    zero = "0E-7" if release is Release.OLD else "0"
    unit = "0.0" if old_agent else "0"
    counts: dict[str, Any] = {
        "prompt_tokens": prompt,
        "prompt_unit_price": unit,
        "prompt_price_unit": unit,
        "prompt_price": zero,
        "completion_tokens": completion,
        "completion_unit_price": unit,
        "completion_price_unit": unit,
        "completion_price": price or zero,
        "total_tokens": 0 if old_agent else prompt + completion,
        "total_price": price or zero,
        "currency": "USD",
        "latency": 0.0 if old_agent else latency,
    }
    if release is Release.NEW:
        counts |= {
            "time_to_first_token": 0.0 if kind.has_graph else None,
            "time_to_generate": latency if kind.has_graph else None,
        }
    return counts


def metadata(
    release: Release, used: dict[str, Any], citations: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The `metadata` of an answer's end; the older release tells of citations only if there are any."""
    if release is Release.OLD:
        cited = {"retriever_resources": list(citations)} if citations else {}
        return {**cited, "usage": used}
    return {"annotation_reply": None, "retriever_resources": list(citations), "usage": used}


def now() -> int:
    """Seconds since 1970, as Dify writes times."""
    return int(time.time())
