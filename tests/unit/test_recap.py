"""What a new conversation is told of the old one."""

from hypothesis import given
from hypothesis import strategies as st

from app.services.conversations import PastTurn
from app.services.recap import MAX_RECAP, MAX_WORDS, with_past


def past(question: str, answer: str) -> PastTurn:
    return PastTurn(question=question, answer=answer)


def test_the_past_stands_in_front_of_the_question_the_oldest_first() -> None:
    """So that "and on Sundays?" means something."""
    told = with_past("周日呢?", [past("几点开门?", "九点"), past("几点关?", "五点")])

    assert told == (
        "(此前的对话,供参考)\n问:几点开门?\n答:九点\n问:几点关?\n答:五点\n\n(现在的问题)\n周日呢?"
    )


def test_without_a_past_the_question_stands_alone() -> None:
    """Nothing is made up."""
    assert with_past("周日呢?", []) == "周日呢?"


def test_long_words_are_shortened_and_the_oldest_turns_fall_out() -> None:
    """The last turn matters most."""
    told = with_past("问", [past(f"{n}" * 900, "长" * 5000) for n in range(5)])

    assert "4" * 900 in told
    assert "0" not in told
    assert "长" * (MAX_WORDS - 1) + "…" in told


@given(st.lists(st.tuples(st.text(max_size=3000), st.text(max_size=3000)), max_size=8), st.text())
def test_a_recap_is_bounded_and_ends_with_the_question(
    turns: list[tuple[str, str]], question: str
) -> None:
    """Whatever was said."""
    told = with_past(question, [past(*turn) for turn in turns])

    assert told.endswith(question)
    assert len(told) <= MAX_RECAP + len(question) + 60
