"""Callers that hang up behind an answer: nobody can know whether they heard it."""

import asyncio
import time

from simulators.recorder import Record


class Callers:
    """Notes in the last record of a connection when its caller broke it off (``left_at``)."""

    def __init__(self) -> None:
        self._last: dict[asyncio.BaseTransport, Record] = {}

    def ask(self, transport: asyncio.BaseTransport | None, record: Record) -> None:
        """
        A request came over *transport*; None: whoever sent it has left already.

        Whoever asks again has heard the answer to what he asked before.
        """
        if transport is None:
            record.facts["left_at"] = time.monotonic()
        else:
            self._last[transport] = record

    def look(self) -> None:
        """See who has left since the last look."""
        for transport, record in list(self._last.items()):
            if transport.is_closing():
                record.facts["left_at"] = time.monotonic()
                del self._last[transport]
