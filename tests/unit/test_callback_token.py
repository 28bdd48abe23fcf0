"""Tokens in the callback's path."""

from hypothesis import given
from hypothesis import strategies as st

from app.api.callback import is_known_token


@given(st.lists(st.text(min_size=1), max_size=3), st.text())
def test_only_a_known_token_is_known(tokens: list[str], given_token: str) -> None:
    """Any text may stand in the path, also what is no ASCII."""
    assert is_known_token(given_token, tuple(tokens)) == (given_token in tokens)


def test_both_tokens_of_a_rotation_are_known() -> None:
    """The old and the new one, and nothing that merely begins like them."""
    tokens = ("old-token", "new-token")

    assert [is_known_token(token, tokens) for token in tokens] == [True, True]
    assert not is_known_token("new-token-", tokens)
    assert not is_known_token("", tokens)
