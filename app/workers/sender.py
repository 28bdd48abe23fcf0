"""
The send loop: one paced sender per WeChat account, in whichever process holds its lease.

A call is marked ``sending`` before it goes out, so that after a crash exactly the undecided
segment is known. The receipt of one call is committed together with the mark of the next.
"""

import asyncio
import random
from collections.abc import Callable

from loguru import logger

from app.models.flow import SegmentKind, SentMessage, WcId
from app.services.accounts import Accounts
from app.services.ecloud.pacing import Hold, Pacer, Why
from app.services.errors import EcloudError, QueueUnavailable, StoreUnavailable
from app.services.gateways import AccountGateway
from app.services.media import read_file_content
from app.services.metrics import Metrics
from app.services.outbox import Outbox
from app.services.outbox_table import Planned
from app.services.paces import Paces
from app.services.pauses import Paused
from app.services.queue.breakers import Breakers
from app.services.queue.leases import Lease
from app.services.tracing import Span, Step, Tracer
from app.utils.clock import Clock
from app.utils.log import message_context
from app.utils.loops import first_of, stopped_within
from app.workers.account_breaker import AccountBreaker
from app.workers.availability import Availability
from app.workers.debts import Debts
from app.workers.ending import Ending
from app.workers.failed_calls import FailedCalls
from app.workers.lanes import Lane
from app.workers.own_login import OwnLogin
from app.workers.own_pace import OwnPace
from app.workers.recalling import Recalling
from app.workers.send_policy import SenderSettings
from app.workers.settling import Settling

IDLE_SECONDS = 2.0
STORE_PAUSE_SECONDS = 1.0
#: While there is something to send, new answers are looked for so often.
RELOAD_SECONDS = 0.1
#: So long what Redis said of the lease is good for the next call. A segment that another sender
#: marked meanwhile is not sent in any case: SQL decides that.
CONFIRMED_SECONDS = 0.2
#: What the pace alone holds back, for seconds; whatever is planned meanwhile waits, too.
PACED = (Why.GAP, Why.MINUTE)
#: What became of a call that the gateway carried out.
SENT = "sent"
#: A sender that owes nothing for so long gives its lease back.
KEEP_SECONDS = 60.0


class AccountSender:
    """Sends what one account owes, as long as the lease is held."""

    def __init__(
        self,
        bot: WcId,
        *,
        lease: Lease,
        outbox: Outbox,
        accounts: Accounts,
        ecloud: AccountGateway,
        breakers: Breakers,
        paces: Paces,
        metrics: Metrics,
        tracer: Tracer,
        clock: Clock,
        rng: random.Random,
        settings: SenderSettings,
        paused: Callable[[], Paused],
    ) -> None:
        self._bot = bot
        self._lease = lease
        self._outbox = outbox
        self._ecloud = ecloud
        self._metrics = metrics
        self._tracer = tracer
        self._clock = clock
        self._accounts = accounts
        self._settings = settings
        self._bell = asyncio.Event()
        self._ending = Ending(bot, clock=clock, timeout=settings.timeout)
        self._debts = debts = Debts(
            bot, outbox=outbox, clock=clock, sender=lease.token[:64], timeout=settings.timeout
        )
        self._lanes = debts.lanes
        self._pace = pace = OwnPace(
            bot,
            lanes=debts.lanes,
            pacer=Pacer(settings.pace.limits, rng=rng),
            settings=settings.pace,
            paces=paces,
            outbox=outbox,
            metrics=metrics,
            clock=clock,
            holder=lease.holder,
            paused=paused,
        )
        login = OwnLogin(bot, accounts=accounts, ecloud=ecloud)
        self._availability = available = Availability(
            bot,
            lanes=debts.lanes,
            login=login,
            accounts=accounts,
            pace=pace,
            clock=clock,
            paused=paused,
        )
        is_down = accounts.standing_of(bot).is_down
        self._breaker = AccountBreaker(bot, breakers=breakers, clock=clock, is_down=is_down)
        self._failed = FailedCalls(
            debts=debts,
            availability=available,
            login=login,
            pace=pace,
            metrics=metrics,
            clock=clock,
            settings=settings,
        )
        self._recalling = Recalling(
            bot,
            has_lease=self._has_lease,
            debts=debts,
            availability=available,
            login=login,
            ecloud=ecloud,
            outbox=outbox,
            clock=clock,
            timeout=settings.timeout,
        )
        self._settling = Settling(
            debts=debts,
            availability=available,
            outbox=outbox,
            metrics=metrics,
            clock=clock,
            settings=settings,
        )

    def ring(self) -> None:
        """Something new is planned."""
        self._bell.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until stopped, until the lease is somebody else's or until nothing is owed for long."""
        try:
            async with self._ending.watched(stop):
                await self._run(stop)
        finally:
            await self._debts.write_receipt_at_last(self._ending)

    async def _run(self, stop: asyncio.Event) -> None:
        is_ready = False
        while not stop.is_set() and self._is_needed():
            try:
                if not is_ready:
                    await self._pace.remember(self._accounts.first_seen(self._bot))
                    await self._recalling.remember()
                    is_ready = True
                await self._load()
                await self._send_all(stop)
            except StoreUnavailable as error:
                logger.warning("sender.sql_away", bot=self._bot, error=error)
                await self._clock.sleep(STORE_PAUSE_SECONDS)
        await self._pace.leave()
        if self._debts.paid_for() >= KEEP_SECONDS:
            self._availability.rests()

    def _is_needed(self) -> bool:
        """Whether the account is ours and has owed something lately."""
        return self._lease.is_held and self._debts.paid_for() < KEEP_SECONDS

    async def _load(self) -> None:
        self._bell.clear()
        await self._debts.load()

    async def _send_all(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and self._is_needed():
            self._availability.look()
            await self._recalling.carry_out()
            turn = self._pace.next()
            await self._pace.tell(turn)
            if isinstance(turn, Lane):
                await self._serve(turn)
            else:
                await self._idle(turn, stop)
            await self._breaker.follow(self._availability.rest or self._pace.rest())
            if self._is_load_due(turn):
                await self._load()
        if stop.is_set() and self._lease.is_held:
            await self._send_last()

    async def _serve(self, lane: Lane) -> None:
        if lane.segments[0].id in self._debts.undecided:
            # Not before a call could go out: until then its echo may come.
            with message_context(lane.segments[0].message_id):
                await self._settling.settle(lane)
        else:
            await self._send(lane)

    def _is_load_due(self, turn: Lane | Hold | None) -> bool:
        """At once where nothing could be sent else; else some new answers are read together."""
        may_wait = RELOAD_SECONDS if isinstance(turn, Lane) else 0.0
        least = may_wait if self._bell.is_set() else IDLE_SECONDS
        return self._clock.monotonic() - self._debts.loaded_at >= least

    async def _send_last(self) -> None:
        """Send what need not wait for anything but its turn; the rest is the next process's."""
        latest = self._ending.latest_call()
        await self._load()
        while self._lease.is_held:
            await self._recalling.carry_out()
            turn = self._pace.next()
            seconds = turn.seconds if isinstance(turn, Hold) else 0.0
            is_paced = not isinstance(turn, Hold) or turn.why in PACED
            if turn is None or not is_paced or self._clock.monotonic() + seconds > latest:
                return
            if isinstance(turn, Hold):
                await self._clock.sleep(seconds)
            elif turn.segments[0].id in self._debts.undecided:
                return
            else:
                await self._send(turn)

    async def _idle(self, hold: Hold | None, stop: asyncio.Event) -> None:
        """Wait for the next turn; new answers and what becomes known of the account may change it."""
        await self._debts.write_receipt()
        seconds = IDLE_SECONDS if hold is None else min(hold.seconds, IDLE_SECONDS)
        seconds = min(seconds, self._recalling.due_in())
        if hold is not None and hold.why in PACED:
            await stopped_within(stop, seconds)
        else:
            await first_of(self._bell, stop, seconds=seconds)

    async def _send(self, lane: Lane) -> None:
        segment = lane.segments[0]
        with message_context(segment.message_id):
            if self._availability.waited(segment) > self._settings.max_age:
                await self._debts.give_up(lane, "too_old")
                return
            w_id = await self._availability.w_id()
            if not w_id or not await self._has_lease():
                return
            if not await self._debts.mark_sending(lane):
                logger.info("segment.not_ours", seq=segment.seq)
                self._debts.settled(lane)
                return
            if not self._lease.is_held:
                # Committing took longer than the lease: whoever has it now decides.
                return
            await self._pace.sent(lane)
            await self._call(lane, segment, w_id)

    async def _has_lease(self) -> bool:
        """
        Whether the lease is ours, asked of Redis: one that was wiped may have given it to another.

        While Redis is away nobody can take it, and our own clock decides.
        """
        try:
            return await self._lease.confirm(within=CONFIRMED_SECONDS)
        except QueueUnavailable:
            return self._lease.is_held

    async def _call(self, lane: Lane, segment: Planned, w_id: str) -> None:
        started = self._clock.monotonic()
        try:
            receipt = await self._speak(segment, w_id)
        except EcloudError as error:
            self._pace.ended()
            self._observe(segment, started, error.code)
            await self._failed.settle(lane, w_id, error)
            return
        self._pace.ended()
        self._observe(segment, started, SENT)
        self._availability.sent(lane.group)
        self._debts.sent(lane, receipt)
        logger.info("segment.sent", seq=segment.seq, tries=segment.tries + 1)

    async def _speak(self, segment: Planned, w_id: str) -> SentMessage:
        """The call that the segment's kind wants."""
        group, content = segment.group_id, segment.content
        if segment.kind is SegmentKind.IMAGE:
            return await self._ecloud.client().send_image(w_id=w_id, group_id=group, url=content)
        if segment.kind is SegmentKind.FILE:
            name, url = read_file_content(content)
            return await self._ecloud.client().send_file(
                w_id=w_id, group_id=group, url=url, name=name
            )
        at = (segment.mention,) if segment.mention else ()
        return await self._ecloud.client().send_text(w_id=w_id, group_id=group, text=content, at=at)

    def _observe(self, segment: Planned, started: float, outcome: str) -> None:
        seconds = self._clock.monotonic() - started
        self._metrics.send_seconds.labels(outcome=outcome).observe(seconds)
        ended_at = self._clock.time()
        self._tracer.record(
            Span(
                step=Step.SEND,
                message_id=segment.message_id,
                started_at=ended_at - seconds,
                ended_at=ended_at,
                facts={"kind": segment.kind, "segment": segment.seq, "call": segment.tries + 1},
                error="" if outcome == SENT else outcome,
            )
        )
