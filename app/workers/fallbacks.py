"""Which app answers while a group's own is not well."""

from collections.abc import Mapping

from loguru import logger

from app.models.flow import Turn
from app.services.queue.breakers import dify_peer
from app.services.turns import Turns
from app.workers.peer_watch import Admission, PeerWatch


class Fallbacks:
    """
    Lets another app stand in for one whose breaker is open.

    Args:
        others: by an app's name the one that stands in for it.
    """

    def __init__(self, others: Mapping[str, str], *, turns: Turns, watch: PeerWatch) -> None:
        self._others = others
        self._turns = turns
        self._watch = watch

    def has(self, turn: Turn) -> bool:
        """
        Whether another app may answer: an answer that has begun, or may be had, is its own app's.

        So is what is still to be heard, which another app may not be able to.
        """
        is_new = not turn.begun and turn.unheard is None and turn.voice is None
        return is_new and not turn.stands_in_for and turn.app in self._others

    async def instead(self, turn: Turn, admission: Admission) -> tuple[Turn, Admission]:
        """
        The turn as it is asked now, with what the breakers say of that.

        Whoever has to wait, waits for the group's own app.

        Raises:
            StoreUnavailable: nothing is known of the other app's conversation.
        """
        if not (admission.is_app_away and self.has(turn)):
            return turn, admission
        other = await self._turns.asking_other(turn, self._others[turn.app])
        its_admission = await self._watch.admit(other)
        if its_admission.held_by:
            return turn, admission
        logger.info("dify.fallback", app=turn.app, instead=other.app)
        return other, its_admission


def waits_for(turn: Turn, held_by: str, *, is_last: bool) -> str:
    """
    The peer for which a failed turn waits; empty: for none (pure).

    Never for an app that only stood in: and if that one fails, too, it is not the message's last try.

    Args:
        held_by: the app that was asked, if its breaker is open now.
        is_last: the message would be given up.
    """
    if turn.stands_in_for and (held_by or is_last):
        return dify_peer(turn.stands_in_for)
    return held_by
