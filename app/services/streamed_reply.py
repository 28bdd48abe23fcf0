"""One answer while Dify still writes it: finished paragraphs are planned at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from loguru import logger

from app.models.flow import Answer, Asking, Segment, Turn, Usage
from app.services.citations import footer_of, with_footer
from app.services.dify.assembly import Assembly
from app.services.dify.wire import ChatEvent, Frame, Started, TextDelta, TextReplaced
from app.services.errors import StoreUnavailable
from app.services.media import file_segments, note_links
from app.services.outbox import Outbox
from app.services.planning import PLAN_PAUSE_SECONDS, patiently, plan_patiently
from app.services.replacing import continuation, piece_of, text_of
from app.services.segmenter import Segmenter
from app.services.stages import Stages, utc_now
from app.utils.clock import Clock


class StreamedReply:
    """Takes events in, plans segments."""

    def __init__(
        self,
        turn: Turn,
        *,
        outbox: Outbox,
        stages: Stages,
        segmenter: Segmenter,
        clock: Clock,
        may_be_replaced: Callable[[], bool],
    ) -> None:
        """
        Of a turn that has parts planned these are the beginning: it is closed, or goes on behind them.

        Args:
            may_be_replaced: whether Dify may take back what it says now; then no part is planned
                before the end.
        """
        self._turn = turn
        self._outbox = outbox
        self._stages = stages
        self._segmenter = segmenter
        self._clock = clock
        self._assembly = Assembly()
        self._has_text = False
        #: Segments of the text in force, and those of a text that Dify took back too late.
        self._current: list[Segment] = list(turn.begun)
        self._former: list[Segment] = []
        self._next_seq = turn.next_seq
        #: What the database has not taken so far: it goes with the next part.
        self._waiting: list[Segment] = []
        #: Numbers of the segments that it has still to make void.
        self._void: range | None = None
        self._not_before = 0.0
        self._may_be_replaced = may_be_replaced
        self._stream = segmenter.stream(turn, mentions=not turn.begun)
        #: Text that is held back from it.
        self._held: list[str] = []
        if turn.begun and turn.asking is not None:
            self._assembly.feed(Frame(event=_ids_of(turn.asking)))

    @property
    def planned(self) -> int:
        """How many segments the group may see: planned, or about to be, and not void."""
        return len(self._former) + len(self._current)

    @property
    def answer(self) -> Answer:
        """What Dify has said so far."""
        return self._assembly.answer()

    @property
    def usage(self) -> Usage:
        """What it cost, as far as Dify has said."""
        return self.answer.usage

    @property
    def asking(self) -> Asking:
        """The question by what Dify told of it."""
        answer = self._assembly.answer()
        return Asking(
            conversation_id=answer.conversation_id,
            dify_message_id=answer.dify_message_id,
            task_id=answer.task_id,
            workflow_run_id=answer.workflow_run_id,
        )

    @property
    def is_failed(self) -> bool:
        """Dify itself said that there will be no answer."""
        return self._assembly.is_failed

    def hear(self, started: Started) -> None:
        """Take in ids, of an answer that comes by another way than ``follow``."""
        self._assembly.feed(Frame(event=started))
        self._note_ids(started)

    async def follow(self, events: AsyncIterator[ChatEvent]) -> None:
        """
        Take in all events; between them plan what is due by the mere passing of time.

        Raises:
            StaleFence, StoreUnavailable: as ``take``.
            DifyError: as *events*.
        """
        while (event := await self._next(events)) is not None:
            await self.take(event)

    async def _next(self, events: AsyncIterator[ChatEvent]) -> ChatEvent | None:
        """The next event; None: there is none. Reading goes on while something is planned."""
        if self._due_at is None:
            return await anext(events, None)
        reading = asyncio.ensure_future(anext(events, None))
        try:
            while not reading.done():
                await asyncio.wait([reading], timeout=self._until_due())
                if not reading.done():
                    await self._plan_part(self._ready())
            return await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    @property
    def _due_at(self) -> float | None:
        """When there is something to plan though no event comes; None: not before the next one."""
        if self._waiting:
            return self._not_before
        return None if self._may_be_replaced() else self._stream.due_at

    def _until_due(self) -> float | None:
        """Seconds from now on."""
        due_at = self._due_at
        return None if due_at is None else max(due_at - self._clock.monotonic(), 0.0)

    async def take(self, event: ChatEvent) -> None:
        """
        Fold one event in; plan what is finished.

        Raises:
            StaleFence: as ``Outbox.plan_part``.
            StoreUnavailable: the text was replaced, and the database was away for two minutes.
        """
        self._assembly.feed(Frame(event=event))
        match event:
            case TextDelta(text=text):
                self._note_first_text(event)
                self._held.append(text)
            case TextReplaced(text=text):
                await self._replace(text)
            case Started():
                self._note_ids(event)
            case _:
                pass
        await self._plan_part(self._ready())

    async def finish(self) -> int:
        """Plan the rest: the answer is whole. Returns how many segments it has."""
        answer = self._assembly.answer()
        footer = footer_of(self._turn, answer)
        self._number(self._stream.finish("".join(self._held) + footer))
        self._add_files(answer)
        await self._close(answer.with_text(answer.text + footer))
        return self.planned

    async def complete(self, answer: Answer) -> bool:
        """
        The stream broke off, and this is the whole answer: plan what follows the planned parts.

        Returns:
            False: it does not begin with them, and nothing was planned.
        """
        if self._void is not None:
            await self._make_void(self._void)
        pieces = [piece_of(one) for one in self._current]
        answer = with_footer(self._turn, answer)
        kept, rest, is_mid_line = continuation(answer.text, pieces)
        if kept < len(pieces):
            return False
        self._stream = self._segmenter.stream(
            self._turn, mentions=not self.planned, is_mid_line=is_mid_line
        )
        self._number(self._stream.finish(rest))
        self._add_files(answer)
        await self._close(answer)
        return True

    async def keep(self) -> None:
        """The stream broke off, and the rest may be had later: plan what is finished."""
        await self._break_off()
        if self._waiting:
            answer = self._assembly.answer()
            await patiently(
                self._clock, lambda _: self._outbox.plan_part(self._turn, self._waiting, answer)
            )
            self._waiting = []

    async def cut_short(self) -> None:
        """The stream broke off behind planned parts: the answer is these and what else is finished."""
        await self._break_off()
        answer = self._assembly.answer(is_cut_short=True)
        said = text_of([*self._former, *self._current])
        await self._close(replace(answer, text=said, files=()))

    async def _break_off(self) -> None:
        if self._void is not None:
            await self._make_void(self._void)
        self._number(self._stream.break_off())

    def _ready(self) -> list[str]:
        """The pieces that may go out now."""
        if self._may_be_replaced():
            return []
        text, self._held = "".join(self._held), []
        now = self._clock.monotonic()
        return self._stream.feed(text, now) if text else self._stream.due(now)

    async def _close(self, answer: Answer) -> None:
        await plan_patiently(self._outbox, self._clock, self._turn, self._waiting, answer)

    def _number(self, pieces: list[str]) -> None:
        """Give pieces their numbers; from now on they wait for the database."""
        segments = self._segmenter.number(
            self._turn, pieces, start=self._next_seq, mentions=not self.planned
        )
        self._append(segments)

    def _add_files(self, answer: Answer) -> None:
        """What follows the text, once it is known that nothing is taken back."""
        note_links(answer)
        self._append(file_segments(answer, start=self._next_seq))

    def _append(self, segments: list[Segment]) -> None:
        self._waiting += segments
        self._current += segments
        self._next_seq += len(segments)

    async def _plan_part(self, pieces: list[str]) -> None:
        self._number(pieces)
        now = self._clock.monotonic()
        if not self._waiting or now < self._not_before:
            return
        try:
            await self._outbox.plan_part(self._turn, self._waiting, self._assembly.answer())
        except StoreUnavailable as error:
            # Perhaps it was carried out: the same numbers go with the next part.
            logger.warning("reply.part_later", segments=len(self._waiting), error=error)
            self._not_before = self._clock.monotonic() + PLAN_PAUSE_SECONDS
            return
        self._waiting = []

    async def _replace(self, text: str) -> None:
        """
        Dify takes its words back, or tells them once more.

        Segments that begin the new text stay, and it goes on behind them. The others are void: they
        are not sent, or taken back. Behind what is out and cannot be taken back the whole new text
        follows.
        """
        # Nothing more of the old text, even if the stream breaks off in here.
        self._stream = self._segmenter.stream(self._turn, mentions=False)
        self._held = []
        kept, rest, is_mid_line = continuation(text, [piece_of(one) for one in self._current])
        if kept < len(self._current):
            await self._make_void(range(self._current[kept].seq, self._next_seq))
        if kept < len(self._current):
            self._former += self._current
            self._current = []
            _, rest, is_mid_line = continuation(text, ())
        self._stream = self._segmenter.stream(
            self._turn, mentions=not self.planned, is_mid_line=is_mid_line
        )
        self._held = [rest]

    async def _make_void(self, void: range) -> None:
        """Cancel or take back; only the database knows which of them are out, and for how long."""
        self._void = void
        self._waiting = [one for one in self._waiting if one.seq not in void]
        answer = self._assembly.answer()
        live = await patiently(
            self._clock,
            lambda _: self._outbox.plan_part(self._turn, self._waiting, answer, void=void),
        )
        self._waiting, self._void = [], None
        self._current = [one for one in self._current if one.seq in live]

    def _note_ids(self, started: Started) -> None:
        """Ids of the run, so that a next worker can find it."""
        named = {
            "dify_conversation_id": started.conversation_id,
            "dify_message_id": started.message_id,
            "dify_task_id": started.task_id,
            "dify_run_id": started.workflow_run_id,
        }
        columns: dict[str, Any] = {name: value[:64] for name, value in named.items() if value}
        # The plan has them, too; noted under the same guard as what an asking clears.
        self._stages.note(
            self._turn.message_id, fence=self._turn.fence, while_unfinished=True, **columns
        )

    def _note_first_text(self, delta: TextDelta) -> None:
        if not self._has_text and delta.text.strip():
            self._has_text = True
            self._stages.note(
                self._turn.message_id, fence=self._turn.fence, first_text_at=utc_now()
            )


def _ids_of(asking: Asking) -> Started:
    return Started(
        conversation_id=asking.conversation_id,
        message_id=asking.dify_message_id,
        task_id=asking.task_id,
        workflow_run_id=asking.workflow_run_id,
    )
