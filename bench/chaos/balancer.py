"""
A front that spreads callbacks over replicas, as a real balancer does.

Round robin over those that are ready (``/readyz``, looked at often); another one where the
connection is refused, and only then: once bytes have gone out nobody knows what became of them. Each
callback has a connection of its own towards the replica, as with nginx.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp import web

POLL_SECONDS = 0.1
#: A replica that does not say within so long that it is ready is not.
POLL_PATIENCE = 2.0
#: Longer than the gateway waits: it is the gateway that gives up.
PASS_SECONDS = 30.0
_OK = 200


@dataclass(eq=False, slots=True)
class Replica:
    """One process behind the balancer."""

    url: str
    is_ready: bool = False


@dataclass(frozen=True, slots=True)
class Passed:
    """One callback that was passed on."""

    at: float
    #: None: to nobody.
    replica: str | None
    #: None: it broke off.
    status: int | None
    #: Replicas that refused the connection before.
    refusals: int


class Balancer:
    """``passed`` is its record."""

    def __init__(self, replicas: Sequence[str]) -> None:
        self.passed: list[Passed] = []
        self._replicas = [Replica(url) for url in replicas]
        self._next = 0
        self._changed = asyncio.Event()
        self._http: aiohttp.ClientSession | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ready(self) -> list[str]:
        """Replicas that said they are ready when they were last asked."""
        return [one.url for one in self._replicas if one.is_ready]

    def shares(self) -> Counter[str | None]:
        """How many callbacks each replica took."""
        return Counter(one.replica for one in self.passed)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve inside the block."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as self._http:
            polls = [asyncio.create_task(self._poll(one)) for one in self._replicas]
            try:
                await site.start()
                self.port = runner.addresses[0][1]
                yield self
            finally:
                for poll in polls:
                    poll.cancel()
                await asyncio.gather(*polls, return_exceptions=True)
                await runner.cleanup()

    async def until_ready(self, replicas: int, seconds: float = 30.0) -> None:
        """
        Wait until so many replicas are ready.

        Raises:
            TimeoutError: they were not within *seconds*.
        """
        async with asyncio.timeout(seconds):
            while len(self.ready) < replicas:
                self._changed.clear()
                await self._changed.wait()

    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("the balancer does not run")
        return self._http

    async def _poll(self, replica: Replica) -> None:
        while True:
            was_ready, replica.is_ready = replica.is_ready, await self._ask(replica)
            if replica.is_ready != was_ready:
                self._changed.set()
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self, replica: Replica) -> bool:
        timeout = aiohttp.ClientTimeout(total=POLL_PATIENCE)
        try:
            async with self._client().get(f"{replica.url}/readyz", timeout=timeout) as response:
                return response.status == _OK
        except (aiohttp.ClientError, OSError):
            return False

    def _in_turn(self) -> list[Replica]:
        """Ready ones first, from the next one on; the others are a last resort."""
        self._next = (self._next + 1) % len(self._replicas)
        turned = self._replicas[self._next :] + self._replicas[: self._next]
        return sorted(turned, key=lambda one: not one.is_ready)

    async def _pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        refusals = 0
        for replica in self._in_turn():
            try:
                status, answer = await self._send(replica, request, body)
            except aiohttp.ClientConnectorError:
                refusals += 1
                continue
            except (aiohttp.ClientError, OSError):
                self._note(replica.url, None, refusals)
                return web.Response(status=502)
            self._note(replica.url, status, refusals)
            return web.Response(status=status, body=answer, content_type="application/json")
        self._note(None, None, refusals)
        return web.Response(status=502)

    async def _send(self, replica: Replica, request: web.Request, body: bytes) -> tuple[int, bytes]:
        async with self._client().request(
            request.method,
            replica.url + request.path_qs,
            data=body,
            headers={"Content-Type": request.content_type},
            timeout=aiohttp.ClientTimeout(total=PASS_SECONDS),
        ) as response:
            return response.status, await response.read()

    def _note(self, replica: str | None, status: int | None, refusals: int) -> None:
        self.passed.append(Passed(time.monotonic(), replica, status, refusals))
