"""A question on its way to an answer, and what is kept of the answer."""

from dataclasses import dataclass
from typing import Any

from simulators.dify_app import App
from simulators.dify_citations import retriever_resources
from simulators.dify_files import file_object, message_file
from simulators.dify_frames import Ids
from simulators.dify_outputs import filled, of_code
from simulators.dify_release import Kind, Release, now, usage
from simulators.dify_script import Plan
from simulators.dify_store import Conversation, Message

PROMPT_TOKENS = 11
MODEL_FAILED = "[openai_api_compatible] Error: API request failed with status code 500: 模拟的故障"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question that is going to be answered."""

    release: Release
    app: App
    asked: dict[str, Any]
    conversation: Conversation
    message: Message
    plan: Plan
    ids: Ids

    @property
    def first(self) -> bool:
        """Whether it is the first of its conversation."""
        return len(self.conversation.messages) == 1

    @property
    def in_worker(self) -> bool:
        """Whether it is run outside the API process."""
        return by_worker(self.release, self.app.kind, streaming=is_streaming(self.asked))

    @property
    def tokens(self) -> int:
        """Of the model, in all."""
        return PROMPT_TOKENS + len(self.plan.deltas)

    @property
    def steps(self) -> int:
        """How many nodes a run has that succeeds."""
        return 4 if self.app.kind is Kind.WORKFLOW and of_code(self.app.outputs) else 3

    def outputs(self, answer: str) -> dict[str, Any]:
        """What the run gives at its end; the older release strips a chatflow's answer."""
        if self.app.kind is Kind.WORKFLOW:
            outputs: dict[str, Any] = filled(self.app.outputs, answer)
            return outputs | ({"files": self.files()} if self.files() else {})
        if self.release is Release.OLD:
            return {"answer": answer.rstrip()}
        return {"answer": answer, "files": self.files()}

    def used(self, latency: float, calls: int = 1) -> dict[str, Any]:
        """The `usage` of *calls* alike of the model."""
        return usage(
            self.release,
            self.app.kind,
            prompt=PROMPT_TOKENS * calls,
            completion=len(self.plan.deltas) * calls,
            latency=latency,
            price=self.app.price,
        )

    def citations(self) -> list[dict[str, Any]]:
        """What the answer is from; nothing where /parameters says that it is not told."""
        told = self.app.parameters.get("retriever_resource", {"enabled": True})
        if not told.get("enabled") or self.app.kind is Kind.WORKFLOW:
            return []
        return retriever_resources(self.release, self.app.citations)

    def files(self) -> list[dict[str, Any]]:
        """Those at the end of the answer."""
        return [] if self.plan.file is None else [file_object(self.plan.file)]

    def succeed(self, answer: str) -> None:
        """Keep the answer as that of a run that ended well."""
        message = self.message
        message.answer = self.plan.kept or answer
        message.run_status, message.finished_at = "succeeded", now()
        message.tokens, message.steps = self.tokens, self.steps
        message.citations = self.citations()
        if self.plan.tool_file is not None:
            message.files = [message_file(self.plan.tool_file)]
        if self.app.kind.has_graph:
            message.outputs = self.outputs(message.answer)


def is_streaming(asked: dict[str, Any]) -> bool:
    """Whether a stream is asked for; without a word it is not."""
    return asked.get("response_mode") == "streaming"


def by_worker(release: Release, kind: Kind, *, streaming: bool) -> bool:
    """
    Whether it runs outside the API process: in the newer release, whatever has a graph.

    A workflow's blocking call is the exception; a chatflow's goes there and is lost.
    """
    if release is Release.OLD:
        return False
    return kind is Kind.CHATFLOW or (kind is Kind.WORKFLOW and streaming)
