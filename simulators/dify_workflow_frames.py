"""Frames of a chatflow's run: workflow and nodes, with the fields and the order of each release."""

import uuid
from dataclasses import dataclass
from typing import Any

from simulators.dify_frames import Ids
from simulators.dify_release import Release, now

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
    """A node of the graph start → llm → answer."""

    node_id: str
    node_type: str
    title: str
    index: int
    predecessor: str | None


START = Node(node_id="start", node_type="start", title="开始", index=1, predecessor=None)
LLM = Node(node_id="llm", node_type="llm", title="LLM", index=2, predecessor="start")
ANSWER = Node(node_id="answer", node_type="answer", title="回答", index=3, predecessor="llm")


@dataclass(frozen=True, kw_only=True)
class NodeResult:
    """How a node ended."""

    inputs: dict[str, Any] | None = None
    process_data: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    error: str | None = None
    execution_metadata: dict[str, Any] | None = None
    elapsed: float = 0.01


class WorkflowData:
    """Makes the `data` of the run's frames; each starts with what *head* of the frames gives."""

    def __init__(
        self, release: Release, ids: Ids, *, query: str, user: str, end_user: str, turn: int
    ) -> None:
        self._new = release is Release.NEW
        self._ids = ids
        self._query = query
        self._user = user
        self._end_user = end_user
        self._turn = turn
        self._node_ids = {node.node_id: str(uuid.uuid4()) for node in (START, LLM, ANSWER)}

    def inputs(self, *, with_conversation: bool = True) -> dict[str, Any]:
        """The system variables."""
        ids = self._ids
        if not self._new:
            return {
                "sys.query": self._query,
                "sys.files": [],
                "sys.conversation_id": ids.conversation_id,
                "sys.user_id": self._user,
                "sys.dialogue_count": self._turn - 1,
                "sys.app_id": ids.app_id,
                "sys.workflow_id": ids.workflow_id,
                "sys.workflow_run_id": ids.run_id,
            }
        values: dict[str, Any] = {
            "sys.files": [],
            "sys.user_id": self._user,
            "sys.app_id": ids.app_id,
            "sys.workflow_id": ids.workflow_id,
            "sys.workflow_run_id": ids.run_id,
            "sys.query": self._query,
        }
        if with_conversation:
            values["sys.conversation_id"] = ids.conversation_id
        return values | {"sys.dialogue_count": self._turn}

    def started(self) -> dict[str, Any]:
        """`workflow_started`."""
        data: dict[str, Any] = {"id": self._ids.run_id, "workflow_id": self._ids.workflow_id}
        if not self._new:
            data["sequence_number"] = self._turn
        data["inputs"] = self.inputs(with_conversation=self._turn > 1)
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
        self, status: str, *, answer: str | None, error: str | None, tokens: int, elapsed: float
    ) -> dict[str, Any]:
        """`workflow_finished`; the older release strips the answer and gives null for none."""
        outputs: dict[str, Any] | None
        if self._new:
            outputs = {} if answer is None else {"answer": answer, "files": []}
        else:
            outputs = None if answer is None else {"answer": answer.rstrip()}
        data: dict[str, Any] = {"id": self._ids.run_id, "workflow_id": self._ids.workflow_id}
        if not self._new:
            data["sequence_number"] = self._turn
        return data | {
            "status": status,
            "outputs": outputs,
            "error": error,
            "elapsed_time": elapsed,
            "total_tokens": tokens,
            "total_steps": 3 if answer is not None else 2,
            "created_by": {"id": self._end_user, "user": self._user},
            "created_at": self._ids.created_at,
            "finished_at": now(),
            "exceptions_count": 1 if self._new and status == "failed" else 0,
            "files": [],
        }

    def _node(self, node: Node) -> dict[str, Any]:
        return {
            "id": self._node_ids[node.node_id],
            "node_id": node.node_id,
            "node_type": node.node_type,
            "title": node.title,
            "index": 1 if self._new else node.index,
            "predecessor_node_id": None if self._new else node.predecessor,
        }
