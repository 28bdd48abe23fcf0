"""
What becomes of a claim: acknowledged, tried again, parked, buried or given back.

Dead and waiting are written in SQL first, or noted for its next batch; then the queue is told.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from loguru import logger

from app.models.flow import Answer, Claim, Turn
from app.models.message import MessageState
from app.services.errors import (
    DifyUnavailable,
    QueueUnavailable,
    ServiceError,
    StaleFence,
    code_of,
    loggable,
)
from app.services.metrics import Metrics
from app.services.outbox import Outbox
from app.services.pauses import Paused
from app.services.queue.breakers import DIFY, kind_of
from app.services.queue.protocol import MessageQueue
from app.services.replacing import text_of
from app.services.segmenter import Segmenter
from app.services.stages import Stages, utc_now
from app.utils.clock import Clock
from app.utils.ids import id_milliseconds
from app.workers.peer_watch import APP_NOT_CONFIGURED
from app.workers.retry import Bury, Park, Retry, RetryPolicy, Wait

#: Before burying is tried again while SQL is away.
PAUSE_SECONDS = 1.0
#: The rest of an answer waits so long for somebody who serves its app.
UNSERVED_SECONDS = 120.0
#: From this crash on a message runs as the only suspect of its process.
SUSPECT_CRASHES = 2


class ClaimSettling:
    """Ends claims."""

    def __init__(
        self,
        *,
        queue: MessageQueue,
        outbox: Outbox,
        stages: Stages,
        segmenter: Segmenter,
        policy: RetryPolicy,
        metrics: Metrics,
        clock: Clock,
        failure_reply: Callable[[], str],
        paused: Callable[[], Paused],
    ) -> None:
        """
        Args:
            paused: what operators have paused: the time in it makes no message too old.
        """
        self._paused = paused
        self._queue = queue
        self._outbox = outbox
        self._stages = stages
        self._segmenter = segmenter
        self._policy = policy
        self._metrics = metrics
        self._clock = clock
        self._failure_reply = failure_reply

    def begin(self, claim: Claim) -> None:
        """It is in work from now on."""
        self._stages.note(
            claim.message_id,
            fence=claim.fence,
            while_unfinished=True,
            state=MessageState.PROCESSING,
            runs_alone=claim.crashes >= SUSPECT_CRASHES,
            crashes=claim.crashes,
            sole_crashes=claim.sole_crashes,
        )
        self._stages.note(claim.message_id, fence=claim.fence, claimed_at=utc_now())
        logger.info("message.claimed", attempt=claim.attempts + 1)

    async def finish(self, claim: Claim) -> None:
        """The outcome is in SQL: free the user."""
        if not await self._queue.ack(claim):
            logger.warning("message.ack_refused")

    async def fail(
        self, claim: Claim, turn: Turn | None, error: Exception, *, held_by: str = ""
    ) -> None:
        """
        Carry out what the policy says of an error.

        Args:
            turn: None if it could not even be opened.
            held_by: the peer whose breaker is open; empty: none.
        """
        decision = self._policy.decide(
            error, attempts=claim.attempts, held_by=held_by, age=self.waited(claim, turn)
        )
        code = code_of(error)
        if not isinstance(error, (ServiceError, TimeoutError)):
            logger.opt(exception=error).error("message.unexpected_error")
        logger.warning("message.failed", code=code, decision=decision, error=loggable(error))
        logger.debug("message.failed_because", error=error)
        if not isinstance(decision, Bury):
            self._count(_outcome(decision))
        match decision:
            case Bury(reason) if turn is not None:
                await self._bury_or_wait(claim, turn, reason, str(error))
            case Bury(reason):
                # Without its turn nothing can be written of it.
                logger.error("message.cannot_be_buried", reason=reason, attempts=claim.attempts)
                self._count("retry")
                await self._retry_counted(claim, self._policy.delay, f"{code}: {error}")
            case Retry(delay):
                await self._retry_counted(claim, delay, f"{code}: {error}")
            case Wait(delay):
                await self._retry(claim, delay)
            case Park(peer, counts):
                if counts:
                    self._note_try(claim, f"{code}: {error}")
                await self._park(claim, peer, counts=counts)

    async def hand_over(self, claim: Claim, error: Exception) -> None:
        """The app's breaker has opened, and another one answers: at once, and nothing is counted."""
        self._count("handed_over")
        logger.warning("message.handed_over", code=code_of(error), error=loggable(error))
        await self._retry(claim, 0.0)

    async def hold_up(self, claim: Claim, turn: Turn, peer: str) -> None:
        """The peer's breaker is open: nobody is asked, nothing is counted."""
        if kind_of(peer) == DIFY and self._policy.is_too_old(self.waited(claim, turn)):
            reason = DifyUnavailable.code
            await self._bury_or_wait(claim, turn, reason, "no answer for too long")
            return
        self._count("parked")
        logger.debug("message.parked", peer=peer)
        await self._park(claim, peer)

    async def without_app(self, claim: Claim, turn: Turn, peer: str) -> None:
        """
        Nobody here serves the turn's app; another process may.

        An answer that has begun is closed after a while, so that the person's next question goes on.
        """
        if turn.begun and self.waited(claim, turn) >= UNSERVED_SECONDS:
            await self._bury_or_wait(claim, turn, APP_NOT_CONFIGURED, turn.app)
        else:
            await self.hold_up(claim, turn, peer)

    async def stand_by(self, claim: Claim, peer: str) -> None:
        """The places of its app are taken: others go on, it comes back in its order."""
        self._count("crowded_out")
        logger.debug("message.stands_by", peer=peer)
        await self._park(claim, peer)

    async def bury(self, claim: Claim, turn: Turn, reason: str, error: str) -> None:
        """
        Dead in SQL first, then out of the queue. The group hears one sentence at most.

        Where it has parts of an answer already, these are the answer.
        """
        begun, conversation_id = await self._outbox.begun(turn)
        if begun:
            answer = Answer(text=text_of(begun), conversation_id=conversation_id, is_cut_short=True)
            await self._outbox.plan(turn, (), answer)
            self._count("answered")
            logger.warning("reply.cut_short", planned=len(begun), error=reason)
        else:
            reply = self._failure_reply()
            pieces = [reply] if reply else []
            segments = self._segmenter.number(turn, pieces, start=0, mentions=True)
            await self._outbox.bury(turn, reason=reason, error=error, segments=segments)
            self._count("dead")
            logger.error("message.buried", reason=reason)
        await asyncio.shield(self.finish(claim))

    async def drop(self, claim: Claim) -> None:
        """The question was taken back, which SQL has as its outcome: free the user."""
        self._count("recalled")
        logger.info("message.dropped")
        try:
            await self.finish(claim)
        except QueueUnavailable as error:
            logger.warning("message.lease_left", error=error)

    async def give_back(self, claim: Claim, *, delay: float = 0.0) -> None:
        """Nothing became of it here; whoever claims next begins anew."""
        try:
            await self._retry(claim, delay)
        except QueueUnavailable as error:
            logger.warning("message.lease_left", error=error)

    def waited(self, claim: Claim, turn: Turn | None) -> float:
        """Seconds for which it has waited, without those in which an operator had it wait."""
        since = self.waits_since(claim, turn)
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return (now - since).total_seconds() - self._paused().seconds(since, now, claim.user)

    def waits_since(self, claim: Claim, turn: Turn | None) -> datetime:
        """When the message was received, or when an operator let it go on."""
        if turn is not None and turn.replayed_at is not None:
            return turn.replayed_at
        return datetime.fromtimestamp(id_milliseconds(claim.message_id) / 1000, UTC)

    async def _bury_or_wait(self, claim: Claim, turn: Turn, reason: str, error: str) -> None:
        try:
            await self.bury(claim, turn, reason, error)
        except StaleFence:
            raise
        except ServiceError as away:
            logger.warning("message.bury_later", error=away)
            await self._retry(claim, PAUSE_SECONDS)

    async def _retry_counted(self, claim: Claim, delay: float, error: str) -> None:
        self._metrics.retries.labels(stage="ask").inc()
        self._note_waits(claim)
        self._note_try(claim, error)
        await self._queue.retry(claim, delay=delay, counts=True)

    def _note_try(self, claim: Claim, error: str) -> None:
        self._stages.note(
            claim.message_id, fence=claim.fence, attempts=claim.attempts + 1, error=error[:500]
        )

    async def _retry(self, claim: Claim, delay: float) -> None:
        self._note_waits(claim)
        await self._queue.retry(claim, delay=delay, counts=False)

    async def _park(self, claim: Claim, peer: str, *, counts: bool = False) -> None:
        self._note_waits(claim)
        await self._queue.park(claim, peer, counts=counts)

    def _count(self, outcome: str) -> None:
        self._metrics.outcomes.labels(outcome=outcome).inc()

    def _note_waits(self, claim: Claim) -> None:
        """Not in work any more: a process that ends now did not crash over it."""
        self._stages.note(
            claim.message_id,
            fence=claim.fence,
            while_unfinished=True,
            state=MessageState.RECEIVED,
            runs_alone=False,
        )


def _outcome(decision: Retry | Wait | Park) -> str:
    return {Retry: "retry", Wait: "wait", Park: "parked"}[type(decision)]
