"""A simulator as an HTTP server: its listener, its control paths under `/_sim/`, its end."""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web

from simulators.faults import FaultSwitches, UnknownFault
from simulators.recorder import Journal, Recorder

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY = 64 * 1024 * 1024
CORS = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "600",
    "Vary": "Origin",
}


class Simulator:
    """
    What both simulators share.

    Handlers are cancelled when their client leaves; `closing` is set when the server stops, and
    everything that waits without end waits on it too, so that stopping takes no time.
    """

    name = "simulator"

    def __init__(self, *, host: str, port: int, recorder: Recorder, faults: FaultSwitches) -> None:
        self.host = host
        self.port = port
        self.recorder = recorder
        self.faults = faults
        self.closing = asyncio.Event()
        self.app = web.Application(client_max_size=MAX_BODY, middlewares=[_refuse_strange_pages])
        self.app.on_response_prepare.append(_allow_browsers)
        self.app.router.add_get("/_sim/about", self._about)
        self.app.router.add_get("/_sim/log", self._log)
        self.app.router.add_get("/_sim/faults", self._show_faults)
        self.app.router.add_post("/_sim/faults", self._set_faults)
        self.app.router.add_route("OPTIONS", "/_sim/{rest:.*}", _preflight)
        self._runner = web.AppRunner(
            self.app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5
        )
        self._site: web.TCPSite | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def about(self) -> dict[str, Any]:
        """What `GET /_sim/about` tells."""
        return {"simulator": self.name, "url": self.url}

    async def open_port(self) -> None:
        """Listen; with port 0 the system chooses one, which is kept over later closings."""
        self._site = web.TCPSite(
            self._runner, self.host, self.port, backlog=4096, reuse_address=True
        )
        await self._site.start()
        self.port = urlsplit(self._site.name).port or self.port

    async def close_port(self) -> None:
        """Refuse connections, as a machine that is down; open connections go on."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve inside the block."""
        await self._runner.setup()
        try:
            await self.open_port()
            yield self
        finally:
            self.closing.set()
            await self._runner.cleanup()
            self.recorder.finish()

    async def silence(self) -> web.Response:
        """Give no answer until the client leaves or the server stops."""
        await self.closing.wait()
        return web.Response(status=503)

    async def _about(self, _request: web.Request) -> web.Response:
        return json_response(self.about())

    async def _log(self, request: web.Request) -> web.Response:
        since = _number(request.query.get("since"), 0)
        records = self.recorder.since(since, _number(request.query.get("limit"), 1_000))
        return json_response(
            {
                "records": [record.as_json() for record in records],
                "next": records[-1].number if records else since,
                "last": self.recorder.last,
            }
        )

    async def _show_faults(self, _request: web.Request) -> web.Response:
        return json_response(self.faults.as_json())

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults.apply(await request.json())
        except UnknownFault as error:
            return refusal("UnknownFault", str(error))
        except ValueError as error:
            return refusal("BadJson", str(error))
        return json_response(self.faults.as_json())


def cut(request: web.Request) -> None:
    """Break the connection at once, without a closing handshake."""
    if request.transport is not None:
        request.transport.abort()


def json_response(data: Any, status: int = 200) -> web.Response:
    """Compact JSON with raw UTF-8."""
    return web.Response(
        text=json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str),
        status=status,
        content_type="application/json",
    )


def refusal(error: str, detail: str, status: int = 400) -> web.Response:
    """The control paths' answer to a wrong order."""
    return json_response({"error": error, "detail": detail}, status)


async def stream_events(
    request: web.Request,
    journal: Journal[dict[str, Any]],
    *,
    closing: asyncio.Event,
    ping_seconds: float,
) -> web.StreamResponse:
    """
    Server-Sent Events from a journal, until the client leaves or *closing* is set.

    Starts after `Last-Event-ID` or `?since=`; without either with what comes from now on.
    """
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    start = request.headers.get("Last-Event-ID") or request.query.get("since")
    seen = _number(start, journal.last)
    await response.prepare(request)
    await response.write(b"retry: 1000\n\n")
    stopped = asyncio.ensure_future(closing.wait())
    try:
        while not stopped.done():
            for number, event in journal.since(seen, limit=500):
                seen = number
                text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
                await response.write(f"id: {number}\ndata: {text}\n\n".encode())
            if journal.last > seen:
                continue
            news = asyncio.ensure_future(journal.wait_beyond(seen))
            try:
                done, _ = await asyncio.wait(
                    (news, stopped), timeout=ping_seconds, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                news.cancel()
            if not done:
                await response.write(b": ping\n\n")
    finally:
        stopped.cancel()
    return response


def run_alone(
    open_simulator: Callable[[argparse.Namespace], AbstractAsyncContextManager[Simulator]],
    arguments: argparse.Namespace,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code of the process."""
    try:
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(_serve_until_signal(open_simulator, arguments))
    except OSError as error:
        print(f"无法启动：{error}", file=sys.stderr, flush=True)
        return 1
    return 0


async def _serve_until_signal(
    open_simulator: Callable[[argparse.Namespace], AbstractAsyncContextManager[Simulator]],
    arguments: argparse.Namespace,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows has no signal handlers on the loop; there Ctrl-C ends the process by itself.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    async with open_simulator(arguments) as simulator:
        print(f"{simulator.name} 模拟器已启动：{simulator.url}", flush=True)
        await stop.wait()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # absent on Windows
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@web.middleware
async def _refuse_strange_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The control paths are for pages of this machine, not for any site that is open in a browser."""
    if request.path.startswith("/_sim/") and not _is_neighbour(request):
        return refusal("StrangeOrigin", "the page comes from another host", 403)
    return await handler(request)


def _is_neighbour(request: web.Request) -> bool:
    """Whether it comes from no page, or from one under the host name that the request itself uses."""
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).hostname == urlsplit(f"//{request.host}").hostname
    except ValueError:
        return False


async def _allow_browsers(request: web.Request, response: web.StreamResponse) -> None:
    if not request.path.startswith("/_sim/"):
        return
    response.headers.update(CORS)
    if (origin := request.headers.get("Origin")) is not None and _is_neighbour(request):
        response.headers["Access-Control-Allow-Origin"] = origin


async def _preflight(_request: web.Request) -> web.Response:
    return web.Response(status=204)


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() else default


class Errands:
    """Background tasks that are waited for or cancelled when the simulator stops."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, errand: Coroutine[Any, Any, None]) -> None:
        """Start it."""
        task = asyncio.get_running_loop().create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self) -> None:
        """End all of them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
