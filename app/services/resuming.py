"""
Going on with a run that waits for a person: his reply fills in its form, and the rest is its answer.

Built after Dify's documentation and the code of its releases; no recording has any of it.
"""

from dataclasses import dataclass, replace

from loguru import logger

from app.models.flow import Answer, PendingForm, Turn
from app.services.dify.client import DifyClient
from app.services.errors import DifyFormGone, DifyFormRefused, loggable
from app.services.form_choice import Choice
from app.services.forms import Forms, is_expired
from app.services.stages import Stages, utc_now
from app.utils.clock import Clock

FORM_GONE = "上一张表单已经失效,请重新提问。"
FORM_REFUSED = "表单没有接受这个回复,请按上面的选项再回复一次。"


@dataclass(frozen=True, slots=True)
class Gone:
    """The form is none any more; the reply is a question as ever, if it was not meant for the form alone."""

    is_question: bool


class Resuming:
    """Fills in forms of one app, and hears how their runs end."""

    def __init__(self, *, dify: DifyClient, forms: Forms, stages: Stages, clock: Clock) -> None:
        self._dify = dify
        self._forms = forms
        self._stages = stages
        self._clock = clock

    async def resume(self, turn: Turn, pending: PendingForm, choice: Choice) -> Answer | Gone:
        """
        Submit the reply and follow the run to its end, or to its next form.

        A former try may have submitted it and died: then Dify says that the form is done, and the run
        is followed all the same.

        Raises:
            DifyError: as ``DifyClient.stream_chat``; a next try goes on here.
            StoreUnavailable: nothing was submitted.
        """
        may_be_submitted = turn.asking is not None
        if is_expired(pending.form, self._clock.time()) and not may_be_submitted:
            return await self._gone(turn, choice)
        await self._note(turn, pending)
        try:
            await self._dify.submit_form(
                pending.form.token, turn.user, action=choice.action, inputs=choice.inputs
            )
            logger.info("form.submitted", action=choice.action)
        except DifyFormGone as error:
            logger.warning("form.gone", error=loggable(error), followed=may_be_submitted)
            if not may_be_submitted:
                return await self._gone(turn, choice)
        except DifyFormRefused as error:
            logger.warning("form.refused", error=loggable(error))
            return Answer(text=FORM_REFUSED, conversation_id=pending.conversation_id)
        answer = await self._dify.resumed(pending.workflow_run_id, turn.user, pending.form.token)
        return _rest(pending, answer)

    async def _gone(self, turn: Turn, choice: Choice) -> Gone:
        await self._forms.drop(turn)
        return Gone(is_question=not choice.is_explicit)

    async def _note(self, turn: Turn, pending: PendingForm) -> None:
        """From now on it may be submitted: a next try must know."""
        self._stages.note(turn.message_id, fence=turn.fence, asked_at=utc_now())
        self._stages.note(
            turn.message_id,
            fence=turn.fence,
            while_unfinished=True,
            dify_app=turn.app,
            dify_conversation_id=pending.conversation_id,
            dify_message_id=pending.dify_message_id,
            dify_task_id=pending.task_id,
            dify_run_id=pending.workflow_run_id,
        )
        await self._stages.flush_together()


def _rest(pending: PendingForm, answer: Answer) -> Answer:
    """What the run says behind its form; a chatflow's answer begins with what it said before."""
    said = pending.form.said
    text = answer.text.removeprefix(said).lstrip("\n") if said else answer.text
    form = answer.form and replace(answer.form, said=said + answer.form.said.removeprefix(said))
    return replace(
        answer,
        text=text,
        conversation_id=answer.conversation_id or pending.conversation_id,
        dify_message_id=answer.dify_message_id or pending.dify_message_id,
        task_id=answer.task_id or pending.task_id,
        workflow_run_id=answer.workflow_run_id or pending.workflow_run_id,
        form=form,
        ends_form=True,
    )
