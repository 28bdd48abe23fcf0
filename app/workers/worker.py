"""
The answer loop: claim, answer, settle.

The only place that catches everything, and only to hand it to ``ClaimSettling.fail``.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from loguru import logger

from app.models.flow import Claim, MessageId, Turn
from app.services.conversations import Journal
from app.services.errors import LeaseLost, QueueUnavailable, StaleFence, StoreUnavailable
from app.services.metrics import Metrics
from app.services.outbox import Outbox
from app.services.pauses import Paused
from app.services.queue.breakers import limit_peer
from app.services.queue.protocol import MessageQueue
from app.services.queue.spill_signs import SpillSigns
from app.services.segmenter import Segmenter
from app.services.stages import Stages
from app.services.tracing import Span, Step, Tracer
from app.services.turns import Turns
from app.utils.clock import Clock
from app.utils.log import message_context
from app.utils.loops import first_of, stopped_within
from app.workers.claim_mending import ClaimMending
from app.workers.claim_settling import SUSPECT_CRASHES, ClaimSettling
from app.workers.desks import Desk, Desks
from app.workers.fallbacks import Fallbacks, waits_for
from app.workers.peer_watch import Admission, PeerWatch
from app.workers.retry import CRASHED, Bury, RetryPolicy
from app.workers.takeover import Takeover

IDLE_SECONDS = 1.0
#: While an operator has taking paused, whether that is over is looked at so often.
PAUSED_SECONDS = 0.5
REDIS_PAUSE_SECONDS = 0.5
#: So long all places are taken before one more is asked for.
FULL_SECONDS = 1.0
#: After a heartbeat that did not reach Redis.
HEARTBEAT_PAUSE_SECONDS = 0.5
#: A user's former task that has settled ends by itself within this time.
FORMER_SECONDS = 0.5
DRAIN_SECONDS = 25.0
CLAIM_AT_MOST = 64


@dataclass(eq=False, slots=True)
class _InWork:
    """One claim and its task."""

    claim: Claim
    task: "asyncio.Task[None]" = field(init=False)
    is_lost: bool = False
    #: The person took the question back, and SQL has that as its outcome.
    is_recalled: bool = False

    @property
    def is_suspect(self) -> bool:
        return self.claim.crashes >= SUSPECT_CRASHES


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """Figures of one worker."""

    #: Seconds of a lease; renewed at a third.
    lease: float
    #: One sentence for the group after the last failure; empty: silence.
    failure_reply: Callable[[], str]
    #: The queue lives in this process: whoever finds out what it died over has only SQL to look at.
    dies_with_queue: bool


class Worker:
    """Answers messages of many users side by side, of one user one after the other."""

    def __init__(
        self,
        *,
        queue: MessageQueue,
        turns: Turns,
        desks: Desks,
        outbox: Outbox,
        journal: Journal,
        stages: Stages,
        watch: PeerWatch,
        takeover: Takeover,
        fallbacks: Fallbacks,
        spill_signs: SpillSigns,
        segmenter: Segmenter,
        policy: RetryPolicy,
        metrics: Metrics,
        tracer: Tracer,
        clock: Clock,
        settings: WorkerSettings,
        paused: Callable[[], Paused],
    ) -> None:
        self._paused = paused
        self._queue = queue
        self._turns = turns
        self._desks = desks
        self._journal = journal
        self._outbox = outbox
        self._stages = stages
        self._watch = watch
        self._policy = policy
        self._metrics = metrics
        self._tracer = tracer
        self._clock = clock
        self._settings = settings
        self._takeover = takeover
        self._fallbacks = fallbacks
        self._mending = ClaimMending(queue=queue, signs=spill_signs, clock=clock)
        self._settling = ClaimSettling(
            queue=queue,
            outbox=outbox,
            stages=stages,
            segmenter=segmenter,
            policy=policy,
            metrics=metrics,
            clock=clock,
            failure_reply=settings.failure_reply,
            paused=paused,
        )
        self._in_work: set[_InWork] = set()
        self._was_away = False

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """
        Work until stopped; then finish what is in work, and give back the rest.

        Args:
            hurry: ends the finishing, which takes 25 s at most.
        """
        heartbeat = asyncio.create_task(self._heartbeats(), name="heartbeat")
        heartbeat.add_done_callback(lambda _: self._desks.has_room.set())
        try:
            while not stop.is_set() and not heartbeat.done():
                try:
                    if self._was_away:
                        # What ran out meanwhile is ours still; claiming first would count it a crash.
                        await self._beat()
                        self._was_away = False
                    await self._claim_some(stop)
                except QueueUnavailable as error:
                    self._was_away = True
                    logger.warning("worker.redis_away", error=error)
                    await stopped_within(stop, REDIS_PAUSE_SECONDS)
        finally:
            if heartbeat.done():
                # No lease is renewed any more: finishing would be under leases of others.
                hurry.set()
            await self._drain(hurry)
            heartbeat.cancel()
            await self._desks.end()
        if heartbeat.done() and not heartbeat.cancelled():
            heartbeat.result()
            raise RuntimeError("the heartbeat ended")

    @property
    def in_work(self) -> frozenset[MessageId]:
        """What this process is at work on."""
        return frozenset(one.claim.message_id for one in self._in_work)

    def drop(self, message_ids: Collection[MessageId]) -> None:
        """End the work on questions that were taken back; Dify is told to stop."""
        for one in [one for one in self._in_work if one.claim.message_id in message_ids]:
            if one.is_recalled:
                continue
            one.is_recalled = True
            for desk in self._desks:
                desk.replies.stop(one.claim.message_id)
            one.task.cancel()

    async def _claim_some(self, stop: asyncio.Event) -> None:
        if self._paused().is_taking:
            # What is in work is finished; all else waits where it is.
            await stopped_within(stop, PAUSED_SECONDS)
            return
        room = self._desks.room(len(self._in_work))
        if room <= 0:
            await self._await_room(stop)
            return
        found = await self._queue.claim(
            limit=min(room, CLAIM_AT_MOST), may_take_suspect=not self._has_suspect()
        )
        for claim in found.claims:
            self._start(claim)
        if not found.claims:
            due = IDLE_SECONDS if found.next_due is None else found.next_due
            await self._queue.wait(min(due, IDLE_SECONDS))

    async def _await_room(self, stop: asyncio.Event) -> None:
        """Until there may be some; after a second of none the limits are pressed."""
        until = asyncio.get_running_loop().time() + FULL_SECONDS
        while self._desks.room(len(self._in_work)) <= 0 and not stop.is_set():
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                self._desks.press()
                return
            self._desks.has_room.clear()
            await first_of(self._desks.has_room, stop, seconds=left)

    def _has_suspect(self) -> bool:
        return any(one.is_suspect for one in self._in_work)

    def _start(self, claim: Claim) -> None:
        one = _InWork(claim)
        former = [other for other in self._in_work if other.claim.user == claim.user]
        one.task = asyncio.create_task(self._work(one, former), name=f"message-{claim.message_id}")
        self._in_work.add(one)
        self._metrics.in_flight.set(len(self._in_work))

    async def _work(self, one: _InWork, former: list[_InWork]) -> None:
        claim = one.claim
        with message_context(claim.message_id):
            try:
                await self._end_former(former)
                await self._answer_and_settle(claim)
            except (StaleFence, LeaseLost) as error:
                # Somebody newer has it, or we wrote it already; the next claim sees which. A lease
                # that is not ours any more is not touched by giving it back.
                logger.warning("message.taken_over", error=error)
                await self._settling.give_back(claim)
            except QueueUnavailable as error:
                # The lease ends by itself; the next claim sees in SQL what became of it.
                logger.warning("message.settle_later", error=error)
            except Exception as error:  # noqa: BLE001 - the last resort, see below
                # Settling itself failed, by a fault of ours: a lease that runs out would count as a
                # crash of the process, and hold the user up for as long.
                logger.opt(exception=error).error("message.not_settled")
                await self._settling.give_back(claim, delay=self._policy.delay)
            except asyncio.CancelledError:
                if not one.is_lost:
                    end = self._settling.drop if one.is_recalled else self._settling.give_back
                    await asyncio.shield(end(claim))
                raise
            finally:
                self._in_work.discard(one)
                self._metrics.in_flight.set(len(self._in_work))
                self._desks.has_room.set()

    async def _end_former(self, former: list[_InWork]) -> None:
        """A claim that comes while a former task of this user runs: that one's lease is over."""
        tasks = [one.task for one in former]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=FORMER_SECONDS)
        for one in former:
            one.is_lost = True
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _answer_and_settle(self, claim: Claim) -> None:
        try:
            opening = await self._turns.open(claim)
        except Exception as error:  # noqa: BLE001 - failing is decided in one place: the policy
            await self._settling.fail(claim, None, error)
            return
        if isinstance(opening, Turn):
            await self._answer(claim.counted_like(opening), opening)
        else:
            await self._mending.set_right(claim, opening)

    async def _answer(self, claim: Claim, turn: Turn) -> None:
        if claim.sole_crashes >= self._policy.crash_limit:
            await self._settling.bury(claim, turn, CRASHED, f"{claim.sole_crashes} crashes")
            return
        admission = await self._watch.admit(turn)
        try:
            turn, admission = await self._takeover.instead(turn, admission)
            turn, admission = await self._fallbacks.instead(turn, admission)
        except StoreUnavailable as error:
            await self._settling.fail(claim, turn, error)
            return
        if admission.held_by:
            await self._settling.hold_up(claim, turn, admission.held_by)
            return
        try:
            await self._at_desk(claim, turn, admission)
        finally:
            await asyncio.shield(self._watch.ended(admission))

    async def _at_desk(self, claim: Claim, turn: Turn, admission: Admission) -> None:
        desk = self._desks.get(turn.app)
        if desk is None:
            logger.error("dify.app_not_configured 群所用的应用没有配置,消息等待", app=turn.app)
            peer = await self._watch.has_no_app(admission)
            await self._settling.without_app(claim, turn, peer)
            return
        if not self._desks.take_place(desk):
            await self._settling.stand_by(claim, limit_peer(turn.app))
            return
        try:
            await self._ask(claim, turn, admission, desk)
        finally:
            await asyncio.shield(self._desks.leave(desk))

    async def _ask(self, claim: Claim, turn: Turn, admission: Admission, desk: Desk) -> None:
        self._settling.begin(claim)
        self._tell_wait(claim, turn)
        self._stages.note_owner(turn.message_id, fence=turn.fence)
        outcome = "answered"
        try:
            heard = await self._heard(turn, desk)
            if heard is None:
                outcome = "not_asked"
            else:
                self._stages.gather(self._journal.open_turns, heard.message_id, heard)
                await self._flush_claim()
                await desk.replies.answer(heard)
        except (StaleFence, LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001 - failing is decided in one place: the policy
            would_end = isinstance(self._policy.decide(error, attempts=claim.attempts), Bury)
            last_try = claim.attempts + 1 if would_end else 0
            held_by = await self._watch.failed(admission, error, last_try=last_try)
            if held_by and self._fallbacks.has(turn):
                # The next claim finds the breaker open, and asks the other app.
                await self._settling.hand_over(claim, error)
            else:
                held_by = waits_for(turn, held_by, is_last=would_end)
                await self._settling.fail(claim, turn, error, held_by=held_by)
            return
        self._metrics.outcomes.labels(outcome=outcome).inc()
        if outcome == "answered":
            self._metrics.answer_seconds.observe(self._settling.waited(claim, turn))
        await asyncio.shield(self._settling.finish(claim))
        await asyncio.shield(self._watch.answered(admission))

    def _tell_wait(self, claim: Claim, turn: Turn) -> None:
        """The trace hears how long it waited, of the first try alone: later ones waited for other things."""
        if claim.attempts or claim.crashes or turn.asking is not None:
            return
        now = self._clock.time()
        started_at = self._settling.waits_since(claim, turn).timestamp()
        self._tracer.record(
            Span(step=Step.WAIT, message_id=claim.message_id, started_at=started_at, ended_at=now)
        )

    async def _heard(self, turn: Turn, desk: Desk) -> Turn | None:
        """The turn with what is asked; None: what was spoken is no question."""
        if turn.voice is None:
            return turn
        await self._flush_claim()
        return await desk.hearing.heard(turn, turn.voice)

    async def _flush_claim(self) -> None:
        """Have SQL know of a claim before it is worked on, where nobody else would."""
        if self._settings.dies_with_queue:
            # Within the next fifth of a second it may be dead already.
            await self._stages.flush_together()

    async def _heartbeats(self) -> None:
        pause = self._settings.lease / 3
        while True:
            await asyncio.sleep(pause)
            pause = self._settings.lease / 3
            try:
                await self._beat()
            except QueueUnavailable as error:
                # Nobody else can claim either; the fence decides who may write. Once Redis is back,
                # what was lost must stop before somebody else begins.
                logger.warning("worker.heartbeat_failed", error=error)
                pause = min(pause, HEARTBEAT_PAUSE_SECONDS)

    async def _beat(self) -> None:
        """Renew all leases; stop what is lost."""
        lost = await self._queue.heartbeat([one.claim for one in self._in_work])
        for one in [one for one in self._in_work if one.claim in lost]:
            one.is_lost = True
            one.task.cancel()

    async def _drain(self, hurry: asyncio.Event) -> None:
        tasks = [one.task for one in self._in_work]
        if not tasks:
            return
        logger.info("worker.draining", messages=len(tasks))
        hurrying = asyncio.create_task(hurry.wait())
        ended: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
        either: list[asyncio.Future[Any]] = [ended, hurrying]
        await asyncio.wait(either, timeout=DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        late = [task for task in tasks if not task.done()]
        if late:
            logger.warning("worker.gives_back", messages=len(late))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
