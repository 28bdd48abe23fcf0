"""How the simulated Dify streams one answer: the order of frames for each kind of app and release."""

import time
import uuid
from typing import Any

from simulators.dify_frames import Frames
from simulators.dify_release import Kind, Release, now, usage
from simulators.dify_script import PREAMBLE, Plan
from simulators.dify_store import Message
from simulators.dify_wire import EventStream
from simulators.dify_workflow_frames import (
    ANSWER,
    LLM,
    START,
    STOPPED,
    STOPPED_BY_MODERATION,
    Node,
    NodeResult,
    WorkflowData,
)

PROMPT_TOKENS = 11
SYSTEM_PROMPT = "你是群聊助手。"
MODEL_FAILED = "[openai_api_compatible] Error: API request failed with status code 500: 模拟的故障"
PROVIDER = {
    Release.OLD: "openai_api_compatible",
    Release.NEW: "langgenius/openai_api_compatible/openai_api_compatible",
}


class StreamCut(Exception):
    """The connection was broken on purpose."""


class StreamEnded(Exception):
    """The body ends here, properly, without a last event."""


class ModelFailed(Exception):
    """The model gave an error instead of going on."""


class Answering:
    """Streams the answer of one plan; `message` is filled as it would be saved."""

    def __init__(
        self,
        plan: Plan,
        frames: Frames,
        stream: EventStream,
        message: Message,
        workflow: WorkflowData,
    ) -> None:
        self.outcome = "answered"
        self._plan = plan
        self._frames = frames
        self._stream = stream
        self._message = message
        self._workflow = workflow
        self._new = frames.release is Release.NEW
        self._began = time.monotonic()
        self._text = ""

    async def run(self) -> None:
        """
        Send all frames.

        Raises:
            StreamCut, StreamEnded: the plan says so.
        """
        if self._frames.kind is Kind.CHATFLOW:
            await self._chatflow()
        else:
            await self._in_process()
        self._message.finished_at = now()

    async def _in_process(self) -> None:
        """Chat and agent apps."""
        try:
            if self._frames.kind is Kind.AGENT:
                await self._agent()
            else:
                await self._chat()
        except ModelFailed:
            self._fail(MODEL_FAILED)
            await self._send(
                self._frames.error(self._plan.error_code, MODEL_FAILED, self._error_status())
            )
            return
        await self._replace()
        self._succeed()
        await self._send(self._frames.message_end(self._usage()))

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

    async def _chatflow(self) -> None:
        workflow = self._workflow
        inputs = workflow.inputs()
        await self._run_frame("workflow_started", workflow.started())
        await self._run_frame("node_started", workflow.node_started(START))
        await self._node_finished(START, NodeResult(inputs=inputs, outputs=inputs))
        await self._run_frame("node_started", workflow.node_started(LLM))
        try:
            await self._stream.pause(self._plan.wait)
            await self._chatflow_deltas()
        except ModelFailed:
            await self._chatflow_failed()
            return
        if self._stream.stopped.is_set():
            await self._chatflow_stopped(STOPPED)
            return
        await self._node_finished(LLM, self._llm_result())
        if self._plan.replacement is not None:
            await self._replace()
            if self._new:
                await self._chatflow_stopped(STOPPED_BY_MODERATION)
                return
        await self._run_frame("node_started", workflow.node_started(ANSWER))
        answered = {"answer": self._text, "files": []}
        await self._node_finished(ANSWER, NodeResult(outputs=answered))
        self._succeed()
        await self._finished("succeeded", answer=self._text, error=None)
        await self._old_message_end()

    async def _chatflow_deltas(self) -> None:
        if self._new:
            await self._delta("")
        await self._deltas()
        for _ in range(2 if self._new else 1):
            await self._delta("")

    async def _chatflow_failed(self) -> None:
        self._fail(MODEL_FAILED)
        await self._node_finished(LLM, NodeResult(error=MODEL_FAILED))
        await self._finished("failed", answer=None, error=MODEL_FAILED)
        if not self._new:
            await self._send(
                self._frames.error("invalid_param", f"Run failed: {MODEL_FAILED}", 400)
            )

    async def _chatflow_stopped(self, reason: str) -> None:
        self._message.answer = self._text
        self._message.run_status, self._message.run_error = "stopped", reason
        if reason == STOPPED:
            self.outcome = "stopped_by_user"
        await self._finished("stopped", answer=None, error=reason)
        await self._old_message_end()

    async def _old_message_end(self) -> None:
        if not self._new:
            await self._send(self._frames.message_end(self._usage()))

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
        if plan.big and self._frames.kind is not Kind.CHATFLOW:
            await self._send(self._frames.speech(plan.big))

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

    async def _run_frame(self, event: str, data: dict[str, Any]) -> None:
        frame = self._frames.head(event)
        frame |= {"workflow_run_id": self._frames.ids.run_id, "data": data}
        await self._send(self._frames.encode(frame))

    async def _node_finished(self, node: Node, result: NodeResult) -> None:
        await self._run_frame("node_finished", self._workflow.node_finished(node, result))

    async def _finished(self, status: str, *, answer: str | None, error: str | None) -> None:
        data = self._workflow.finished(
            status,
            answer=answer,
            error=error,
            tokens=0 if answer is None else PROMPT_TOKENS + len(self._plan.deltas),
            elapsed=time.monotonic() - self._began,
        )
        await self._run_frame("workflow_finished", data)

    def _llm_result(self) -> NodeResult:
        used = self._usage()
        prompts = [
            {"role": "system", "text": SYSTEM_PROMPT + "." * self._plan.big, "files": []},
            {"role": "user", "text": self._message.query, "files": []},
        ]
        process: dict[str, Any] = {"model_mode": "chat", "prompts": prompts}
        outputs: dict[str, Any] = {"text": self._text}
        if self._new:
            process |= {"usage": used, "finish_reason": "stop"}
            outputs["reasoning_content"] = ""
        process |= {"model_provider": PROVIDER[self._frames.release], "model_name": "mock-model"}
        outputs |= {"usage": used, "finish_reason": "stop"}
        return NodeResult(
            process_data=process,
            outputs=outputs,
            execution_metadata={
                "total_tokens": used["total_tokens"],
                "total_price": "0" if self._new else "0.0000000",
                "currency": "USD",
            },
            elapsed=time.monotonic() - self._began,
        )

    def _usage(self) -> dict[str, Any]:
        calls = 2 if self._plan.tool and self._frames.kind is Kind.AGENT else 1
        return usage(
            self._frames.release,
            self._frames.kind,
            prompt=PROMPT_TOKENS * calls,
            completion=len(self._plan.deltas) * calls,
            latency=time.monotonic() - self._began,
        )

    def _succeed(self) -> None:
        self._message.answer = self._plan.kept or self._text
        self._message.run_status = "succeeded"
        self._message.tokens = PROMPT_TOKENS + len(self._plan.deltas)

    def _fail(self, reason: str) -> None:
        self.outcome = "error_event"
        self._message.answer = self._text
        self._message.status, self._message.error = "error", reason
        self._message.run_status = "failed"

    def _error_status(self) -> int:
        return 500 if self._plan.error_code == "internal_server_error" else 400
