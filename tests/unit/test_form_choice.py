"""What a reply means for a form, and how a form is read."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.flow import Form, FormAction
from app.services.dify.human_input import MOST_ACTIONS, parse_form
from app.services.form_choice import choice_of_form

ACTIONS = (FormAction("yes", "同意"), FormAction("no", "不同意"), FormAction("later", "Later"))
CHOICE = Form(token="t", actions=ACTIONS)
NOTE = Form(token="t", actions=ACTIONS, fields=("note", "more"))


@pytest.mark.parametrize(
    ("text", "action", "words"),
    [
        ("1", "yes", ""),
        ("「2」", "no", ""),
        ("同意", "yes", ""),
        ("不同意", "no", ""),
        (" LATER ", "later", ""),
        ("2 太贵了", "no", "太贵了"),
        ("2.太贵了", "no", "太贵了"),
        ("\uff12、太贵了", "no", "太贵了"),
        ("不同意,太贵了", "no", "太贵了"),
    ],
)
def test_an_action_is_named_by_its_number_or_title_in_front_of_words(
    text: str, action: str, words: str
) -> None:
    """The words go into the first text; the others are empty."""
    choice = choice_of_form(NOTE, text)

    assert choice is not None
    assert (choice.action, choice.is_explicit) == (action, True)
    assert choice.inputs == {"note": words, "more": ""}


@pytest.mark.parametrize("text", ["4", "9", "\uff19", "9. 太贵了"])
def test_the_number_of_no_action_is_no_choice(text: str) -> None:
    """Words or not: nobody agrees by a slip of the finger."""
    assert choice_of_form(NOTE, text) is None


@pytest.mark.parametrize("text", ["9", "5 箱"])
def test_where_there_is_one_action_a_number_is_words(text: str) -> None:
    """Such a form shows no numbers: it may ask how many."""
    choice = choice_of_form(Form(token="t", actions=ACTIONS[:1], fields=("note",)), text)

    assert choice is not None
    assert choice.inputs == {"note": text}


@pytest.mark.parametrize("text", ["太贵了", "20 块", "同意书在哪"])
def test_words_alone_go_into_the_form_that_asks_for_some(text: str) -> None:
    """With its first action."""
    choice = choice_of_form(NOTE, text)

    assert choice is not None
    assert (choice.action, choice.is_explicit) == ("yes", False)
    assert choice.inputs["note"] == text


@pytest.mark.parametrize("text", ["太贵了", "4", "同意书在哪", "2 太贵了", ""])
def test_where_only_a_choice_is_wanted_anything_else_is_none(text: str) -> None:
    """It is a question as ever, and the form waits on."""
    assert choice_of_form(CHOICE, text) is None


DATA: dict[str, Any] = {
    "form_id": "f",
    "form_content": "请确认 {{#$output.note#}} 订单。",
    "form_token": "tok",
    "inputs": [
        {"type": "paragraph", "output_variable_name": "note"},
        {"type": "file", "output_variable_name": "scan"},
    ],
    "actions": [{"id": "a", "title": "同意"}, {"id": "b", "title": "拒\n绝"}],
    "expiration_time": 1_767_000_000,
}


def test_a_form_is_read_with_its_choices() -> None:
    """Places for values are blanks; files cannot be given by a reply."""
    read = parse_form(DATA)

    assert read.text == "请确认 ____ 订单。\n\n请回复序号:(序号后面可以写上内容)\n1. 同意\n2. 拒 绝"
    assert read.request == Form(
        token="tok",
        actions=(FormAction("a", "同意"), FormAction("b", "拒 绝")),
        fields=("note",),
        expires_at=datetime.fromtimestamp(1_767_000_000, UTC),
    )


def test_a_form_that_wants_words_alone_says_so() -> None:
    """One action is no choice."""
    read = parse_form({**DATA, "actions": DATA["actions"][:1]})

    assert read.text == "请确认 ____ 订单。\n\n请直接回复内容。"


@pytest.mark.parametrize(
    "changes", [{"form_token": None}, {"actions": []}, {"form_token": "t" * 256}]
)
def test_a_form_that_cannot_be_answered_here_is_shown_alone(changes: dict[str, Any]) -> None:
    """By mail, say: then it has no token."""
    read = parse_form({**DATA, **changes})

    assert read.text == "请确认 ____ 订单。"
    assert read.request is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)


@given(st.fixed_dictionaries(dict.fromkeys(DATA, VALUES)), st.text(max_size=40))
def test_any_form_is_read_and_any_reply_to_it_understood_or_not(
    data: dict[str, Any], text: str
) -> None:
    """Whatever the fields hold."""
    read = parse_form(data)

    assert read.request is None or len(read.request.actions) <= MOST_ACTIONS
    for form in (read.request, NOTE, CHOICE):
        choice = choice_of_form(form, text) if form else None
        assert choice is None or choice.action in [one.id for one in form.actions]  # type: ignore[union-attr]
