"""Reading a body with a bound."""

from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from app.api.body import KEPT_BYTES, LONGEST_NUMBER, MAX_BODY, int_or_zero, read_body


class Sender:
    """A peer that sends these chunks and counts how many were taken."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = list(chunks)
        self.taken = 0

    async def receive(self) -> Message:
        """The next chunk."""
        chunk = self._chunks[self.taken]
        self.taken += 1
        more = self.taken < len(self._chunks)
        return {"type": "http.request", "body": chunk, "more_body": more}


def request(sender: Sender, **headers: str) -> Request:
    """A request of that peer."""
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": named}, sender.receive)


async def test_a_body_up_to_the_bound_is_whole() -> None:
    """Exactly one MiB passes, in as many chunks as it comes."""
    body = await read_body(request(Sender(b"x" * (MAX_BODY - 3), b"abc")))

    assert (len(body.data), body.is_too_large) == (MAX_BODY, False)
    assert body.data.endswith(b"abc")


async def test_one_byte_more_is_too_large_and_the_beginning_is_kept() -> None:
    """Without a length told before: found out while reading."""
    body = await read_body(request(Sender(b"head", b"x" * MAX_BODY)))

    assert body.is_too_large
    assert body.data == b"head" + b"x" * (KEPT_BYTES - 4)


async def test_reading_stops_at_the_bound() -> None:
    """A peer that never ends does not fill the memory."""
    sender = Sender(*[b"x" * 65536] * 1000)

    body = await read_body(request(sender))

    assert body.is_too_large
    assert sender.taken <= MAX_BODY // 65536 + 1


async def test_an_announced_length_beyond_the_bound_is_too_large_at_once() -> None:
    """Only what is kept is read."""
    sender = Sender(*[b"x" * KEPT_BYTES] * 1000)

    body = await read_body(request(sender, content_length=str(2 * MAX_BODY)))

    assert (len(body.data), body.is_too_large) == (KEPT_BYTES, True)
    assert sender.taken == 1


async def test_an_announced_length_is_believed_even_if_less_comes() -> None:
    """The verdict follows the announcement; what came is kept."""
    body = await read_body(request(Sender(b"short"), content_length=str(MAX_BODY + 1)))

    assert (body.data, body.is_too_large) == (b"short", True)


@given(st.text())
def test_a_header_is_a_number_or_zero(value: str) -> None:
    """Never an exception, whatever stands there."""
    number = int_or_zero(value)

    is_number = value.isascii() and value.isdigit() and len(value) < LONGEST_NUMBER
    assert number == (int(value) if is_number else 0)
