"""Under which wId an account sends; the gateway is asked where no callback has told it."""

from contextlib import suppress

from loguru import logger

from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.errors import EcloudRefused
from app.services.gateways import AccountGateway


class OwnLogin:
    """The login of one account, as its sender needs it."""

    def __init__(self, bot: WcId, *, accounts: Accounts, ecloud: AccountGateway) -> None:
        self._bot = bot
        self._accounts = accounts
        self._ecloud = ecloud
        #: The gateway did not answer the last call.
        self._is_doubted = False

    @property
    def known_w_id(self) -> str:
        """The login instance in force; empty: none is known."""
        login = self._accounts.login(self._bot)
        return "" if login is None else login.w_id

    async def w_id(self) -> str:
        """
        The login instance in force, asked for if need be; empty: the account is not online.

        Raises:
            EcloudError: the gateway did not tell.
        """
        if not self.known_w_id or not self._ecloud.is_known:
            await self.ask()
        elif self._is_doubted:
            # Any answer will do: some gateways have no such list.
            with suppress(EcloudRefused):
                await self.ask()
            self._is_doubted = False
        return self.known_w_id

    def doubt(self) -> None:
        """The gateway did not answer: it is asked before the next call, which may be lost otherwise."""
        self._is_doubted = True

    async def ask(self) -> bool:
        """
        Learn who is online; returns whether this account is.

        Raises:
            EcloudError: the gateway did not tell.
        """
        return await self._ecloud.ask()

    def refuse(self, w_id: str) -> None:
        """The gateway does not accept this wId any more."""
        self._accounts.refuse(self._bot, w_id)
        logger.info("account.new_login", bot=self._bot)
