"""Defects of reception: what is promised with 200."""

import asyncio
from typing import Any

from bench.chaos.plants.kit import exchange, planted

#: So long after the 200 a message is stored.
LATE_SECONDS = 0.7


@planted("accept-before-store", "200 is answered first, the message is stored a little later")
def accept_before_store() -> None:
    """A kill in between loses it."""
    from app.models.flow import Accepted, MessageId
    from app.services.inbox import Inbox

    running: set[asyncio.Task[Any]] = set()

    def make(accept: Any) -> Any:
        async def later(self: Any, decision: Any, raw: bytes) -> None:
            await asyncio.sleep(LATE_SECONDS)
            await accept(self, decision, raw)

        async def promise(self: Any, decision: Any, raw: bytes, **_: Any) -> Any:
            task = asyncio.create_task(later(self, decision, raw))
            running.add(task)
            task.add_done_callback(running.discard)
            return Accepted(message_id=MessageId(0))

        return promise

    exchange(Inbox, "accept", make)


@planted("no-dedupe", "every delivery of a callback is a message of its own")
def no_dedupe() -> None:
    """No key is ever the same."""
    from app.models.flow import Origin

    exchange(Origin, "dedupe_key", lambda _: property(lambda self: ""))


@planted("no-spill", "what the database cannot take is answered with 200 and forgotten")
def no_spill() -> None:
    """The spill file is never written."""
    from app.services.spill import Spill

    async def append(self: Any, records: Any) -> None:
        return None

    exchange(Spill, "append", lambda _: append)
