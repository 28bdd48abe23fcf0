"""Between the answer loop and the breakers: whether Dify may be asked, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger

from app.models.flow import Turn, WcId
from app.services.ecloud.pacing import Why
from app.services.errors import (
    DifyAbsent,
    DifyConversationGone,
    DifyError,
    DifyOverloaded,
    DifyRejected,
    QueueUnavailable,
    code_of,
)
from app.services.pauses import Paused
from app.services.queue.breakers import (
    NO_ANSWER,
    NO_WEIGHT,
    NOBODY_THERE,
    BreakerLook,
    Breakers,
    BreakerState,
    account_peer,
    dify_peer,
)
from app.services.queue.protocol import MessageQueue
from app.workers.parking import let_all_go
from app.workers.retry import is_outage

#: Why nobody of a group is answered whose app the settings do not name.
APP_NOT_CONFIGURED = "app_not_configured"
#: Between two looks whether somebody serves it now, in seconds.
ABSENT_APP_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What the breakers said before a question."""

    user: WcId
    #: The app that is to be asked.
    app: str
    #: The peer that has to be well first; empty: Dify may be asked.
    held_by: str = ""
    #: None: Redis was away, or Dify is not asked.
    dify: BreakerLook | None = None

    @property
    def dify_peer(self) -> str:
        """The app as a peer."""
        return dify_peer(self.app)

    @property
    def is_app_away(self) -> bool:
        """It is the app that is not well."""
        return self.held_by == self.dify_peer

    @property
    def is_probe(self) -> bool:
        """This question tries out whether Dify is well again."""
        return self.dify is not None and self.dify.state is BreakerState.PROBE


class PeerWatch:
    """
    Looks at the breakers of the Dify apps and of the accounts, and tells those of the apps.

    Redis away: as if all were closed; nothing can be claimed then anyway.
    """

    def __init__(
        self,
        *,
        queue: MessageQueue,
        breakers: Breakers,
        quiet_left: Callable[[], float],
        paused: Callable[[], Paused],
    ) -> None:
        """
        Args:
            quiet_left: seconds until the quiet hours end; 0: it is not quiet.
            paused: what operators have paused now.
        """
        self._paused = paused
        self._queue = queue
        self._breakers = breakers
        self._quiet_left = quiet_left
        #: Apps with failures of this process that no success has followed here.
        self._failed: set[str] = set()
        self._probes: set[tuple[str, WcId]] = set()

    async def admit(self, turn: Turn) -> Admission:
        """
        Look before Dify is asked; an answer that only has to be closed asks nobody.

        The rest of an answer is fetched whether the account can send it now or not.
        """
        if turn.begun and turn.unheard is None:
            return Admission(user=turn.user, app=turn.app)
        if not turn.begun and (held_by := self._paused().holds(turn.user)):
            return Admission(user=turn.user, app=turn.app, held_by=held_by)
        account = [] if turn.begun else [account_peer(turn.bot_wc_id)]
        try:
            if account and (seconds := self._quiet_left()):
                # An answer that cannot be sent for hours would be hours old.
                await self._breakers.open_for(account[0], seconds, Why.QUIET)
                return Admission(user=turn.user, app=turn.app, held_by=account[0])
            looks = await self._breakers.look([*account, dify_peer(turn.app)], turn.user)
        except QueueUnavailable as error:
            logger.debug("breaker.unknown", error=error)
            return Admission(user=turn.user, app=turn.app)
        held_by = next((look.peer for look in looks if look.state is BreakerState.OPEN), "")
        if not held_by:
            probed = [look.peer for look in looks if look.state is BreakerState.PROBE]
            self._probes.update((peer, turn.user) for peer in probed)
        return Admission(user=turn.user, app=turn.app, held_by=held_by, dify=looks[-1])

    async def answered(self, admission: Admission) -> None:
        """Dify did; whether the account can send is its sender's to say."""
        self._probes = {probe for probe in self._probes if probe[1] != admission.user}
        look = admission.dify
        has_failed = admission.app in self._failed
        if look is None or not (admission.is_probe or look.has_failures or has_failed):
            return
        self._failed.discard(admission.app)
        peer = admission.dify_peer
        try:
            if await self._breakers.ok(peer, closes=admission.is_probe):
                await let_all_go(self._queue, peer)
        except QueueUnavailable as error:
            logger.warning("breaker.told_later", error=error)

    async def failed(self, admission: Admission, error: Exception, *, last_try: int) -> str:
        """
        The peer for which the message has to wait now; empty: none is open.

        Args:
            last_try: failed tries of a message that would be given up now; else 0.
        """
        try:
            if is_outage(error):
                self._failed.add(admission.app)
                weight = NOBODY_THERE if isinstance(error, DifyAbsent) else NO_ANSWER
                return await self._tell(admission, error, weight, last_try)
            if not admission.is_probe or not isinstance(error, DifyError):
                return ""
            if isinstance(error, DifyRejected | DifyOverloaded | DifyConversationGone):
                # No answer to this question, but Dify speaks.
                await self.answered(admission)
            else:
                await self._tell(admission, error, NO_WEIGHT, 0)
        except QueueUnavailable as away:
            logger.warning("breaker.told_later", error=away)
        return ""

    async def _tell(
        self, admission: Admission, error: Exception, weight: int, last_try: int
    ) -> str:
        code, peer = code_of(error), admission.dify_peer
        is_open = await self._breakers.failed(peer, admission.user, code, weight, last_try=last_try)
        self._probes.discard((peer, admission.user))
        return peer if is_open else ""

    async def has_no_app(self, admission: Admission) -> str:
        """
        The settings of this process do not name the app: its users wait until somebody serves it.

        Raises:
            QueueUnavailable: Redis is away.
        """
        peer = admission.dify_peer
        self._probes.discard((peer, admission.user))
        await self._breakers.open_for(peer, ABSENT_APP_SECONDS, APP_NOT_CONFIGURED)
        return peer

    async def ended(self, admission: Admission) -> None:
        """Whatever came of it: a probe that told nothing makes room for the next one."""
        mine = {probe for probe in self._probes if probe[1] == admission.user}
        self._probes -= mine
        for peer, user in mine:
            try:
                await self._breakers.end_probe(peer, user)
            except QueueUnavailable as error:
                # Without a sign of life it ends by itself.
                logger.debug("breaker.probe_left", error=error)

    async def keep_probes(self) -> None:
        """
        Signs of life of the probes of this process.

        Raises:
            QueueUnavailable: Redis is away.
        """
        for peer, user in list(self._probes):
            if not await self._breakers.keep_probe(peer, user):
                self._probes.discard((peer, user))
