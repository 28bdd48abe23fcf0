"""One streamed answer while it comes in: reading, deadlines, and where it ends."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
from typing_extensions import override

from app.services.dify.assembly import Assembly
from app.services.dify.parsing import parse_frame
from app.services.dify.sse import SseDecoder, SseEvent
from app.services.dify.transport import read_chunk
from app.services.dify.wire import ChatEvent, Paused, Ping
from app.services.errors import DifyError, DifyUnavailable
from app.utils.clock import Clock

#: How long the second of the two end events is waited for, in seconds.
GRACE = 1.5
#: How long the server's own end is waited for when both are there, so that the connection is kept.
DRAIN = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamLimits:
    """Deadlines of one stream; moments are those of the clock's ``monotonic``."""

    #: Moment at which the whole stream has to be over; pings do not move it.
    total_at: float
    #: Moment until which the first event that is no ping has to be there.
    first_event_at: float
    #: Longest time without any byte once an event was there, in seconds.
    gap: float


class EventStream(AsyncIterator[ChatEvent]):
    """
    The events of one response, ending when the answer is whole.

    Raises:
        DifyError: from ``__anext__``, after all events before the failure were given: Dify's own
            failure by fault; ``DifyUnavailable`` for a passed deadline or a cut; *silence* if
            nothing but at most one ping came. (A run that lives pings every ten seconds; one
            that died before its graph began leaves only the ping of the head, and so does one
            that waits for a worker: until the deadline of the first event they look the same.)
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        *,
        limits: StreamLimits,
        clock: Clock,
        has_conversation: bool,
        silence: type[DifyError] = DifyUnavailable,
        output_key: str | None = None,
        known_form: str = "",
    ) -> None:
        self._response = response
        self._output_key = output_key
        #: Token of a form that is filled in: a run that waited for it does so no more.
        self._known_form = known_form
        self._limits = limits
        self._clock = clock
        self._silence = silence
        self._decoder = SseDecoder()
        self._assembly = Assembly(has_conversation=has_conversation)
        self._ready: deque[ChatEvent] = deque()
        self._pings = 0
        self._has_event = False
        self._end_at: float | None = None
        self._is_over = False
        self._failure: DifyError | None = None

    @override
    async def __anext__(self) -> ChatEvent:
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._is_over:
                raise StopAsyncIteration
            await self._fill()
        return self._ready.popleft()

    async def _fill(self) -> None:
        """Read once, and make what came ready."""
        try:
            remaining = self._remaining()
            chunk = None
            if remaining > 0:
                chunk = await read_chunk(self._response, seconds=remaining)
            if chunk:
                self._take(self._decoder.feed(chunk))
            elif not self._assembly.is_complete:
                self._failure = self._break_off(is_time_over=chunk is None)
            else:
                self._is_over = True
        except DifyError as error:
            if self._assembly.is_complete:
                # The answer is whole; how the connection went afterwards concerns nobody.
                self._is_over = True
            else:
                self._failure = error

    def _remaining(self) -> float:
        """Seconds that the next bytes may take."""
        now = self._clock.monotonic()
        # A run that waits for a free worker is silent behind the ping of the head, without a gap rule.
        patience = self._limits.gap if self._has_event else self._limits.first_event_at - now
        limits = [self._limits.total_at - now, patience]
        if self._end_at is not None:
            limits.append(self._end_at - now)
        return min(limits)

    def _take(self, events: list[SseEvent]) -> None:
        for event in events:
            frame = parse_frame(event, output_key=self._output_key)
            if self._is_known(frame.event):
                self._has_event = True
                continue
            if isinstance(frame.event, Ping):
                self._pings += 1
            else:
                self._has_event = True
            self._ready.extend(self._assembly.feed(frame))
            if self._assembly.is_failed:
                self._failure = self._assembly.failure()
                return
        self._set_end()

    def _is_known(self, event: ChatEvent) -> bool:
        """A pause that is over: of the very form, or without one, as it stands behind a form."""
        if not self._known_form or not isinstance(event, Paused):
            return False
        if event.request is None:
            return not event.form
        return event.request.token == self._known_form

    def _set_end(self) -> None:
        now = self._clock.monotonic()
        if self._assembly.is_complete and self._end_at is None:
            self._end_at = now + GRACE
        if self._assembly.is_settled and self._end_at is not None:
            self._end_at = min(self._end_at, now + DRAIN)

    def _break_off(self, *, is_time_over: bool) -> DifyError:
        """Why an answer that is not whole ends here."""
        if not self._has_event and self._pings <= 1:
            return self._silence("Dify 打开了事件流，却没有发出任何事件")
        return DifyUnavailable(self._reason(is_time_over=is_time_over), may_run=True)

    def _reason(self, *, is_time_over: bool) -> str:
        if not is_time_over:
            return "Dify 的流式应答在结束之前断开"
        if self._clock.monotonic() >= self._limits.total_at:
            return "Dify 的流式应答超过总时限"
        if not self._has_event:
            return "Dify 在时限内没有发出第一个事件"
        return f"Dify 的事件流超过 {self._limits.gap:g} 秒没有任何字节"
