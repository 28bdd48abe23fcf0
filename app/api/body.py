"""Reading a request's body with a bound, before anything parses it."""

from dataclasses import dataclass

from starlette.requests import Request

MAX_BODY = 1024 * 1024
#: How much of a body that is too large is kept for the report.
KEPT_BYTES = 4096
LONGEST_NUMBER = 20


@dataclass(frozen=True, slots=True)
class Body:
    """What was read."""

    data: bytes
    #: The bound was passed; *data* holds the beginning only.
    is_too_large: bool = False


async def read_body(request: Request) -> Body:
    """
    Read the raw body, whatever its Content-Type; stops reading once it is too large.

    Raises:
        ClientDisconnect: the peer left before the end.
    """
    is_announced = int_or_zero(request.headers.get("content-length", "")) > MAX_BODY
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY or (is_announced and size >= KEPT_BYTES):
            return Body(b"".join(chunks)[:KEPT_BYTES], is_too_large=True)
    return Body(b"".join(chunks), is_too_large=is_announced)


def int_or_zero(text: str) -> int:
    """A header's number; 0 for anything else (pure)."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < LONGEST_NUMBER else 0
