"""Shows the others whether this process has spilled callbacks that SQL does not know yet."""

import asyncio

from loguru import logger

from app.services.errors import QueueUnavailable
from app.services.inbox import Inbox
from app.services.queue.spill_signs import SpillSigns
from app.utils.loops import stopped_within

#: Less than an entry that SQL does not know is waited for without any sign.
LOOK_SECONDS = 1.0


async def show_spill(signs: SpillSigns, inbox: Inbox, stop: asyncio.Event) -> None:
    """Give a sign as long as there is something, until stopped."""
    is_shown = False
    while not stop.is_set():
        try:
            if inbox.spilled:
                await signs.give()
                is_shown = True
            elif is_shown:
                await signs.take_back()
                is_shown = False
        except QueueUnavailable as error:
            logger.debug("spill.sign_later", error=error)
        await stopped_within(stop, LOOK_SECONDS)
