"""Recorded exchanges and our own, brought into a form in which they can be compared byte by byte."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[1] / "samples" / "dify"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
CLOCK = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
MEASURED = re.compile(
    r'("(?:created_at|finished_at|latency|elapsed_time|time_to_first_token|time_to_generate'
    r'|sequence_number)": ?)[-0-9.e]+'
)

#: Of an answer these are compared; the others differ from call to call.
HEADERS = (
    "Content-Type",
    "Server",
    "X-Version",
    "X-Env",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Www-Authenticate",
)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A recorded request and its response."""

    request: dict[str, Any]
    status: int
    headers: dict[str, str]
    body: bytes


def recorded(release: str, name: str) -> Exchange:
    """The recording of that name; a note of the recording program at its end is left out."""
    raw = (SAMPLES / release / f"{name}.txt").read_bytes()
    _, request, rest = raw.split(b"\n", 2)
    head, _, body = rest.removeprefix(b"###\n").partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return Exchange(
        request=json.loads(request) if request.strip() else {},
        status=int(status.split(" ")[1]),
        headers={name.title(): value for name, _, value in (one.partition(": ") for one in lines)},
        body=body.partition(b"curl: ")[0],
    )


def normalised(body: bytes) -> str:
    """
    The text with what must differ made equal.

    Ids become u1, u2 … in order of appearance (so their identity still counts), moments and
    measured seconds become 0; everything else stays, spaces and escapes too.
    """
    known: dict[str, str] = {}
    text = UUID.sub(lambda found: known.setdefault(found[0], f"u{len(known) + 1}"), body.decode())
    return MEASURED.sub(r"\g<1>0", CLOCK.sub("<clock>", text)).rstrip("\n")


def frames(body: bytes) -> list[dict[str, Any]]:
    """The data frames of an event stream; pings are left out."""
    return [
        json.loads(line.removeprefix(b"data: "))
        for line in body.split(b"\n")
        if line.startswith(b"data: ")
    ]


def answer_of(body: bytes) -> str:
    """The deltas of an event stream put together."""
    return "".join(
        frame["answer"] for frame in frames(body) if frame["event"] in {"message", "agent_message"}
    )
