"""
Looks after all accounts, gently: who is online, as the gateway says in more than one way.

One process at a time does it. The standing that comes of it is everybody's: senders send nothing,
workers ask nothing, and what is told to the operator is told once.
"""

import asyncio

from loguru import logger

from app.models.account import AccountState
from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.errors import EcloudError, EcloudRefused, QueueUnavailable
from app.services.gateways import Gateways
from app.services.presence import Witness
from app.services.queue.breakers import Breakers, account_peer
from app.services.queue.leases import Leases
from app.services.queue.offline_notices import OfflineNotices
from app.services.standing import Sign
from app.utils.clock import Clock
from app.utils.loops import cancelled, stopped_within
from app.workers.schedule import OFFLINE

LOOK_SECONDS = 2.0
LEASE_SECONDS = 60.0
#: So soon after the last poll a doubt is looked into, whoever utters how many, and whether an account
#: that is offline came back.
SOON_SECONDS = 15.0
#: Longer than the time between two polls: a breaker is closed by knowing, not by forgetting.
MARGIN_SECONDS = 30.0


class AccountWatch:
    """Polls the gateway; keeps the breakers of accounts that are offline open."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        gateways: Gateways,
        breakers: Breakers,
        notices: OfflineNotices,
        leases: Leases,
        clock: Clock,
        interval: float,
    ) -> None:
        """
        Args:
            interval: seconds between two polls when nobody doubts.
        """
        self._accounts = accounts
        self._gateways = gateways
        self._breakers = breakers
        self._notices = notices
        self._clock = clock
        self._interval = interval
        self._lease = leases.task("accounts", seconds=LEASE_SECONDS)
        self._polled_at = clock.monotonic()
        #: Gateway logins that refused to list who is online.
        self._without_list: set[str] = set()
        #: Whose breaker this process opened.
        self._opened: set[WcId] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Look until stopped; a poll under way is not waited for."""
        looking = asyncio.create_task(self._look_until_cancelled(), name="account-polls")
        try:
            while not looking.done() and not await stopped_within(stop, LOOK_SECONDS):
                pass
            if looking.done():
                looking.result()
        finally:
            await cancelled([looking])
            await self._lease.free()

    async def _look_until_cancelled(self) -> None:
        while True:
            try:
                if await self._lease.hold():
                    await self.look()
            except QueueUnavailable as error:
                logger.debug("account.watch_later", error=error)
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """
        Poll if it is time; let everybody know what is known.

        Raises:
            QueueUnavailable: Redis is away.
        """
        for bot in await self._notices.take():
            self._accounts.doubt(bot, Witness.NOTICE)
        since = self._clock.monotonic() - self._polled_at
        is_soon = self._accounts.doubted() or self._offline()
        if since >= (min(SOON_SECONDS, self._interval) if is_soon else self._interval):
            self._polled_at = self._clock.monotonic()
            await self._poll()
        await self._follow()

    async def _poll(self) -> None:
        failed = await self._gateways.query_all()
        for error in failed.values():
            # A gateway that is away says nothing of its accounts; some have no such list.
            logger.debug("account.poll_failed", error=error)
        self._without_list = {
            name for name, error in failed.items() if isinstance(error, EcloudRefused)
        }
        for bot in sorted({*self._accounts.doubted(), *self._unlisted()}):
            await self._look_into(bot)

    def _unlisted(self) -> set[WcId]:
        """Accounts that are offline, and no list will say that they are back."""
        return {
            bot
            for bot in self._offline()
            if (client := self._gateways.client_of(bot)) is not None
            and client.login.name in self._without_list
        }

    async def _look_into(self, bot: WcId) -> None:
        """Ask in the other ways: one that says offline is not believed alone."""
        login, client = self._accounts.login(bot), self._gateways.client_of(bot)
        if client is None:
            return
        says_online, is_contradicted = 0, False
        if login is not None and login.w_id:
            try:
                if await client.is_online(login.w_id):
                    says_online += 1
                else:
                    self._accounts.doubt(bot, Witness.INSTANCE)
                    is_contradicted = True
            except EcloudError as error:
                logger.debug("account.poll_failed", error=error)
        try:
            if await client.offline_reason(bot):
                self._accounts.doubt(bot, Witness.REASON)
                is_contradicted = True
            else:
                says_online += 1
        except EcloudRefused:
            # Nor is there such a question: the other answer is all that can be had.
            says_online += bool(says_online and client.login.name in self._without_list)
        except EcloudError as error:
            logger.debug("account.poll_failed", error=error)
        if says_online > 1 and not is_contradicted:
            self._accounts.believe(bot)
            if bot in self._unlisted():
                self._accounts.notice(bot, Sign.LISTED)

    def _offline(self) -> set[WcId]:
        states = self._accounts.standing()
        return {one.wc_id for one in states if one.state is AccountState.OFFLINE}

    async def _follow(self) -> None:
        """Breakers as the standing says; an account without a sender has nobody else for it."""
        offline = self._offline()
        for bot in offline:
            seconds = self._interval + MARGIN_SECONDS
            await self._breakers.open_for(account_peer(bot), seconds, OFFLINE)
        for bot in self._opened - offline:
            await self._breakers.ok(account_peer(bot))
        self._opened = offline
