"""
Which accounts this process sends for: whoever gets the lease of an account runs its sender.

Only accounts that owe something have one; anybody may name an account to the callback.
"""

import asyncio
import time
from collections.abc import Callable
from heapq import nlargest

from loguru import logger

from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.errors import QueueUnavailable, StoreUnavailable
from app.services.outbox import Outbox
from app.services.queue.leases import Lease, Leases, OutboxBell
from app.utils.loops import stopped_within
from app.workers.sender import AccountSender

LOOK_SECONDS = 2.0
#: Accounts without a sender whose bell is listened to; others wait for the next look.
LISTEN_AT_MOST = 50
LISTEN_SECONDS = 1.0
PAUSE_SECONDS = 0.5

MakeSender = Callable[[WcId, Lease], AccountSender]


class SenderPool:
    """Holds leases, runs senders, passes the bell on."""

    def __init__(
        self,
        *,
        leases: Leases,
        bell: OutboxBell,
        outbox: Outbox,
        accounts: Accounts,
        make_sender: MakeSender,
        lease_seconds: float,
    ) -> None:
        self._leases = leases
        self._bell = bell
        self._outbox = outbox
        self._accounts = accounts
        self._make_sender = make_sender
        self._lease_seconds = lease_seconds
        self._running: dict[WcId, asyncio.Task[None]] = {}
        self._senders: dict[WcId, AccountSender] = {}
        #: Accounts that another process sends for, until when (monotonic seconds) that is believed.
        self._elsewhere: dict[WcId, float] = {}
        self._starting = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until stopped; leases are given back."""
        listening = asyncio.create_task(self._listen(stop), name="outbox-bell")
        try:
            while not stop.is_set():
                try:
                    await self._look(stop)
                except (QueueUnavailable, StoreUnavailable) as error:
                    logger.warning("senders.look_failed", error=error)
                await stopped_within(stop, LOOK_SECONDS)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _look(self, stop: asyncio.Event) -> None:
        """Take over accounts that owe something and that nobody sends for."""
        for bot in await self._outbox.owing_accounts():
            await self._start(bot, stop)

    async def _start(self, bot: WcId, stop: asyncio.Event) -> bool:
        """Run the account's sender, if nobody does; False: another process does."""
        async with self._starting:
            if bot in self._running or stop.is_set():
                return True
            lease = self._leases.sender(bot, seconds=self._lease_seconds)
            try:
                is_ours = await lease.hold()
            except asyncio.CancelledError:
                # It may have been granted already.
                await lease.free()
                raise
            if not is_ours:
                self._elsewhere[bot] = time.monotonic() + self._lease_seconds
                return False
            self._elsewhere.pop(bot, None)
            self._senders[bot] = self._make_sender(bot, lease)
            self._running[bot] = asyncio.create_task(
                self._send(bot, lease, stop), name=f"sender-{bot}"
            )
            return True

    async def _send(self, bot: WcId, lease: Lease, stop: asyncio.Event) -> None:
        """One sender under its lease, which is renewed beside it."""
        renewing = asyncio.create_task(self._renew(bot, lease), name=f"lease-{bot}")
        try:
            sender = self._senders[bot]
            with self._bell.heard_here(bot, sender.ring):
                await sender.run(stop)
        except Exception:  # noqa: BLE001 - one account's fault must not end the others
            logger.exception("sender.failed", bot=bot)
        finally:
            renewing.cancel()
            del self._senders[bot]
            await lease.free()
            # Only now: whoever stops the pool waits until the lease is given back.
            del self._running[bot]

    async def _renew(self, bot: WcId, lease: Lease) -> None:
        while True:
            await asyncio.sleep(lease.seconds / 3)
            try:
                if not await lease.hold():
                    logger.warning("sender.lease_lost", bot=bot)
                    return
            except QueueUnavailable as error:
                logger.warning("sender.renew_failed", bot=bot, error=error)

    async def _listen(self, stop: asyncio.Event) -> None:
        while True:
            bots = self._audible()
            if not bots:
                await asyncio.sleep(PAUSE_SECONDS / 5)
                continue
            try:
                bot = await self._bell.listen(bots, seconds=LISTEN_SECONDS)
                if bot is not None:
                    await self._wake(bot, stop)
            except QueueUnavailable:
                # Senders look by themselves meanwhile; the worker reports that Redis is away.
                await asyncio.sleep(PAUSE_SECONDS)

    def _audible(self) -> list[WcId]:
        """Accounts whose bell to listen to: those of our senders, and the newest that have none."""
        now = time.monotonic()
        self._elsewhere = {bot: until for bot, until in self._elsewhere.items() if until > now}
        others = self._accounts.own_ids - self._senders.keys() - self._elsewhere.keys()
        newest = nlargest(LISTEN_AT_MOST, sorted(others), key=self._seen_at)
        return sorted([*self._senders, *newest])

    def _seen_at(self, bot: WcId) -> int:
        login = self._accounts.login(bot)
        return 0 if login is None else login.w_id_time

    async def _wake(self, bot: WcId, stop: asyncio.Event) -> None:
        """The bell of an account rang; one that is meant for another process is passed on."""
        if bot in self._senders:
            self._senders[bot].ring()
        elif not await self._start(bot, stop):
            await self._bell.ring(bot)
