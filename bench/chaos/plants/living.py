"""Defects of a process as a whole: its memory, its end."""

import os
from typing import Any

from bench.chaos.plants.kit import exchange, planted

LEAK_BYTES = 256 * 1024


@planted("leak", "something is kept of every callback for ever")
def leak() -> None:
    """A quarter of a megabyte each."""
    from app.services.reception import Reception

    kept: list[bytes] = []

    def make(take: Any) -> Any:
        async def take_and_keep(self: Any, raw: bytes, **options: Any) -> Any:
            kept.append(os.urandom(LEAK_BYTES))
            return await take(self, raw, **options)

        return take_and_keep

    exchange(Reception, "take", make)


@planted("no-drain", "SIGTERM ends the process at once")
def no_drain() -> None:
    """Callbacks and calls under way break off."""
    import signal

    from app.api import server

    def on_stop_signals(handle: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    exchange(server, "on_stop_signals", lambda _: on_stop_signals)
