"""What Dify is asked when somebody quotes a message."""

from hypothesis import given
from hypothesis import strategies as st

from app.models.content import Quoted
from app.models.flow import WcId
from app.services.quoting import MAX_QUOTED, with_quoted, without_quoted


def quoted(text: str, name: str = "张三") -> Quoted:
    return Quoted(sender=WcId("wxid_z"), sender_name=name, text=text, is_text=True)


def test_the_quoted_message_stands_in_brackets_above_the_question() -> None:
    """Who said it, what it says, then what was typed."""
    asked = with_quoted("那需要谁签字?", quoted("先填报销单"))

    assert asked == "「引用 张三:先填报销单」\n那需要谁签字?"


def test_without_anything_quoted_the_question_is_as_it_was_typed() -> None:
    """No quote, or one of which nothing can be read."""
    assert with_quoted("谁签字?", None) == "谁签字?"
    assert with_quoted("谁签字?", quoted(" \u200b")) == "谁签字?"


def test_a_nameless_sender_is_somebody() -> None:
    """The name may be missing, or be nothing to see."""
    assert with_quoted("?", quoted("甲", name="\u200b")) == "「引用 某人:甲」\n?"


BRACKETED = st.text(alphabet="「」『甲 \n")


@given(st.text() | BRACKETED, st.text() | BRACKETED, st.text(min_size=1))
def test_what_was_quoted_is_bounded_and_cannot_leave_its_brackets(
    text: str, name: str, question: str
) -> None:
    """Whatever the quoted message says, one closing bracket ends it."""
    asked = with_quoted(question, quoted(text, name))

    if asked == question:
        return
    inside, end, typed = asked.partition("」")
    assert (inside.count("「"), end, typed.strip()) == (1, "」", question.strip())
    assert len(inside) <= MAX_QUOTED + 80


@given(st.text() | BRACKETED, st.text() | BRACKETED, st.text(min_size=1))
def test_what_was_typed_can_be_had_again(text: str, name: str, typed: str) -> None:
    """Whatever was quoted."""
    question = f"1{typed}1"

    assert without_quoted(with_quoted(question, quoted(text, name))) == question
