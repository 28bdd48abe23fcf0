"""Which account answers where the one that got a message first is offline."""

from dataclasses import replace

from loguru import logger

from app.models.flow import Turn
from app.services.accounts import Accounts
from app.services.handover import Handover
from app.services.queue.breakers import account_peer
from app.workers.peer_watch import Admission, PeerWatch


class Takeover:
    """Lets another account of ours that got the message, too, answer it."""

    def __init__(self, *, handover: Handover, accounts: Accounts, watch: PeerWatch) -> None:
        self._handover = handover
        self._accounts = accounts
        self._watch = watch

    async def instead(self, turn: Turn, admission: Admission) -> tuple[Turn, Admission]:
        """
        The turn as it is answered now, with what the breakers say of that.

        An answer that has begun is its account's; the rest of it is moved with what is planned. What is
        still to be heard can only be fetched by the account that got it.

        Raises:
            StoreUnavailable: it is not known who else got the message.
        """
        offline = self._accounts.offline_ids
        if turn.bot_wc_id not in offline or turn.begun or turn.voice is not None:
            return turn, admission
        for bot in await self._handover.takers(turn.message_id):
            if bot in offline:
                continue
            other = replace(turn, bot_wc_id=bot)
            its_admission = await self._watch.admit(other)
            if its_admission.held_by != account_peer(bot):
                logger.info("message.by_other_account", offline=turn.bot_wc_id, bot=bot)
                return other, its_admission
        return turn, admission
