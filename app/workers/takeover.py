"""Which account answers where the one that got a message first is offline, or another is not done yet."""

from dataclasses import replace

from loguru import logger

from app.models.flow import Turn, WcId
from app.services.accounts import Accounts
from app.services.handover import Handover
from app.services.queue.breakers import account_peer
from app.services.turns import Turns
from app.utils.clock import Clock
from app.workers.peer_watch import Admission, PeerWatch

#: So long after a message the other account's copy of it is waited for where it matters.
COPY_SECONDS = 1.0


class Takeover:
    """Lets another account of ours that got the message, too, answer it."""

    def __init__(
        self,
        *,
        handover: Handover,
        turns: Turns,
        accounts: Accounts,
        watch: PeerWatch,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._turns = turns
        self._handover = handover
        self._accounts = accounts
        self._watch = watch

    async def instead(self, turn: Turn, admission: Admission) -> tuple[Turn, Admission]:
        """
        The turn as it is answered now, with what the breakers say of that.

        By the account that the person still waits for in this group, if it got the message, too: two
        accounts know nothing of each other's order.

        An answer that has begun is its account's; the rest of it is moved with what is planned. What is
        still to be heard can only be fetched by the account that got it.

        Raises:
            StoreUnavailable: it is not known who else got the message.
        """
        offline = self._accounts.offline_ids
        is_alone = len(self._accounts.own_ids) < 2  # noqa: PLR2004 - there is no other one
        if turn.begun or is_alone or turn.voice is not None:
            return turn, admission
        if turn.bot_wc_id not in offline:
            return await self._in_order(turn, admission)
        for bot in await self._handover.takers(turn.message_id):
            if bot in offline:
                continue
            other = replace(turn, bot_wc_id=bot)
            its_admission = await self._watch.admit(other)
            if its_admission.held_by != account_peer(bot):
                logger.info("message.by_other_account", offline=turn.bot_wc_id, bot=bot)
                return other, its_admission
        return turn, admission

    async def _in_order(self, turn: Turn, admission: Admission) -> tuple[Turn, Admission]:
        """The turn, behind what its person is owed."""
        owing = await self._handover.owing(turn.group_id, turn.user)
        if owing is None or turn.form is not None:
            return turn, admission
        if owing == turn.bot_wc_id or owing in self._accounts.offline_ids:
            return turn, admission
        if not await self._has_got(owing, turn):
            return turn, admission
        other = await self._turns.answered_by(turn, owing)
        logger.info("message.in_order_by", former=turn.bot_wc_id, bot=owing)
        return other, await self._watch.admit(other)

    async def _has_got(self, bot: WcId, turn: Turn) -> bool:
        """Whether the message came through this account, too; its copy may be a moment behind."""
        if bot in await self._handover.takers(turn.message_id):
            return True
        if turn.received_at is None:
            return False
        age = self._clock.time() - turn.received_at.timestamp()
        if age >= COPY_SECONDS:
            return False
        await self._clock.sleep(min(COPY_SECONDS, COPY_SECONDS - age))
        return bot in await self._handover.takers(turn.message_id)
