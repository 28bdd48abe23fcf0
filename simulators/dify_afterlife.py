"""
Runs whose client has left: which of them go on, and what is saved of them.

A stream of a run inside the API process dies at its next frame: its message stays with an empty
answer. A blocking call's run hears of nobody's leaving before its end, and what the newer release
runs in a worker goes on: both are saved when they are done. (Seen of chats and chatflows; the
other kinds are run by the same code.)
"""

import asyncio
import time

from simulators.dify_question import MODEL_FAILED, Question
from simulators.dify_release import Kind, Release, now
from simulators.dify_workflow_frames import STOPPED, STOPPED_BY_MODERATION
from simulators.serving import Errands


class Afterlife:
    """Lets them go on; a stop order reaches them."""

    def __init__(self) -> None:
        self.errands = Errands()
        self._running: dict[str, tuple[str, asyncio.Event]] = {}

    def stop(self, task_id: str, user: str) -> None:
        """Stop a run of the same user; anything else has no effect."""
        owner, stopped = self._running.get(task_id, (None, None))
        if stopped is not None and owner == user:
            stopped.set()

    def begin(self, question: Question, *, began: float, hears_leaving: bool = True) -> None:
        """
        The client of a question is gone before its end.

        Args:
            began: when the run did, by the monotonic clock.
            hears_leaving: it writes to its client while it runs.
        """
        message, plan = question.message, question.plan
        if message.run_status != "running":
            return
        message.answer = ""
        if plan.lost or (hears_leaving and not question.in_worker and not plan.saved):
            return
        self.errands.send(self._go_on(question, began))

    async def _go_on(self, question: Question, began: float) -> None:
        plan, task_id = question.plan, question.ids.task_id
        seconds = plan.saved_after
        if seconds is None:
            seconds = max(began + plan.seconds - time.monotonic(), 0.0)
        stopped = asyncio.Event()
        self._running[task_id] = (question.asked["user"], stopped)
        try:
            async with asyncio.timeout(seconds):
                await stopped.wait()
        except TimeoutError:
            self._finish(question)
        else:
            self._break_off(question, time.monotonic() - began)
        finally:
            del self._running[task_id]

    def _finish(self, question: Question) -> None:
        """As it would have ended with its client."""
        message, plan = question.message, question.plan
        if plan.error_after is not None:
            message.status, message.error, message.run_status = "error", MODEL_FAILED, "failed"
            message.finished_at = now()
            return
        question.succeed(plan.final)
        moderated_chatflow = plan.replacement is not None and question.app.kind is Kind.CHATFLOW
        if moderated_chatflow and question.release is Release.NEW:
            message.outputs = {}
            message.run_status, message.run_error = "stopped", STOPPED_BY_MODERATION

    def _break_off(self, question: Question, seconds: float) -> None:
        message, plan = question.message, question.plan
        written = int(max(seconds - plan.wait, 0.0) / plan.delay) if plan.delay else 0
        message.answer = "".join(plan.deltas[:written])
        message.run_status, message.run_error = "stopped", STOPPED
        message.finished_at = now()
