"""Where the playground listens, and the addresses a browser can reach it by."""

import os
import socket
from pathlib import Path

from launch.progress import Problem

FIRST_PORT = 8765
_TRIES = 20
_WILDCARDS = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - compared with, not bound to


class Lock:
    """Held while this folder's playground runs; the system gives it back when the process ends."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+", encoding="utf-8")

    def take(self, note: str) -> str | None:
        """Take the lock and leave *note*; when somebody has it, give the note they left."""
        try:
            _lock(self._file.fileno())
        except OSError:
            self._file.seek(0)
            return self._file.read().strip()
        self.write(note)
        return None

    def write(self, note: str) -> None:
        """Replace the note."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(note)
        self._file.flush()


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt  # noqa: PLC0415 - only on Windows

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the note: others may read that
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl  # noqa: PLC0415 - not on Windows

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def choose_ports(*, host: str, wanted: int | None, count: int) -> list[int]:
    """
    Find *count* free ports, the first of them *wanted* if that is given.

    Raises:
        Problem: The wanted port is taken, or the host is not one of this machine.
    """
    if wanted is not None and not is_free(host, wanted):
        raise Problem(
            f"端口 {wanted} 已被占用(或没有权限)。换一个:python3 start.py --port {_next(wanted)}"
        )
    chosen = [] if wanted is None else [wanted]
    start = FIRST_PORT if wanted is None else min(wanted + 1, 65535 - _TRIES)
    for port in range(start, start + _TRIES):
        if len(chosen) < count and port not in chosen and is_free(host, port):
            chosen.append(port)
    while len(chosen) < count:
        port = _any_port(host)
        if port not in chosen:
            chosen.append(port)
    return chosen


def is_free(host: str, port: int) -> bool:
    """
    Tell whether *port* can be listened on at *host*.

    Raises:
        Problem: The host is not one of this machine.
    """
    family, address = _resolve(host, port)
    with socket.socket(family) as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def browser_host(host: str) -> str:
    """Give the host name a browser uses for a listener on *host*."""
    if host not in _WILDCARDS:
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks which address would be used
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def local_host(host: str) -> str:
    """Give the address by which this machine itself reaches a listener on *host*."""
    return "127.0.0.1" if host in _WILDCARDS else browser_host(host)


def _any_port(host: str) -> int:
    family, address = _resolve(host, 0)
    with socket.socket(family) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family) as probe:
            probe.bind((address[0], 0))
    except OSError as error:
        raise Problem(
            f"不能在 {host} 上监听:{error}。请用本机的地址,例如 --host 127.0.0.1"
        ) from error
    return family, (str(address[0]), port)


def _next(port: int) -> int:
    return port + 1 if port < 65535 else port - 1  # noqa: PLR2004 - the last port there is
