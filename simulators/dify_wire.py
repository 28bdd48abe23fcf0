"""The response of a streamed answer: headers with the first frame, pings by the clock, one chunk a frame."""

import asyncio
import time

from aiohttp import web

from simulators.dify_release import PING
from simulators.serving import cut

SHORT = 1.0
SPLIT_PIECE = 7
SPLIT_GAP = 0.001


class EventStream:
    """
    An event stream to one client.

    Nothing, not even the status line, is sent before the first frame or ping is due.
    """

    def __init__(
        self, request: web.Request, *, ping_seconds: float, split: bool, closing: asyncio.Event
    ) -> None:
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8"}
        )
        self.stopped = asyncio.Event()
        """Set by a stop order; `pause` returns at once then."""
        self._request = request
        self._ping_seconds = ping_seconds
        self._next_ping = time.monotonic() + ping_seconds
        self._split = split
        self._closing = closing

    async def send(self, frame: bytes) -> None:
        """Write a frame; it becomes one chunk, or many small ones that cut characters."""
        if not self.response.prepared:
            self.response.enable_chunked_encoding()
            await self.response.prepare(self._request)
        if not self._split:
            await self.response.write(frame)
            return
        for start in range(0, len(frame), SPLIT_PIECE):
            await self.response.write(frame[start : start + SPLIT_PIECE])
            await asyncio.sleep(SPLIT_GAP)

    async def ping(self) -> None:
        """Exactly `event: ping` and an empty line."""
        await self.send(PING)

    async def pause(self, seconds: float) -> None:
        """Let time pass, with pings when they are due, until then or until a stop order."""
        end = time.monotonic() + seconds
        while not self.stopped.is_set():
            moment = time.monotonic()
            if moment >= self._next_ping:
                self._next_ping += self._ping_seconds
                await self.ping()
                continue
            wait = min(end, self._next_ping) - moment
            if moment >= end:
                return
            if wait <= SHORT:
                await asyncio.sleep(wait)
                continue
            try:
                async with asyncio.timeout(wait):
                    await self.stopped.wait()
            except TimeoutError:
                continue

    async def keep_pinging(self) -> None:
        """Pings and nothing else until the client leaves or the server stops."""
        while not self._closing.is_set() and not self.stopped.is_set():
            await self.pause(self._ping_seconds)

    async def silence(self) -> None:
        """Nothing at all until the client leaves or the server stops."""
        await self._closing.wait()

    def cut(self) -> None:
        """Break the connection in the middle of the body."""
        cut(self._request)
