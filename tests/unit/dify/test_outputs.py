"""Which output of a workflow is its answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.dify.outputs import Output, parse_outputs


@pytest.mark.parametrize(
    ("outputs", "key", "text"),
    [
        ({"answer": "a", "text": "t"}, "", "a"),
        ({"x": "x", "text": "t"}, "", "t"),
        ({"score": 3, "summary": "s"}, "", "s"),
        ({"only": {"k": [1, "汉"]}}, "", '{"k": [1, "汉"]}'),
        ({"only": None}, "", ""),
        ({}, "", ""),
        ({"a": "1", "b": "2"}, "b", "2"),
        ({"a": "1", "n": 4}, "n", "4"),
        ({"a": None}, "a", ""),
        ({}, "a", ""),
        ({"answer": "a"}, None, "a"),
        ({"files": []}, None, ""),
        ({"answer": None}, None, ""),
        ({"answer": "\ud800x"}, "", "?x"),
    ],
)
def test_the_answer_is_found(outputs: dict[str, Any], key: str | None, text: str) -> None:
    """By the operator's word, by a usual name, or as the only text."""
    assert parse_outputs(outputs, key) == Output(text=text)


@pytest.mark.parametrize(
    ("outputs", "key"),
    [({"b": "1", "a": "2"}, ""), ({"b": "1", "a": "2"}, "c"), ({"b": 1, "a": 2}, "")],
)
def test_an_answer_that_nobody_can_tell_is_not_guessed(outputs: dict[str, Any], key: str) -> None:
    """The operator is told the names, to choose one."""
    assert parse_outputs(outputs, key) == Output(unclear=("a", "b"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(outputs=st.dictionaries(st.text(), _JSON, max_size=4), key=st.none() | st.text(max_size=3))
def test_whatever_the_outputs_are_there_is_a_text_or_names(
    outputs: dict[str, Any], key: str | None
) -> None:
    """Never an exception, and nothing that cannot be sent."""
    output = parse_outputs(outputs, key)

    output.text.encode()
    assert not (output.text and output.unclear)
