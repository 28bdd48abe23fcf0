"""An answer put together from its events, and the rules of when it is whole. No I/O, no clock."""

from collections.abc import AsyncIterable, Callable
from dataclasses import replace

from app.models.flow import Answer, AnswerFile, Form, Usage
from app.services.dify.files import in_order
from app.services.dify.responses import stream_fault
from app.services.dify.thinking import THINKING
from app.services.dify.wire import (
    BAD_ENDS,
    ChatEvent,
    Ended,
    Failed,
    FileSaid,
    Frame,
    Paused,
    Started,
    TextDelta,
    TextReplaced,
    WorkflowFinished,
)
from app.services.errors import DifyError, DifyProtocolError, DifyUnavailable
from app.services.text import is_blank

#: Longest answer that is kept, in characters.
MAX_ANSWER = 16 * 1024 * 1024


class Assembly:
    """
    Folds events into an answer.

    An answer is whole after ``message_end`` or a workflow that succeeded, whichever is first: one
    release never sends the former, two others send them in opposite orders. It failed by an
    ``error`` event before that, or by a workflow that failed or was stopped without a word. A workflow
    stopped after ``message_replace`` was stopped by moderation, and the replacement is the answer; one
    stopped otherwise has said a part of one.
    """

    def __init__(self, *, has_conversation: bool = False) -> None:
        self._has_conversation = has_conversation
        self._parts: list[str] = []
        self._files: list[AnswerFile] = []
        self._length = 0
        self._ids = Started()
        self._usage = Usage()
        self._sources: tuple[str, ...] = ()
        self._is_from_agent = False
        self._is_replaced = False
        self._has_ended = False
        self._has_finished = False
        self._is_paused = False
        self._is_stopped = False
        self._form: Form | None = None
        self._failure: Failed | WorkflowFinished | None = None

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._parts)

    @property
    def is_failed(self) -> bool:
        """Dify gave up; ``result`` raises."""
        return self._failure is not None

    @property
    def is_complete(self) -> bool:
        """The answer is whole; only figures may still come."""
        return not self.is_failed and (self._has_ended or self._has_finished or self._is_paused)

    @property
    def is_settled(self) -> bool:
        """Nothing that matters can come any more."""
        return self.is_failed or (self._has_ended and self._has_finished)

    def feed(self, frame: Frame) -> list[ChatEvent]:
        """
        Take one frame; returns what it means for a reader who appends and replaces text.

        Repetitions are taken out and text that only the workflow's outputs have is put in, so that
        the text of a reader always equals that of ``answer``.
        """
        if self.is_failed:
            return []
        heard = frame.event if isinstance(frame.event, Started) else frame.ids
        ids = self._ids.merged(heard)
        told: list[ChatEvent] = [] if ids == self._ids else [ids]
        self._ids = ids
        return told if heard is frame.event else told + self._take(frame.event)

    def answer(self, *, is_cut_short: bool = False) -> Answer:
        """The answer so far as a value."""
        return Answer(
            text=self.text,
            files=in_order(self._files),
            conversation_id=self._ids.conversation_id,
            dify_message_id=self._ids.message_id,
            task_id=self._ids.task_id,
            workflow_run_id=self._ids.workflow_run_id,
            usage=self._usage,
            sources=self._sources,
            is_cut_short=is_cut_short or self._is_stopped,
            form=self._form,
        )

    def failure(self) -> DifyError | None:
        """The error that Dify's giving up stands for; None: it did not."""
        if self._failure is None:
            return None
        return stream_fault(self._failure, has_conversation=self._has_conversation)

    def result(self) -> Answer:
        """
        The whole answer.

        Raises:
            DifyError: Dify gave up (the class says by whose fault).
            DifyUnavailable: the stream ended before the answer did.
        """
        if (failure := self.failure()) is not None:
            raise failure
        if not self.is_complete:
            raise DifyUnavailable("Dify 的流式应答在结束之前断开")
        return self.answer()

    def _take(self, event: ChatEvent) -> list[ChatEvent]:
        match event:
            case TextDelta():
                return self._append(event)
            case TextReplaced():
                self._replace(event)
            case FileSaid():
                self._files.append(event.file)
            case Ended():
                self._has_ended = True
                self._files += event.files
                self._usage = event.usage if event.usage != Usage() else self._usage
                self._sources = event.sources or self._sources
            case WorkflowFinished():
                return self._finish(event)
            case Paused():
                return self._pause(event)
            case Failed() if not self.is_complete:
                self._failure = event
            case _:
                pass
        return [event]

    def _append(self, event: TextDelta) -> list[ChatEvent]:
        if self._is_repetition(event):
            return []
        self._is_from_agent = self._is_from_agent or event.is_agent
        self._add(event.text)
        return [event]

    def _is_repetition(self, event: TextDelta) -> bool:
        """Newer agents tell the whole answer once more at the end, some without its preamble."""
        if event.is_agent or not self._is_from_agent:
            return False
        text = event.text.strip()
        return bool(text) and self.text.strip().endswith(text)

    def _replace(self, event: TextReplaced) -> None:
        self._parts.clear()
        self._length = 0
        self._files = [file for file in self._files if not file.is_from_text]
        # What a filter behind us takes back is no word of moderation.
        self._is_replaced = self._is_replaced or event.reason != THINKING
        self._add(event.text)

    def _finish(self, event: WorkflowFinished) -> list[ChatEvent]:
        is_moderated = event.status == "stopped" and self._is_replaced
        is_unclear = bool(event.unclear_outputs) and not self._length and not self._is_replaced
        # Somebody stopped it, or it took too long: what it said is an answer, if not a whole one.
        self._is_stopped = (
            event.status == "stopped" and not is_moderated and not is_blank(self.text)
        )
        if (event.status in BAD_ENDS and not is_moderated and not self._is_stopped) or is_unclear:
            self._failure = event
            return [event]
        self._has_finished = True
        self._files += event.files
        if self._usage == Usage():
            self._usage = event.usage
        return [*self._fill_in(event.answer), event]

    def _pause(self, event: Paused) -> list[ChatEvent]:
        """The form is told as text behind what was said; the first one of several."""
        is_first, self._is_paused = not self._is_paused, True
        if not is_first:
            return [replace(event, form="", request=None)]
        request, told = event.request, list[ChatEvent]()
        if event.form:
            request = request and replace(request, said=self.text)
            delta = TextDelta(
                text=f"\n\n{event.form}" if self._length else event.form, is_form=True
            )
            self._add(delta.text)
            told.append(delta)
        self._form = request
        return [*told, replace(event, form="", request=request)]

    def _fill_in(self, text: str) -> list[ChatEvent]:
        """*text* as the answer if nothing was streamed."""
        if not text or self._length or self._is_replaced:
            return []
        self._add(text)
        return [TextDelta(text=text)]

    def _add(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_ANSWER:
            raise DifyProtocolError(f"Dify 的应答超过 {MAX_ANSWER} 个字符")
        if text:
            self._parts.append(text)


async def collect(
    events: AsyncIterable[ChatEvent], heard: Callable[[Started], None] | None = None
) -> Answer:
    """
    The whole answer of a stream.

    Args:
        heard: is told the ids as they come.

    Raises:
        DifyError: as ``Assembly.result`` does, and whatever *events* raises.
    """
    assembly = Assembly()
    async for event in events:
        assembly.feed(Frame(event=event))
        if heard is not None and isinstance(event, Started):
            heard(event)
    return assembly.result()


async def collect_run(events: AsyncIterable[ChatEvent]) -> Answer:
    """
    The whole answer of a run that is listened to from somewhere in its middle: as its end tells it.

    Raises:
        DifyError: as ``collect``.
    """
    assembly = Assembly()
    whole = ""
    async for event in events:
        assembly.feed(Frame(event=event))
        if isinstance(event, WorkflowFinished):
            whole = event.answer
    answer = assembly.result()
    return answer.with_text(whole) if whole else answer
