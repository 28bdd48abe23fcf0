"""How the simulated Dify streams the run of a graph: chatflows and workflow apps."""

import time
from typing import Any

from typing_extensions import override

from simulators.dify_answering import Answering, ModelFailed, PlainAnswering
from simulators.dify_frames import Frames
from simulators.dify_human_input import HumanInput
from simulators.dify_outputs import filled, later_chunks, of_code, streams_at_once
from simulators.dify_question import MODEL_FAILED, Question
from simulators.dify_release import Kind, Release
from simulators.dify_wire import EventStream
from simulators.dify_workflow_frames import (
    ANSWER,
    CODE,
    LLM,
    START,
    STOPPED,
    STOPPED_BY_MODERATION,
    Node,
    NodeResult,
    RunFacts,
    WorkflowData,
    end_node,
)

SYSTEM_PROMPT = "你是群聊助手。"
PROVIDER = {
    Release.OLD: "openai_api_compatible",
    Release.NEW: "langgenius/openai_api_compatible/openai_api_compatible",
}


class GraphAnswering(Answering):
    """What both have in common: the run up to its model's answer, and its ends."""

    def __init__(
        self,
        question: Question,
        frames: Frames,
        stream: EventStream,
        workflow: WorkflowData,
        human_input: HumanInput,
    ) -> None:
        super().__init__(question, frames, stream)
        self._workflow = workflow
        self._human_input = human_input

    @override
    async def _answer(self) -> None:
        workflow = self._workflow
        values = workflow.start_values()
        await self._run_frame("workflow_started", workflow.started())
        await self._node_started(START)
        await self._node_finished(START, NodeResult(inputs=values, outputs=values))
        await self._node_started(LLM)
        try:
            await self._stream.pause(self._plan.wait)
            await self._model_deltas()
        except ModelFailed:
            self._fail(MODEL_FAILED)
            await self._node_finished(LLM, NodeResult(error=MODEL_FAILED))
            await self._finished("failed", error=MODEL_FAILED)
            await self._after_failure()
            return
        if self._stream.stopped.is_set():
            await self._stop(STOPPED)
            return
        await self._node_finished(LLM, self._llm_result())
        if self._plan.form is not None and self._new:
            await self._wait_for_somebody()
            return
        await self._after_model()

    async def _wait_for_somebody(self) -> None:
        run = self._human_input.wait(self._question, self._frames, self._text)
        await self._run_frame("human_input_required", run.required())
        await self._run_frame("workflow_paused", run.paused())
        self.outcome = "paused"

    async def _after_model(self) -> None:
        """The rest of a run whose model has answered."""
        raise NotImplementedError

    async def _after_failure(self) -> None:
        """What follows a failed run."""

    async def _after_end(self) -> None:
        """What follows any other."""

    async def _model_deltas(self) -> None:
        if self._new:
            await self._delta("")
        await self._deltas()
        for _ in range(2 if self._new else 1):
            await self._delta("")

    async def _stop(self, reason: str) -> None:
        self._message.answer = self._text
        self._message.run_status, self._message.run_error = "stopped", reason
        if reason == STOPPED:
            self.outcome = "stopped_by_user"
        await self._finished("stopped", error=reason)
        await self._after_end()

    async def _succeed(self) -> None:
        self._question.succeed(self._text)
        await self._finished("succeeded", outputs=self._question.outputs(self._text))
        await self._after_end()

    async def _run_frame(self, event: str, data: dict[str, Any]) -> None:
        frame = self._frames.head(event)
        frame |= {"workflow_run_id": self._frames.ids.run_id, "data": data}
        await self._send(self._frames.encode(frame))

    async def _node_started(self, node: Node) -> None:
        await self._run_frame("node_started", self._workflow.node_started(node))

    async def _node_finished(self, node: Node, result: NodeResult) -> None:
        await self._run_frame("node_finished", self._workflow.node_finished(node, result))

    async def _finished(
        self, status: str, *, outputs: dict[str, Any] | None = None, error: str | None = None
    ) -> None:
        data = self._workflow.finished(
            status,
            outputs=outputs,
            error=error,
            tokens=0 if outputs is None else self._question.tokens,
            steps=2 if outputs is None else self._question.steps,
            elapsed=time.monotonic() - self._began,
        )
        data["files"] = [] if outputs is None else self._question.files()
        await self._run_frame("workflow_finished", data)

    def _llm_result(self) -> NodeResult:
        elapsed = time.monotonic() - self._began
        used = self._question.used(elapsed)
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
                "total_price": self._question.app.price or ("0" if self._new else "0.0000000"),
                "currency": "USD",
            },
            elapsed=elapsed,
        )


class ChatflowAnswering(GraphAnswering):
    """start → llm → answer; the older release tells of the end of the message too."""

    @override
    async def _after_model(self) -> None:
        await self._tool_file()
        if self._plan.replacement is not None:
            await self._replace()
            if self._new:
                await self._stop(STOPPED_BY_MODERATION)
                return
        await self._node_started(ANSWER)
        answered = {"answer": self._text, "files": self._question.files()}
        await self._node_finished(ANSWER, NodeResult(outputs=answered))
        await self._succeed()

    @override
    async def _after_failure(self) -> None:
        if not self._new:
            await self._send(
                self._frames.error("invalid_param", f"Run failed: {MODEL_FAILED}", 400)
            )

    @override
    async def _after_end(self) -> None:
        if not self._new:
            await self._message_end()


class WorkflowAnswering(GraphAnswering):
    """
    start → llm → [code →] end, and no message; `text_chunk`s are of all outputs.

    The run of one output is recorded of the newer release. The code node, further outputs and
    `text_replace` are from the code and the documentation.
    """

    def __init__(
        self,
        question: Question,
        frames: Frames,
        stream: EventStream,
        workflow: WorkflowData,
        human_input: HumanInput,
    ) -> None:
        super().__init__(question, frames, stream, workflow, human_input)
        self._templates = question.app.outputs
        self._at_once = streams_at_once(self._templates)

    @override
    async def _delta(self, text: str) -> None:
        if self._at_once:
            await super()._delta(text)

    @override
    async def _replace(self) -> None:
        if self._plan.replacement is not None:
            self._text = self._plan.replacement
            await self._send(self._frames.text_replace(self._text))

    @override
    async def _after_model(self) -> None:
        await self._replace()
        code = of_code(self._templates)
        if code:
            await self._code(filled(code, self._text))
        outputs = self._question.outputs(self._text)
        node = end_node(behind_code=bool(code))
        await self._node_started(node)
        await self._node_finished(node, NodeResult(inputs=outputs, outputs=outputs))
        await self._succeed()

    async def _code(self, outputs: dict[str, Any]) -> None:
        """The newer release streams what a node gave before it tells of its end, the older one after."""
        result = NodeResult(inputs={"text": self._text}, outputs=outputs)
        await self._node_started(CODE)
        if not self._new:
            await self._node_finished(CODE, result)
        replaced = self._plan.replacement is not None
        deltas = (self._text,) if replaced else self._plan.deltas
        for text, selector in later_chunks(
            self._frames.release, self._templates, self._text, deltas
        ):
            await self._send(self._frames.text_chunk(text, selector))
        if self._new:
            await self._node_finished(CODE, result)


def answering_of(
    question: Question, stream: EventStream, end_user: str, human_input: HumanInput
) -> Answering:
    """How the question's app answers; *end_user* is the id that Dify gave to its user."""
    app, asked = question.app, question.asked
    frames = Frames(question.release, app.kind, question.ids)
    if not app.kind.has_graph:
        return PlainAnswering(question, frames, stream)
    run = RunFacts(
        kind=app.kind,
        query=asked["query"],
        inputs=question.message.inputs,
        user=asked["user"],
        end_user=end_user,
        turn=len(question.conversation.messages),
    )
    workflow = WorkflowData(question.release, question.ids, run)
    way = ChatflowAnswering if app.kind is Kind.CHATFLOW else WorkflowAnswering
    return way(question, frames, stream, workflow, human_input)
