"""What is named behind an answer."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import Answer, MessageId, Turn, WcId
from app.services.citations import MAX_SOURCE, MOST_SOURCES, footer_of, with_footer

TURN = Turn(
    message_id=MessageId(1),
    fence=1,
    bot_wc_id=WcId("wxid_bot"),
    group_id=WcId("1@chatroom"),
    user=WcId("wxid_a"),
    question="问",
    cites=True,
)
SILENT = Turn(
    message_id=MessageId(1),
    fence=1,
    bot_wc_id=WcId("wxid_bot"),
    group_id=WcId("1@chatroom"),
    user=WcId("wxid_a"),
    question="问",
)


def footer(*sources: str, text: str = "答") -> str:
    """Behind an answer that is from these."""
    return footer_of(TURN, Answer(text=text, sources=sources))


@pytest.mark.parametrize(
    ("sources", "wanted"),
    [
        ((), ""),
        (("",), ""),
        (("\u200b", "\n"), ""),
        (("手册.pdf",), "\n\n参考:《手册.pdf》"),
        (("手\n册",), "\n\n参考:《手 册》"),
        (("甲", "乙", "甲"), "\n\n参考:《甲》《乙》"),
        (tuple("一二三四五六"), "\n\n参考:《一》《二》《三》《四》《五》 等 6 篇"),
        (("长" * 41,), f"\n\n参考:《{'长' * 39}…》"),
        (("长" * 41, "长" * 42), f"\n\n参考:《{'长' * 39}…》"),
        (("长" * 40,), f"\n\n参考:《{'长' * 40}》"),
    ],
)
def test_documents_are_named_once_and_shortly(sources: Sequence[str], wanted: str) -> None:
    """In Dify's order, the best ones first."""
    assert footer(*sources) == wanted


@pytest.mark.parametrize("text", ["", " \n", "\u200b"])
def test_an_empty_answer_is_from_nothing(text: str) -> None:
    """Else the group would see a line that answers nothing."""
    assert footer("手册.pdf", text=text) == ""


def test_a_group_without_the_switch_reads_the_answer_alone() -> None:
    """It is off by default."""
    answer = Answer(text="答", sources=("手册.pdf",))

    assert with_footer(SILENT, answer) is answer


@given(st.lists(st.text(max_size=300), max_size=30))
def test_a_footer_is_one_short_line_whatever_documents_are_called(names: list[str]) -> None:
    """It never crowds out the answer."""
    line = footer(*names).removeprefix("\n\n")

    assert line.splitlines() == ([line] if line else [])
    assert len(line) <= MOST_SOURCES * (MAX_SOURCE + 2) + 20
