"""Blankness, names, digests and what counts as one character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.text import clean_nickname, clip, is_blank, is_inside_cluster, text_digest

CLUSTERS = ["👨‍👩‍👧‍👦", "👍🏽", "🇨🇳", "e\u0301", "1\ufe0f\u20e3", "❤\ufe0f", "\ud83d\ude00", "한"]


@pytest.mark.parametrize("text", ["", " ", "\n\t\r", "\u2005\u3000\xa0", "\u200b\ufeff", "\x00"])
def test_nothing_to_see_is_blank(text: str) -> None:
    """Spaces, controls and zero-width characters show nothing."""
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", " 。 ", "👍", "\u200b1"])
def test_something_to_see_is_not_blank(text: str) -> None:
    """One visible character is enough."""
    assert not is_blank(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("兰兰", "兰兰"),
        ("  兰 \n 兰\u2005x ", "兰 兰 x"),
        ("a\x00b\u202ec\u200bd", "abcd"),
        ("👨‍👩‍👧‍👦一家", "👨‍👩‍👧‍👦一家"),
        ("\u200b\u200d", ""),
        ("\ud83d名", "名"),
        ("", ""),
        ("长" * 100, "长" * 64),
    ],
)
def test_a_nickname_fits_into_one_line(name: str, expected: str) -> None:
    """Controls go, spaces become single, the length is bounded, emoji keep their look."""
    assert clean_nickname(name) == expected


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_no_emoji_is_torn(cluster: str) -> None:
    """Only the places around it are outside of it."""
    text = f"a{cluster}b"
    inside = [i for i in range(len(text) + 1) if is_inside_cluster(text, i)]

    assert inside == list(range(2, len(cluster) + 1))
    assert clip(text, 2) == ("a" if len(cluster) > 1 else f"a{cluster}")


def test_flags_are_counted_in_pairs() -> None:
    """Between two flags is a good place, within one is none."""
    assert [is_inside_cluster("🇨🇳🇯🇵", i) for i in range(5)] == [False, True, False, True, False]


def test_what_is_one_long_cluster_is_clipped_all_the_same() -> None:
    """The bound holds though nothing whole fits."""
    assert len(clip("a" + "\u0301" * 100, 10)) == 10


def test_texts_that_differ_in_white_space_have_one_digest() -> None:
    """Clients exchange spaces for one another; letters they do not."""
    assert text_digest("@兰兰\u2005好的\r\n再见 ") == text_digest("@兰兰 好的\n\n再见")
    assert text_digest("好的") != text_digest("好 的")
    assert len(text_digest("\ud83d")) == 64


@given(st.text(), st.integers(1, 30))
def test_a_name_is_always_within_its_bound(name: str, limit: int) -> None:
    """Whatever the name is."""
    cleaned = clean_nickname(name, limit=limit)

    assert len(cleaned) <= limit
    assert cleaned == cleaned.strip()
    assert "\n" not in cleaned
    assert clean_nickname(cleaned, limit=limit) == cleaned
