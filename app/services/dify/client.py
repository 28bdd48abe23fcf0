"""Asking one Dify app: blocking, streaming, stop, and whether it is well."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
import orjson
from loguru import logger

from app.models.flow import Answer
from app.services.dify.assembly import collect
from app.services.dify.parsing import answer_events, parse_parameters
from app.services.dify.records import DifyRecords
from app.services.dify.responses import StreamingRequired, decipher_answer
from app.services.dify.side_calls import SideCalls
from app.services.dify.stream import EventStream, StreamLimits
from app.services.dify.transport import DifyApp, Transport, is_event_stream
from app.services.dify.wire import AppParameters, ChatEvent, ChatRequest, Started
from app.services.errors import DifyConversationGone, DifyError, DifyUnavailable
from app.utils.clock import Clock

CHAT = "/chat-messages"
#: Whole time of a stop, in seconds: who gives up does not wait for it.
STOP_TIMEOUT = 2.0
#: A stream in answer to a blocking call tells its first event at once, or never, in seconds.
STRAY_STREAM_PATIENCE = 5.0
#: Releases whose chatflows compute a blocking answer and drop it.
_BLOCKING_IS_BROKEN = frozenset({"1.13.0", "1.13.1", "1.13.2"})


@dataclass(frozen=True, kw_only=True, slots=True)
class DifyHealth:
    """What a look at the app showed. Empty texts: the release does not say."""

    #: Seconds of the round trip.
    latency: float
    version: str
    app_name: str
    #: ``chat``, ``agent-chat``, ``advanced-chat`` …
    mode: str


class DifyClient:
    """
    Speaks with one app. Holds no connection of its own: *http* is shared and closed by its owner.

    What it learns is whether the app has to be streamed; everything else is in its arguments.
    """

    def __init__(self, http: aiohttp.ClientSession, app: DifyApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._transport = Transport(http, app)
        self._calls = SideCalls(self._transport, clock)
        self._must_stream = False
        #: What the app keeps of questions that it was asked.
        self.records = DifyRecords(self._calls)

    @property
    def name(self) -> str:
        """The app's name in the settings."""
        return self._app.name

    @property
    def must_stream(self) -> bool:
        """Blocking calls are known to fail here; ``chat`` streams and puts the answer together."""
        return self._must_stream

    async def chat(
        self, request: ChatRequest, heard: Callable[[Started], None] | None = None
    ) -> Answer:
        """
        Ask and wait for the whole answer, at most ``blocking_timeout`` seconds. Its text may be empty.

        An app that refuses blocking calls, or that opens a stream and falls silent, is asked
        again by streaming, and from then on only so.

        Args:
            heard: is told the ids as soon as a stream tells them; a blocking answer has its own.

        Raises:
            DifyError: see ``stream_chat``.
        """
        total_at = self._clock.monotonic() + self._app.blocking_timeout
        if not self._must_stream:
            try:
                return await self._chat_blocking(request, total_at)
            except StreamingRequired as refusal:
                self._learn_to_stream(str(refusal))
        async with self._stream(request, total_at) as events:
            return await collect(events, heard)

    @asynccontextmanager
    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        """
        Ask; inside ``async with`` the answer's events. Leaving closes the connection.

        The iterator ends when the answer is whole, and raises otherwise; the text deltas and
        replacements, folded, are the answer. Limits: ``streaming_timeout`` for the whole,
        ``first_event_timeout`` until an event that is no ping, from then on ``gap_timeout`` between
        two bytes.

        Raises:
            DifyConversationGone: the conversation is unknown here, or the request named one and
                the stream stayed silent until the deadline of the first event or the stream's end
                (release 1.13 says so about an unknown one). Ask once more without
                ``conversation_id``; forget the old one only if that succeeds.
            DifyOverloaded: too many at once; ``retry_after`` if Dify says.
            DifyUnavailable: no connection, a deadline, a cut, 5xx, a model that may recover.
            DifyRejected: key, app, quota or question; asking again does not help.
            DifyProtocolError: something that is not Dify's protocol.
        """
        total_at = self._clock.monotonic() + self._app.streaming_timeout
        async with self._stream(request, total_at) as events:
            yield events

    async def stop(self, task_id: str, user: str) -> None:
        """
        Ask Dify to stop a running answer. It says yes to unknown tasks and other users' as well.

        Raises:
            DifyError: Dify could not be told within ``STOP_TIMEOUT``.
        """
        path = f"{CHAT}/{quote(task_id, safe='')}/stop"
        body = orjson.dumps({"user": user})
        await self._calls.call("POST", path, body=body, seconds=STOP_TIMEOUT)

    async def ping(self) -> DifyHealth:
        """
        Whether the address and the key are right, by one cheap call that asks no model.

        Raises:
            DifyError: as ``stream_chat``.
        """
        began = self._clock.monotonic()
        reply = await self._calls.call("GET", "/info")
        mode = _text(reply.body.get("mode"))
        is_broken_chatflow = mode == "advanced-chat" and reply.release in _BLOCKING_IS_BROKEN
        if mode == "agent-chat" or is_broken_chatflow:
            self._learn_to_stream(f"{mode} {reply.release}")
        return DifyHealth(
            latency=self._clock.monotonic() - began,
            version=reply.release,
            app_name=_text(reply.body.get("name")),
            mode=mode,
        )

    async def parameters(self) -> AppParameters:
        """
        The app's public parameters.

        Raises:
            DifyError: as ``stream_chat``.
        """
        return parse_parameters((await self._calls.call("GET", "/parameters")).body)

    async def _chat_blocking(self, request: ChatRequest, total_at: float) -> Answer:
        response = await self._transport.open(
            "POST", CHAT, body=request.to_body(streaming=False), seconds=self._left(total_at)
        )
        try:
            if not is_event_stream(response):
                return await self._read_answer(response, request, total_at)
            patience = min(STRAY_STREAM_PATIENCE, self._app.first_event_timeout)
            first_event_at = self._clock.monotonic() + patience
            return await collect(
                self._events(response, request, total_at, first_event_at, silence=StreamingRequired)
            )
        finally:
            response.close()

    @asynccontextmanager
    async def _stream(
        self, request: ChatRequest, total_at: float
    ) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        first_event_at = self._clock.monotonic() + self._app.first_event_timeout
        response = await self._transport.open(
            "POST",
            CHAT,
            body=request.to_body(streaming=True),
            seconds=self._left(min(total_at, first_event_at)),
            is_stream=True,
        )
        try:
            if is_event_stream(response):
                silence = DifyConversationGone if request.conversation_id else DifyUnavailable
                yield self._events(response, request, total_at, first_event_at, silence=silence)
            else:
                answer = await self._read_answer(response, request, total_at)
                yield _iterate(answer_events(answer))
        finally:
            response.close()

    def _events(
        self,
        response: aiohttp.ClientResponse,
        request: ChatRequest,
        total_at: float,
        first_event_at: float,
        *,
        silence: type[DifyError],
    ) -> EventStream:
        return EventStream(
            response,
            limits=StreamLimits(
                total_at=total_at, first_event_at=first_event_at, gap=self._app.gap_timeout
            ),
            clock=self._clock,
            has_conversation=bool(request.conversation_id),
            silence=silence,
        )

    async def _read_answer(
        self, response: aiohttp.ClientResponse, request: ChatRequest, total_at: float
    ) -> Answer:
        reply = await self._transport.read(response, seconds=self._left(total_at))
        return decipher_answer(
            reply, has_conversation=bool(request.conversation_id), now=self._clock.time()
        )

    def _left(self, moment: float) -> float:
        return moment - self._clock.monotonic()

    def _learn_to_stream(self, reason: str) -> None:
        if not self._must_stream:
            self._must_stream = True
            logger.bind(app=self._app.name, reason=reason).info("dify.streams_instead")


async def _iterate(events: Iterable[ChatEvent]) -> AsyncIterator[ChatEvent]:
    for event in events:
        yield event


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
