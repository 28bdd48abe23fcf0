"""
Runs that wait for a person: the form in the stream, its own paths, and how the run goes on.

After the documentation and the code of the newer release; there is no recording. A question orders
it with `[[form=请确认]]`; `[[actions=同意|拒绝]]` are its titles (ids `a1`, `a2` …), `[[fields=note]]`
the texts it asks for, `[[expires=60]]` its seconds, `[[after=好:{action}:{note}]]` what is said behind
it, `[[again=再确认]]` a second form behind the first.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from simulators.dify_app import App
from simulators.dify_errors import DifyRefused
from simulators.dify_frames import Frames
from simulators.dify_question import Question
from simulators.dify_release import Kind
from simulators.dify_wire import EventStream

LIFE = 3600.0
NODE = {"node_id": "human", "node_title": "人工介入"}


@dataclass(eq=False, kw_only=True)
class WaitingRun:
    """A run that waits, and what has become of its forms."""

    question: Question
    frames: Frames
    said: str
    expires_at: float
    token: str = field(default_factory=lambda: str(uuid.uuid4()))
    contents: list[str] = field(default_factory=list)
    filled: list[dict[str, Any]] = field(default_factory=list)
    """What was submitted, form by form."""
    going_on: asyncio.Event = field(default_factory=asyncio.Event)
    is_finished: bool = False

    @property
    def actions(self) -> list[dict[str, str]]:
        """As the form shows them."""
        titles = (self.question.plan.actions or "确认").split("|")
        return [
            {"id": f"a{number}", "title": title, "button_style": "default"}
            for number, title in enumerate(titles, 1)
        ]

    @property
    def fields(self) -> list[dict[str, Any]]:
        """The texts that it asks for."""
        names = (self.question.plan.fields or "").split("|")
        return [
            {"type": "paragraph", "output_variable_name": name, "default": None}
            for name in names
            if name
        ]

    def required(self) -> dict[str, Any]:
        """The data of `human_input_required`."""
        return {
            "form_id": str(uuid.uuid4()),
            **NODE,
            "form_content": self.contents[0],
            "inputs": self.fields,
            "actions": self.actions,
            "display_in_ui": True,
            "form_token": self.token,
            "resolved_default_values": {},
            "expiration_time": int(self.expires_at),
        }

    def paused(self) -> dict[str, Any]:
        """The data of `workflow_paused`."""
        return {
            "workflow_run_id": self.question.ids.run_id,
            "paused_nodes": [NODE["node_id"]],
            "outputs": {},
            "reasons": [],
            "status": "paused",
        }

    def frame(self, event: str, data: dict[str, Any]) -> bytes:
        """A frame of the run."""
        head = self.frames.head(event)
        return self.frames.encode(
            head | {"workflow_run_id": self.question.ids.run_id, "data": data}
        )

    def rest(self) -> str:
        """What is said behind the forms."""
        text = self.question.plan.after or "已处理。"
        for name, value in self.filled[-1].items():
            text = text.replace(f"{{{name}}}", str(value))
        return text


class HumanInput:
    """The waiting runs of a server, and the paths that go on with them."""

    def __init__(self, stream: Callable[[web.Request], EventStream]) -> None:
        self.runs: dict[str, WaitingRun] = {}
        self._stream = stream

    def wait(self, question: Question, frames: Frames, said: str) -> WaitingRun:
        """A run has come to its form."""
        plan = question.plan
        run = WaitingRun(
            question=question,
            frames=frames,
            said=said,
            expires_at=time.time() + (LIFE if plan.expires is None else plan.expires),
            contents=[one for one in (plan.form, plan.again) if one is not None],
        )
        self.runs[question.ids.run_id] = run
        question.message.answer = said
        question.message.status, question.message.run_status = "paused", "paused"
        return run

    async def form(self, request: web.Request, app: App) -> web.Response:
        """GET /form/human_input/{token}."""
        run = self._of_token(request, app)
        body = {
            "form_content": run.contents[0],
            "inputs": run.fields,
            "resolved_default_values": {},
            "user_actions": run.actions,
            "expiration_time": int(run.expires_at),
        }
        return web.json_response(body)

    async def submit(self, request: web.Request, app: App) -> web.Response:
        """POST /form/human_input/{token}: the run goes on at once."""
        run = self._of_token(request, app)
        body = json.loads(await request.read())
        if not isinstance(body.get("user"), str):
            raise DifyRefused(400, "invalid_param", "Arg user must be provided.")
        inputs, action = body.get("inputs"), body.get("action")
        if action not in [one["id"] for one in run.actions]:
            raise DifyRefused(400, "invalid_form_data", f"Invalid action: {action}")
        missing = [one for one in run.fields if not (inputs or {}).get(one["output_variable_name"])]
        if missing:
            raise DifyRefused(400, "invalid_form_data", "Missing required inputs")
        run.filled.append({"action": action, **inputs})
        run.contents.pop(0)
        run.token = str(uuid.uuid4())
        if not run.contents:
            message = run.question.message
            message.status = "normal"
            run.question.succeed(run.said + run.rest())
        run.going_on.set()
        return web.json_response({})

    async def events(self, request: web.Request, app: App) -> web.StreamResponse:
        """GET /workflow/{run}/events: what is still to come; of a run that ended, its end alone."""
        run = self.runs.get(request.match_info["run"])
        user = request.query.get("user")
        if run is None or run.question.app is not app or run.question.asked["user"] != user:
            raise DifyRefused(404, "not_found", "Workflow run not found")
        stream = self._stream(request)
        if run.is_finished:
            await stream.send(run.frame("workflow_finished", self._finished(run)))
            return stream.response
        await stream.ping()
        while not run.going_on.is_set():
            await stream.pause(0.05)
        await stream.send(run.frame("human_input_form_filled", {**NODE, "action_id": "a1"}))
        if run.contents:
            run.going_on.clear()
            await stream.send(run.frame("human_input_required", run.required()))
            await stream.send(run.frame("workflow_paused", run.paused()))
            return stream.response
        # As a listener has it who came a little late: the first delta is gone.
        if run.question.app.kind is Kind.CHATFLOW:
            await stream.send(run.frames.delta(run.rest()[1:]))
        run.is_finished = True
        await stream.send(run.frame("workflow_finished", self._finished(run)))
        return stream.response

    def _finished(self, run: WaitingRun) -> dict[str, Any]:
        return {
            "id": run.question.ids.run_id,
            "workflow_id": run.question.ids.workflow_id,
            "status": "succeeded",
            "outputs": run.question.outputs(run.said + run.rest()),
            "error": None,
            "elapsed_time": 1.0,
            "total_tokens": run.question.tokens,
            "total_steps": 4,
            "exceptions_count": 0,
            "files": [],
        }

    def _of_token(self, request: web.Request, app: App) -> WaitingRun:
        """
        Raises:
            DifyRefused: 404 no such form, 412 it is done or has expired.
        """
        token = request.match_info["token"]
        run = next((one for one in self.runs.values() if one.token == token), None)
        if run is None or run.question.app is not app or not run.contents:
            raise DifyRefused(404, "not_found", "Form not found")
        if time.time() >= run.expires_at:
            raise DifyRefused(412, "human_input_form_expired", "Form has expired")
        return run
