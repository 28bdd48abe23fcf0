"""
The use case: answer one message.

Dify is asked, the answer is cut into segments, and the outbox takes them. What goes wrong is
raised in the words of ``errors.py``; the worker decides what becomes of it.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field

from loguru import logger

from app.models.flow import Answer, Asking, MessageId, PendingForm, Turn
from app.services.citations import with_footer
from app.services.dify.client import DifyClient
from app.services.dify.first_text import FirstText
from app.services.dify.gate import Gate, Slot
from app.services.dify.inputs import InputTemplates
from app.services.dify.moderation import Moderation
from app.services.dify.wire import ChatFile, ChatRequest, TextDelta
from app.services.enclosing import Enclosing
from app.services.errors import (
    DifyConversationGone,
    DifyConversationSpoilt,
    DifyError,
    InputLacking,
    LeaseLost,
    ServiceError,
    StaleFence,
    StoreUnavailable,
    code_of,
    loggable,
)
from app.services.form_choice import Choice, choice_of_form
from app.services.media import note_links
from app.services.metrics import Metrics
from app.services.outbox import Outbox
from app.services.planning import plan_patiently
from app.services.quoting import without_quoted
from app.services.recap import Recap
from app.services.rescue import Rescue
from app.services.resuming import FORM_GONE, Gone, Resuming
from app.services.segmenter import Segmenter
from app.services.stages import Stages, utc_now
from app.services.streamed_reply import StreamedReply
from app.services.suggesting import Suggesting
from app.services.tracing import Fact, Step, Tracer, traced
from app.services.wording import Wording
from app.utils.budget import Budget
from app.utils.clock import Clock
from app.utils.stopwatch import Stopwatch, Timed


@dataclass(eq=False, slots=True)
class _Try:
    """One try to answer: its budget, what it asks, and what of the answer was planned."""

    turn: Turn
    reply: StreamedReply
    budget: Budget = field(default_factory=Budget)
    #: The question whose end is not heard yet: this try's own, or a former one's.
    asking: Asking | None = None
    #: Its place at Dify, once it has one.
    slot: Slot | None = None
    #: Dify is away; what it has is fetched by a next try.
    is_left_open: bool = False
    #: What the group reads in front of the answer.
    preface: str = ""

    def hear_first(self, seconds: float) -> None:
        """Dify's first byte came after so long; of a blocking call the answer is all that comes."""
        if self.slot is not None:
            self.slot.hear(seconds)

    @property
    def running(self) -> Asking:
        """What Dify is at, by the ids that it may be stopped by."""
        told = self.reply.asking
        return told if told.task_id else self.asking or told

    def unheard(self, error: Exception) -> Asking | None:
        """What Dify may have an answer to in spite of *error*; None: it said no, or was not asked."""
        told = self.reply.asking
        if self.reply.is_failed:
            return None
        if told.is_bare_run or (told.conversation_id and told.dify_message_id):
            return told
        may_run = isinstance(error, DifyError) and error.may_run
        is_known = self.asking is not None and self.asking.conversation_id
        return self.asking if may_run and is_known else None


#: What the log says of a conversation that is not gone on with.
_LEFT = {
    DifyConversationGone: "dify.conversation_gone",
    DifyConversationSpoilt: "dify.conversation_spoilt",
}


class Replies:
    """Answers turns, in the mode the settings say."""

    def __init__(
        self,
        *,
        dify: DifyClient,
        moderation: Moderation,
        gate: Gate,
        outbox: Outbox,
        stages: Stages,
        rescue: Rescue,
        recap: Recap,
        enclosing: Enclosing,
        metrics: Metrics,
        tracer: Tracer,
        clock: Clock,
        streaming: bool,
        inputs: InputTemplates,
        wording: Wording,
        segmenter: Segmenter,
        suggesting: Suggesting,
        resuming: Resuming,
        budget: float,
    ) -> None:
        self._dify = dify
        self._moderation = moderation
        self._gate = gate
        self._outbox = outbox
        self._stages = stages
        self._rescue = rescue
        self._recap = recap
        self._enclosing = enclosing
        self._metrics = metrics
        self._tracer = tracer
        self._clock = clock
        self._streaming = streaming
        self._inputs = inputs
        self._wording = wording
        self._segmenter = segmenter
        self._suggesting = suggesting
        self._resuming = resuming
        #: Seconds of one try, counted from when Dify is free for it.
        self._budget = budget
        self._tries: dict[MessageId, _Try] = {}

    async def answer(self, turn: Turn) -> None:
        """
        Answer one message: when this returns, the answer is durable.

        Raises:
            DifyError: Dify gave none.
            InputLacking: the app cannot be asked.
            TimeoutError: the budget of one try is spent.
            StaleFence, StoreUnavailable: as ``Outbox.plan``.
        """
        one = self._tries[turn.message_id] = _Try(turn, self._reply(turn))
        try:
            async with one.budget:
                await self._answer(one)
        except (StaleFence, LeaseLost, StoreUnavailable):
            raise
        except Exception as error:
            if not await self._is_closed_short(one, error):
                raise
        finally:
            if self._tries.get(turn.message_id) is one:
                del self._tries[turn.message_id]

    def stop(self, message_id: MessageId) -> None:
        """Have Dify stop what it writes for a message, if it is at that; its try is ended by others."""
        one = self._tries.get(message_id)
        if one is not None:
            self._rescue.stop(one.turn, one.running)

    async def end(self) -> None:
        """No more turns come; wait for what is on its way."""
        await asyncio.gather(self._rescue.end(), self._suggesting.end())

    async def _answer(self, one: _Try) -> None:
        turn = one.turn
        if turn.form is not None and not turn.begun:
            choice = choice_of_form(turn.form.form, without_quoted(turn.question))
            if choice is not None and await self._is_resumed(one, turn.form, choice):
                return
        # What was submitted to the form is followed there; this was asked, and may be answered.
        if turn.unheard is not None:
            one.budget.begin(self._budget)
            if await self._is_fetched(one, turn.unheard):
                return
            one.budget.end()
        if turn.begun:
            # Another answer must not follow these parts.
            await self._close_short(one)
            return
        # Neither a place at Dify nor the try's time is spent on what comes from elsewhere.
        files = await self._enclosing.files(turn)
        try:
            async with self._gate.slot() as slot:
                one.slot = slot
                one.budget.begin(self._budget)
                await self._ask_with_healing(one, files)
        except (StaleFence, LeaseLost, StoreUnavailable):
            raise
        except Exception as error:
            unheard = one.unheard(error)
            if unheard is None:
                raise
            logger.warning("dify.unheard", error=code_of(error), planned=one.reply.planned)
            if not await self._is_fetched(one, unheard):
                raise

    async def _is_resumed(self, one: _Try, pending: PendingForm, choice: Choice) -> bool:
        """Whether the reply went to the form that waited for it; else it is a question."""
        async with self._gate.slot():
            one.budget.begin(self._budget)
            found = await self._resuming.resume(one.turn, pending, choice)
            one.budget.end()
        if isinstance(found, Gone):
            logger.warning("form.expired", is_question=found.is_question)
            if found.is_question:
                one.preface = FORM_GONE
                return False
            found = Answer(text=FORM_GONE)
        await self._plan(one, self._wording.of(found, is_plain=one.turn.is_plain))
        return True

    async def _plan(self, one: _Try, answer: Answer) -> None:
        """Plan a whole answer."""
        answer = with_footer(one.turn, answer)
        if one.preface:
            answer = answer.with_text(f"{one.preface}\n\n{answer.text}")
        segments = self._segmenter.answer(one.turn, answer)
        note_links(answer)
        await plan_patiently(self._outbox, self._clock, one.turn, segments, answer)
        self._note_answered(one, answer, len(segments))

    def _note_answered(self, one: _Try, answer: Answer, segments: int) -> None:
        logger.info("dify.answered", segments=segments)
        if answer.is_cut_short:
            logger.warning("reply.cut_short", planned=segments, error="workflow_stopped")
        self._suggesting.begin(one.turn, answer)

    async def _is_fetched(self, one: _Try, asking: Asking) -> bool:
        """Whether the answer to *asking* could be had after all; then it is planned."""
        one.asking = asking
        facts = {"app": self._dify.name}
        try:
            with traced(self._tracer, self._clock, Step.FETCH, one.turn.message_id, facts):
                return await self._rescue.complete(one.turn, asking, one.reply, one.budget)
        except DifyError:
            one.is_left_open = True
            raise

    async def _is_closed_short(self, one: _Try, error: Exception) -> bool:
        """
        The try failed. Parts that are out are the answer, unless the rest may be had later.

        Returns:
            False: nothing was closed; the failure is told.
        """
        if one.is_left_open:
            if one.reply.planned:
                await one.reply.keep()
            return False
        if one.budget.is_spent:
            await self._rescue.give_up(one.turn, one.running)
        if not one.reply.planned:
            self._rescue.forget(one.turn)
            return False
        if not isinstance(error, (ServiceError, TimeoutError)):
            logger.opt(exception=error).error("message.unexpected_error")
        await self._close_short(one, code_of(error))
        return True

    async def _close_short(self, one: _Try, code: str = "") -> None:
        logger.warning("reply.cut_short", planned=one.reply.planned, error=code)
        await one.reply.cut_short()

    async def _ask_with_healing(self, one: _Try, files: tuple[ChatFile, ...]) -> None:
        conversation = one.turn.conversation_id
        try:
            await self._ask(one, conversation, one.turn.question, files)
        except (DifyConversationGone, DifyConversationSpoilt) as error:
            if not conversation or one.reply.planned:
                raise
            event = _LEFT[type(error)]
            logger.warning(event, conversation=conversation, error=loggable(error))
            await self._ask(one, "", await self._recap.question(one.turn), files)

    async def _ask(
        self, one: _Try, conversation_id: str, query: str, files: tuple[ChatFile, ...]
    ) -> None:
        turn = one.turn
        request = ChatRequest(
            query=query,
            user=turn.user,
            conversation_id=conversation_id,
            inputs=self._fill_in(turn),
            files=files,
        )
        one.reply = self._reply(turn)
        one.asking = Asking(conversation_id=conversation_id, asked_at=utc_now())
        self._rescue.note_asked(turn, one.asking, self._dify.name)
        ask = self._stream if self._streaming else self._chat
        await ask(one, request)

    def _fill_in(self, turn: Turn) -> Mapping[str, str]:
        """Variables for the app, as far as it is known which ones it wants."""
        fields = self._dify.traits.fields
        lacking = self._inputs.lacking(fields, question_key=self._dify.question_key)
        if lacking:
            raise InputLacking(f"应用要求变量 {'、'.join(lacking)},请在 dify.inputs 中给出")
        return self._inputs.fill(turn, fields)

    async def _chat(self, one: _Try, request: ChatRequest) -> None:
        with self._measured("blocking", one) as watch, watch.running():
            answer = await self._dify.chat(request, one.reply.hear)
        one.budget.end()
        one.hear_first(watch.seconds)
        answer = self._wording.of(answer, is_plain=one.turn.is_plain)
        self._metrics.count_tokens(self._dify.name, answer.usage)
        await self._plan(one, answer)

    async def _stream(self, one: _Try, request: ChatRequest) -> None:
        async with self._moderation.learning(), AsyncExitStack() as stack:
            watch = stack.enter_context(self._measured("streaming", one))
            with watch.running():
                events = await stack.enter_async_context(self._dify.stream_chat(request))
            timed = Timed(events, watch, on_first=one.hear_first)
            first = self._metrics.first_token_seconds
            heard = one.budget.bounded(FirstText(timed, lambda: first.observe(watch.seconds)))
            if one.preface:
                await one.reply.take(TextDelta(text=f"{one.preface}\n\n"))
            await one.reply.follow(self._wording.events(heard, is_plain=one.turn.is_plain))
        one.budget.end()
        self._metrics.count_tokens(self._dify.name, one.reply.usage)
        segments = await one.reply.finish()
        self._note_answered(one, one.reply.answer, segments)

    def _reply(self, turn: Turn) -> StreamedReply:
        return StreamedReply(
            turn,
            outbox=self._outbox,
            stages=self._stages,
            segmenter=self._segmenter,
            clock=self._clock,
            may_be_replaced=self._moderation.may_take_back,
        )

    @contextmanager
    def _measured(self, mode: str, one: _Try) -> Iterator[Stopwatch]:
        """
        Tell metrics and trace how long Dify took.

        A spent budget is Dify's failure; what else goes wrong on our side says nothing about it.
        """
        watch = Stopwatch(self._clock)
        outcome = ""
        facts: dict[str, Fact] = {
            "app": self._dify.name,
            "mode": mode,
            "attempt": one.turn.attempts + 1,
        }
        try:
            with traced(self._tracer, self._clock, Step.ASK, one.turn.message_id, facts):
                yield watch
            outcome = "answered"
        except DifyError:
            outcome = "failed"
            raise
        finally:
            outcome = "failed" if one.budget.is_spent else outcome
            if outcome:
                self._metrics.dify_seconds.labels(mode=mode, outcome=outcome).observe(watch.seconds)
