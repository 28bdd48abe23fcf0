"""The TCP link of the chaos harness: what it passes on, and how it breaks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bench.chaos.proxy import Link

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    """A server that sends everything back."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def link(echo_port: int) -> AsyncIterator[Link]:
    """A link to it."""
    async with Link("127.0.0.1", echo_port).running() as one:
        yield one


Connect = Callable[[], Awaitable[Streams]]


@pytest.fixture
async def connect(link: Link) -> AsyncIterator[Connect]:
    """Opens connections through the link; all are closed in the end."""
    opened: list[Streams] = []

    async def open_one() -> Streams:
        opened.append(await asyncio.open_connection("127.0.0.1", link.port))
        return opened[-1]

    yield open_one
    for _, writer in opened:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def streams(connect: Connect) -> Streams:
    """A connection that has been used once."""
    one = await connect()
    assert await ask(one, b"hello") == b"hello"
    return one


async def ask(streams: Streams, data: bytes, seconds: float = 5.0) -> bytes:
    """Send and read as much as was sent."""
    streams[1].write(data)
    async with asyncio.timeout(seconds):
        return await streams[0].readexactly(len(data))


async def test_bytes_pass_both_ways_unchanged(link: Link, streams: Streams) -> None:
    """More than any buffer holds, too."""
    data = bytes(range(256)) * 8_000

    assert await ask(streams, data, 10) == data
    assert (link.taken, link.open_connections) == (1, 1)


async def test_an_end_is_passed_on(link: Link, streams: Streams) -> None:
    """Both sides close, and the link forgets them."""
    streams[1].write_eof()

    assert await streams[0].read() == b""
    async with asyncio.timeout(2):
        while link.open_connections:
            await asyncio.sleep(0.01)


async def test_latency_delays_and_does_not_narrow(link: Link, streams: Streams) -> None:
    """Many chunks that follow each other are late by the same time, not by the sum."""
    link.latency = 0.2
    loop = asyncio.get_running_loop()
    started = loop.time()
    for number in range(10):
        streams[1].write(bytes([number]) * 10)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        await streams[0].readexactly(100)

    assert 0.4 <= loop.time() - started < 1.0


async def test_bandwidth_narrows(link: Link, streams: Streams) -> None:
    """Fifty thousand bytes at a hundred thousand a second, there and back."""
    link.bandwidth = 100_000
    loop = asyncio.get_running_loop()
    started = loop.time()
    await ask(streams, b"x" * 50_000)

    assert loop.time() - started >= 0.5


async def test_a_reset_breaks_open_connections_and_takes_new_ones(
    link: Link, streams: Streams, connect: Connect
) -> None:
    """The peer sees a reset, not an end."""
    assert link.reset() == 1
    with pytest.raises(ConnectionResetError):
        await ask(streams, b"x")

    later = await connect()
    assert await ask(later, b"again") == b"again"


async def test_a_link_that_refuses_keeps_what_is_open_and_its_port(
    link: Link, streams: Streams, connect: Connect
) -> None:
    """New connections are refused until it accepts again."""
    port = link.port
    await link.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    assert await ask(streams, b"still") == b"still"
    await link.accept()

    later = await connect()
    assert link.port == port
    assert await ask(later, b"back") == b"back"


async def test_a_half_open_link_swallows_and_then_breaks(
    link: Link, streams: Streams, connect: Connect
) -> None:
    """Old and new connections alike; afterwards the link is as new."""
    trouble = asyncio.create_task(link.half_open(0.5))
    await asyncio.sleep(0)
    new = await connect()
    for one in (streams, new):
        with pytest.raises(TimeoutError):
            await ask(one, b"lost", 0.1)
    await trouble
    for one in (streams, new):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await ask(one, b"x")

    later = await connect()
    assert await ask(later, b"well") == b"well"


async def test_a_target_that_is_away_breaks_the_connection(link: Link, connect: Connect) -> None:
    """And a target that changed is used by the next one."""
    target = link.target
    link.target = ("127.0.0.1", 1)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await ask(await connect(), b"x")
    link.target = target

    later = await connect()
    assert await ask(later, b"new") == b"new"
