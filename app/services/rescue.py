"""What becomes of a question whose answer nobody heard to its end: fetched, left open, or given up."""

from contextlib import suppress

from loguru import logger

from app.models.flow import Asking, Turn
from app.services.errors import DifyError, StoreUnavailable
from app.services.metrics import Metrics
from app.services.recovery import Nothing, Recovery
from app.services.stages import Stages
from app.services.stops import Stops
from app.services.streamed_reply import StreamedReply
from app.services.wording import Wording
from app.utils.budget import Budget


class Rescue:
    """Fetches answers and plans them; what cannot be had any more is stopped and forgotten."""

    def __init__(
        self,
        *,
        recovery: Recovery,
        wording: Wording,
        stops: Stops,
        stages: Stages,
        metrics: Metrics,
    ) -> None:
        self._recovery = recovery
        self._wording = wording
        self._stops = stops
        self._stages = stages
        self._metrics = metrics

    async def complete(
        self, turn: Turn, asking: Asking, reply: StreamedReply, budget: Budget
    ) -> bool:
        """
        Fetch the answer, and plan what follows the parts that are out.

        Args:
            budget: of the try; it ends the looking, not the planning.

        Returns:
            False: Dify has no answer, or one that does not begin with these parts.

        Raises:
            DifyError: Dify is away; a next try may find more.
            StaleFence, StoreUnavailable: as ``Outbox.plan``.
        """
        logger.info("dify.recovering", message=asking.dify_message_id, run=asking.workflow_run_id)
        try:
            found = await self._recovery.fetch(asking, turn, budget)
        except DifyError:
            self._count("away")
            raise
        if isinstance(found, Nothing):
            self._count("nothing")
            logger.warning("dify.not_recovered", reason=found.reason)
            if found.may_run:
                self._stops.send(asking.task_id, turn.user)
            return False
        budget.end()
        planned = reply.planned
        if not await reply.complete(self._wording.of(found, is_plain=turn.is_plain)):
            self._count("differs")
            logger.warning("dify.not_recovered", reason="differs", planned=planned)
            return False
        self._count("whole")
        logger.info("dify.recovered", segments=reply.planned, before=planned)
        return True

    async def give_up(self, turn: Turn, asking: Asking) -> None:
        """
        The time is over: nobody will read what Dify is writing.

        It is forgotten before it is stopped: what an app saves then looks like a whole answer.
        """
        if asking.dify_message_id:
            self._count("unfinished")
        self.forget(turn)
        with suppress(StoreUnavailable):
            await self._stages.flush_together()
        self._stops.send(asking.task_id, turn.user)

    def stop(self, turn: Turn, asking: Asking) -> None:
        """Nobody wants what Dify is writing."""
        self._stops.send(asking.task_id, turn.user)

    def note_asked(self, turn: Turn, asking: Asking, app: str) -> None:
        """From now on *app* has the question; ids of a former asking are no more in force."""
        self._stages.note(turn.message_id, fence=turn.fence, asked_at=asking.asked_at)
        # Written late it must not take its ids from an answer.
        self._stages.note(
            turn.message_id,
            fence=turn.fence,
            while_unfinished=True,
            dify_app=app,
            dify_message_id="",
            dify_task_id="",
            dify_run_id="",
        )

    def forget(self, turn: Turn) -> None:
        """No answer is to be had of what was asked: a next try asks anew."""
        self._stages.note(turn.message_id, fence=turn.fence, while_unfinished=True, dify_app="")

    async def end(self) -> None:
        """Wait for what is on its way to Dify; two seconds at most."""
        await self._stops.end()

    def _count(self, outcome: str) -> None:
        self._metrics.recovered.labels(outcome=outcome).inc()
