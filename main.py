"""
The bridge: ``python main.py [--role all|api|worker|sender]``.

Reads the settings, builds the runtime, starts the loops of its role, then opens the listener. On
SIGTERM it drains: readiness fails, callbacks are served a little longer, work is finished.
"""

import argparse
import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from loguru import logger

from app.api.app import create_app
from app.api.callback import callback_router
from app.api.callers import Callers
from app.api.health import HealthView, health_router
from app.api.server import (
    BACKLOG,
    Server,
    bind,
    make_server,
    on_stop_signals,
    raise_file_limit,
)
from app.api.views import make_health_view
from app.console.entry import ConsoleEntry, mounts
from app.console.first_operator import make_first_operator
from app.kept_settings import settle_process
from app.opening import StartRefused
from app.runtime import Role, Runtime, open_runtime, warm_up
from app.utils.lock import AlreadyRunning
from app.utils.log import configure_logging
from app.utils.loops import first_of
from app.version import VERSION
from app.workers.background import Background
from config import (
    LoadedSettings,
    ServerSettings,
    Settings,
    SettingsError,
    read_process_outside,
)

HARD_STOP_SIGNALS = 2


class Process:
    """One process from start to stop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._background = Background(runtime)
        self._stopping = asyncio.Event()
        self._skips_delay = asyncio.Event()
        self._signals = 0
        self._http_ended = asyncio.Event()

    async def run(self) -> int:
        """
        Serve until told to stop; returns the exit code.

        Raises:
            StartRefused: the address is taken, which is found out before any work is begun.
        """
        on_stop_signals(self._on_signal)
        raise_file_limit()
        listener = _open_listener(self._runtime.settings.server)
        try:
            return await self._serve(listener)
        finally:
            await self._background.stop()
            listener.close()

    async def _serve(self, listener: socket.socket) -> int:
        settings = self._runtime.settings
        await warm_up(self._runtime)
        if self._runtime.role.includes(Role.API):
            await make_first_operator(self._runtime.store, settings.console)
        await self._background.start()
        if self._stopping.is_set():
            logger.info("bridge.stopped")
            return 0
        server = make_server(self._app())
        listener.listen(BACKLOG)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        logger.info("bridge.started", address=_address(settings, listener.getsockname()[1]))
        serving.add_done_callback(lambda _: self._http_ended.set())
        await first_of(self._stopping, self._background.failed, self._http_ended)
        has_failed = self._http_ended.is_set() and not self._stopping.is_set()
        if has_failed:
            logger.critical("bridge.http_ended")
        await self._drain(server, serving)
        return 1 if has_failed or self._background.failed.is_set() else 0

    def _app(self) -> FastAPI:
        runtime = self._runtime
        view = make_health_view(runtime, is_draining=self._stopping.is_set)
        proxies = Callers.of((), runtime.settings.server.trusted_proxies)
        console = ConsoleEntry(
            runtime,
            read_outside=read_process_outside,
            report=view.report,
            stopping=self._stopping,
            address_of=lambda peer, named: str(proxies.caller(peer, named) or peer or ""),
        )
        return create_app(
            version=VERSION,
            routers=self._routers(view),
            mounts=mounts(console) if runtime.role.includes(Role.API) else {},
        )

    def _routers(self, view: HealthView) -> list[APIRouter]:
        runtime = self._runtime
        routers = [health_router(view)]
        if runtime.role.includes(Role.API):
            ecloud, server = runtime.settings.ecloud, runtime.settings.server
            callers = Callers.of(ecloud.callback_sources, server.trusted_proxies)
            routers.append(
                callback_router(
                    runtime.reception,
                    runtime.metrics,
                    runtime.tracer,
                    ecloud.callback_tokens,
                    callers,
                )
            )
            if runtime.settings.playground.enabled:
                from app.console.playground import playground_router  # noqa: PLC0415 - loads templates

                routers.append(playground_router(runtime))
        return routers

    def _on_signal(self, number: signal.Signals) -> None:
        self._signals += 1
        self._stopping.set()
        self._background.stop_claiming()
        # Whoever presses Ctrl-C, or asks twice, does not wait for a load balancer; whoever asks
        # twice does not wait for Dify either: what is in work is given back.
        if number == signal.SIGINT or self._signals >= HARD_STOP_SIGNALS:
            self._skips_delay.set()
        if self._signals >= HARD_STOP_SIGNALS:
            self._background.hurry()

    async def _drain(self, server: Server, serving: "asyncio.Task[None]") -> None:
        logger.info("bridge.stopping")
        self._stopping.set()
        self._background.stop_claiming()
        if self._runtime.role.includes(Role.API):
            await first_of(self._skips_delay, seconds=self._runtime.settings.server.drain_delay)
        server.should_exit = True
        await asyncio.wait([serving])
        if not serving.cancelled() and (error := serving.exception()) is not None:
            logger.opt(exception=error).critical("bridge.http_failed")
        await self._background.stop()
        logger.info("bridge.stopped")


async def serve(loaded: LoadedSettings, role: Role) -> int:
    """Build and run one process; returns the exit code."""
    for warning in loaded.warnings:
        logger.warning("settings.warning", text=warning)
    try:
        async with open_runtime(loaded, role) as runtime:
            if runtime.is_embedded:
                logger.warning(
                    "bridge.embedded 使用内置的 SQLite/Redis:只能有一个进程,适合试用和小规模"
                )
            return await Process(runtime).run()
    except (StartRefused, AlreadyRunning, OSError) as error:
        logger.critical("bridge.not_started", reason=error)
        return 1


def _open_listener(server: ServerSettings) -> socket.socket:
    try:
        return bind(server.host, server.port)
    except OSError as error:
        reason = "端口已被占用" if error.errno == errno.EADDRINUSE else str(error)
        raise StartRefused(
            f"不能监听 {server.host}:{server.port}:{reason}。"
            "请停掉占用它的程序,或改用别的地址(SERVER_HOST、SERVER_PORT)。"
        ) from error


def _address(settings: Settings, port: int) -> str:
    return f"http://{settings.server.host}:{port}"


def _loop_factory() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - not on every platform

    return uvloop.new_event_loop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description="E云管家-DifyAI对接服务")
    parser.add_argument(
        "--role",
        type=Role,
        choices=list(Role),
        default=Role.ALL,
        help="这个进程做什么:all 全部(默认),api 接收回调,worker 提问,sender 发送",
    )
    role: Role = parser.parse_args(arguments).role
    try:
        loaded = settle_process()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    name = "app" if role is Role.ALL else f"app-{role}"
    with configure_logging(loaded.settings.log, secrets=loaded.settings.secrets(), name=name):
        return _run(loaded, role)


def _run(loaded: LoadedSettings, role: Role) -> int:
    """Serve to the end; an error that nobody foresaw is logged while there is a log, and is the end."""
    try:
        with asyncio.Runner(loop_factory=_loop_factory) as runner:
            return runner.run(serve(loaded, role))
    except Exception:  # noqa: BLE001 - whatever it is, the operator finds it in the log
        logger.opt(exception=True).critical("process.crashed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
