"""Tells all workers whether an account can send: Dify is not asked for what cannot be sent."""

from dataclasses import dataclass

from loguru import logger

from app.models.flow import WcId
from app.services.errors import QueueUnavailable
from app.services.queue.breakers import Breakers, account_peer
from app.utils.clock import Clock

#: Longer than the pause, so that the sender's own next try comes before a question is the probe.
MARGIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Rest:
    """The account cannot send; monotonic seconds of its next try."""

    until: float
    code: str


class AccountBreaker:
    """Keeps one account's breaker as its sender knows the account."""

    def __init__(self, bot: WcId, *, breakers: Breakers, clock: Clock, is_down: bool) -> None:
        """
        Args:
            is_down: the account was down when its sender began: nothing is told before it was tried.
        """
        self._peer = account_peer(bot)
        self._breakers = breakers
        self._clock = clock
        self._is_told = is_down
        self._rest: Rest | None = None

    async def follow(self, rest: Rest | None) -> None:
        """Tell it if it is news; while Redis is away it is told later."""
        if self._is_told and rest == self._rest:
            return
        try:
            if rest is None:
                await self._breakers.ok(self._peer)
            else:
                left = max(0.0, rest.until - self._clock.monotonic())
                await self._breakers.open_for(self._peer, left + MARGIN_SECONDS, rest.code)
        except QueueUnavailable as error:
            logger.debug("account.breaker_later", peer=self._peer, error=error)
            return
        self._is_told, self._rest = True, rest
