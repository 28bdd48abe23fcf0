"""
The send loop: one paced sender per WeChat account, in whichever process holds its lease.

A call is marked ``sending`` before it goes out, so that after a crash exactly the undecided
segment is known. The receipt of one call is committed together with the mark of the next.
"""

import asyncio
import random
from datetime import timedelta

from loguru import logger

from app.models.flow import WcId
from app.services.accounts import Accounts
from app.services.ecloud.pacing import WINDOW, Pacer
from app.services.errors import EcloudError, QueueUnavailable, StoreUnavailable
from app.services.gateways import AccountGateway
from app.services.metrics import Metrics
from app.services.outbox import Outbox
from app.services.outbox_table import Planned
from app.services.queue.breakers import Breakers
from app.services.queue.leases import Lease
from app.services.stages import utc_now
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
from app.workers.send_policy import SenderSettings
from app.workers.settling import Settling

IDLE_SECONDS = 2.0
STORE_PAUSE_SECONDS = 1.0
#: While there is something to send, new answers are looked for so often.
RELOAD_SECONDS = 0.1
#: So long what Redis said of the lease is good for the next call. A segment that another sender
#: marked meanwhile is not sent in any case: SQL decides that.
CONFIRMED_SECONDS = 0.2
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
        metrics: Metrics,
        clock: Clock,
        rng: random.Random,
        settings: SenderSettings,
    ) -> None:
        self._bot = bot
        self._lease = lease
        self._outbox = outbox
        self._ecloud = ecloud
        self._metrics = metrics
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._bell = asyncio.Event()
        self._ending = Ending(bot, clock=clock, timeout=settings.timeout)
        self._debts = debts = Debts(
            bot, outbox=outbox, clock=clock, sender=lease.token[:64], timeout=settings.timeout
        )
        self._lanes = debts.lanes
        login = OwnLogin(bot, accounts=accounts, ecloud=ecloud)
        self._availability = available = Availability(
            bot, lanes=debts.lanes, login=login, accounts=accounts, clock=clock
        )
        is_down = accounts.standing_of(bot).is_down
        self._breaker = AccountBreaker(bot, breakers=breakers, clock=clock, is_down=is_down)
        self._failed = FailedCalls(
            debts=debts, availability=available, login=login, clock=clock, settings=settings
        )
        self._settling = Settling(
            debts=debts, availability=available, outbox=outbox, clock=clock, settings=settings
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
        while not stop.is_set() and self._is_needed():
            try:
                pacer = await self._remembering_pacer()
                await self._load()
                await self._send_all(pacer, stop)
            except StoreUnavailable as error:
                logger.warning("sender.sql_away", bot=self._bot, error=error)
                await self._clock.sleep(STORE_PAUSE_SECONDS)
        if self._debts.paid_for() >= KEEP_SECONDS:
            self._availability.rests()

    def _is_needed(self) -> bool:
        """Whether the account is ours and has owed something lately."""
        return self._lease.is_held and self._debts.paid_for() < KEEP_SECONDS

    async def _remembering_pacer(self) -> Pacer:
        """A pacer that knows what this account sent in the last minute, in whatever process."""
        since = utc_now() - timedelta(seconds=WINDOW)
        times = await self._outbox.recent_sends(self._bot, since=since)
        offset = self._clock.monotonic() - self._clock.time()
        return Pacer(
            sends_per_minute=self._settings.sends_per_minute,
            gap=self._settings.send_gap,
            rng=self._rng,
            history=[at.timestamp() + offset for at in times],
        )

    async def _load(self) -> None:
        self._bell.clear()
        await self._debts.load()

    async def _send_all(self, pacer: Pacer, stop: asyncio.Event) -> None:
        while not stop.is_set() and self._is_needed():
            self._availability.look()
            now = self._clock.monotonic()
            lane = self._lanes.next(now)
            if lane is None:
                await self._idle(stop)
            elif (delay := pacer.delay(now)) > 0:
                await self._debts.write_receipt()
                await stopped_within(stop, delay)
            elif lane.segments[0].id in self._debts.undecided:
                # Not before a call could go out: until then its echo may come.
                with message_context(lane.segments[0].message_id):
                    await self._settling.settle(lane)
            else:
                await self._send(lane, pacer)
            await self._breaker.follow(self._availability.rest)
            if self._is_load_due():
                await self._load()
        if stop.is_set() and self._lease.is_held:
            await self._send_last(pacer)

    def _is_load_due(self) -> bool:
        """At once where nothing could be sent else; else some new answers are read together."""
        now = self._clock.monotonic()
        may_wait = RELOAD_SECONDS if self._lanes.next(now) is not None else 0.0
        least = may_wait if self._bell.is_set() else IDLE_SECONDS
        return now - self._debts.loaded_at >= least

    async def _send_last(self, pacer: Pacer) -> None:
        """Send what need not wait for anything but its turn; the rest is the next process's."""
        latest = self._ending.latest_call()
        await self._load()
        while self._lease.is_held:
            now = self._clock.monotonic()
            lane = self._lanes.next(now)
            delay = pacer.delay(now)
            is_undecided = lane is not None and lane.segments[0].id in self._debts.undecided
            if lane is None or is_undecided or now + delay > latest:
                return
            await self._clock.sleep(delay)
            await self._send(lane, pacer)

    async def _idle(self, stop: asyncio.Event) -> None:
        await self._debts.write_receipt()
        due = self._lanes.due_in(self._clock.monotonic())
        await first_of(
            self._bell, stop, seconds=IDLE_SECONDS if due is None else min(due, IDLE_SECONDS)
        )

    async def _send(self, lane: Lane, pacer: Pacer) -> None:
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
            pacer.sent(self._clock.monotonic())
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
        at = (segment.mention,) if segment.mention else ()
        try:
            receipt = await self._ecloud.send_text(
                w_id=w_id, group_id=segment.group_id, text=segment.content, at=at
            )
        except EcloudError as error:
            self._observe(started, error.code)
            await self._failed.settle(lane, w_id, error)
            return
        self._observe(started, "sent")
        self._availability.sent(lane.group)
        self._debts.sent(lane, receipt)
        logger.info("segment.sent", seq=segment.seq, tries=segment.tries + 1)

    def _observe(self, started: float, outcome: str) -> None:
        seconds = self._clock.monotonic() - started
        self._metrics.send_seconds.labels(outcome=outcome).observe(seconds)
