"""Keeps the gateway posting its callbacks to this bridge."""

import asyncio
from collections.abc import Sequence

from loguru import logger

from app.services.ecloud.callback_url import masked
from app.services.ecloud.client import EcloudClient
from app.services.errors import (
    EcloudError,
    EcloudProtocolError,
    EcloudRefused,
    QueueUnavailable,
)
from app.services.queue.leases import Lease
from app.utils.loops import stopped_within

#: Between two looks, in seconds; and after one that failed.
LOOK_SECONDS = 300.0
#: Before the first: the gateway tries the address at once, and by then somebody has to listen.
FIRST_SECONDS = 1.0
SOON_SECONDS = 15.0


class CallbackKeeper:
    """
    Registers the bridge's own address where another one stands.

    A gateway that does not tell what is registered, or not truly, is told the address once per process.

    Args:
        own: the addresses that may stand there, the one to register first.
        tokens: what must not be shown of them.
        lease: one replica does it at a time.
    """

    def __init__(
        self, ecloud: EcloudClient, *, own: Sequence[str], tokens: Sequence[str], lease: Lease
    ) -> None:
        self._ecloud = ecloud
        self._own = own
        self._tokens = tokens
        self._lease = lease
        self._has_told = False
        #: It has shown our own address before: what it shows is so.
        self._is_trusted = False

    async def run(self, stop: asyncio.Event) -> None:
        """Look soon, and again and again until stopped."""
        pause = FIRST_SECONDS
        while not await stopped_within(stop, pause):
            pause = LOOK_SECONDS
            try:
                if await self._lease.hold():
                    await self.look()
            except (EcloudError, QueueUnavailable) as error:
                # The gateway may repeat the address, and the token with it.
                told = masked(str(error), self._tokens)
                logger.warning("callback.not_checked", code=error.code, error=told)
                pause = SOON_SECONDS
        await self._lease.free()

    async def look(self) -> None:
        """
        See what is registered, and register ours if it is another.

        Raises:
            EcloudError: the gateway is away, or does not accept the address.
        """
        registered = await self._registered()
        if registered in self._own:
            self._is_trusted = True
            return
        if self._has_told and not self._is_trusted:
            return
        await self._ecloud.set_callback_url(self._own[0])
        self._has_told = True
        self._is_trusted = await self._registered() in self._own
        logger.warning(
            "callback.registered 已在网关登记回调地址",
            url=masked(self._own[0], self._tokens),
            was="unknown" if registered is None else "elsewhere" if registered else "none",
        )

    async def _registered(self) -> str | None:
        """What stands at the gateway; None: it does not tell."""
        try:
            return await self._ecloud.callback_url()
        except (EcloudRefused, EcloudProtocolError):
            return None
