"""When an answer is whole, when it failed, and what its text is."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import Answer, Form, Usage
from app.services.dify import assembly as assembly_module
from app.services.dify.assembly import Assembly, collect
from app.services.dify.wire import (
    ChatEvent,
    Ended,
    Failed,
    Frame,
    Paused,
    Ping,
    Started,
    TextDelta,
    TextReplaced,
    Unknown,
    WorkflowFinished,
)
from app.services.errors import (
    DifyConversationGone,
    DifyError,
    DifyProtocolError,
    DifyRejected,
    DifyUnavailable,
)

GOOD = WorkflowFinished(status="succeeded", answer="ab")


def fold(*events: ChatEvent) -> Assembly:
    """All events taken."""
    assembly = Assembly()
    for event in events:
        assembly.feed(Frame(event=event))
    return assembly


def text(value: str, *, is_agent: bool = False) -> TextDelta:
    """A piece."""
    return TextDelta(text=value, is_agent=is_agent)


@pytest.mark.parametrize(
    ("events", "answer"),
    [
        ((text("a"), text("b"), Ended()), "ab"),
        ((text("a"), text("b"), GOOD), "ab"),
        ((text("a"), GOOD, Ended()), "a"),
        ((text("a"), Ended(), GOOD), "a"),
        ((text("a"), WorkflowFinished(status="partial-succeeded")), "a"),
        ((text("a"), WorkflowFinished(status="")), "a"),
        ((GOOD,), "ab"),
        ((text(""), GOOD), "ab"),
        ((Ended(), GOOD), "ab"),
        ((Ended(),), ""),
        ((text("a"), TextReplaced(text="x"), TextReplaced(text="y"), Ended()), "y"),
        ((text("a"), TextReplaced(text="x"), text("y"), Ended()), "xy"),
        ((text("a"), TextReplaced(text=""), GOOD), ""),
        ((text("a"), TextReplaced(text="x"), WorkflowFinished(status="stopped")), "x"),
        ((text("a", is_agent=True), text("b", is_agent=True), text("ab"), Ended()), "ab"),
        ((text("a", is_agent=True), text("b", is_agent=True), text("b "), Ended()), "ab"),
        ((text("a", is_agent=True), text("c"), Ended()), "ac"),
        ((text("a", is_agent=True), text("\n"), text("b"), Ended()), "a\nb"),
        ((text("a"), text("a"), Ended()), "aa"),
        ((text("a"), Ended(), Failed(code="late")), "a"),
        ((text("a"), Paused()), "a"),
        ((Paused(form="?"), Paused()), "?"),
        ((Paused(form="?"), Paused(form="!")), "?"),
        ((text("a"), Paused(form="?"), Paused()), "a\n\n?"),
        ((Ping(), Unknown(name="node_started"), text("a"), Ended()), "a"),
    ],
)
def test_whole_answers(events: Sequence[ChatEvent], answer: str) -> None:
    """Each order of ends, replacements, repetitions and outputs."""
    assembly = fold(*events)

    assert assembly.is_complete
    assert assembly.result().text == answer


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        ((), DifyUnavailable),
        ((text("a"),), DifyUnavailable),
        ((text("a"), TextReplaced(text="b")), DifyUnavailable),
        ((text("a"), Failed(code="internal_server_error", status=500)), DifyUnavailable),
        ((Failed(code="provider_not_initialize", status=400),), DifyRejected),
        ((text("a"), WorkflowFinished(status="failed", error="bad template")), DifyRejected),
        ((WorkflowFinished(status="failed", error="Connection refused"),), DifyUnavailable),
        ((WorkflowFinished(status="failed"), Failed(code="invalid_param")), DifyRejected),
        ((WorkflowFinished(status="stopped"),), DifyRejected),
        ((text(" \n"), WorkflowFinished(status="stopped")), DifyRejected),
        ((Ended(), WorkflowFinished(status="failed")), DifyRejected),
    ],
)
def test_answers_that_are_none(events: Sequence[ChatEvent], kind: type[DifyError]) -> None:
    """A cut, an error event, a failed or stopped run."""
    assembly = fold(*events)

    assert not assembly.is_complete
    with pytest.raises(DifyError) as caught:
        assembly.result()
    assert type(caught.value) is kind


def test_what_a_run_said_before_it_was_stopped_is_a_part_of_an_answer() -> None:
    """Nobody would ever see it otherwise; the verdict says that it is none whole."""
    assembly = fold(text("a"), WorkflowFinished(status="stopped"), Ended())

    assert assembly.is_complete
    assert (assembly.result().text, assembly.result().is_cut_short) == ("a", True)


def test_a_form_goes_along_with_what_was_said_before_it() -> None:
    """So that it is not said again when the run goes on; a reader behind a filter sees the same."""
    form = Form(token="t")
    first, second = Assembly(), Assembly()
    for event in (text("a"), Paused(form="?", request=form), Paused()):
        for told in first.feed(Frame(event=event)):
            second.feed(Frame(event=told))

    assert first.answer() == second.answer()
    assert second.answer().form == replace(form, said="a")
    assert second.answer().text == "a\n\n?"


def test_conversation_that_is_gone_is_told_from_other_failures() -> None:
    """Only if the request named one."""
    gone = Frame(event=Failed(code="not_found", message="Conversation Not Exists.", status=404))
    with_id, without_id = Assembly(has_conversation=True), Assembly()
    with_id.feed(gone)
    without_id.feed(gone)

    assert isinstance(with_id.failure(), DifyConversationGone)
    assert type(without_id.failure()) is DifyRejected


def test_settled_means_both_ends_or_failure() -> None:
    """After one end the other may still come."""
    assert not fold(text("a"), Ended()).is_settled
    assert not fold(text("a"), GOOD).is_settled
    assert fold(GOOD, Ended()).is_settled
    assert fold(Failed()).is_settled


def test_ids_are_told_once_each_time_one_is_learnt() -> None:
    """A reader can save them with the first event, and the run's id when it comes."""
    assembly = Assembly()
    first = Started(conversation_id="c", task_id="t")

    assert assembly.feed(Frame(event=text("a"), ids=first)) == [first, text("a")]
    assert assembly.feed(Frame(event=text("b"), ids=first)) == [text("b")]
    told = assembly.feed(Frame(event=Ended(), ids=Started(workflow_run_id="w")))
    assert told[0] == Started(conversation_id="c", task_id="t", workflow_run_id="w")
    assert assembly.answer().workflow_run_id == "w"


def test_cost_of_the_message_outweighs_that_of_the_run() -> None:
    """The run knows tokens only."""
    message = Usage(total_tokens=5, total_price="0.1", currency="USD")
    run = WorkflowFinished(status="succeeded", usage=Usage(total_tokens=4))

    assert fold(text("a"), run, Ended(usage=message)).answer().usage == message
    assert fold(text("a"), Ended(usage=message), run).answer().usage == message
    assert fold(text("a"), run, Ended()).answer().usage == run.usage


def test_partial_answer_can_be_had_as_cut_short() -> None:
    """What arrived before a cut, for those who have sent some of it."""
    assert fold(text("a")).answer(is_cut_short=True) == Answer(text="a", is_cut_short=True)


def test_endless_answer_is_a_protocol_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded."""
    monkeypatch.setattr(assembly_module, "MAX_ANSWER", 10)

    with pytest.raises(DifyProtocolError):
        fold(*(text("abc") for _ in range(4)))


EVENTS = st.one_of(
    st.builds(TextDelta, text=st.text("ab ", max_size=3), is_agent=st.booleans()),
    st.builds(TextReplaced, text=st.text("xy", max_size=2)),
    st.builds(
        WorkflowFinished,
        status=st.sampled_from(["succeeded", "failed", "stopped", "partial-succeeded", ""]),
        answer=st.text("z", max_size=2),
    ),
    st.builds(
        Started, conversation_id=st.sampled_from(["", "c"]), task_id=st.sampled_from(["", "t"])
    ),
    st.builds(Paused, form=st.sampled_from(["", "?"])),
    st.sampled_from([Ended(), Ping(), Unknown(name="x"), Failed(code="x")]),
)


@given(events=st.lists(EVENTS, max_size=12))
def test_reader_who_appends_and_replaces_has_the_answers_text(events: list[ChatEvent]) -> None:
    """What is told, folded in the plainest way, is the answer; told again, it is the same."""
    first, second, plain = Assembly(), Assembly(), ""
    for event in events:
        for told in first.feed(Frame(event=event)):
            second.feed(Frame(event=told))
            if isinstance(told, TextDelta):
                plain += told.text
            elif isinstance(told, TextReplaced):
                plain = told.text

    assert plain == first.text
    assert second.answer() == first.answer()
    assert second.is_complete == first.is_complete
    assert second.is_failed == first.is_failed


async def test_collect_gives_the_whole_answer() -> None:
    """Ids, text and cost of a stream."""

    async def events() -> AsyncIterator[ChatEvent]:
        yield Started(conversation_id="c")
        yield text("a")
        yield Ended(usage=Usage(total_tokens=2))

    expected = Answer(text="a", conversation_id="c", usage=Usage(total_tokens=2))
    assert await collect(events()) == expected


async def test_collect_of_a_cut_stream_raises() -> None:
    """Half an answer is not an answer."""

    async def events() -> AsyncIterator[ChatEvent]:
        yield text("a")

    with pytest.raises(DifyUnavailable):
        await collect(events())
