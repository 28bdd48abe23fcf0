"""
Frames of apps without a graph, and those all apps share, with the fields and the order of each release.

Completions are recorded of the older release, workflows of the newer one; the other halves follow
from the code of the releases.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from simulators.dify_files import message_file
from simulators.dify_outputs import MODEL_SELECTOR
from simulators.dify_release import Kind, Release, frame_bytes, frame_json, metadata

TOOL = "current_time"
TOOL_LABELS = {
    TOOL: {
        "zh_Hans": "获取当前时间",
        "en_US": "Current Time",
        "pt_BR": "Current Time",
        "ja_JP": "Current Time",
    }
}


@dataclass(frozen=True, kw_only=True)
class Ids:
    """The ids of one answer."""

    app_id: str
    workflow_id: str
    conversation_id: str
    message_id: str
    task_id: str
    run_id: str
    created_at: int


class Frames:
    """Makes the frames of one answer."""

    def __init__(self, release: Release, kind: Kind, ids: Ids) -> None:
        self.release = release
        self.kind = kind
        self.ids = ids
        self._delta_start, self._delta_end = self._delta_template()

    def head(self, event: str) -> dict[str, Any]:
        """What every frame but an error begins with; completions and workflows have no conversation."""
        ids = self.ids
        if self.kind is Kind.WORKFLOW:
            return {"event": event, "workflow_run_id": ids.run_id, "task_id": ids.task_id}
        frame: dict[str, Any] = {"event": event}
        if self.kind.converses:
            frame["conversation_id"] = ids.conversation_id
        return frame | {
            "message_id": ids.message_id,
            "created_at": ids.created_at,
            "task_id": ids.task_id,
        }

    def encode(self, frame: dict[str, Any]) -> bytes:
        """On the wire."""
        return frame_bytes(self.release, frame)

    def delta(self, text: str) -> bytes:
        """`message` or, of an agent app, `agent_message`, of a workflow `text_chunk`."""
        return self._delta_start + frame_json(self.release, text) + self._delta_end

    def _delta_template(self) -> tuple[bytes, bytes]:
        """A delta's bytes before and after its text: made once, they differ in nothing else."""
        mark = "\x00"
        start, _, end = self._delta(mark).partition(frame_json(self.release, mark))
        return start, end

    def _delta(self, text: str) -> bytes:
        if self.kind is Kind.WORKFLOW:
            return self.text_chunk(text, MODEL_SELECTOR)
        agent = self.kind is Kind.AGENT
        frame = self.head("agent_message" if agent else "message")
        frame |= {"id": self.ids.message_id, "answer": text}
        if not agent:
            chatflow = self.kind is Kind.CHATFLOW
            frame["from_variable_selector"] = MODEL_SELECTOR if chatflow else None
        return self.encode(frame)

    def text_chunk(self, text: str, selector: Sequence[str]) -> bytes:
        """A piece of a workflow's outputs; the selector tells which node and variable it is from."""
        frame = self.head("text_chunk")
        frame["data"] = {"text": text, "from_variable_selector": list(selector)}
        return self.encode(frame)

    def text_replace(self, text: str) -> bytes:
        """Everything a workflow streamed so far is replaced; documented, not recorded."""
        frame = self.head("text_replace")
        frame["data"] = {"text": text}
        return self.encode(frame)

    def message_file(self, url: str) -> bytes:
        """A file that a tool made."""
        return self.encode(self.head("message_file") | message_file(url))

    def message_end(
        self,
        used: dict[str, Any],
        citations: Sequence[dict[str, Any]] = (),
        files: Sequence[dict[str, Any]] = (),
    ) -> bytes:
        """The end of an answer."""
        frame = self.head("message_end")
        frame |= {
            "id": self.ids.message_id,
            "metadata": metadata(self.release, used, citations),
            "files": list(files) or ([] if self.kind is Kind.CHATFLOW else None),
        }
        return self.encode(frame)

    def message_replace(self, answer: str) -> bytes:
        """Everything so far is replaced."""
        frame = self.head("message_replace")
        frame["answer"] = answer
        if self.release is Release.NEW:
            frame["reason"] = "output_moderation"
        return self.encode(frame)

    def error(self, code: str, message: str, status: int) -> bytes:
        """A failure in the stream; it has no task_id."""
        frame = self.head("error")
        del frame["task_id"]
        if self.release is Release.OLD:
            frame |= {"code": code, "status": status, "message": message}
        else:
            frame |= {"code": code, "message": message, "status": status}
        return self.encode(frame)

    def speech(self, size: int) -> bytes:
        """A `tts_message` of *size* characters: as large as one likes and no part of the answer."""
        frame = self.head("tts_message")
        frame["audio"] = "A" * size
        return self.encode(frame)

    def thought(
        self, thought_id: str, position: int, *, thought: str = "", tool_answer: str | None = None
    ) -> bytes:
        """`agent_thought`; with *tool_answer* ("" = not there yet) it tells of a tool call."""
        called = tool_answer is not None
        frame = self.head("agent_thought")
        frame |= {
            "id": thought_id,
            "position": position,
            "thought": thought,
            "observation": json.dumps({TOOL: tool_answer}) if tool_answer else "",
            "tool": TOOL if called else "",
            "tool_labels": TOOL_LABELS if called else {},
            "tool_input": json.dumps({TOOL: {}}) if called else "",
            "message_files": [],
        }
        return self.encode(frame)
