"""Reads recorded exchanges (tests/samples/dify) as heads and bodies."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[2] / "samples" / "dify"


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One recorded exchange."""

    name: str
    request: dict[str, Any]
    #: Status line and headers, with the blank line.
    head: bytes
    #: The body; with its chunk sizes if ``is_raw``.
    body: bytes
    is_raw: bool
    #: The server never went on after the body.
    is_hanging: bool

    @property
    def is_stream(self) -> bool:
        """The body is an event stream."""
        return b"text/event-stream" in self.head

    @property
    def plain_body(self) -> bytes:
        """The body without chunk sizes."""
        return _dechunk(self.body) if self.is_raw else self.body

    def response(self, *cuts: int) -> bytes:
        """Everything as bytes for the socket; the body in chunks that end at *cuts*."""
        if self.is_raw:
            return self.head + self.body
        if b"Transfer-Encoding: chunked" not in self.head:
            return self.head + self.body
        ends = [*sorted({cut for cut in cuts if 0 < cut < len(self.body)}), len(self.body)]
        pieces = [self.body[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        last = b"" if self.is_hanging else b"0\r\n\r\n"
        return self.head + b"".join(b"%X\r\n%s\r\n" % (len(p), p) for p in pieces) + last


def load(name: str) -> Capture:
    """The capture ``release/case``."""
    raw = (SAMPLES / f"{name}.txt").read_bytes()
    _, request, rest = raw.split(b"\n", 2)
    rest = rest.removeprefix(b"###\n")
    head, _, body = rest.partition(b"\r\n\r\n")
    body, _, complaint = body.partition(b"curl: ")
    return Capture(
        name=name,
        request=json.loads(request) if request.strip() else {},
        head=head + b"\r\n\r\n",
        body=body,
        is_raw=name.endswith("_raw_chunked"),
        is_hanging=bool(complaint),
    )


def names() -> list[str]:
    """All captures as ``release/case``."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in SAMPLES.glob("*/*.txt"))


def _dechunk(body: bytes) -> bytes:
    plain = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return plain
        plain += rest[:length]
        body = rest[length:].removeprefix(b"\r\n")
