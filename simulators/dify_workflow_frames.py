"""
What the frames of a graph's run tell: workflow and nodes, with the fields and the order of each release.

Chatflows are recorded of both releases, workflow apps of the newer one only.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulators.dify_frames import Ids
from simulators.dify_release import Kind, Release, now

STOPPED = "Stopped by user."
STOPPED_BY_MODERATION = "Stopped by output moderation."
PARALLEL = (
    "parallel_id",
    "parallel_start_node_id",
    "parent_parallel_id",
    "parent_parallel_start_node_id",
    "iteration_id",
)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of the graph start → llm → answer, or start → llm → [code →] end."""

    node_id: str
    node_type: str
    title: str
    index: int
    predecessor: str | None


START = Node(node_id="start", node_type="start", title="开始", index=1, predecessor=None)
LLM = Node(node_id="llm", node_type="llm", title="LLM", index=2, predecessor="start")
ANSWER = Node(node_id="answer", node_type="answer", title="回答", index=3, predecessor="llm")
CODE = Node(node_id="code", node_type="code", title="代码执行", index=3, predecessor="llm")


def end_node(*, behind_code: bool) -> Node:
    """The last node of a workflow app."""
    index, predecessor = (4, "code") if behind_code else (3, "llm")
    return Node(node_id="end", node_type="end", title="结束", index=index, predecessor=predecessor)


@dataclass(frozen=True, kw_only=True)
class NodeResult:
    """How a node ended."""

    inputs: dict[str, Any] | None = None
    process_data: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    error: str | None = None
    execution_metadata: dict[str, Any] | None = None
    elapsed: float = 0.01


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run is told by its request."""

    kind: Kind
    query: str
    inputs: Mapping[str, Any]
    user: str
    end_user: str
    turn: int


class WorkflowData:
    """Makes the `data` of the run's frames; each starts with what *head* of the frames gives."""

    def __init__(self, release: Release, ids: Ids, run: RunFacts) -> None:
        self._new = release is Release.NEW
        self._ids = ids
        self._run = run
        self._node_ids: dict[str, str] = {}

    def inputs(self, *, with_conversation: bool = True) -> dict[str, Any]:
        """The form's inputs and the system variables."""
        ids, run = self._ids, self._run
        own = {
            "sys.app_id": ids.app_id,
            "sys.workflow_id": ids.workflow_id,
            "sys.workflow_run_id": ids.run_id,
        }
        if run.kind is Kind.WORKFLOW:
            return {**run.inputs, "sys.files": [], "sys.user_id": run.user, **own}
        if not self._new:
            return {
                **run.inputs,
                "sys.query": run.query,
                "sys.files": [],
                "sys.conversation_id": ids.conversation_id,
                "sys.user_id": run.user,
                "sys.dialogue_count": run.turn - 1,
                **own,
            }
        values = {**run.inputs, "sys.files": [], "sys.user_id": run.user, **own}
        values["sys.query"] = run.query
        if with_conversation:
            values["sys.conversation_id"] = ids.conversation_id
        return values | {"sys.dialogue_count": run.turn}

    def start_values(self) -> dict[str, Any]:
        """What the start node takes and gives."""
        values = self.inputs()
        if self._new and self._run.kind is Kind.WORKFLOW:
            values["sys.timestamp"] = self._ids.created_at
        return values

    def started(self) -> dict[str, Any]:
        """`workflow_started`."""
        data: dict[str, Any] = {"id": self._ids.run_id, "workflow_id": self._ids.workflow_id}
        if not self._new:
            data["sequence_number"] = self._run.turn
        data["inputs"] = self.inputs(with_conversation=self._run.turn > 1)
        data["created_at"] = self._ids.created_at
        if self._new:
            data["reason"] = "initial"
        return data

    def node_started(self, node: Node) -> dict[str, Any]:
        """`node_started`."""
        data = self._node(node) | {"inputs": None}
        if self._new:
            data["inputs_truncated"] = False
        data |= {"created_at": now(), "extras": {}}
        if self._new:
            return data | {"iteration_id": None, "loop_id": None, "agent_strategy": None}
        return data | dict.fromkeys(PARALLEL) | {"parallel_run_id": None}

    def node_finished(self, node: Node, result: NodeResult) -> dict[str, Any]:
        """`node_finished`."""
        data = self._node(node)
        for name in ("inputs", "process_data", "outputs"):
            value = getattr(result, name)
            data[name] = {} if value is None and self._new else value
            if self._new:
                data[f"{name}_truncated"] = False
        data |= {
            "status": "failed" if result.error else "succeeded",
            "error": result.error,
            "elapsed_time": result.elapsed,
            "execution_metadata": result.execution_metadata,
            "created_at": now(),
            "finished_at": now(),
            "files": [],
        }
        if self._new:
            return data | {"iteration_id": None, "loop_id": None}
        return data | dict.fromkeys(PARALLEL)

    def finished(
        self,
        status: str,
        *,
        outputs: dict[str, Any] | None,
        error: str | None,
        tokens: int,
        steps: int,
        elapsed: float,
    ) -> dict[str, Any]:
        """`workflow_finished`; without outputs the older release gives null, the newer one {}."""
        data: dict[str, Any] = {"id": self._ids.run_id, "workflow_id": self._ids.workflow_id}
        if not self._new:
            data["sequence_number"] = self._run.turn
        return data | {
            "status": status,
            "outputs": {} if outputs is None and self._new else outputs,
            "error": error,
            "elapsed_time": elapsed,
            "total_tokens": tokens,
            "total_steps": steps,
            "created_by": {"id": self._run.end_user, "user": self._run.user},
            "created_at": self._ids.created_at,
            "finished_at": now(),
            "exceptions_count": 1 if self._new and status == "failed" else 0,
            "files": [],
        }

    def _node(self, node: Node) -> dict[str, Any]:
        return {
            "id": self._node_ids.setdefault(node.node_id, str(uuid.uuid4())),
            "node_id": node.node_id,
            "node_type": node.node_type,
            "title": node.title,
            "index": 1 if self._new else node.index,
            "predecessor_node_id": None if self._new else node.predecessor,
        }
