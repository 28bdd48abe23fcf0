"""Which of our processes is at the other end of a connection, as the kernel tells (Linux)."""

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

#: The table is not read in one piece: while others connect, lines may be missing.
LOOKS = 5
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def find_inode(table: str, *, local_port: int, remote_port: int) -> str | None:
    """The socket with these ports in the text of ``/proc/net/tcp``; None: there is none (pure)."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        ports = tuple(int(one.rsplit(":", 1)[1], 16) for one in fields[1:3])
        if ports == (local_port, remote_port):
            return fields[9]
    return None


def process_of(port: int, *, server_port: int, among: Iterable[int]) -> int | None:
    """
    The process that connected from *port* to *server_port* on this machine.

    Args:
        among: processes that come into question; no other one is looked at.
    """
    for _ in range(LOOKS):
        table = Path("/proc/net/tcp").read_text(encoding="ascii")
        inode = find_inode(table, local_port=port, remote_port=server_port)
        if inode is not None:
            return next((pid for pid in among if inode in _sockets(pid)), None)
    return None


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # it ended meanwhile
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # it was closed meanwhile
                if match := _SOCKET.match(str(entry.readlink())):
                    found.add(match[1])
    return found
