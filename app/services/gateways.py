"""The gateway logins of this bridge, and by which of them each of our accounts is reached."""

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.ecloud.client import EcloudClient
from app.services.errors import EcloudError, EcloudUnavailable
from app.services.presence import Witness
from app.utils.clock import Clock


class Gateways:
    """
    All logins; what each of them lists is learnt by ``Accounts``.

    An account is never called for by a login that does not have it. Of one that only callbacks made
    known the logins are asked; where there is one login only, it can be no other's.
    """

    def __init__(
        self, clients: Sequence[EcloudClient], *, accounts: Accounts, clock: Clock
    ) -> None:
        self._clients = {client.login.name: client for client in clients}
        self._accounts = accounts
        self._clock = clock

    @property
    def clients(self) -> Mapping[str, EcloudClient]:
        """By the login's name, that of the flat settings first; empty: the settings name none."""
        return MappingProxyType(self._clients)

    def client_of(self, bot: WcId) -> EcloudClient | None:
        """Whose login has the account; None: not known yet."""
        login = self._accounts.login(bot)
        name = "" if login is None else login.gateway
        if not name and len(self._clients) == 1:
            return next(iter(self._clients.values()))
        return self._clients.get(name)

    def of(self, bot: WcId) -> "AccountGateway":
        """The gateway as one account uses it."""
        return AccountGateway(self, bot)

    async def query(self, client: EcloudClient, *, tells_standing: bool = True) -> set[WcId]:
        """
        Learn who is online by one login, and under which wId; returns their wcIds.

        Args:
            tells_standing: False: only whose accounts they are.

        Raises:
            EcloudError: the gateway did not tell.
        """
        logins = await client.query_logins()
        known = [(str(login.wc_id), login.w_id) for login in logins]
        self._accounts.learn(
            known,
            time=int(self._clock.time()),
            gateway=client.login.name,
            is_only=len(self._clients) == 1,
            tells_standing=tells_standing,
        )
        return {login.wc_id for login in logins}

    async def query_all(self, *, tells_standing: bool = True) -> dict[str, EcloudError]:
        """Learn who is online by every login, side by side; returns why some did not tell, by name."""
        asked = (
            self.query(client, tells_standing=tells_standing) for client in self._clients.values()
        )
        found = await asyncio.gather(*asked, return_exceptions=True)
        failed: dict[str, EcloudError] = {}
        for name, outcome in zip(self._clients, found, strict=True):
            if isinstance(outcome, EcloudError):
                failed[name] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
        return failed

    async def ask(self, bot: WcId) -> bool:
        """
        Learn whether an account is online: of its own login, and if that does not list it, of the others.

        Raises:
            EcloudError: its own login did not tell; or, of an account of which no login is known,
                one of them.
        """
        own = self.client_of(bot)
        others = [client for client in self._clients.values() if client is not own]
        if own is not None and bot in await self.query(own):
            return True
        failed: EcloudError | None = None
        for client in others:
            try:
                if bot in await self.query(client):
                    return True
            except EcloudError as error:
                failed = error
        if own is None and failed is not None:
            raise failed
        if own is None:
            self._accounts.doubt(bot, Witness.LIST)
        return False


class AccountGateway:
    """The gateway as one account uses it: always by the login that has the account now."""

    def __init__(self, gateways: Gateways, bot: WcId) -> None:
        self._gateways = gateways
        self._bot = bot

    @property
    def is_known(self) -> bool:
        """Whether it is known which login has the account."""
        return self._gateways.client_of(self._bot) is not None

    async def ask(self) -> bool:
        """As ``Gateways.ask``."""
        return await self._gateways.ask(self._bot)

    def client(self) -> EcloudClient:
        """
        Whose login has the account.

        Raises:
            EcloudUnavailable: that is not known; nothing was sent.
        """
        client = self._gateways.client_of(self._bot)
        if client is None:
            raise EcloudUnavailable("还不知道这个微信号在哪个网关登录里")
        return client
