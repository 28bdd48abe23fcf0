"""Asking one Dify app: blocking, streaming, stop, and whether it is well."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import quote, urlencode

import aiohttp
import orjson

from app.models.flow import Answer, Rating
from app.services.dify.assembly import Assembly, collect, collect_run
from app.services.dify.endpoints import WORKFLOW, Endpoint
from app.services.dify.parsing import (
    answer_events,
    parse_answer,
    parse_finished_run,
    parse_parameters,
    parse_suggested,
)
from app.services.dify.records import DifyRecords
from app.services.dify.responses import (
    StreamingRequired,
    WrongKind,
    decipher,
    decipher_asked,
)
from app.services.dify.side_calls import SIDE_CALL_TIMEOUT, SideCalls
from app.services.dify.stream import EventStream, StreamLimits
from app.services.dify.traits import AppTraits
from app.services.dify.transport import DifyApp, Transport, is_event_stream
from app.services.dify.wire import AppParameters, ChatEvent, ChatRequest, Started
from app.services.errors import (
    DifyConversationGone,
    DifyError,
    DifyFormGone,
    DifyFormRefused,
    DifyProtocolError,
    DifyRejected,
    DifyUnavailable,
    DifyVoiceRefused,
)
from app.utils.clock import Clock

#: Whole time of leaving one file, in seconds.
UPLOAD_TIMEOUT = 60.0
#: Whole time of hearing one recording, in seconds.
TRANSCRIBE_TIMEOUT = 60.0
#: Whole time of a stop, in seconds: who gives up does not wait for it.
STOP_TIMEOUT = 2.0
#: How a form is refused, by HTTP status: 412 says that it is done or has expired.
_FORM_REFUSALS: Mapping[int, type[DifyRejected]] = {
    400: DifyFormRefused,
    404: DifyFormGone,
    410: DifyFormGone,
    412: DifyFormGone,
}
_VOICE_REFUSALS: Mapping[int, type[DifyRejected]] = {
    400: DifyVoiceRefused,
    404: DifyVoiceRefused,
    413: DifyVoiceRefused,
    415: DifyVoiceRefused,
}
#: A stream in answer to a blocking call tells its first event at once, or never, in seconds.
STRAY_STREAM_PATIENCE = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DifyHealth:
    """What a look at the app showed. Empty texts: the release does not say."""

    #: Seconds of the round trip.
    latency: float
    version: str
    app_name: str
    #: ``chat``, ``agent-chat``, ``advanced-chat`` …
    mode: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opened:
    """A question that was taken: a stream to read, or the whole answer."""

    endpoint: Endpoint
    response: aiohttp.ClientResponse
    answer: Answer | None


class DifyClient:
    """
    Speaks with one app. Holds no connection of its own: *http* is shared and closed by its owner.

    What it learns is in ``traits``; everything else is in its arguments.
    """

    def __init__(self, http: aiohttp.ClientSession, app: DifyApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._transport = Transport(http, app)
        self._calls = SideCalls(self._transport, clock)
        self.traits = AppTraits(app.name, app.kind)
        #: What the app keeps of questions that it was asked.
        self.records = DifyRecords(self._calls)

    @property
    def name(self) -> str:
        """The app's name in the settings."""
        return self._app.name

    @property
    def question_key(self) -> str:
        """The variable of the app that takes the question; empty: the question is none."""
        is_input = self.traits.endpoint.takes_inputs_only
        return self.traits.question_key(self._app.input_key) if is_input else ""

    @property
    def output_key(self) -> str | None:
        """Where the answer stands among a run's outputs, as ``parse_outputs`` has it."""
        return self._output_key_of(self.traits.endpoint)

    @property
    def must_stream(self) -> bool:
        """Blocking calls are known to fail here; ``chat`` streams and puts the answer together."""
        return self.traits.must_stream

    async def chat(
        self, request: ChatRequest, heard: Callable[[Started], None] | None = None
    ) -> Answer:
        """
        Ask and wait for the whole answer, at most ``blocking_timeout`` seconds. Its text may be empty.

        An app that refuses blocking calls, or that opens a stream and falls silent, is asked
        again by streaming, and from then on only so. One of another kind than it was taken for is
        asked again at its own endpoint, in either mode.

        Args:
            heard: is told the ids as soon as a stream tells them; a blocking answer has its own.

        Raises:
            DifyError: see ``stream_chat``.
        """
        total_at = self._clock.monotonic() + self._app.blocking_timeout
        if not self.traits.must_stream:
            try:
                return await self._chat_blocking(request, total_at)
            except StreamingRequired as refusal:
                self.traits.learn_to_stream(str(refusal))
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
        path = self.traits.endpoint.stop(task_id)
        body = orjson.dumps({"user": user})
        await self._calls.call("POST", path, body=body, seconds=STOP_TIMEOUT)

    async def delete_conversation(self, conversation_id: str, user: str) -> None:
        """
        Have a conversation forgotten; one that is not there is.

        Raises:
            DifyError: as ``stream_chat``.
        """
        path = f"/conversations/{quote(conversation_id, safe='')}"
        body = orjson.dumps({"user": user})
        with suppress(DifyConversationGone):
            await self._calls.call("DELETE", path, body=body, has_conversation=True)

    async def ping(self) -> DifyHealth:
        """
        Whether the address and the key are right, by one cheap call that asks no model.

        Raises:
            DifyError: as ``stream_chat``.
        """
        began = self._clock.monotonic()
        reply = await self._calls.call("GET", "/info")
        mode = _text(reply.body.get("mode"))
        self.traits.learn_mode(mode, reply.release)
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
        found = parse_parameters((await self._calls.call("GET", "/parameters")).body)
        self.traits.parameters = found
        return found

    async def upload(self, data: bytes, *, name: str, mime: str, user: str) -> str:
        """
        Leave a file with the app, for a question of the same user; returns its id.

        Raises:
            DifyRejected: it is too large, of a kind that is not taken, or the key is not accepted.
            DifyError: as ``stream_chat``.
        """
        # Dify reads the name as UTF-8, not as an address is written.
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("user", user)
        # As a file it is sent piece by piece; as bytes it would stop all else for a while.
        form.add_field("file", BytesIO(data), filename=name, content_type=mime)
        reply = await self._calls.call("POST", "/files/upload", body=form, seconds=UPLOAD_TIMEOUT)
        upload_id = _text(reply.body.get("id"))
        if not upload_id:
            raise DifyProtocolError("Dify 收下了文件,却没有给出编号")
        return upload_id

    async def transcribe(self, data: bytes, *, name: str, mime: str, user: str) -> str:
        """
        What is said in a recording, by the app's speech-to-text model; it may be nothing.

        Raises:
            DifyVoiceRefused: its kind, its size, or the app has no such model.
            DifyError: as ``stream_chat``.
        """
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("user", user)
        form.add_field("file", BytesIO(data), filename=name, content_type=mime)
        reply = await self._calls.call(
            "POST",
            "/audio-to-text",
            body=form,
            seconds=TRANSCRIBE_TIMEOUT,
            refusals=_VOICE_REFUSALS,
        )
        text = reply.body.get("text")
        if not isinstance(text, str):
            raise DifyProtocolError("Dify 听写了语音,却没有给出文字")
        return text

    async def suggested(self, message_id: str, user: str) -> tuple[str, ...]:
        """
        What the app suggests to ask after this answer of its own; it may ask a model for that.

        Raises:
            DifyError: as ``stream_chat``.
        """
        path = f"/messages/{quote(message_id, safe='')}/suggested?{urlencode({'user': user})}"
        return parse_suggested((await self._calls.call("GET", path)).body)

    async def rate(self, message_id: str, user: str, rating: Rating) -> None:
        """
        Tell what somebody thinks of an answer; told once more, it takes the place of the former one.

        Args:
            user: who asked; for any other the message is unknown.

        Raises:
            DifyError: as ``stream_chat``.
        """
        path = f"/messages/{quote(message_id, safe='')}/feedbacks"
        body = orjson.dumps({"rating": rating.value, "user": user, "content": ""})
        await self._calls.call("POST", path, body=body)

    async def submit_form(
        self, token: str, user: str, *, action: str, inputs: Mapping[str, str]
    ) -> None:
        """
        Fill in the form of a run that waits; the run goes on.

        Raises:
            DifyFormGone: it is unknown, done already, or expired.
            DifyFormRefused: it does not take these values, and waits on.
            DifyError: as ``stream_chat``.
        """
        path = f"/form/human_input/{quote(token, safe='')}"
        body = orjson.dumps({"inputs": dict(inputs), "action": action, "user": user})
        await self._calls.call("POST", path, body=body, refusals=_FORM_REFUSALS)

    async def resumed(self, run_id: str, user: str, token: str) -> Answer:
        """
        The whole answer of a run that goes on, at most ``streaming_timeout`` seconds from now.

        What came before this call is not told again, so that the answer is what the run's end says.

        Args:
            token: of the form that was filled in: that it waited for it is no news.

        Raises:
            DifyError: as ``stream_chat``.
        """
        total_at = self._clock.monotonic() + self._app.streaming_timeout
        path = f"/workflow/{quote(run_id, safe='')}/events?{urlencode({'user': user})}"
        response = await self._transport.open(
            "GET", path, seconds=self._app.first_event_timeout, is_stream=True
        )
        try:
            if not is_event_stream(response):
                reply = await self._transport.read(response, seconds=SIDE_CALL_TIMEOUT)
                decipher(reply, has_conversation=False, now=self._clock.time())
                raise DifyProtocolError("Dify 没有打开运行的事件流")
            limits = StreamLimits(
                total_at=total_at,
                first_event_at=self._clock.monotonic() + self._app.first_event_timeout,
                gap=self._app.gap_timeout,
            )
            events = EventStream(
                response,
                limits=limits,
                clock=self._clock,
                has_conversation=False,
                output_key=self._output_key_of(self.traits.endpoint),
                known_form=token,
            )
            return await collect_run(events)
        finally:
            response.close()

    async def _chat_blocking(self, request: ChatRequest, total_at: float) -> Answer:
        opened = await self._open(request, total_at, is_stream=False)
        try:
            if opened.answer is not None:
                return opened.answer
            patience = min(STRAY_STREAM_PATIENCE, self._app.first_event_timeout)
            first_event_at = self._clock.monotonic() + patience
            return await collect(
                self._events(opened, request, total_at, first_event_at, silence=StreamingRequired)
            )
        finally:
            opened.response.close()

    @asynccontextmanager
    async def _stream(
        self, request: ChatRequest, total_at: float
    ) -> AsyncIterator[AsyncIterator[ChatEvent]]:
        first_event_at = self._clock.monotonic() + self._app.first_event_timeout
        opened = await self._open(
            request, total_at, is_stream=True, head_at=min(total_at, first_event_at)
        )
        try:
            if opened.answer is not None:
                yield _iterate(answer_events(opened.answer))
            else:
                silence = DifyConversationGone if request.conversation_id else DifyUnavailable
                yield self._events(opened, request, total_at, first_event_at, silence=silence)
        finally:
            opened.response.close()

    async def _open(
        self,
        request: ChatRequest,
        total_at: float,
        *,
        is_stream: bool,
        head_at: float | None = None,
    ) -> _Opened:
        """Ask at the app's endpoint; of another kind than it was taken for, at the next one."""
        refused: list[Endpoint] = []
        while True:
            endpoint = self.traits.endpoint
            try:
                return await self._open_at(
                    endpoint,
                    request,
                    total_at,
                    is_stream=is_stream,
                    head_at=total_at if head_at is None else head_at,
                )
            except WrongKind:
                refused.append(endpoint)
                if not self.traits.other_than(refused):
                    raise

    async def _open_at(
        self,
        endpoint: Endpoint,
        request: ChatRequest,
        total_at: float,
        *,
        is_stream: bool,
        head_at: float,
    ) -> _Opened:
        response = await self._transport.open(
            "POST",
            endpoint.path,
            body=endpoint.body(request, streaming=is_stream, input_key=self.question_key),
            seconds=self._left(head_at),
            is_stream=is_stream,
        )
        try:
            answer = None
            if not is_event_stream(response):
                answer = await self._read_answer(endpoint, response, request, total_at)
        except BaseException:
            response.close()
            raise
        return _Opened(endpoint=endpoint, response=response, answer=answer)

    def _events(
        self,
        opened: _Opened,
        request: ChatRequest,
        total_at: float,
        first_event_at: float,
        *,
        silence: type[DifyError],
    ) -> EventStream:
        return EventStream(
            opened.response,
            limits=StreamLimits(
                total_at=total_at, first_event_at=first_event_at, gap=self._app.gap_timeout
            ),
            clock=self._clock,
            has_conversation=bool(request.conversation_id),
            silence=silence,
            output_key=self._output_key_of(opened.endpoint),
        )

    async def _read_answer(
        self,
        endpoint: Endpoint,
        response: aiohttp.ClientResponse,
        request: ChatRequest,
        total_at: float,
    ) -> Answer:
        reply = await self._transport.read(response, seconds=self._left(total_at))
        body = decipher_asked(
            reply, has_conversation=bool(request.conversation_id), now=self._clock.time()
        )
        if endpoint is not WORKFLOW:
            return parse_answer(body)
        assembly = Assembly()
        assembly.feed(parse_finished_run(body, output_key=self._output_key_of(endpoint)))
        return assembly.result()

    def _output_key_of(self, endpoint: Endpoint) -> str | None:
        return self._app.output_key if endpoint is WORKFLOW else None

    def _left(self, moment: float) -> float:
        return moment - self._clock.monotonic()


async def _iterate(events: Iterable[ChatEvent]) -> AsyncIterator[ChatEvent]:
    for event in events:
        yield event


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
