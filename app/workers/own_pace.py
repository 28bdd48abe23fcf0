"""The pace of one account as its sender keeps it: what is remembered, in Redis, SQL and here."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from loguru import logger

from app.models.flow import WcId
from app.services.ecloud.pacing import WINDOW, Hold, Pacer, Send, Why
from app.services.errors import QueueUnavailable
from app.services.metrics import Metrics
from app.services.outbox import Outbox
from app.services.paces import NotedSend, Paces, SenderView, merged_sends
from app.services.pauses import Paused
from app.services.stages import utc_now
from app.utils.clock import Clock
from app.workers.account_breaker import Rest
from app.workers.lanes import Lane, Lanes
from app.workers.schedule import Pace, Schedule

#: What the sender does now is told so often, and at once when it does something else.
TELL_SECONDS = 3.0
#: Whether a pause is over is looked at so often.
PAUSED_SECONDS = 0.5
SENDING, IDLE = "sending", "idle"


class OwnPace:
    """Decides by its schedule; remembers what goes out where the next sender finds it."""

    def __init__(
        self,
        bot: WcId,
        *,
        lanes: Lanes,
        pacer: Pacer,
        settings: Pace,
        paces: Paces,
        outbox: Outbox,
        metrics: Metrics,
        clock: Clock,
        holder: str,
        paused: Callable[[], Paused],
    ) -> None:
        """
        Args:
            holder: which process this is, for the operator.
            paused: what operators have paused now.
        """
        self._paused = paused
        self._bot = bot
        self._lanes = lanes
        self._settings = settings
        self._paces = paces
        self._outbox = outbox
        self._metrics = metrics
        self._clock = clock
        self._holder = holder
        self._schedule = Schedule(lanes, pacer, settings)
        #: Calls that Redis does not know of as they are.
        self._unnoted: list[NotedSend] = []
        #: The pace changed, and Redis does not know.
        self._is_slowdown_news = False
        self._rest: Rest | None = None
        self._told = ""
        self._told_at = float("-inf")

    async def remember(self, first_seen: datetime | None) -> None:
        """
        Take in what this account sent lately, in whatever process.

        Raises:
            StoreUnavailable: SQL does not tell.
        """
        self._schedule.first_seen = first_seen
        if self._settings.limits.are_none and not self._settings.plan.per_day:
            return
        now = utc_now()
        begin = self._settings.plan.day_begin(now)
        if self._settings.plan.per_day:
            count = await self._outbox.count_calls(self._bot, since=begin)
            self._schedule.sent_today(count, now)
        saved = [
            NotedSend(
                segment_id=one.segment_id,
                began=one.at.timestamp(),
                send=Send(one.at.timestamp(), one.group, one.kind),
            )
            for one in await self._outbox.recent_sends(
                self._bot, since=now - timedelta(seconds=WINDOW)
            )
        ]
        sends = merged_sends(await self._noted(), saved)
        offset = self._clock.monotonic() - self._clock.time()
        self._schedule.pacer.recall(replace(send, at=send.at + offset) for send in sends)

    async def _noted(self) -> list[NotedSend]:
        """What Redis knows; nothing while it is away."""
        try:
            self._schedule.slowdown = await self._paces.slowdown(self._bot)
            return await self._paces.recent(self._bot)
        except QueueUnavailable as error:
            logger.debug("pace.unknown", bot=self._bot, error=error)
            return []

    def next(self) -> Lane | Hold | None:
        """What goes out now, or what holds the account back; None: nothing is owed."""
        if len(self._lanes) and self._paused().is_sending:
            return Hold(PAUSED_SECONDS, Why.PAUSED)
        return self._schedule.next(self._clock.monotonic(), utc_now())

    def rest(self) -> Rest | None:
        """Hours in which nothing goes out, whatever is owed: Dify is not asked for them either."""
        hold, now = self._schedule.resting(utc_now()), self._clock.monotonic()
        if hold is None:
            self._rest = None
        elif self._rest is None or self._rest.code != hold.why or now >= self._rest.until:
            self._rest = Rest(now + hold.seconds, hold.why)
        return self._rest

    async def sent(self, lane: Lane) -> None:
        """The head of the lane goes out now; while Redis is away it hears of it later."""
        segment = lane.segments[0]
        self._schedule.sent(lane, self._clock.monotonic(), utc_now())
        if self._settings.limits.are_none:
            return
        now = self._clock.time()
        send = Send(now, lane.group, segment.kind)
        self._unnoted.append(NotedSend(segment_id=segment.id, began=now, send=send))
        await self._note()

    def ended(self) -> None:
        """The call has its answer, or will have none; Redis hears of it with the next."""
        self._schedule.pacer.ended(self._clock.monotonic())
        if self._unnoted:
            last = self._unnoted[-1]
            send = replace(last.send, at=max(last.send.at, self._clock.time()))
            self._unnoted[-1] = replace(last, send=send)

    async def _note(self) -> None:
        try:
            await self._paces.note(self._bot, self._unnoted)
        except QueueUnavailable as error:
            logger.debug("pace.noted_later", bot=self._bot, error=error)
            oldest = self._clock.time() - WINDOW
            self._unnoted = [one for one in self._unnoted if one.send.at > oldest]
        else:
            # Of the last one the end is not known yet.
            self._unnoted = self._unnoted[-1:]

    def throttled(self) -> None:
        """The gateway says that the account is too fast: slower for a while."""
        slowdown = self._schedule.slowdown.throttled(self._clock.time())
        self._metrics.throttled.inc()
        logger.warning("account.slower", bot=self._bot, factor=2**slowdown.level)
        self._schedule.slowdown, self._is_slowdown_news = slowdown, True

    def careful(self) -> None:
        """The account was offline: what waits goes out slowly at first."""
        before = self._schedule.slowdown
        self._schedule.slowdown = before.careful(self._clock.time())
        self._is_slowdown_news |= self._schedule.slowdown is not before

    async def tell(self, turn: Lane | Hold | None) -> None:
        """Tell the operator what the sender does; while Redis is away nobody is told."""
        state = turn.why.value if isinstance(turn, Hold) else IDLE if turn is None else SENDING
        now = self._clock.monotonic()
        is_news = state != self._told and not self._is_flicker(state)
        is_due = now - self._told_at >= TELL_SECONDS
        if not (is_news or is_due or self._is_slowdown_news):
            return
        self._told, self._told_at = state, now
        wall = self._clock.time()
        view = SenderView(
            state=state,
            # An operator does not say until when.
            until=wall + turn.seconds if isinstance(turn, Hold) and state != Why.PAUSED else 0.0,
            owed=len(self._lanes),
            slowed=self._schedule.slowdown.factor(wall),
            holder=self._holder,
        )
        try:
            if self._is_slowdown_news:
                await self._paces.keep_slowdown(self._bot, self._schedule.slowdown)
                self._is_slowdown_news = False
            await self._paces.show(self._bot, view)
        except QueueUnavailable as error:
            logger.debug("pace.told_later", bot=self._bot, error=error)

    def _is_flicker(self, state: str) -> bool:
        """Between two messages, or between answers: what was told says it well enough."""
        usual = {SENDING, IDLE, "gap", "minute", "kind"}
        return state in usual and self._told in usual

    async def leave(self) -> None:
        """The account has no sender here any more."""
        try:
            await self._paces.hide(self._bot)
        except QueueUnavailable as error:
            logger.debug("pace.told_later", bot=self._bot, error=error)
