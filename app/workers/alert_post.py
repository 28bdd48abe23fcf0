"""Hands notices to the channels: each at its own pace, none waits for another."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loguru import logger

from app.services.alerts.channel import Channel, try_to_send
from app.services.alerts.ledger import Ledger, Notice, delivered, due_for, failed, failures_of
from app.services.alerts.message import Sender, compose, fitting
from app.services.errors import AlertError, AlertRefused
from app.services.metrics import Metrics
from app.utils.clock import Clock
from app.utils.loops import cancelled

#: So long a look waits for deliveries; who takes longer is heard of at the next one.
QUICK_SECONDS: Final = 1.0
#: Before the first try again and at most before any, in seconds.
FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 600.0
#: Most notices in one message.
AT_ONCE: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """How one ended; *error* None: it arrived."""

    channel: str
    notices: tuple[Notice, ...]
    error: AlertError | None


def pause_after(failures: int, error: AlertError) -> float:
    """Seconds until a channel that failed so often before is tried again (pure)."""
    pause: float = FIRST_PAUSE * 2 ** min(failures, 10)
    return max(min(pause, LONGEST_PAUSE), error.retry_after or 0.0)


class AlertPost:
    """The deliveries of one ledger."""

    def __init__(
        self, channels: Sequence[Channel], *, sender: Sender, metrics: Metrics, clock: Clock
    ) -> None:
        self._channels: Mapping[str, Channel] = {one.name: one for one in channels}
        self._sender = sender
        self._metrics = metrics
        self._clock = clock
        self._running: dict[str, asyncio.Task[Delivery]] = {}
        #: Ended, and perhaps not yet in what is kept of the ledger.
        self._ended: list[Delivery] = []

    @property
    def names(self) -> tuple[str, ...]:
        """The channels."""
        return tuple(self._channels)

    async def deliver(self, ledger: Ledger) -> Ledger:
        """Begin what is due, and note down what ended; call ``noted`` when that is kept."""
        self._collect()
        ledger = self._note(ledger)
        now = self._clock.time()
        for name, channel in self._channels.items():
            waiting = due_for(ledger, name, now)[:AT_ONCE]
            if waiting and name not in self._running:
                notices = fitting(waiting, self._sender, channel.max_bytes)
                work = self._deliver(channel, notices)
                self._running[name] = asyncio.create_task(work, name=f"alert-{name}")
        if self._running:
            await asyncio.wait(self._running.values(), timeout=QUICK_SECONDS)
            self._collect()
            ledger = self._note(ledger)
        return ledger

    def noted(self) -> None:
        """The ledger that ``deliver`` gave is kept."""
        self._ended.clear()

    async def stop(self) -> None:
        """Break off what is on its way: it is done anew by the next one."""
        await cancelled(self._running.values())

    def _collect(self) -> None:
        done = [name for name, task in self._running.items() if task.done()]
        for name in done:
            self._ended.append(self._running.pop(name).result())

    def _note(self, ledger: Ledger) -> Ledger:
        """Twice noted is once noted: a channel's failure is one as long as it is not kept."""
        for one in self._ended:
            if one.error is None:
                ledger = delivered(ledger, one.channel, one.notices)
            elif one.channel not in ledger.troubles or self._is_due(ledger, one.channel):
                pause = pause_after(failures_of(ledger, one.channel), one.error)
                ledger = failed(ledger, one.channel, due=self._clock.time() + pause)
        return ledger

    def _is_due(self, ledger: Ledger, channel: str) -> bool:
        return self._clock.time() >= ledger.troubles[channel].due

    async def _deliver(self, channel: Channel, notices: tuple[Notice, ...]) -> Delivery:
        error = await try_to_send(channel, compose(notices, self._sender))
        self._metrics.count_notices(channel.name, _outcome(error), len(notices))
        if error is None:
            logger.info("alert.sent", channel=channel.name, notices=len(notices))
        else:
            logger.warning("alert.not_sent", channel=channel.name, error=error)
        return Delivery(channel=channel.name, notices=notices, error=error)


def _outcome(error: AlertError | None) -> str:
    if error is None:
        return "sent"
    return "refused" if isinstance(error, AlertRefused) else "undelivered"
