"""The balancer of the chaos harness: whom it sends to, and what it repeats."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from bench.chaos.balancer import Balancer
from tests.fixtures.ports import free_port


@dataclass
class Backend:
    """A replica that counts, and can drain or break off."""

    port: int = field(default_factory=free_port)
    bodies: list[bytes] = field(default_factory=list)
    is_ready: bool = True
    breaks_off: bool = False

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Backend"]:
        """Serve inside the block."""
        app = web.Application()
        app.router.add_get("/readyz", self._readyz)
        app.router.add_post("/callback", self._take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _readyz(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.is_ready else 503)

    async def _take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        if self.breaks_off and request.transport is not None:
            request.transport.abort()
        return web.json_response({"code": "1000"})


@pytest.fixture
async def backends() -> AsyncIterator[list[Backend]]:
    """Two replicas."""
    async with Backend().running() as first, Backend().running() as second:
        yield [first, second]


async def post(balancer: Balancer, count: int) -> list[int]:
    """Statuses of so many callbacks, one after the other."""
    statuses = []
    async with aiohttp.ClientSession() as http:
        for number in range(count):
            url = f"{balancer.url}/callback"
            async with http.post(url, data=str(number).encode()) as response:
                statuses.append(response.status)
    return statuses


async def test_callbacks_go_round_over_ready_replicas(backends: list[Backend]) -> None:
    """Each gets its half, unchanged."""
    async with Balancer([one.url for one in backends]).running() as balancer:
        await balancer.until_ready(2)
        statuses = await post(balancer, 10)

    assert statuses == [200] * 10
    assert sorted(int(body) for one in backends for body in one.bodies) == list(range(10))
    assert balancer.shares() == {one.url: 5 for one in backends}


async def test_a_replica_that_drains_gets_nothing(backends: list[Backend]) -> None:
    """It says so itself; once it is ready again it has its share again."""
    draining = backends[0]
    async with Balancer([one.url for one in backends]).running() as balancer:
        await balancer.until_ready(2)
        draining.is_ready = False
        async with asyncio.timeout(30):
            while len(balancer.ready) > 1:
                await asyncio.sleep(0.02)
        await post(balancer, 6)
        while_draining = len(draining.bodies)
        draining.is_ready = True
        await balancer.until_ready(2)
        await post(balancer, 6)

    assert (while_draining, len(draining.bodies)) == (0, 3)


async def test_a_refused_connection_is_tried_elsewhere(backends: list[Backend]) -> None:
    """Nothing had gone out, so it is no second delivery."""
    nobody = f"http://127.0.0.1:{free_port()}"
    async with Balancer([nobody, backends[0].url]).running() as balancer:
        statuses = await post(balancer, 4)

    assert statuses == [200] * 4
    assert len(backends[0].bodies) == 4


async def test_a_callback_that_broke_off_is_not_repeated(backends: list[Backend]) -> None:
    """The replica may have taken it."""
    backends[0].breaks_off = True
    async with Balancer([backends[0].url, backends[1].url]).running() as balancer:
        await balancer.until_ready(2)
        statuses = await post(balancer, 4)

    assert sorted(statuses) == [200, 200, 502, 502]
    assert sum(len(one.bodies) for one in backends) == 4


async def test_without_any_replica_the_gateway_hears_502() -> None:
    """And the record says that nobody had it."""
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    async with Balancer(urls).running() as balancer:
        statuses = await post(balancer, 1)

    assert statuses == [502]
    assert [(one.replica, one.refusals) for one in balancer.passed] == [(None, 2)]
