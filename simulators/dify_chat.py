"""
The endpoints of the simulated Dify that take questions: checks, faults, then the answer in either mode.

What goes wrong in a worker before its graph begins, the caller never hears of: recorded of a
chatflow of the newer release, and the same by its code of a workflow's stream.
"""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from simulators.dify_afterlife import Afterlife
from simulators.dify_answering import StreamCut, StreamEnded
from simulators.dify_app import App
from simulators.dify_blocking import blocking_response
from simulators.dify_bodies import checked_body
from simulators.dify_concurrency import Concurrency
from simulators.dify_endpoint import Endpoint
from simulators.dify_errors import (
    DifyRefused,
    conversation_missing,
    failing,
    too_many,
)
from simulators.dify_form import filled_form
from simulators.dify_frames import Ids
from simulators.dify_graph_answering import answering_of
from simulators.dify_human_input import HumanInput
from simulators.dify_question import MODEL_FAILED, Question, by_worker, is_streaming
from simulators.dify_release import Kind, Release, now
from simulators.dify_script import Plan, make_plan, parse_script
from simulators.dify_store import Conversation, Store
from simulators.dify_uploads import Uploads
from simulators.dify_wire import EventStream
from simulators.faults import FaultSwitches
from simulators.recorder import Record
from simulators.serving import cut

PATH = Endpoint.CHAT.value
KEPT_TRIES = 50_000

OnQuestion = Callable[[Mapping[str, Any], int], None]
"""Hears what is known of a question, and the TCP port it came from."""


class Questions:
    """Answers them; one per server, for all its apps and for all three endpoints."""

    def __init__(
        self,
        *,
        release: Release,
        store: Store,
        faults: FaultSwitches,
        closing: asyncio.Event,
        pace: float,
        ping_seconds: float,
        idle_seconds: float,
        name_seconds: float,
        connections: int,
    ) -> None:
        self.release = release
        self.concurrency = Concurrency(connections)
        self.human_input = HumanInput(lambda request: self._event_stream(request, split=False))
        self._afterlife = Afterlife()
        self.errands = self._afterlife.errands
        self.on_question: OnQuestion | None = None
        self._store = store
        self.uploads = Uploads(release, store)
        self._faults = faults
        self._closing = closing
        self._pace = pace
        self._ping_seconds = ping_seconds
        self._idle_seconds = idle_seconds
        self._name_seconds = name_seconds
        self._tries: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._running: dict[str, tuple[str, EventStream]] = {}

    def stop(self, task_id: str, user: str) -> None:
        """Stop a run of the same user; anything else has no effect."""
        self._afterlife.stop(task_id, user)
        owner, stream = self._running.get(task_id, (None, None))
        if stream is not None and owner == user:
            stream.stopped.set()

    async def serve(
        self, endpoint: Endpoint, request: web.Request, app: App, body: Any, record: Record
    ) -> tuple[str, web.StreamResponse]:
        """
        What happened in a word, and the response.

        Raises:
            DifyRefused: an error body is due.
        """
        record.facts |= {"endpoint": endpoint.value, "kind": app.kind.value}
        endpoint.admit(app.kind)
        asked = checked_body(endpoint, self.release, app, body)
        streaming = is_streaming(asked)
        record.facts |= {
            "user": asked["user"],
            "query": asked["query"],
            "inputs": asked["inputs"],
            "conversation_id": asked["conversation_id"],
            "files": asked.get("files") or [],
            "mode": "streaming" if streaming else "blocking",
        }
        if app.kind is Kind.AGENT and not streaming:
            raise DifyRefused(400, "invalid_param", "Agent Chat App does not support blocking mode")
        async with self.concurrency.connection():
            return await self._serve(request, app, asked, record)

    async def _serve(
        self, request: web.Request, app: App, asked: dict[str, Any], record: Record
    ) -> tuple[str, web.StreamResponse]:
        if app.max_active and app.active >= app.max_active:
            raise too_many(self.release, app.app_id, app.max_active)
        app.active += 1
        self.concurrency.enter(asked["user"])
        try:
            return await self._converse(request, app, asked, record)
        finally:
            app.active -= 1
            self.concurrency.leave(asked["user"])

    async def _converse(
        self, request: web.Request, app: App, asked: dict[str, Any], record: Record
    ) -> tuple[str, web.StreamResponse]:
        try:
            conversation, inputs = self._conversation(app, asked)
        except DifyRefused:
            if by_worker(self.release, app.kind, streaming=is_streaming(asked)):
                return "lost_before_graph", await self._ping_and_silence(request)
            raise
        plan = self._plan(request.path, asked, conversation)
        record.facts["try"] = self._tries[asked["user"], asked["query"]]
        if self.on_question is not None and request.transport is not None:
            self.on_question(record.facts, request.transport.get_extra_info("peername")[1])
        if plan.fail is not None:
            return f"http_{plan.fail[0]}", failing(self.release, *plan.fail, query=asked["query"])
        question = self._question(app, asked, conversation, inputs, plan)
        record.facts |= {
            "answered_conversation_id": question.ids.conversation_id,
            "message_id": question.ids.message_id,
            "task_id": question.ids.task_id,
            "run_id": question.ids.run_id,
        }
        await self._name(question)
        if is_streaming(asked):
            return await self._stream(request, question)
        return await self._block(request, question)

    def _question(
        self,
        app: App,
        asked: dict[str, Any],
        conversation: Conversation,
        inputs: dict[str, Any],
        plan: Plan,
    ) -> Question:
        message = self._store.add_message(conversation, asked["query"], inputs)
        ids = Ids(
            app_id=app.app_id,
            workflow_id=app.workflow_id,
            conversation_id=message.conversation_id,
            message_id=message.message_id,
            task_id=str(uuid.uuid4()),
            run_id=message.run_id,
            created_at=message.created_at,
        )
        return Question(
            release=self.release,
            app=app,
            asked=asked,
            conversation=conversation,
            message=message,
            plan=plan,
            ids=ids,
        )

    def _conversation(self, app: App, asked: dict[str, Any]) -> tuple[Conversation, dict[str, Any]]:
        """
        The conversation and the inputs in force; those of its beginning last, but for chatflows.

        Raises:
            DifyRefused: there is no such conversation, or the inputs are not what the form asks for.
        """
        self.uploads.check(app, asked)
        user, wanted = asked["user"], asked["conversation_id"]
        found = None if wanted is None else self._store.find(app, user, wanted)
        if wanted is not None and found is None:
            raise conversation_missing(self.release)
        if found is not None and not app.kind.has_graph:
            return found, found.inputs
        inputs = filled_form(app.asked_fields, asked["inputs"], self.release)
        return found or self._store.create(app, user, inputs), inputs

    def _plan(self, path: str, asked: dict[str, Any], conversation: Conversation) -> Plan:
        key = (asked["user"], asked["query"])
        self._tries[key] = self._tries.get(key, 0) + 1
        self._tries.move_to_end(key)
        if len(self._tries) > KEPT_TRIES:
            self._tries.popitem(last=False)
        pace = self._faults.strike("pace", path)
        plan = make_plan(
            parse_script(asked["query"]).on_try(self._tries[key]),
            release=self.release,
            turn=len(conversation.messages) + 1,
            pace=pace.value if pace else self._pace,
            files=len(asked.get("files") or []),
        )
        return plan if plan.fail is not None else self._with_faults(path, plan)

    async def _name(self, question: Question) -> None:
        """The newer release waits before a first turn unless told not to name the conversation."""
        naming = (
            question.asked.get("auto_generate_name") is not False and question.app.kind.converses
        )
        if question.first and naming and self.release is Release.NEW:
            await asyncio.sleep(self._name_seconds)

    async def _stream(
        self, request: web.Request, question: Question
    ) -> tuple[str, web.StreamResponse]:
        user, task_id = question.asked["user"], question.ids.task_id
        began = time.monotonic()
        stream = self._event_stream(request, split=question.plan.split)
        answering = answering_of(question, stream, self._store.end_user(user), self.human_input)
        self._running[task_id] = (user, stream)
        try:
            if question.in_worker:
                await stream.ping()
            await answering.run()
        except StreamEnded:
            self._afterlife.begin(question, began=began)
            return "eof" if answering.outcome == "answered" else answering.outcome, stream.response
        except StreamCut:
            self._afterlife.begin(question, began=began)
            return "cut", stream.response
        except (ConnectionError, asyncio.CancelledError):
            # The client has left, noticed by a write or before the next one.
            self._afterlife.begin(question, began=began)
            raise
        finally:
            del self._running[task_id]
        return answering.outcome, stream.response

    async def _block(
        self, request: web.Request, question: Question
    ) -> tuple[str, web.StreamResponse]:
        plan, message = question.plan, question.message
        began = time.monotonic()
        if question.in_worker:
            self._afterlife.begin(question, began=began)
            return "blocking_lost", await self._ping_and_silence(request)
        is_stuck = plan.hang_after is not None or plan.stall_after is not None
        try:
            if is_stuck:
                await self._closing.wait()
            await asyncio.sleep(plan.seconds)
        except asyncio.CancelledError:
            self._afterlife.begin(question, began=began, hears_leaving=is_stuck)
            raise
        if plan.cut_after is not None or plan.eof_after is not None:
            self._afterlife.begin(question, began=began)
            cut(request)
            return "cut", web.Response(status=500)
        if plan.error_after is not None:
            message.status, message.error, message.run_status = "error", MODEL_FAILED, "failed"
            message.finished_at = now()
            return "failed_run", blocking_response(question)
        question.succeed(plan.final)
        return "answered", blocking_response(question)

    def _with_faults(self, path: str, plan: Plan) -> Plan:
        """The plan with what is switched on for all answers."""
        half = len(plan.deltas) // 2
        changes: dict[str, Any] = {}
        for name, place in (
            ("cut_midway", "cut_after"),
            ("eof_midway", "eof_after"),
            ("error_midway", "error_after"),
            ("stall", "stall_after"),
        ):
            if self._faults.strike(name, path):
                changes[place] = half
        if not changes:
            return plan
        return replace(plan, **changes)

    async def _ping_and_silence(self, request: web.Request) -> web.StreamResponse:
        """One ping, then nothing until the server's idle limit, then a clean end."""
        stream = self._event_stream(request, split=False)
        await stream.ping()
        try:
            async with asyncio.timeout(self._idle_seconds):
                await self._closing.wait()
        except TimeoutError:
            pass
        return stream.response

    def _event_stream(self, request: web.Request, *, split: bool) -> EventStream:
        return EventStream(
            request, ping_seconds=self._ping_seconds, split=split, closing=self._closing
        )
