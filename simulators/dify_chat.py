"""POST /v1/chat-messages of the simulated Dify: checks, faults, then the answer in either mode."""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from simulators.dify_afterlife import Afterlife, by_worker
from simulators.dify_answering import (
    MODEL_FAILED,
    Answering,
    StreamCut,
    StreamEnded,
)
from simulators.dify_concurrency import Concurrency
from simulators.dify_errors import (
    DifyRefused,
    checked_body,
    conversation_missing,
    failing,
    too_many,
)
from simulators.dify_frames import Frames, Ids
from simulators.dify_question import Question, blocking_failure, blocking_response
from simulators.dify_release import Kind, Release, now
from simulators.dify_script import Plan, make_plan, parse_script
from simulators.dify_store import App, Conversation, Store
from simulators.dify_wire import EventStream
from simulators.dify_workflow_frames import WorkflowData
from simulators.faults import FaultSwitches
from simulators.recorder import Record
from simulators.serving import cut

PATH = "/v1/chat-messages"
KEPT_TRIES = 50_000

OnQuestion = Callable[[Mapping[str, Any], int], None]
"""Hears what is known of a question, and the TCP port it came from."""


class ChatMessages:
    """The endpoint; one per server, for all its apps."""

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
    ) -> None:
        self.release = release
        self.concurrency = Concurrency()
        self._afterlife = Afterlife(release)
        self.errands = self._afterlife.errands
        self.on_question: OnQuestion | None = None
        self._store = store
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
        self, request: web.Request, app: App, body: Any, record: Record
    ) -> tuple[str, web.StreamResponse]:
        """
        What happened in a word, and the response.

        Raises:
            DifyRefused: an error body is due.
        """
        asked = checked_body(self.release, body)
        streaming = asked.get("response_mode") == "streaming"
        record.facts |= {
            "user": asked["user"],
            "query": asked["query"],
            "conversation_id": asked["conversation_id"],
            "mode": "streaming" if streaming else "blocking",
            "kind": app.kind.value,
        }
        if app.kind is Kind.AGENT and not streaming:
            raise DifyRefused(400, "invalid_param", "Agent Chat App does not support blocking mode")
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
        conversation = self._conversation(app, asked)
        if conversation is None:
            if self._by_worker(app):
                return "lost_before_graph", await self._ping_and_silence(request)
            raise conversation_missing(self.release)
        plan = self._plan(asked, conversation)
        record.facts["try"] = self._tries[asked["user"], asked["query"]]
        if self.on_question is not None and request.transport is not None:
            self.on_question(record.facts, request.transport.get_extra_info("peername")[1])
        if plan.fail is not None:
            return f"http_{plan.fail[0]}", failing(self.release, *plan.fail, query=asked["query"])
        question = self._question(app, asked, conversation, plan)
        record.facts |= {
            "answered_conversation_id": question.ids.conversation_id,
            "message_id": question.ids.message_id,
            "task_id": question.ids.task_id,
            "run_id": question.ids.run_id,
        }
        await self._name(question)
        if record.facts["mode"] == "streaming":
            return await self._stream(request, question)
        return await self._block(request, question)

    def _question(
        self, app: App, asked: dict[str, Any], conversation: Conversation, plan: Plan
    ) -> Question:
        message = self._store.add_message(conversation, asked["query"], asked["inputs"])
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
            app=app,
            asked=asked,
            conversation=conversation,
            message=message,
            plan=self._with_faults(plan),
            ids=ids,
        )

    def _conversation(self, app: App, asked: dict[str, Any]) -> Conversation | None:
        wanted = asked["conversation_id"]
        if wanted is None:
            return self._store.create(app, asked["user"])
        return self._store.find(app, asked["user"], wanted)

    def _plan(self, asked: dict[str, Any], conversation: Conversation) -> Plan:
        key = (asked["user"], asked["query"])
        self._tries[key] = self._tries.get(key, 0) + 1
        self._tries.move_to_end(key)
        if len(self._tries) > KEPT_TRIES:
            self._tries.popitem(last=False)
        pace = self._faults.strike("pace", PATH)
        return make_plan(
            parse_script(asked["query"]).on_try(self._tries[key]),
            release=self.release,
            turn=len(conversation.messages) + 1,
            pace=pace.value if pace else self._pace,
        )

    async def _name(self, question: Question) -> None:
        """The newer release waits before a first turn unless told not to name the conversation."""
        naming = question.asked.get("auto_generate_name") is not False
        if question.first and naming and self.release is Release.NEW:
            await asyncio.sleep(self._name_seconds)

    async def _stream(
        self, request: web.Request, question: Question
    ) -> tuple[str, web.StreamResponse]:
        asked, ids, plan = question.asked, question.ids, question.plan
        began = time.monotonic()
        stream = self._event_stream(request, split=plan.split)
        workflow = WorkflowData(
            self.release,
            ids,
            query=asked["query"],
            user=asked["user"],
            end_user=self._store.end_user(asked["user"]),
            turn=len(question.conversation.messages),
        )
        frames = Frames(self.release, question.app.kind, ids)
        answering = Answering(plan, frames, stream, question.message, workflow)
        self._running[ids.task_id] = (asked["user"], stream)
        try:
            if self._by_worker(question.app):
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
            del self._running[ids.task_id]
        return answering.outcome, stream.response

    async def _block(
        self, request: web.Request, question: Question
    ) -> tuple[str, web.StreamResponse]:
        plan, message = question.plan, question.message
        began = time.monotonic()
        if self._by_worker(question.app):
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
            message.status, message.error = "error", MODEL_FAILED
            raise blocking_failure(question)
        message.answer = plan.kept or plan.final
        message.run_status, message.finished_at = "succeeded", now()
        return "answered", blocking_response(self.release, question)

    def _by_worker(self, app: App) -> bool:
        """The newer release runs chatflows outside its API process."""
        return by_worker(self.release, app.kind)

    def _with_faults(self, plan: Plan) -> Plan:
        """The plan with what is switched on for all answers."""
        half = len(plan.deltas) // 2
        changes: dict[str, Any] = {}
        for name, place in (
            ("cut_midway", "cut_after"),
            ("eof_midway", "eof_after"),
            ("error_midway", "error_after"),
            ("stall", "stall_after"),
        ):
            if self._faults.strike(name, PATH):
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
