"""Who may post callbacks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.callers import Callers

GATEWAY, PROXY, STRANGER = "203.0.113.7", "10.0.0.5", "198.51.100.9"
OPEN = Callers.of((), ())
DIRECT = Callers.of((GATEWAY, "2001:db8::/32"), ())
BEHIND = Callers.of((GATEWAY,), ("10.0.0.0/8",))


@pytest.mark.parametrize(
    ("callers", "peer", "forwarded", "is_admitted"),
    [
        (OPEN, STRANGER, (), True),
        (OPEN, None, (), True),
        (DIRECT, GATEWAY, (), True),
        (DIRECT, f"::ffff:{GATEWAY}", (), True),
        (DIRECT, "2001:db8::17", (), True),
        (DIRECT, STRANGER, (), False),
        (DIRECT, None, (), False),
        (DIRECT, "testclient", (), False),
        # Nobody's word counts where no proxy is named.
        (DIRECT, STRANGER, (GATEWAY,), False),
        (DIRECT, GATEWAY, (STRANGER,), True),
        (BEHIND, PROXY, (GATEWAY,), True),
        (BEHIND, PROXY, (f"{STRANGER}, {GATEWAY}",), True),
        (BEHIND, PROXY, (f"{GATEWAY}, {STRANGER}",), False),
        (BEHIND, PROXY, (GATEWAY, STRANGER), False),
        (BEHIND, PROXY, (f"{GATEWAY}, 10.1.2.3",), True),
        (BEHIND, PROXY, (f"{GATEWAY}:51000",), True),
        (BEHIND, PROXY, (), False),
        (BEHIND, PROXY, ("unknown",), False),
        (BEHIND, PROXY, (f"{GATEWAY},",), False),
        (BEHIND, STRANGER, (GATEWAY,), False),
        (BEHIND, GATEWAY, (), True),
        (Callers.of(("2001:db8::1",), ("::1",)), "::1", ("[2001:db8::1]:443",), True),
    ],
)
def test_only_listed_addresses_may_post(
    callers: Callers, peer: str | None, forwarded: tuple[str, ...], *, is_admitted: bool
) -> None:
    """By the socket, or by what a listed proxy says that came to it last."""
    assert callers.admits(peer, forwarded) is is_admitted


@given(peer=st.none() | st.text(max_size=60), forwarded=st.lists(st.text(max_size=60), max_size=4))
def test_odd_addresses_are_refused_without_an_exception(
    peer: str | None, forwarded: list[str]
) -> None:
    """Whatever stands in the header."""
    assert BEHIND.admits(peer, forwarded) is False
