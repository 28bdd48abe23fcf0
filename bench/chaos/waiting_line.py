"""
The order of the line as the Redis server itself tells it (``MONITOR``), outside the bridge.

Calls to Dify follow the claims by some moments, and these moments differ: whoever stood before whom
is seen here alone.
"""

import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_JOINED = re.compile(rb'lua\] "RPUSH" "ecloud_queue:([^"]+)" ')
_CLAIMED = re.compile(rb'lua\] "SET" "ecloud_processing:([^"]+)" ".*" "NX"')
#: The reply to the command itself, and then one line per command of anybody.
_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Step:
    """A message was put behind a user's others, or a user's turn was given to a worker."""

    kind: Literal["joined", "claimed"]
    user: str


def read_step(line: bytes) -> Step | None:
    """One line of ``MONITOR``; None: another command."""
    if found := _JOINED.search(line):
        return Step("joined", found[1].decode())
    if found := _CLAIMED.search(line):
        return Step("claimed", found[1].decode())
    return None


def turns_while_waiting(steps: Iterable[Step], busy: str) -> dict[str, int]:
    """
    Turns that *busy* got from each other user's first message to that one's first turn (pure).

    Who got no turn at all is counted up to the end.
    """
    turns = 0
    waiting: dict[str, int] = {}
    found: dict[str, int] = defaultdict(int)
    for step in steps:
        if step.user == busy:
            turns += step.kind == "claimed"
        elif step.kind == "joined" and step.user not in found:
            waiting.setdefault(step.user, turns)
        elif step.kind == "claimed" and step.user in waiting:
            found[step.user] = turns - waiting.pop(step.user)
    return dict(found) | {user: turns - since for user, since in waiting.items()}


class LineWatch:
    """
    Reads along in a thread of its own until the server ends.

    Args:
        port: of a Redis server on 127.0.0.1 without a password.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._steps: list[Step] = []
        self._ended = threading.Event()
        self._socket.sendall(b"MONITOR\r\n")
        threading.Thread(target=self._read, daemon=True, name="line-watch").start()

    @property
    def is_whole(self) -> bool:
        """Whether it has read up to now: what ended before its time shows too little."""
        return not self._ended.is_set()

    def steps(self) -> list[Step]:
        """Everything so far, in the order of the server."""
        return list(self._steps)

    def _read(self) -> None:
        rest = b""
        try:
            while chunk := self._socket.recv(_AT_ONCE):
                *lines, rest = (rest + chunk).split(b"\r\n")
                self._steps += [step for line in lines if (step := read_step(line))]
        except OSError:
            pass  # The server was killed: told by is_whole.
        finally:
            self._ended.set()
            self._socket.close()
