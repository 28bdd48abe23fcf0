"""
A TCP link with faults that are switched on while it runs.

``latency``, ``bandwidth``, ``reset``, ``refuse`` and ``half_open``: a link that is half open takes
bytes and swallows them, in both directions, as a router does that lost its state; then it dies.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

CHUNK = 64 * 1024
#: Chunks of one direction that are under way at most.
UNDER_WAY = 64
CONNECT_SECONDS = 5.0
_LINGER_NONE = struct.pack("ii", 1, 0)


class Link:
    """Passes connections to *host*:*port* on; both may be changed for later connections."""

    def __init__(self, host: str, port: int, *, listen_port: int = 0) -> None:
        self.target = (host, port)
        #: Where it listens; with 0 the system chooses, and the choice is kept.
        self.port = listen_port
        #: Seconds that every byte is late.
        self.latency = 0.0
        #: Bytes per second and direction; 0: as many as come.
        self.bandwidth = 0.0
        #: Connections that were taken so far.
        self.taken = 0
        self._swallows = 0
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()

    @property
    def open_connections(self) -> int:
        """Connections now."""
        return len(self._pairs)

    @property
    def is_half_open(self) -> bool:
        """Whether bytes are swallowed."""
        return self._swallows > 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen inside the block."""
        await self.accept()
        try:
            yield self
        finally:
            await self.refuse()
            pairs = list(self._pairs)
            self.reset()
            await asyncio.gather(*(pair.ended.wait() for pair in pairs))

    async def accept(self) -> None:
        """Take connections."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, limit=CHUNK, backlog=1024
            )
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse new connections; open ones go on."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            # Not wait_closed: from Python 3.12 on it waits for the open connections, too.
            await asyncio.sleep(0)

    def reset(self) -> int:
        """Break all connections at once (RST on both sides); returns how many."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()
        return len(pairs)

    async def half_open(self, seconds: float) -> None:
        """Swallow everything for so long, on old and new connections; then those break."""
        self._swallows += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._swallows -= 1
            self.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        pair = _Pair(self, reader, writer)
        self._pairs.add(pair)
        try:
            await pair.run()
        finally:
            self._pairs.discard(pair)
            pair.ended.set()


class _Pair:
    """One connection on both sides of the link."""

    def __init__(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.ended = asyncio.Event()
        self._link = link
        self._near = (reader, writer)
        self._writers = [writer]
        self._task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Break it without a handshake."""
        for writer in self._writers:
            _abort(writer)
        if self._task is not None:
            self._task.cancel()

    async def run(self) -> None:
        """Pass bytes on until both sides have ended, or one broke."""
        self._task = task = asyncio.create_task(self._pass_on())
        with contextlib.suppress(OSError, asyncio.CancelledError, TimeoutError):
            await task
        for writer in self._writers:
            writer.close()

    async def _pass_on(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(*self._link.target, limit=CHUNK)
        except (OSError, TimeoutError):
            self.reset()
            return
        self._writers.append(writer)
        try:
            async with asyncio.TaskGroup() as group:
                for source, sink in ((self._near[0], writer), (reader, self._near[1])):
                    flow = _Flow(self._link, source, sink)
                    group.create_task(flow.take())
                    group.create_task(flow.give())
        except* OSError:
            self.reset()


class _Flow:
    """One direction: chunks wait in line until they are due."""

    def __init__(
        self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        self._link = link
        self._source = source
        self._sink = sink
        self._line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)

    async def take(self) -> None:
        """Read until the end; an end that comes while bytes are swallowed is swallowed, too."""
        loop = asyncio.get_running_loop()
        while True:
            chunk = await self._source.read(CHUNK)
            if not self._link.is_half_open:
                await self._line.put((loop.time() + self._link.latency, chunk))
            if not chunk:
                return

    async def give(self) -> None:
        """Write what is due."""
        loop = asyncio.get_running_loop()
        while True:
            due, chunk = await self._line.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if self._link.bandwidth:
                await asyncio.sleep(len(chunk) / self._link.bandwidth)
            if self._link.is_half_open:
                continue
            if not chunk:
                with contextlib.suppress(OSError):
                    self._sink.write_eof()
                return
            self._sink.write(chunk)
            await self._sink.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    own = writer.get_extra_info("socket")
    if own is not None and own.fileno() >= 0:
        with contextlib.suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    writer.transport.abort()
