"""How the simulated Dify streams one answer: what all kinds share, and the apps without a graph."""

import time
import uuid

from typing_extensions import override

from simulators.dify_frames import Frames
from simulators.dify_question import MODEL_FAILED, Question
from simulators.dify_release import Kind, Release, now
from simulators.dify_script import PREAMBLE
from simulators.dify_wire import EventStream


class StreamCut(Exception):
    """The connection was broken on purpose."""


class StreamEnded(Exception):
    """The body ends here, properly, without a last event."""


class ModelFailed(Exception):
    """The model gave an error instead of going on."""


class Answering:
    """Streams the answer of one question; its message is filled as it would be saved."""

    def __init__(self, question: Question, frames: Frames, stream: EventStream) -> None:
        self.outcome = "answered"
        self._question = question
        self._plan = question.plan
        self._message = question.message
        self._frames = frames
        self._stream = stream
        self._new = question.release is Release.NEW
        self._began = time.monotonic()
        self._text = ""

    async def run(self) -> None:
        """
        Send all frames.

        Raises:
            StreamCut, StreamEnded: the plan says so.
        """
        await self._answer()
        self._message.finished_at = now()

    async def _answer(self) -> None:
        raise NotImplementedError

    async def _deltas(self) -> None:
        plan = self._plan
        for place, text in enumerate(plan.deltas):
            await self._faults_after(place)
            if plan.delay:
                await self._stream.pause(plan.delay)
            if self._stream.stopped.is_set():
                self.outcome = "stopped_by_user"
                return
            self._text += text
            await self._delta(text)
        await self._faults_after(len(plan.deltas))

    async def _faults_after(self, place: int) -> None:
        plan = self._plan
        if plan.cut_after == place:
            self._stream.cut()
            raise StreamCut
        if plan.eof_after == place:
            raise StreamEnded
        if plan.error_after == place:
            raise ModelFailed
        if plan.hang_after == place:
            self.outcome = "hang"
            await self._stream.silence()
            raise StreamEnded
        if plan.stall_after == place:
            self.outcome = "stall"
            await self._stream.keep_pinging()

    async def _replace(self) -> None:
        replacement = self._plan.replacement
        if replacement is None or self._stream.stopped.is_set():
            return
        self._text = replacement
        for _ in range(1 if self._new else 2):
            await self._send(self._frames.message_replace(replacement))

    async def _send(self, frame: bytes) -> None:
        await self._stream.send(frame)

    async def _delta(self, text: str) -> None:
        await self._stream.send(self._frames.delta(text))

    async def _message_end(self) -> None:
        calls = 2 if self._plan.tool and self._frames.kind is Kind.AGENT else 1
        used = self._question.used(time.monotonic() - self._began, calls)
        await self._send(
            self._frames.message_end(used, self._question.citations(), self._question.files())
        )

    async def _tool_file(self) -> None:
        if self._plan.tool_file is not None:
            await self._send(self._frames.message_file(self._plan.tool_file))

    def _fail(self, reason: str) -> None:
        self.outcome = "error_event"
        self._message.answer = self._text
        self._message.status, self._message.error = "error", reason
        self._message.run_status = "failed"


class PlainAnswering(Answering):
    """Of chat, agent and completion apps; a completion is a chat without a conversation."""

    @override
    async def _answer(self) -> None:
        try:
            if self._frames.kind is Kind.AGENT:
                await self._agent()
            else:
                await self._chat()
        except ModelFailed:
            self._fail(MODEL_FAILED)
            code = self._plan.error_code
            status = 500 if code == "internal_server_error" else 400
            await self._send(self._frames.error(code, MODEL_FAILED, status))
            return
        await self._tool_file()
        await self._replace()
        self._question.succeed(self._text)
        await self._message_end()

    @override
    async def _deltas(self) -> None:
        await super()._deltas()
        if self._plan.big and not self._stream.stopped.is_set():
            await self._send(self._frames.speech(self._plan.big))

    async def _chat(self) -> None:
        await self._stream.pause(self._plan.wait)
        if self._new:
            await self._delta("")
        await self._deltas()
        await self._delta("")

    async def _agent(self) -> None:
        first, second = str(uuid.uuid4()), str(uuid.uuid4())
        thoughts = self._frames.thought
        await self._stream.pause(self._plan.wait)
        if self._plan.tool:
            at = time.strftime("%Y-%m-%d %H:%M:%S")
            full = thoughts(first, 1, thought=PREAMBLE, tool_answer=at)
            # The newer release reads thoughts from its database, where they are finished already.
            await self._send(full if self._new else thoughts(first, 1))
            await self._preamble()
            await self._send(
                full if self._new else thoughts(first, 1, thought=PREAMBLE, tool_answer="")
            )
            await self._send(full)
        else:
            second = first
        position = 2 if self._plan.tool else 1
        whole = thoughts(second, position, thought=self._plan.answer)
        await self._send(whole if self._new else thoughts(second, position))
        if self._new:
            await self._delta("")
        await self._deltas()
        await self._delta("")
        await self._send(whole)

    async def _preamble(self) -> None:
        self._text = PREAMBLE
        texts = ("", PREAMBLE, "", "", "") if self._new else (PREAMBLE, "", "")
        for text in texts:
            await self._delta(text)
