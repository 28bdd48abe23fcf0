"""The decoder of event streams."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.dify.sse import SseDecoder, SseEvent
from app.services.errors import DifyProtocolError
from tests.unit.dify import captures


def decode(*chunks: bytes, max_event_bytes: int = 2**20) -> list[SseEvent]:
    """All events of the chunks."""
    decoder = SseDecoder(max_event_bytes=max_event_bytes)
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def data(*texts: str) -> list[SseEvent]:
    """Events without a name."""
    return [SseEvent(data=text) for text in texts]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", data("a", "b")),
        (b"data:a\n\n", data("a")),
        (b"data:  a \n\n", data(" a ")),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", data("a", "b")),
        (b"data: a\ndata: b\n\n", data("a\nb")),
        (b"data\n\n", data("")),
        (b"data:\ndata\n\n", data("\n")),
        (b": comment\n\n: another\ndata: a\n\n", data("a")),
        (b"id: 1\nretry: 5\ndata: a\n\n", data("a")),
        (b"id: 1\n\n", []),
        (b"\n\n\n\ndata: a\n\n\n", data("a")),
        (b"event: ping\n\n", [SseEvent(name="ping")]),
        (b"event:ping\r\n\r\n", [SseEvent(name="ping")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [SseEvent(name="x", data="a"), SseEvent(data="b")]),
        (b"data: a\rdata: b\n\n", data("a\rdata: b")),
        (
            "data: 前\u2028后\u2029\x85\x0b\x0c\x1c末\n\n".encode(),
            data("前\u2028后\u2029\x85\x0b\x0c\x1c末"),
        ),
        (b"\xef\xbb\xbfdata: a\n\n", data("a")),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", data("b")),
        (b"data: \xff\xfe\n\n", data("\ufffd\ufffd")),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"dat: a\nDATA: b\n\n", []),
        (b"", []),
    ],
)
def test_streams_give_the_events_of_the_standard(stream: bytes, events: list[SseEvent]) -> None:
    """Each rule of the format, whole and byte by byte."""
    assert decode(stream) == events
    assert decode(*(bytes([byte]) for byte in stream)) == events


LINES = st.sampled_from(
    [
        b"data: \xe6\xb1\x89\xe5\xad\x97",
        b"data:x",
        b"event: ping",
        b": c",
        b"",
        b"",
        b"id: 3",
        b"data: \r",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Well-formed and odd streams, with a broken beginning or end at times."""
    parts = draw(st.lists(st.tuples(LINES, ENDS), max_size=30))
    start = draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb"]))
    return start + b"".join(line + end for line, end in parts) + draw(st.binary(max_size=6))


@given(stream=streams(), cuts=st.lists(st.integers(0, 400)))
def test_any_cutting_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    """Chunks of any size, empty ones too, change nothing."""
    ends = [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    assert decode(*pieces) == decode(stream)


@given(stream=st.binary(max_size=300), cut=st.integers(0, 300), bound=st.integers(1, 40))
def test_garbage_gives_events_or_the_typed_error_however_cut(
    stream: bytes, cut: int, bound: int
) -> None:
    """No bytes raise anything else, and the bound does not depend on the cutting."""

    def outcome(*chunks: bytes) -> list[SseEvent] | str:
        try:
            return decode(*chunks, max_event_bytes=bound)
        except DifyProtocolError:
            return "too large"

    assert outcome(stream[:cut], stream[cut:]) == outcome(stream)


@pytest.mark.parametrize(
    "name", [name for name in captures.names() if captures.load(name).is_stream]
)
def test_recorded_streams_are_the_same_however_cut(name: str) -> None:
    """Every recorded stream, whole, byte by byte and in sevens."""
    body = captures.load(name).plain_body
    whole = decode(body)

    assert len(whole) == body.count(b"\n\n")
    assert decode(*(body[i : i + 1] for i in range(len(body)))) == whole
    assert decode(*(body[i : i + 7] for i in range(0, len(body), 7))) == whole


@pytest.mark.parametrize("chunk", [64 * 1024, 10 * 1024 * 1024])
def test_frame_of_several_mebibytes_is_one_event(chunk: int) -> None:
    """Workflow events carry whole documents."""
    text = "汉" * (3 * 1024 * 1024)
    stream = b"data: " + text.encode() + b"\n\n"
    pieces = [stream[i : i + chunk] for i in range(0, len(stream), chunk)]

    assert decode(*pieces, max_event_bytes=16 * 2**20) == data(text)


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 200,
        b"data: " + b"x" * 200 + b"\n\n",
        b"data: xxxxxxxx\n" * 20,
        b":" * 200,
    ],
    ids=["endless line", "long line", "many lines", "endless comment"],
)
def test_event_beyond_the_bound_is_a_protocol_error(stream: bytes) -> None:
    """Memory stays bounded whatever the peer sends."""
    with pytest.raises(DifyProtocolError):
        decode(stream, max_event_bytes=100)


def test_bound_is_per_event_not_per_stream() -> None:
    """A long stream of small events and comments never meets the bound."""
    assert len(decode(b": keep alive\ndata: xxxxxxxx\n\n" * 100, max_event_bytes=100)) == 100
    assert decode(b": keep alive\n" * 100, max_event_bytes=100) == []


def test_many_small_chunks_of_one_line_take_linear_time() -> None:
    """Four times the bytes take about four times the time, not sixteen."""

    def seconds(count: int) -> float:
        decoder = SseDecoder()
        decoder.feed(b"data: ")
        began = time.process_time()
        for _ in range(count):
            decoder.feed(b"0123456789abcdef")
        return time.process_time() - began

    seconds(1000)
    small = min(seconds(10_000) for _ in range(3))
    large = min(seconds(80_000) for _ in range(2))

    assert large < 30 * small
