"""What every channel to the operator is."""

import asyncio
from typing import Protocol

from loguru import logger

from app.services.alerts.message import Message
from app.services.errors import AlertError, AlertUndelivered

#: One step of a delivery takes no longer, in seconds; and all of them together.
SECONDS = 10.0
WHOLE_SECONDS = 20.0


class Channel(Protocol):
    """One way to tell the operator something."""

    @property
    def name(self) -> str:
        """What the settings, the logs and the metrics call it; no secret."""
        ...

    @property
    def max_bytes(self) -> int:
        """Of the text of one message."""
        ...

    async def send(self, message: Message) -> None:
        """
        Tell it.

        Raises:
            AlertError: it is not certain that it arrived; the text has no secret.
        """
        ...


async def try_to_send(channel: Channel, message: Message) -> AlertError | None:
    """Tell it in bounded time; why it is not certain that it arrived, if so. Never raises."""
    try:
        async with asyncio.timeout(WHOLE_SECONDS):
            await channel.send(message)
    except AlertError as error:
        return error
    except TimeoutError:
        return AlertUndelivered(f"{WHOLE_SECONDS:g} 秒内没有说完")
    except Exception as error:  # noqa: BLE001 - whatever it is, other channels are to be told
        logger.opt(exception=error).error("alert.channel_failed", channel=channel.name)
        return AlertUndelivered(type(error).__name__)
    return None
