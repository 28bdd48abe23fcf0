"""The HTTP server of one process: opens last, drains before it closes."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

from app.api.protocol import BoundedProtocol

GRACE_SECONDS = 3
BACKLOG = 2048
#: An idle connection is kept for longer than clients keep theirs: whoever closes while a callback
#: is on its way loses it, since the gateway does not repeat.
KEEP_ALIVE_SECONDS = 75
#: File handles; more would only make forks slow.
FILES = 65_536


class Server(uvicorn.Server):
    """uvicorn, but signals are the process's business: it drains before this closes."""

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def make_server(app: FastAPI) -> Server:
    """A server that is not listening yet."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        log_config=None,
        # The path may hold the callback's token, and callbacks are logged by themselves.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        lifespan="off",
    )
    return Server(config)


def bind(host: str, port: int) -> socket.socket:
    """
    Take the address; who connects before ``listen`` is still refused.

    Raises:
        OSError: the address is taken, or none of this machine's.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def raise_file_limit() -> None:
    """Use more of the file handles that this process may have: each connection needs one."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def on_stop_signals(handle: Callable[[signal.Signals], None]) -> None:
    """Call *handle* on every SIGTERM and SIGINT, in the loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, handle, number)
        except NotImplementedError:  # Windows has no handlers in the loop
            signal.signal(
                number, lambda got, _: loop.call_soon_threadsafe(handle, signal.Signals(got))
            )
